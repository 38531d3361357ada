import { hadamard_mixed_f32 } from '../ts/contract/hadamardmixed.js';
import type { Params } from '../ts/contract.js';
import { HADAMARD_ORDERS, hadamardOrder, knownMatrix } from '../ts/hadamard-matrices.js';
import { type HadamardMixedOptions, hadamardMixedF64 } from '../ts/reference/hadamardmixed.js';
import type { Random } from './lib/random.js';
import type { Case, FamilySpec, KernelSpec } from './lib/spec.js';
import type { Tolerance } from './lib/tolerance.js';

/**
 * As in hadamard.spec: a stage adds u (2^-24) times the 2-norm of what is transformed together, the scale another. An output
 * of the matrix is a sum of `order` products by ±1 in which no value goes through more than `additions` additions: each is
 * off by additions·u·Σ|v| at most, Σ|v| ≤ √order·‖v‖, and all of them together by √order times that, of a result that is
 * itself √order·‖v‖ long. What is flushed or rounded below `least` counts once for each value and step.
 */
export const mixedError = (least: number, additions: (order: number) => number): Tolerance => ({
  unit: 'of norm',
  reason: 'one rounding per value and stage, one per addition of a block, one by the scale',
  error(got, want, _, params) {
    const { n, order, inner = 1 } = params as Record<string, number>;
    if (got.length !== want.length) return Infinity;
    let worst = 0;
    for (let start = 0; start < want.length; start += n! * inner)
      for (let i = start; i < start + inner; i++) {
        let [error, norm] = [0, 0];
        for (let j = i; j < start + n! * inner; j += inner) {
          if (Number.isFinite(want[j])) norm += want[j]! ** 2;
          if (got[j] === want[j] || (Number.isNaN(got[j]) && Number.isNaN(want[j]))) continue;
          if (!Number.isFinite(got[j]! - want[j]!)) return Infinity;
          error += (got[j]! - want[j]!) ** 2;
        }
        const excess = Math.sqrt(error) - least * n! * (Math.log2(n! / order!) + order! + 1);
        if (excess > 0) worst = Math.max(worst, excess / Math.sqrt(norm));
      }
    return worst;
  },
  limit: ({ n, order }: Params) =>
    1.01 * 2 ** -24 * (Math.log2(n! / order!) + 1 + (order! > 1 ? additions(order!) * Math.sqrt(order!) : 0)),
});

/** (±v0 ± v1) + (±v2 ± v3), then one after the other: the first of them goes through order/4 − 1 more. */
export const byFours = (order: number) => order / 4 + 1;

/** The matrix of a known order need not be given. */
export const withMatrix: NonNullable<KernelSpec['user']> = {
  call(inputs, options) {
    const matrix = inputs.matrix ?? knownMatrix(options.order ?? hadamardOrder(options.n));
    return { inputs: { ...inputs, ...(matrix && { matrix }) }, options };
  },
};

type Make = (row: number, j: number, inner: number, random: Random) => number;
const normal: Make = (_, __, ___, random) => random.normal();

interface Input extends HadamardMixedOptions {
  signs?: boolean;
  title?: string;
  make?: Make;
  cpuOnly?: string;
}

const one = ({ signs, title, make = normal, cpuOnly, ...options }: Input): Case<HadamardMixedOptions> => {
  const { rows, n, inner = 1, order = hadamardOrder(n), inverse } = options;
  const words = [
    title,
    `${rows} x ${n}`,
    inner > 1 && `x ${inner}`,
    options.order && `order ${order}`,
    inverse && 'inverse',
    signs && 'signs',
  ];
  return {
    title: words.filter(Boolean).join(', '),
    options,
    inputs(random) {
      const matrix = knownMatrix(order);
      return {
        x: random.floats(rows * n * inner, (i) =>
          make(Math.floor(i / (n * inner)), Math.floor(i / inner) % n, i % inner, random),
        ),
        ...(matrix ? { matrix } : {}),
        ...(signs ? { signs: random.signs(n) } : {}),
      };
    },
    ...(cpuOnly ? { cpuOnly } : {}),
  };
};

/** Plain, signs, both the other way round. */
const ways = (options: Input): Case<HadamardMixedOptions>[] =>
  [{}, { signs: true }, { inverse: true }, { inverse: true, signs: true }].map((way) => one({ ...options, ...way }));

const FLUSH = 'a GPU may flush denormals';
const FINITE = 'WGSL may assume finite numbers';

const cases: Case<HadamardMixedOptions>[] = [
  // Every order, alone and with blocks shorter than a vector, of a vector, of two; odd numbers of rows.
  ...HADAMARD_ORDERS.flatMap((order) =>
    [1, 2, 4, 8, 16].map((block, i) =>
      one({ rows: 1 + (i % 3), n: order * block, order, signs: i % 2 === 1, inverse: i > 2 }),
    ),
  ),
  ...[12, 20, 28, 80, 96, 112, 160, 192].flatMap((n) => ways({ rows: 5, n })),
  ...[1, 2, 3, 4, 7, 8, 9, 33].flatMap((rows) => [
    one({ rows, n: 12 }),
    one({ rows, n: 96, signs: true, inverse: true }),
  ]),
  ...[5120, 11008, 14336].map((n, i) => one({ rows: 1 + (i % 2), n, signs: i === 1, inverse: i === 2 })),
  ...[1, 2, 4, 8, 16, 64, 128, 4096, 8192].flatMap((n) => [
    one({ rows: 3, n }),
    one({ rows: 3, n, signs: true, inverse: true }),
  ]),
  one({ rows: 1, n: 12 * 8192 }),
  // Across heads.
  ...[1, 2, 4, 8, 16, 32, 64, 12, 28, 40, 24].flatMap((n) =>
    [3, 8, 64].map((inner, i) => one({ rows: 2, n, inner, signs: i > 0, inverse: i === 1 })),
  ),
  ...[5, 12, 20, 128].flatMap((inner) => ways({ rows: 3, n: 28, inner })),
  ...[1, 4, 16, 32].map((inner) => one({ rows: 2, n: 256, inner, inverse: true, signs: true })),
  one({ rows: 0, n: 96 }),
  ...[1, 0, -0.3, 7].map((scale) => one({ rows: 2, n: 48, scale, title: `scale ${scale}`, signs: true })),
  ...[12, 96, 112].flatMap((n) => [
    one({ rows: 3, n, title: 'unit vectors', make: (row, j) => (j === (row * 37) % n ? 1 : 0) }),
    one({ rows: 3, n, title: 'zeros of both signs', make: (_, j) => (j % 2 ? -0 : 0) }),
    one({ rows: 3, n, title: 'constant', make: () => 0.1 }),
    one({
      rows: 2,
      n,
      title: 'huge values',
      scale: 0.25,
      signs: true,
      make: (_, j) => (j < 2 ? 3e38 : j === 3 ? -1e38 : 0),
    }),
    one({ rows: 3, n, title: 'denormals', make: (row, j) => (row + j) * 1e-43, cpuOnly: FLUSH }),
    one({
      rows: 5,
      n,
      title: 'a NaN spreads over its row only',
      make: (row, j) => (row === 2 && j === n - 1 ? NaN : j / n),
      cpuOnly: FINITE,
    }),
    one({
      rows: 5,
      n,
      title: 'an infinity spreads over its row only',
      inverse: true,
      make: (row, j) => (row === 1 && j === 5 ? Infinity : j / n),
      cpuOnly: FINITE,
    }),
  ]),
  one({
    rows: 2,
    n: 28,
    inner: 12,
    title: 'NaN and infinity in two columns',
    make: (row, j, i) => (row && j === 3 && i < 2 ? [NaN, -Infinity][i]! : j - i),
    cpuOnly: FINITE,
  }),
];

const spec: KernelSpec<HadamardMixedOptions> = {
  contract: hadamard_mixed_f32,
  summary: 'Walsh–Hadamard transform of 12, 20, 28, ... 172 · 2^p values, along rows or across heads',
  source: 'S. Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs", 2024',
  axes: {
    rows: 'independent rows, 0 or more',
    n: 'values transformed together: order · 2^p, 2^p up to 32768',
    order: 'of the matrix: 1, or a multiple of 4 up to 256; default what n demands, as QuaRot chooses',
    inner: 'values between two that are transformed together (default 1: along rows; headDim: across heads)',
    scale: 'multiplies the unnormalised transform; any finite f32, default 1/√n',
    inverse: 'the transpose, and signs after it (default false)',
  },
  arrays: {
    x: { shape: '[rows, n] or [rows, n, inner]', meaning: 'any values' },
    matrix: {
      shape: '[order, ceil(order/32)]',
      meaning: 'a Hadamard matrix M, a bit per entry, 1 for −1 (hadamardMatrix)',
    },
    signs: { shape: '[n]', meaning: '±1' },
    scratch: { shape: 'hadamardMixedScratchBytes', meaning: 'CPU only; none where order is 1' },
    out: {
      shape: '[rows, n] or [rows, n, inner]',
      meaning: 'scale·(M ⊗ H)·(signs ∘ x); inverse: signs ∘ (scale·(M ⊗ H)ᵀ·x)',
    },
  },
  reference: ({ x, matrix, signs }, options) => ({
    out: hadamardMixedF64(
      x as Float32Array,
      matrix as Uint32Array | undefined,
      signs as Int8Array | undefined,
      options,
    ),
  }),
  cases,
  tolerance: { out: { cpu: mixedError(2 ** -149, byFours), gpu: mixedError(2 ** -126, byFours) } },
  user: withMatrix,
  cost: ({ rows, n, order, inner }) => ({
    bytesRead: 4 * rows! * n! * inner!,
    bytesWritten: 4 * rows! * n! * inner!,
    operations: rows! * n! * inner! * (Math.log2(n! / order!) + 1 + (order! > 1 ? order! : 0)),
  }),
};

export default { hadamard_mixed_f32: spec } satisfies FamilySpec;
