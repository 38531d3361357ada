import { dequantize_f32, groupOf, type QuantizeOptions, quantize_f32 } from '../ts/contract/quantize.js';
import type { Params } from '../ts/contract.js';
import { dequantize, type Quantized, quantize } from '../ts/reference/quantize.js';
import type { Random } from './lib/random.js';
import type { Arrays, Case, FamilySpec } from './lib/spec.js';
import { exact, relativeTo, type Tolerance, ulpOf } from './lib/tolerance.js';

const optionsOf = ({ rows, n, bits, groupSize, scheme, axis }: Params): QuantizeOptions => ({
  rows: rows!,
  n: n!,
  bits: bits!,
  groupSize: groupSize!,
  scheme: scheme ? 'symmetric' : 'affine',
  axis: axis ? 'column' : 'row',
});

/** How many ulp around a rounding boundary a GPU's quotient may fall on the other side (WGSL's division is within 2.5). */
const NEAR = 4;

/**
 * Codes of a GPU: equal, or one step apart where the exact quotient lies within 4 ulp of the boundary between the two.
 * Words are taken apart for it; bits past the last code must be 0 as in the reference.
 */
export const nearestCodes: Tolerance = {
  unit: 'codes',
  reason: "WGSL's division is within 2.5 ulp: one step where the exact quotient is within 4 ulp of a rounding boundary",
  error(got, want, inputs, params) {
    if (got.length !== want.length) return Infinity;
    let wrong = 0;
    let stored: Quantized | undefined;
    const { rows, n, bits, scheme, axis } = params as Record<string, number>;
    const perWord = 32 / bits!;
    const size = groupOf(params);
    const signed = (code: number) => (scheme && code >= 2 ** (bits! - 1) ? code - 2 ** bits! : code);
    for (let w = 0; w < want.length; w++) {
      if (got[w] === want[w]) continue;
      stored ??= quantize(inputs.x as Float32Array, optionsOf(params));
      const wordsPerLine = Math.ceil((axis ? rows! : n!) / perWord);
      const [line, word] = axis ? [w % n!, Math.floor(w / n!)] : [Math.floor(w / wordsPerLine), w % wordsPerLine];
      for (let i = 0; i < perWord; i++) {
        const [a, b] = [got[w]!, want[w]!].map((v) => signed((v >>> (i * bits!)) & (2 ** bits! - 1))) as [
          number,
          number,
        ];
        if (a === b) continue;
        const at = word * perWord + i;
        const group = Math.floor(at / size);
        const [x, g] = axis
          ? [at * n! + line, group * n! + line]
          : [line * n! + at, line * Math.ceil(n! / size) + group];
        const quotient = Math.fround(inputs.x![x]! - (stored.minima?.[g] ?? 0)) / stored.scales[g]!;
        const near = Math.abs(quotient - (a + b) / 2) <= NEAR * ulpOf(quotient);
        if (Math.abs(a - b) !== 1 || !near) wrong++;
      }
    }
    return wrong;
  },
  limit: () => 0,
};

/** A fused multiply-add leaves out the rounding of the product: half an ulp of it, and each result is rounded. */
const fused = relativeTo(
  ({ codes, scales, minima }, params) => {
    const stored = { codes, scales, minima } as unknown as Quantized;
    const values = dequantize(stored, optionsOf(params));
    const offsets = params.scheme
      ? values.map(() => 0)
      : dequantize({ ...stored, codes: new Uint32Array(codes!.length) } as Quantized, optionsOf(params));
    return Float64Array.from(values, (value, i) => Math.abs(value - offsets[i]!) + 3 * Math.abs(value));
  },
  2 ** -24,
  'a GPU may fuse code · scale + minimum: half an ulp of the product and of both results',
);

type Make = (row: number, column: number, random: Random) => number;

const normal: Make = (_, __, random) => random.normal();

const nameOf = ({ rows, n, bits, groupSize, scheme, axis }: QuantizeOptions) =>
  `${rows} × ${n}, ${bits} bits, ${groupSize ? `groups of ${groupSize}` : 'one group'} per ${axis}, ${scheme}`;

interface Rule extends Omit<QuantizeOptions, 'rows' | 'n'> {}

interface Input {
  title: string;
  options: QuantizeOptions;
  make: Make;
  cpuOnly?: string;
}

const input = (rows: number, n: number, rule: Rule, make = normal, title = '', cpuOnly?: string): Input => {
  const options = { rows, n, ...rule };
  return { title: `${title}${title && ', '}${nameOf(options)}`, options, make, ...(cpuOnly ? { cpuOnly } : {}) };
};

const BITS = [2, 4, 8];
const SCHEMES = ['affine', 'symmetric'] as const;
const AXES = ['row', 'column'] as const;
const row4: Rule = { bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' };
const column2: Rule = { bits: 2, groupSize: 32, scheme: 'affine', axis: 'column' };

/** Every bits × scheme × axis on one shape of ragged groups and words. */
const everyRule = (rows: number, n: number, groupSize: number, make = normal, title = '', cpuOnly?: string): Input[] =>
  BITS.flatMap((bits) =>
    SCHEMES.flatMap((scheme) =>
      AXES.map((axis) => input(rows, n, { bits, groupSize, scheme, axis }, make, title, cpuOnly)),
    ),
  );

// A lane is 4 values, a block 16, a chunk of the row kernels 1024 values, a tile of the column kernels 1024 columns.
const LENGTHS = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 80, 100];
const GPU_FLUSHES = 'a GPU may flush denormals';
const INF = Infinity;

const inputs: Input[] = [
  ...LENGTHS.flatMap((length) => [input(3, length, row4), input(length, 3, column2)]),
  ...[1, 2, 3, 4, 5, 7, 8, 17].flatMap((lines) => [input(lines, 40, row4), input(40, lines, column2)]),
  ...everyRule(50, 50, 16),
  ...everyRule(64, 64, 32),
  ...everyRule(37, 41, 0),
  ...[48, 64, 112, 128, 256].flatMap((groupSize) => [
    input(3, 600, { ...row4, groupSize }),
    input(600, 5, { ...column2, groupSize }),
  ]),
  input(4, 1040, row4),
  input(2, 4100, { ...row4, groupSize: 64, scheme: 'symmetric' }),
  input(1, 5000, { ...row4, groupSize: 0, bits: 8 }),
  input(2, 3000, { ...row4, groupSize: 5000 }),
  input(33, 1030, { ...column2, bits: 4 }),
  input(2000, 6, { ...column2, groupSize: 0, bits: 8 }),
  input(1, 70_000, row4),
  input(2100, 33, { ...row4, groupSize: 16 }),
  input(0, 12, row4),
  input(0, 12, column2),

  ...everyRule(40, 36, 32, () => 0, 'zeros'),
  ...everyRule(34, 33, 16, () => -1.7, 'a constant'),
  input(3, 64, row4, (_, column) => (column % 2 ? -0 : 0), 'zeros of both signs'),
  input(
    20,
    96,
    row4,
    (row, column, random) => (Math.floor(column / 32) === row % 3 ? 5 : random.normal()),
    'constant groups between others',
  ),
  // Multiples of half a step: every second quotient is a tie.
  ...everyRule(
    36,
    64,
    32,
    (row, column) => (column % 32 === 0 ? 0 : column % 32 === 1 ? 15 : ((row * 7 + column * 5) % 31) / 2),
    'ties',
  ),
  ...everyRule(32, 32, 16, (row, column, random) => 1e6 + random.int(0, 40) / 16 + row - column, 'a large offset'),
  ...everyRule(33, 32, 32, (_, __, random) => 1.5e38 * (random.uniform() - 0.5), 'huge values'),
  input(
    8,
    64,
    row4,
    (row, column, random) => (row % 2 ? 3.4e38 : 1) * (column % 32 === 5 ? -1 : 1) * random.uniform(),
    'a range that overflows',
  ),
  input(
    48,
    9,
    column2,
    (row, column, random) => (column % 2 ? 3.4e38 : 1) * (row % 32 === 5 ? -1 : 1) * random.uniform(),
    'a range that overflows',
  ),
  ...everyRule(33, 48, 32, (row, column, random) => (row === 7 && column === 20 ? NaN : random.normal()), 'a NaN'),
  ...everyRule(
    33,
    48,
    32,
    (row, column, random) => (row === 7 && column === 20 ? INF : row === 30 && column === 40 ? -INF : random.normal()),
    'infinities',
  ),
  input(
    9,
    70,
    row4,
    (row, column) => (row % 3 && column >= 64 ? (row % 3 === 1 ? NaN : INF) : column),
    'NaN and infinity in the tail',
  ),
  input(
    4,
    64,
    row4,
    (row, column) => (column < 32 ? (row === 2 && column === 31 ? NaN : 2) : NaN),
    'NaN in a constant group',
  ),
  ...everyRule(40, 32, 16, (_, __, random) => 2e-42 * random.normal(), 'denormals', GPU_FLUSHES),
  ...everyRule(34, 32, 32, (_, __, random) => random.int(0, 40) * 2 ** -149, 'a few smallest denormals', GPU_FLUSHES),
  ...everyRule(34, 32, 32, (_, __, random) => 1e-37 * random.normal(), 'a denormal scale', GPU_FLUSHES),
];

const valuesOf = ({ options: { rows, n }, make }: Input, random: Random) =>
  random.floats(rows * n, (i) => make(Math.floor(i / n), i % n, random));

const quantizeCases: Case<QuantizeOptions>[] = inputs.map((one) => ({
  ...one,
  inputs: (random) => ({ x: valuesOf(one, random) }),
}));

/** What quantize made, and any words at all: dequantize asks nothing of them. */
const dequantizeCases: Case<QuantizeOptions>[] = [
  ...inputs.map((one) => ({
    ...one,
    inputs: (random: Random) => ({ ...quantize(valuesOf(one, random), one.options) }),
  })),
  ...everyRule(37, 43, 16).map(({ options }) => ({
    title: `any words, ${nameOf(options)}`,
    options,
    inputs: (random: Random) => {
      const { codes, scales, minima } = dequantize_f32.lengths(dequantize_f32.params(options));
      return {
        codes: Uint32Array.from({ length: codes! }, () => random.int(0, 0xffff) * 65536 + random.int(0, 0xffff)),
        scales: random.normals(scales!),
        ...(minima ? { minima: random.normals(minima) } : {}),
      } as Arrays;
    },
  })),
];

const source = 'Z. Liu et al., "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache", 2024 (affine)';
const axes = {
  rows: 'rows of x (tokens), 0 or more',
  n: 'values per row (channels), 1 or more',
  bits: 'bits per code: 2, 4 or 8',
  groupSize:
    'values that share a scale: a multiple of 16 from 16 to 256, or the whole axis (0, or at least its length)',
  scheme: '`affine` (scale and minimum) or `symmetric` (scale only)',
  axis: '`row`: groups along rows (per token); `column`: down columns (per channel)',
};
const stored = {
  codes: {
    shape: '[rows, ceil(n·bits/32)]; column: [ceil(rows·bits/32), n]',
    meaning: 'codes along the group, low bits first; symmetric ones in two’s complement; unused bits 0',
  },
  scales: { shape: '[rows, ceil(n/groupSize)]; column: [ceil(rows/groupSize), n]', meaning: 'one per group' },
  minima: { shape: 'as scales', meaning: "each group's minimum; affine only" },
};
const x = { shape: '[rows, n]', meaning: 'values' };

function bytesOf(params: Params) {
  const lengths = quantize_f32.lengths(params);
  return { values: 4 * lengths.x!, stored: 4 * (lengths.codes! + lengths.scales! + lengths.minima!) };
}

const spec: FamilySpec = {
  quantize_f32: {
    contract: quantize_f32,
    summary: 'Integer codes of 2, 4 or 8 bits, packed, with a scale (and minimum) per group along rows or columns',
    source,
    axes,
    arrays: { x, ...stored },
    reference({ x }, options: QuantizeOptions) {
      const { minima, ...rest } = quantize(x as Float32Array, options);
      return minima?.length ? { ...rest, minima } : rest;
    },
    cases: quantizeCases,
    tolerance: { codes: { cpu: exact, gpu: nearestCodes }, scales: exact, minima: exact },
    cost: (params) => ({ bytesRead: bytesOf(params).values, bytesWritten: bytesOf(params).stored }),
  },
  dequantize_f32: {
    contract: dequantize_f32,
    summary: 'Values from packed codes, scales and minima',
    source,
    axes,
    arrays: { ...stored, out: x },
    reference: (inputs, options: QuantizeOptions) => ({ out: dequantize(inputs as unknown as Quantized, options) }),
    cases: dequantizeCases,
    tolerance: { out: { cpu: exact, gpu: fused } },
    cost: (params) => ({ bytesRead: bytesOf(params).stored, bytesWritten: bytesOf(params).values }),
  },
};

export default spec;
