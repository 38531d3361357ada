import {
  type Activations,
  blockOf,
  contractOf,
  type GemmFormat,
  type GemmOptions,
  gemm_pack_u32,
  packedLayout,
} from '../ts/contract/gemm.js';
import { SCHEMES } from '../ts/contract/quantize.js';
import type { Params } from '../ts/contract.js';
import { gemmF64, pack, type Quantized, roundActivations, unpackerOf } from '../ts/reference/gemm.js';
import { quantize } from '../ts/reference/quantize.js';
import type { Random } from './lib/random.js';
import type { Arrays, Case, FamilySpec, KernelSpec } from './lib/spec.js';
import { exact, relativeTo, ulpOf } from './lib/tolerance.js';

/** The unit of f32 rounding. */
const EPS = 2 ** -24;
/** Products of odd inputs are formed from x / 256, which is exact down to here; below, as if x were this large. */
const LEAST = 2 ** -118;
/** How many ulp from a tie a GPU's x / scale may round the other way: scale and quotient are within 2.5 ulp each. */
const NEAR = 8;

const optionsOf = (p: Params): GemmOptions => ({
  m: p.m!,
  n: p.n!,
  k: p.k!,
  bits: p.bits!,
  groupSize: p.groupSize!,
  scheme: SCHEMES[p.scheme!]!,
});

/** Σ |x| · (scale · (code + half) + |minimum|) for each output: what rounding errors are measured by. */
function magnitudes(activations: Activations) {
  return ({ x, packed }: Arrays, p: Params) => {
    const rounded = roundActivations(x as Float32Array, optionsOf(p), activations);
    const unpack = unpackerOf(packed as Uint32Array, p);
    const [m, n, k] = [p.m!, p.n!, p.k!];
    const out = new Float64Array(m * n);
    for (let j = 0; j < n; j++)
      for (let l = 0; l < k; l++) {
        const { code, half, scale, minimum } = unpack(j, l);
        const weight = scale * (code + half) + Math.abs(minimum);
        for (let i = 0; i < m; i++) out[i * n + j]! += Math.max(Math.abs(rounded[i * k + l]!), LEAST) * weight;
      }
    return out;
  };
}

const gpuLimit = ({ k }: Params) => (k! + 16) * EPS;

/** The same with what a step of one code makes, wherever x / scale is so near a tie that a GPU may take it. */
function gpuMagnitudes(activations: Activations) {
  return (inputs: Arrays, p: Params) => {
    const out = magnitudes(activations)(inputs, p);
    if (activations === 'f32') return out;
    const [m, n, k] = [p.m!, p.n!, p.k!];
    const block = blockOf(p);
    const unpack = unpackerOf(inputs.packed as Uint32Array, p);
    for (let i = 0; i < m; i++)
      for (let l = 0; l < k; l++) {
        const from = i * k + Math.floor(l / block) * block;
        const values = (inputs.x as Float32Array).subarray(from, Math.min(from + block, (i + 1) * k));
        const scale = values.reduce((a, v) => Math.max(a, Math.abs(v)), 0) / (activations === 'i16' ? 32767 : 127);
        const quotient = scale ? inputs.x![i * k + l]! / scale : 0;
        if (Math.abs(Math.abs(quotient % 1) - 0.5) > NEAR * ulpOf(quotient)) continue;
        for (let j = 0; j < n; j++) {
          const { code, half, scale: s, minimum } = unpack(j, l);
          out[i * n + j]! += (scale * Math.abs((code - half) * s + minimum)) / gpuLimit(p);
        }
      }
    return out;
  };
}

type Make = (i: number, l: number, random: Random) => number;
const normal: Make = (_, __, random) => random.normal();

interface Work {
  title: string;
  options: GemmOptions;
  x: Make;
  w: Make;
  cpuOnly?: string;
}

const nameOf = ({ n, k, bits, groupSize, scheme }: GemmFormat) =>
  `${n} × ${k}, ${bits} bits, ${groupSize ? `groups of ${groupSize}` : 'one group'}, ${scheme}`;

const work = (
  m: number,
  n: number,
  k: number,
  rule: Omit<GemmFormat, 'n' | 'k'>,
  more: Partial<Work> & { name?: string } = {},
): Work => {
  const { name, ...rest } = more;
  const options = { m, n, k, ...rule };
  return { title: `${name ? `${name}, ` : ''}${m} rows, ${nameOf(options)}`, options, x: normal, w: normal, ...rest };
};

const four = { bits: 4, groupSize: 32, scheme: 'affine' } as const;
const RULES = [4, 8].flatMap((bits) =>
  SCHEMES.flatMap((scheme) => [0, 32, 96, 256].map((groupSize) => ({ bits, scheme, groupSize }))),
);
const everyRule = (m: number, n: number, k: number, more?: Partial<Work> & { name?: string }): Work[] =>
  RULES.map((rule) => work(m, n, k, rule, more));

const FINITE = 'WGSL may assume finite numbers';
const FLUSHES = 'a GPU may flush denormals';

// A panel is 8 outputs, a tile 4 rows, a pass 64 rows; inputs go in fours, blocks end at multiples of 32.
const works: Work[] = [
  ...[1, 2, 3, 4, 5, 7, 8, 9, 12, 33, 64, 65, 130].map((m) => work(m, 9, 70, four)),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 63, 64, 65].map((n) => work(n % 2 ? 1 : 5, n, 40, four)),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 63, 64, 65, 95, 127, 128, 129, 300].flatMap((k) => [
    work(1, 10, k, four),
    work(6, 3, k, { bits: 8, groupSize: 64, scheme: 'symmetric' }),
    work(3, 8, k, { bits: 4, groupSize: 0, scheme: 'symmetric' }),
  ]),
  ...everyRule(1, 11, 515),
  ...everyRule(7, 12, 290),
  ...everyRule(4, 16, 512),
  ...everyRule(11, 20, 290),
  work(1, 24, 5000, { ...four, groupSize: 128 }),
  work(4, 8, 4096, { bits: 8, groupSize: 0, scheme: 'symmetric' }),
  work(0, 8, 64, four),
  work(2, 0, 64, four),
  ...everyRule(5, 9, 100, { name: 'zeros', x: () => 0 }),
  work(3, 9, 100, four, { name: 'weights of 0', w: () => 0 }),
  ...everyRule(5, 9, 100, { name: 'ones', x: () => 1, w: () => 1 }),
  ...everyRule(5, 9, 300, {
    name: 'the largest codes',
    x: (_, l) => (l % 3 ? -1 : 1),
    w: (_, l) => (l % 2 ? 15 : -15),
  }),
  ...everyRule(5, 9, 100, { name: 'ties', x: (_, l) => (l ? ((l * 7) % 64) - 31.5 : 127) }),
  ...everyRule(5, 9, 100, { name: 'one large value', x: (_, l, r) => r.normal() * (l === 37 ? 1000 : 1) }),
  work(5, 9, 100, four, { name: 'huge', x: (_, __, r) => 1e30 * r.normal() }),
  work(5, 9, 100, four, { name: 'small', x: (_, __, r) => 1e-30 * r.normal() }),
  ...[1, 5].flatMap((m) => [
    work(m, 9, 100, four, { name: 'smaller', x: (_, __, r) => 1e-36 * r.normal(), cpuOnly: FLUSHES }),
    work(m, 9, 100, four, { name: 'denormals', x: (_, __, r) => 1e-42 * r.normal(), cpuOnly: FLUSHES }),
    ...[NaN, Infinity, -Infinity].map((value) =>
      work(m, 9, 100, m === 1 ? four : { ...four, bits: 8, scheme: 'symmetric' as const }, {
        name: `${value} in a row of x`,
        x: (i, l, r) => (i === m - 1 && l === 50 ? value : r.normal()),
        cpuOnly: FINITE,
      }),
    ),
    work(m, 9, 100, four, {
      name: 'NaN in a weight',
      w: (j, l, r) => (j === 3 && l === 50 ? NaN : r.normal()),
      cpuOnly: FINITE,
    }),
  ]),
];

function storedOf({ options: { m: _, n, k, ...rule }, w }: Work, random: Random): Quantized {
  return quantize(
    random.floats(n * k, (at) => w(Math.floor(at / k), at % k, random)),
    { rows: n, n: k, ...rule, axis: 'row' },
  );
}

const cases: Case<GemmOptions>[] = works.map((one) => ({
  ...one,
  inputs(random) {
    const { m, k } = one.options;
    const stored = storedOf(one, random);
    return {
      x: random.floats(m * k, (at) => one.x(Math.floor(at / k), at % k, random)),
      packed: pack(stored, one.options),
    };
  },
}));

const axes = {
  n: 'outputs: rows of the weights, 0 or more',
  k: 'inputs: what is summed over, 1 or more',
  bits: 'bits per code: 4 or 8',
  groupSize: 'inputs that share a scale: a multiple of 32 from 32 to 256, or the whole row (0, or at least k)',
  scheme: '`affine` (scale and minimum) or `symmetric` (scale only)',
};
const packed = { shape: '[ceil(n/8), panel]', meaning: 'weights in panels of eight outputs (docs/gemm.md)' };

function spec(activations: Activations, summary: string, source: string): KernelSpec<GemmOptions> {
  const contract = contractOf[activations];
  const float = activations === 'f32';
  return {
    contract,
    summary,
    source,
    axes: {
      m: 'rows of x (tokens), 0 or more',
      ...axes,
      outStride: 'from one row of out to the next, in values: n (0, the default) or more',
    },
    arrays: {
      x: { shape: '[m, k]', meaning: 'activations' },
      packed,
      out: { shape: '[m, n]', meaning: 'Σ x[i, l] · W[j, l] over l' },
      scratch: { shape: 'gemmScratchBytes', meaning: 'activations in the order of the products' },
    },
    reference: ({ x, packed }, options) => ({
      out: gemmF64(x as Float32Array, packed as Uint32Array, { ...options, activations }),
    }),
    cases,
    tolerance: {
      out: {
        cpu: relativeTo(
          magnitudes(activations),
          (p) => ((float ? blockOf(p) : 0) + packedLayout(p).blocks + 8) * EPS,
          float
            ? 'rounding of a sum of a block, and of the blocks: (block + blocks + 8) · 2^-24 of Σ |x| · |W|'
            : 'integer sums are exact; rounding of (blocks + 8) operations: that much · 2^-24 of Σ |x| · |W|',
        ),
        gpu: relativeTo(
          gpuMagnitudes(activations),
          gpuLimit,
          'rounding of a sum of k in any order; a rounded activation next to a tie may be the next',
        ),
      },
    },
    cost: (p) => ({
      bytesRead: 4 * (contract.lengths(p).x! + contract.lengths(p).packed!),
      bytesWritten: 4 * p.m! * p.n!,
      operations: 2 * p.m! * p.n! * p.k!,
    }),
  };
}

const packWorks = [
  ...works.filter(({ options }) => options.m !== 0),
  ...everyRule(1, 19, 70, { name: 'a constant', w: () => 3 }),
];

const packSpec: KernelSpec<GemmFormat> = {
  contract: gemm_pack_u32,
  summary: 'Quantised weights interleaved by eight outputs, as the products read them',
  source: 'the layout is in docs/gemm.md',
  axes,
  arrays: {
    codes: { shape: '[n, ceil(k·bits/32)]', meaning: 'what quantize_f32 made of the weights, axis row' },
    scales: { shape: '[n, ceil(k/groupSize)]', meaning: 'one per group' },
    minima: { shape: 'as scales', meaning: "each group's minimum; affine only" },
    packed,
  },
  reference: (inputs, options) => ({ packed: pack(inputs as unknown as Quantized, options) }),
  cases: packWorks.map((one) => {
    const { m: _, ...options } = one.options;
    return { title: one.title, options, inputs: (random) => ({ ...storedOf(one, random) }) as unknown as Arrays };
  }),
  tolerance: { packed: exact },
  cost(p) {
    const { packed, ...read } = gemm_pack_u32.lengths(p);
    return { bytesRead: 4 * Object.values(read).reduce((a, b) => a + b), bytesWritten: 4 * packed! };
  },
};

export default {
  gemm_pack_u32: packSpec,
  gemm_quantized_f32: spec(
    'f32',
    'Few rows of activations times a matrix of 4- or 8-bit weights',
    'rounding: N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., 2002, section 3.1',
  ),
  gemm_quantized_i16: spec(
    'i16',
    'The same with activations rounded to 16-bit integers: exact integer sums',
    'blocks of activations with a scale each, as in ggml (Q8_0), of 16 bits',
  ),
  gemm_quantized_i8: spec(
    'i8',
    'The same with activations rounded to 8-bit integers',
    'blocks of activations with a scale each, as in ggml (Q8_0)',
  ),
} satisfies FamilySpec;
