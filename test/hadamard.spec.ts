import { hadamard_f32 } from '../ts/contract/hadamard.js';
import type { Params } from '../ts/contract.js';
import { type HadamardOptions, hadamardF64 } from '../ts/reference/hadamard.js';
import type { Case, FamilySpec, KernelSpec } from './lib/spec.js';
import type { Tolerance } from './lib/tolerance.js';

type Rows = Case<HadamardOptions>;
type Signs = 'plain' | 'signs' | 'inverse, signs' | 'inverse';

const SIGNS: Signs[] = ['plain', 'signs', 'inverse, signs', 'inverse'];

/**
 * Every stage is √2 times an orthogonal matrix, whose results are rounded once: it adds at most u times the 2-norm to
 * the error (u = 2^-24), relative to it. With the product by the scale that makes log2(n) + 1 times u for a row's 2-norm;
 * second-order terms are far below the hundredth allowed for them. What is flushed or rounded below `least` adds up to
 * least per value and stage.
 */
const rowError = (least: number): Tolerance => ({
  unit: 'of row norm',
  reason: 'one rounding per value and stage, and one by the scale',
  error(got, want, _, { n }) {
    if (got.length !== want.length) return Infinity;
    let worst = 0;
    for (let row = 0; row < want.length; row += n!) {
      let [error, norm] = [0, 0];
      for (let i = row; i < row + n!; i++) {
        if (got[i] === want[i] || (Number.isNaN(got[i]) && Number.isNaN(want[i]))) continue;
        // Infinity or NaN on one side only.
        if (!Number.isFinite(got[i]! - want[i]!)) return Infinity;
        error += (got[i]! - want[i]!) ** 2;
      }
      for (let i = row; i < row + n!; i++) if (Number.isFinite(want[i])) norm += want[i]! ** 2;
      const excess = Math.sqrt(error) - least * n! * (Math.log2(n!) + 1);
      if (excess > 0) worst = Math.max(worst, excess / Math.sqrt(norm));
    }
    return worst;
  },
  limit: ({ n }: Params) => 1.01 * (Math.log2(n!) + 1) * 2 ** -24,
});

function made(
  title: string,
  rows: number,
  n: number,
  mode: Signs,
  value: (row: number, column: number) => number,
  more: Partial<Rows> & { scale?: number } = {},
): Rows {
  const { scale, ...rest } = more;
  return {
    title: `${title}${rows} x ${n}${mode === 'plain' ? '' : `, ${mode}`}`,
    options: {
      rows,
      n,
      ...(scale === undefined ? {} : { scale }),
      ...(mode.startsWith('inverse') ? { inverse: true } : {}),
    },
    inputs: (random) => ({
      x: random.floats(rows * n, (i) => value(Math.floor(i / n), i % n)),
      ...(mode.endsWith('signs') ? { signs: random.signs(n) } : {}),
    }),
    ...rest,
  };
}

function normal(rows: number, n: number, mode: Signs, scale?: number): Rows {
  const shape = made(
    scale === undefined ? '' : `scale ${scale}, `,
    rows,
    n,
    mode,
    () => 0,
    scale === undefined ? {} : { scale },
  );
  return { ...shape, inputs: (random) => ({ ...shape.inputs(random), x: random.normals(rows * n) }) };
}

const INF = Infinity;
const UNDERFLOW = { cpuOnly: 'a GPU may flush denormals' };

/** n: rows, so that there are odd ends around the vectors (4), chunks (2048 values) and workgroups that rows share (4096). */
const ROWS: [n: number, rows: number[]][] = [
  [1, [1, 2, 3, 4, 7, 8, 9, 13, 1000]],
  [2, [1, 2, 3, 4, 5, 8, 127, 129, 2051]],
  [4, [1, 2, 3, 4, 63, 65, 1027]],
  [8, [1, 2, 3, 31, 33, 515]],
  [16, [1, 2, 3, 17, 127, 129, 257]],
  [32, [1, 3, 2, 63, 65, 127, 131]],
  [64, [1, 3, 2, 31, 33, 63, 65, 67]],
  [128, [1, 3, 2, 15, 16, 17, 31, 33, 37]],
  [256, [1, 3, 2, 9, 15, 17]],
  [512, [1, 3, 2, 5, 9]],
  [1024, [1, 3, 2, 5]],
  [2048, [1, 3, 2]],
  [4096, [1, 3, 2]],
  [8192, [1, 2, 3]],
  [16384, [1, 2, 3]],
  [32768, [1, 2, 3]],
];

const spec: KernelSpec<HadamardOptions> = {
  contract: hadamard_f32,
  summary: 'Walsh–Hadamard transform of rows, in natural order, with random signs',
  source:
    'B. Fino, V. Algazi, "Unified matrix treatment of the fast Walsh–Hadamard transform", 1976; S. Ashkboos et al., "QuaRot", 2024',
  axes: {
    rows: 'independent rows, 0 or more',
    n: 'values per row, a power of two from 1 to 32768',
    scale: 'multiplies the unnormalised transform; any finite f32, default 1/√n',
    inverse: 'signs after the transform instead of before it (default false)',
  },
  arrays: {
    x: { shape: '[rows, n]', meaning: 'any values' },
    signs: { shape: '[n]', meaning: '±1 per column' },
    out: { shape: '[rows, n]', meaning: 'scale·H·(signs ∘ x), or signs ∘ (scale·H·x) when inverse; may be x' },
  },
  reference: ({ x, signs }, options) => ({
    out: hadamardF64(x as Float32Array, signs as Int8Array | undefined, options),
  }),
  cases: [
    ...ROWS.flatMap(([n, rows]) =>
      rows.flatMap((count, i) => (i < 2 ? SIGNS : [SIGNS[i % 4]!]).map((mode) => normal(count, n, mode))),
    ),
    made('no rows, ', 0, 64, 'plain', () => 0),
    ...[1, 0, -0.3, 7].map((scale) => normal(2, 32, 'signs', scale)),
    ...[1, 0, -0.3, 7].map((scale) => normal(2, 512, 'inverse, signs', scale)),
    made('zeros of both signs, ', 2, 16, 'signs', (_, column) => (column % 2 ? -0 : 0)),
    made('constant, ', 3, 128, 'plain', () => 0.1),
    ...[4, 16, 128, 1024].map((n) =>
      made('unit vectors, ', 8, n, 'signs', (row, column) => (column === (row * 37) % n ? 1 : 0)),
    ),
    made('one outlier, ', 4, 64, 'signs', (row, column) => (column === 9 * row ? 1e6 : Math.sin(column))),
    // 1/√n first: neither sums nor their scaled results overflow.
    ...[2, 8, 16, 64, 512].map((n) =>
      made('huge values, ', 2, n, 'signs', (_, column) => (column < 2 ? 3e38 : column === 3 ? -1e38 : 0), {
        scale: 0.25,
      }),
    ),
    ...[2, 8, 16, 64, 1024].map((n) =>
      made('denormals, ', 3, n, 'signs', (row, column) => (column + row) * 1e-43, UNDERFLOW),
    ),
    made('products below the smallest normal number, ', 2, 256, 'plain', (_, column) => 1e-30 * column, {
      scale: 1e-12,
      ...UNDERFLOW,
    }),
    ...[1, 2, 4, 8, 16, 32, 64, 128, 8192].flatMap((n) => [
      made(
        'NaN spreads over its row only, ',
        5,
        n,
        'signs',
        (row, column) => (row === 2 && column === n - 1 ? NaN : column / n),
        { cpuOnly: 'WGSL may assume finite numbers' },
      ),
      made(
        'an infinity spreads over its row only, ',
        5,
        n,
        'inverse, signs',
        (row, column) => (row === 1 && column === n >> 1 ? INF : column / n),
        {
          cpuOnly: 'WGSL may assume finite numbers',
        },
      ),
    ]),
    made(
      'infinities of both signs, ',
      2,
      32,
      'plain',
      (row, column) => (row ? [INF, -INF, 1, 2][column % 4]! : column),
      { cpuOnly: 'WGSL may assume finite numbers' },
    ),
  ],
  tolerance: { out: { cpu: rowError(2 ** -149), gpu: rowError(2 ** -126) } },
  cost: ({ rows, n }) => ({
    bytesRead: 4 * rows! * n!,
    bytesWritten: 4 * rows! * n!,
    operations: rows! * n! * (Math.log2(n!) + 1),
  }),
};

export default { hadamard_f32: spec } satisfies FamilySpec;
