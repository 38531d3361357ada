import {
  dequantize_integers_f32,
  type IntegerOptions,
  type QuantizeIntegersOptions,
  quantize_integers_f32,
  SCHEMES,
} from '../ts/contract/integers.js';
import { AXES, groupOf } from '../ts/contract/quantize.js';
import { type Params, SCALE_TYPES } from '../ts/contract.js';
import { fromHalves, toHalves } from '../ts/half.js';
import {
  dequantize,
  packCodes,
  type QuantizedIntegers,
  quantize,
  type Range,
  uniform,
  unpackCodes,
} from '../ts/reference/integers.js';
import type { Random } from './lib/random.js';
import type { Arrays, Case, FamilySpec } from './lib/spec.js';
import { exact, relativeTo, type Tolerance, ulpOf } from './lib/tolerance.js';

type Options = QuantizeIntegersOptions;

const optionsOf = ({ rows, n, bits, groupSize, scheme, axis, scaleType, seed, first }: Params): Options => ({
  rows: rows!,
  n: n!,
  bits: scheme === 2 && bits === 1 ? 1.6 : bits!,
  groupSize: groupSize!,
  scheme: SCHEMES[scheme!]!,
  axis: AXES[axis!]!,
  scaleType: SCALE_TYPES[scaleType!]!,
  ...(seed ? { seed, first: first! } : {}),
});

const rangeOf = ({ lows, highs }: Arrays): { range?: Range } =>
  highs ? { range: { highs: highs as Float32Array, ...(lows && { lows: lows as Float32Array }) } } : {};

const numbers = (array: Float32Array | Uint16Array) => (array instanceof Uint16Array ? fromHalves(array) : array);

/** How many ulp around a rounding boundary a GPU's quotient may fall on the other side (WGSL's division is within 2.5). */
const NEAR = 4;

/** Equal, or one step apart where the exact quotient lies within 4 ulp of the boundary between the two codes. */
const nearestCodes: Tolerance = {
  unit: 'codes',
  reason: "WGSL's division is within 2.5 ulp: one step where the exact quotient is within 4 ulp of a rounding boundary",
  error(got, want, inputs, params) {
    if (got.length !== want.length) return Infinity;
    if (got.every((word, i) => word === want[i])) return 0;
    const options = optionsOf(params);
    const { rows, n, seed = 0, first = 0 } = options;
    const [mine, theirs] = [got as Uint32Array, want as Uint32Array].map((words) => unpackCodes(words, options)) as [
      Int16Array,
      Int16Array,
    ];
    // Bits and digits past the last code are 0 as in the reference.
    let wrong = packCodes(mine, options).reduce((sum, word, i) => sum + Number(word !== got[i]), 0);
    const stored = quantize(inputs.x as Float32Array, { ...options, ...rangeOf(inputs) });
    const [scales, minima] = [numbers(stored.scales), stored.minima && numbers(stored.minima)];
    const size = groupOf(params);
    for (let i = 0; i < rows * n; i++) {
      const [a, b] = [mine[i]!, theirs[i]!];
      if (a === b) continue;
      const [row, column] = [Math.floor(i / n), i % n];
      const group = params.axis
        ? Math.floor(row / size) * n + column
        : row * Math.ceil(n / size) + Math.floor(column / size);
      let quotient = Math.fround(inputs.x![i]! - (minima?.[group] ?? 0)) / scales[group]!;
      if (params.scheme === 1 && params.bits === 1) quotient = 0.5 - 0.5 * quotient;
      const boundary = seed ? Math.min(a, b) + uniform(seed, i + first) : (a + b) / 2;
      const near = Math.abs(quotient - boundary) <= NEAR * Math.max(ulpOf(quotient), ulpOf(boundary));
      if (Math.abs(a - b) !== 1 || !near) wrong++;
    }
    return wrong;
  },
  limit: () => 0,
};

/** A fused multiply-add leaves out the rounding of the product: half an ulp of it, and each result is rounded. */
const fused = relativeTo(
  ({ codes, scales, minima }, params) => {
    const stored = { codes, scales, minima } as unknown as QuantizedIntegers;
    const options = optionsOf(params);
    const values = dequantize(stored, options);
    if (!minima) return values;
    const zero = packCodes(new Int16Array(values.length), options);
    const offsets = dequantize({ ...stored, codes: zero }, options);
    return Float64Array.from(values, (value, i) => Math.abs(value - offsets[i]!) + 3 * Math.abs(value));
  },
  2 ** -24,
  'a GPU may fuse code · scale + minimum: half an ulp of the product and of both results',
);

type Make = (row: number, column: number, random: Random) => number;
type Format = Pick<IntegerOptions, 'bits' | 'scheme'>;

const normal: Make = (_, __, random) => random.normal();

const nameOf = ({ rows, n, bits, groupSize, scheme, axis, scaleType, seed, first }: Options) =>
  `${rows} × ${n}, ${bits} bits, ${groupSize ? `groups of ${groupSize}` : 'one group'} per ${axis}, ${scheme}` +
  `${scaleType === 'f16' ? ', f16 scales' : ''}${seed ? `, seed ${seed}${first ? ` from ${first}` : ''}` : ''}`;

interface Input {
  title: string;
  options: Options;
  make: Make;
  /** Ranges given: of each group's place. */
  range?: (group: number) => [low: number, high: number];
  cpuOnly?: string;
}

const input = (options: Options, make = normal, title = '', more: Partial<Input> = {}): Input => ({
  title: `${title}${title && ', '}${nameOf(options)}`,
  options,
  make,
  ...more,
});

const FORMATS: Format[] = [
  ...[1, 2, 3, 4, 8].flatMap((bits) => [
    { bits, scheme: 'affine' as const },
    { bits, scheme: 'symmetric' as const },
  ]),
  { bits: 1.6, scheme: 'ternary' },
  { bits: 2, scheme: 'ternary' },
];
const NEW = FORMATS.filter(({ bits, scheme }) => bits === 1 || bits === 3 || scheme === 'ternary');

type Rest = Omit<Options, 'bits' | 'scheme' | 'axis'>;
const every = (formats: Format[], rest: Rest, make = normal, title = '', more: Partial<Input> = {}): Input[] =>
  formats.flatMap((format) => AXES.map((axis) => input({ ...rest, ...format, axis }, make, title, more)));

// A vector is 4 values, a block 16, words hold up to 32 codes, packed ternary ones 20; the mean sums by 256.
const LENGTHS = [
  1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 19, 20, 21, 31, 32, 33, 39, 40, 41, 47, 48, 49, 63, 64, 65, 80, 100,
];
const GPU_FLUSHES = 'a GPU may flush denormals';
const SMALL: Rest = { rows: 40, n: 36, groupSize: 32 };

const inputs: Input[] = [
  ...NEW.flatMap((format) =>
    LENGTHS.flatMap((length) => [
      input({ rows: 3, n: length, groupSize: 32, ...format, axis: 'row' }),
      input({ rows: length, n: 3, groupSize: 32, ...format, axis: 'column' }),
    ]),
  ),
  ...[1, 2, 4, 5, 7, 8, 17].flatMap((lines) => [
    input({ rows: lines, n: 40, groupSize: 32, bits: 3, scheme: 'affine', axis: 'row' }),
    input({ rows: 40, n: lines, groupSize: 32, bits: 3, scheme: 'affine', axis: 'column' }),
  ]),
  ...every(FORMATS, { rows: 50, n: 50, groupSize: 16 }),
  ...every(FORMATS, { rows: 65, n: 66, groupSize: 48, scaleType: 'f16' }),
  ...every(FORMATS, { rows: 37, n: 41, groupSize: 0, scaleType: 'f16' }),
  // The mean's blocks of 256, and more than one.
  ...every(NEW, { rows: 600, n: 5, groupSize: 256 }).filter(({ options }) => options.axis === 'column'),
  ...every(NEW, { rows: 5, n: 1100, groupSize: 0 }).filter(({ options }) => options.axis === 'row'),
  ...every(NEW, { rows: 1050, n: 3, groupSize: 0 }).filter(({ options }) => options.axis === 'column'),
  input({ rows: 1, n: 70_000, groupSize: 0, bits: 1.6, scheme: 'ternary', axis: 'row' }),
  input({ rows: 2100, n: 33, groupSize: 16, bits: 3, scheme: 'symmetric', axis: 'row', scaleType: 'f16' }),
  input({ rows: 0, n: 12, groupSize: 32, bits: 3, scheme: 'affine', axis: 'row' }),
  input({ rows: 0, n: 12, groupSize: 32, bits: 1, scheme: 'affine', axis: 'column', scaleType: 'f16' }),

  ...every(FORMATS, { ...SMALL, seed: 7 }, normal, 'at random'),
  ...every(FORMATS, { rows: 33, n: 35, groupSize: 0, seed: 0xffff_fff0, first: 0xffff_ff00, scaleType: 'f16' }),
  ...every(FORMATS, SMALL, normal, 'given ranges', { range: (g) => [-1 - (g % 3) / 4, 0.5 + (g % 5) / 4] }),
  ...every(FORMATS, { ...SMALL, scaleType: 'f16', seed: 3 }, normal, 'given ranges', { range: () => [-0.7, 1.3] }),
  ...every(
    FORMATS,
    { ...SMALL, groupSize: 16 },
    (row, column, random) => [NaN, Infinity, -Infinity, 1e30, -1e30][(row * 7 + column) % 50] ?? random.normal(),
    'given ranges, whatever the values',
    {
      range: (g) => [[-1, 1] as [number, number], [1, 1], [2, -1], [0, Infinity], [NaN, 1]][g % 5]! as [number, number],
    },
  ),

  ...every(NEW, SMALL, () => 0, 'zeros'),
  ...every(NEW, { rows: 34, n: 33, groupSize: 16 }, () => -1.7, 'a constant'),
  ...every(NEW, { rows: 34, n: 33, groupSize: 16, scaleType: 'f16' }, () => -1.7, 'a constant'),
  ...every(NEW, { rows: 3, n: 64, groupSize: 32 }, (_, column) => (column % 2 ? -0 : 0), 'zeros of both signs'),
  // Multiples of half a step: every second quotient is a tie.
  ...every(
    FORMATS,
    { rows: 36, n: 64, groupSize: 32, scaleType: 'f16' },
    (row, column) => (column % 32 === 0 ? 0 : column % 32 === 1 ? 15 : ((row * 7 + column * 5) % 31) / 2),
    'ties',
  ),
  ...every(
    NEW,
    { rows: 32, n: 32, groupSize: 16 },
    (row, column, random) => 1e6 + random.int(0, 40) / 16 + row - column,
    'a large offset',
  ),
  ...every(NEW, { rows: 33, n: 32, groupSize: 0 }, (_, __, random) => 1e36 * (random.uniform() - 0.5), 'huge values'),
  ...every(
    FORMATS,
    { rows: 33, n: 32, groupSize: 16, scaleType: 'f16' },
    (row, column, random) => 2 ** ((row + column) % 40) * (random.uniform() - 0.5),
    'scales and minima past f16',
  ),
  ...every(
    FORMATS,
    { rows: 33, n: 32, groupSize: 16, scaleType: 'f16' },
    (row, column, random) => 2 ** -((row + column) % 40) * random.normal(),
    'f16 scales down to its denormals and 0',
  ),
  ...every(
    NEW,
    { rows: 33, n: 48, groupSize: 32 },
    (row, column, random) => (row === 7 && column === 20 ? NaN : random.normal()),
    'a NaN',
  ),
  ...every(
    NEW,
    { rows: 33, n: 48, groupSize: 32, scaleType: 'f16' },
    (row, column, random) =>
      row === 7 && column === 20 ? Infinity : row === 30 && column === 40 ? -Infinity : random.normal(),
    'infinities',
  ),
  ...every(
    NEW,
    { rows: 34, n: 34, groupSize: 32 },
    (row, column) => (row > 31 || column > 31 ? ((row + column) % 5 ? 3 : NaN) : 1),
    'NaN in the tail, among constants',
  ),
  ...every(FORMATS, { rows: 40, n: 32, groupSize: 16 }, (_, __, random) => 2e-42 * random.normal(), 'denormals', {
    cpuOnly: GPU_FLUSHES,
  }),
  ...every(NEW, { rows: 34, n: 32, groupSize: 32 }, (_, __, random) => 1e-37 * random.normal(), 'a denormal scale', {
    cpuOnly: GPU_FLUSHES,
  }),
];

const valuesOf = ({ options: { rows, n }, make }: Input, random: Random) =>
  random.floats(rows * n, (i) => make(Math.floor(i / n), i % n, random));

function inputsOf(one: Input, random: Random): { x: Float32Array } & Partial<Record<'lows' | 'highs', Float32Array>> {
  const { scales } = quantize_integers_f32.lengths(quantize_integers_f32.params(one.options));
  const x = valuesOf(one, random);
  if (!one.range) return { x };
  const side = (at: 0 | 1) => Float32Array.from({ length: scales! }, (_, group) => one.range!(group)[at]);
  return { x, highs: side(1), ...(one.options.scheme === 'affine' ? { lows: side(0) } : {}) };
}

const quantizeCases: Case<Options>[] = inputs.map((one) => ({
  ...one,
  inputs: (random) => inputsOf(one, random) as Arrays,
}));

/** What quantize made, and any words at all: dequantize asks nothing of them. */
const dequantizeCases: Case<IntegerOptions>[] = [
  ...inputs
    .filter(({ options }) => !options.seed)
    .map((one) => ({
      ...one,
      inputs: (random: Random) => {
        const { x, ...range } = inputsOf(one, random);
        return { ...quantize(x, { ...one.options, ...rangeOf(range as Arrays) }) } as Arrays;
      },
    })),
  ...(['f32', 'f16'] as const).flatMap((scaleType) =>
    every(FORMATS, { rows: 37, n: 43, groupSize: 16, scaleType }).map(({ options }) => ({
      title: `any words, ${nameOf(options)}`,
      options,
      inputs: (random: Random) => {
        const { codes, scales, minima } = dequantize_integers_f32.lengths(dequantize_integers_f32.params(options));
        const made = (length: number) =>
          scaleType === 'f16' ? toHalves(random.normals(length)) : random.normals(length);
        return {
          codes: random.words(codes!),
          scales: made(scales!),
          ...(minima ? { minima: made(minima) } : {}),
        } as Arrays;
      },
    })),
  ),
];

const source =
  'Z. Liu et al., "KIVI", 2024 (affine); S. Ma et al., "The Era of 1-bit LLMs", 2024 (ternary); M. Rastegari et al., "XNOR-Net", 2016 (signs)';
const axes = {
  rows: 'rows of x (tokens), 0 or more',
  n: 'values per row (channels), 1 or more',
  bits: 'bits per code: 1, 2, 3, 4 or 8; ternary 2 or 1.6 (as a kernel argument 1)',
  groupSize:
    'values that share a scale: a multiple of 16 from 16 to 256, or the whole axis (0, or at least its length)',
  scheme:
    '`affine` (scale and minimum), `symmetric` (scale only; 1 bit: signs and a mean) or `ternary` (−1, 0, 1 and a mean)',
  axis: '`row`: groups along rows (per token); `column`: down columns (per channel)',
  scaleType: '`f32` (default) or `f16`: what scales and minima are stored in; codes belong to the rounded ones',
};
const stored = {
  codes: {
    shape:
      '[rows, words]; column: [words, n]; words for a length: ceil(length·bits/32), 3 bits 3·ceil(length/32), 1.6 bits ceil(length/20)',
    meaning: 'codes along the group; unused bits 0',
  },
  scales: { shape: '[rows, ceil(n/groupSize)]; column: [ceil(rows/groupSize), n]', meaning: 'one per group' },
  minima: { shape: 'as scales', meaning: "each group's minimum; affine only" },
};
const x = { shape: '[rows, n]', meaning: 'values' };

function bytesOf(params: Params) {
  const lengths = quantize_integers_f32.lengths({ seed: 0, first: 0, ...params });
  const scaleBytes = params.scaleType ? 2 : 4;
  return { values: 4 * lengths.x!, stored: 4 * lengths.codes! + scaleBytes * (lengths.scales! + lengths.minima!) };
}

const spec: FamilySpec = {
  quantize_integers_f32: {
    contract: quantize_integers_f32,
    summary:
      'Integer codes of 1, 1.6, 2, 3, 4 or 8 bits with f32 or f16 scales, to nearest or at random, from searched or given ranges',
    source,
    axes: {
      ...axes,
      seed: '1 to 2^32 − 1: rounded at random; 0 (default): to nearest, ties to even',
      first: "number of x's first value in the seed's sequence, modulo 2^32; default 0",
    },
    arrays: {
      x,
      ...stored,
      lows: { shape: 'as scales', meaning: 'given instead of searched: the value of code 0; affine only' },
      highs: {
        shape: 'as scales',
        meaning: 'given instead of searched: the value of the last code (signs and ternary: the scale)',
      },
    },
    reference({ x, ...range }, options: Options) {
      const { minima, ...rest } = quantize(x as Float32Array, { ...options, ...rangeOf(range) });
      return minima?.length ? { ...rest, minima } : rest;
    },
    cases: quantizeCases,
    tolerance: { codes: { cpu: exact, gpu: nearestCodes }, scales: exact, minima: exact },
    cost: (params) => ({ bytesRead: bytesOf(params).values, bytesWritten: bytesOf(params).stored }),
  },
  dequantize_integers_f32: {
    contract: dequantize_integers_f32,
    summary: 'Values from packed integer codes of any format, scales and minima',
    source,
    axes,
    arrays: { ...stored, out: x },
    reference: (inputs, options: IntegerOptions) => ({
      out: dequantize(inputs as unknown as QuantizedIntegers, options),
    }),
    cases: dequantizeCases,
    tolerance: { out: { cpu: exact, gpu: fused } },
    cost: (params) => ({ bytesRead: bytesOf(params).stored, bytesWritten: bytesOf(params).values }),
  },
};

export default spec;
