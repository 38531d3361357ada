import {
  type RotateOptions,
  type RotateQuantizeOptions,
  rotate_dequantize_f32,
  rotate_f32,
  rotate_quantize_f32,
} from '../ts/contract/rotate.js';
import type { Params } from '../ts/contract.js';
import { hadamardOrder, knownMatrix } from '../ts/hadamard-matrices.js';
import { dequantize } from '../ts/reference/quantize.js';
import { type Quantized, type Rotation, rotate, rotateDequantize, rotateQuantize } from '../ts/reference/rotate.js';
import { byFours, withMatrix } from './hadamardmixed.spec.js';
import type { Random } from './lib/random.js';
import type { Arrays, Case, FamilySpec } from './lib/spec.js';
import { exact, relativeTo, type Tolerance } from './lib/tolerance.js';
import { nearestCodes } from './quantize.spec.js';

const rotationOf = ({ permutation, factors, signs, matrix }: Arrays) =>
  ({ permutation, factors, signs, matrix }) as Rotation;

/**
 * A GPU's codes are the CPU's, or a step away where the exact quotient of the rotated value lies within 4 ulp of a rounding
 * boundary: it adds in the same order, so it divides the same values.
 */
const nearestRotatedCodes: Tolerance = {
  ...nearestCodes,
  error(got, want, inputs, params) {
    const { rows, n, order, scale } = params as unknown as RotateOptions;
    const x = rotate(inputs.x as Float32Array, { rows, n, order: order!, scale: scale!, ...rotationOf(inputs) });
    return nearestCodes.error(got, want, { x }, { ...params, axis: 0 });
  },
};

/** The longest that a result with these errors can get: what went in, times √n, times its own coefficient. */
function reach(values: Float32Array, inputs: Arrays, { rows, n, scale, inverse }: Params): Float64Array {
  const reached = new Float64Array(rows! * n!);
  for (let row = 0; row < rows!; row++) {
    let norm = 0;
    for (let i = row * n!; i < (row + 1) * n!; i++)
      norm += (values[i]! * (inverse ? 1 : (inputs.factors?.[i - row * n!] ?? 1))) ** 2;
    for (let i = row * n!; i < (row + 1) * n!; i++)
      reached[i] = Math.abs((scale! * Math.sqrt(n! * norm)) / (inverse ? (inputs.factors?.[i - row * n!] ?? 1) : 1));
  }
  return reached;
}

/** As in hadamardmixed.spec, with a rounding of each coefficient and product; both sides may be off by as much. */
const roundings = ({ n, order }: Params) =>
  Math.log2(n! / order!) + (order! > 1 ? byFours(order!) * Math.sqrt(order!) : 0) + 2;
const DIVISION = 2.5 * 2;

const rotated = relativeTo(
  (inputs, params) => reach(inputs.x as Float32Array, inputs, params),
  (params) => 2.02 * 2 ** -24 * (roundings(params) + DIVISION),
  'a GPU may add and multiply in another order, and divides within 2.5 ulp',
);

const restored = relativeTo(
  (inputs, params) => {
    const { rows, n, bits, groupSize, scheme } = params as Record<string, number>;
    const stored = inputs as unknown as Quantized;
    const options = { rows: rows!, n: n!, bits: bits!, groupSize: groupSize! };
    const values = dequantize(stored, { ...options, scheme: scheme ? 'symmetric' : 'affine', axis: 'row' });
    // A fused multiply-add leaves out a rounding of code · scale, which may be longer than the value.
    const longer = values.map((value, i) => {
      const group = Math.floor(i / n!) * Math.ceil(n! / (groupSize! || n!)) + Math.floor((i % n!) / (groupSize! || n!));
      return Math.abs(value) + Math.abs(scheme ? 0 : stored.minima![group]!);
    });
    return reach(longer, inputs, { ...params, inverse: 1 });
  },
  (params) => 2.02 * 2 ** -24 * (roundings(params) + DIVISION + 2),
  'a GPU may fuse, add and multiply in another order, and divides within 2.5 ulp',
);

type Make = (row: number, column: number, random: Random) => number;
const normal: Make = (_, __, random) => random.normal();

/** Which of the arrays are there: p(ermutation), f(actors), s(igns). */
interface Input {
  rows: number;
  n: number;
  order?: number;
  scale?: number;
  with?: string;
  title?: string;
  make?: Make;
  cpuOnly?: string;
}

type Format = Pick<RotateQuantizeOptions, 'bits' | 'groupSize' | 'scheme'>;

export function rotationFor(n: number, order: number, which: string, random: Random): Arrays {
  const permutation = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = random.int(0, i);
    [permutation[i], permutation[j]] = [permutation[j]!, permutation[i]!];
  }
  const matrix = knownMatrix(order);
  return {
    ...(which.includes('p') ? { permutation } : {}),
    ...(which.includes('f')
      ? { factors: random.floats(n, () => (0.2 + random.uniform()) * (random.uniform() < 0.1 ? -8 : 1)) }
      : {}),
    ...(which.includes('s') ? { signs: random.signs(n) } : {}),
    ...(matrix ? { matrix } : {}),
  };
}

const inputsOf = (
  { rows, n, order = hadamardOrder(n), with: which = '', make = normal }: Input,
  random: Random,
): Arrays => ({
  x: random.floats(rows * n, (i) => make(Math.floor(i / n), i % n, random)),
  ...rotationFor(n, order, which, random),
});

const optionsOf = ({ rows, n, order, scale }: Input): RotateOptions => ({
  rows,
  n,
  ...(order ? { order } : {}),
  ...(scale === undefined ? {} : { scale }),
});

const titleOf = ({ rows, n, order, scale, with: which, title }: Input, ...more: unknown[]) =>
  [
    title,
    `${rows} x ${n}`,
    order && `order ${order}`,
    scale !== undefined && `scale ${scale}`,
    which && `with ${which}`,
    ...more,
  ]
    .filter(Boolean)
    .join(', ');

const INF = Infinity;
const FLUSH = 'a GPU may flush denormals';
const FINITE = 'WGSL may assume finite numbers';

/** A chunk is 2048 values on the CPU; a workgroup of a GPU takes as many, of whole rows. */
const SHAPES: Input[] = [
  ...[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048].flatMap((n, i) => [
    { rows: 3, n, with: ['', 'p', 'f', 's', 'pfs'][i % 5]! },
    { rows: 1 + (i % 4) * 9, n, with: 'pfs' },
  ]),
  ...[12, 20, 28, 36, 40, 60, 80, 96, 112, 192, 576, 1536, 1376].map((n, i) => ({
    rows: 2 + (i % 3) * 13,
    n,
    with: ['', 'pfs', 'ps'][i % 3]!,
  })),
  ...[1, 2, 15, 16, 17, 40].map((rows) => ({ rows, n: 128, with: 'fs' })),
  { rows: 43, n: 96, with: 'pf' },
  { rows: 300, n: 8, with: 's' },
  { rows: 0, n: 64 },
  { rows: 3, n: 80, order: 20, with: 's' },
  ...[1, -0.3, 7].map((scale) => ({ rows: 3, n: 64, scale, with: 'pfs' })),
  { rows: 3, n: 128, title: 'zeros', make: () => 0 },
  { rows: 3, n: 64, title: 'zeros of both signs', make: (_: number, j: number) => (j % 2 ? -0 : 0), with: 's' },
  { rows: 4, n: 128, title: 'a constant', make: () => -1.7 },
  {
    rows: 4,
    n: 64,
    title: 'an outlier channel',
    make: (_, j, random) => (j === 9 ? 60 : 1) * random.normal(),
    with: 'fs',
  },
  { rows: 9, n: 32, title: 'unit vectors', make: (row, j) => (j === (row * 7) % 32 ? 1 : 0), with: 's' },
  // Sums of sixteenths are exact: many quotients are ties.
  { rows: 8, n: 64, scale: 0.125, title: 'ties', make: (row, j) => ((row * 7 + j * 5) % 31) / 16 },
  { rows: 3, n: 32, title: 'large values', make: (_, __, random) => 1e30 * random.normal(), with: 'fs' },
];

const ODD: Input[] = [
  { rows: 3, n: 64, title: 'denormals', make: (_, __, random) => 2e-42 * random.normal(), with: 's', cpuOnly: FLUSH },
  { rows: 3, n: 96, title: 'a denormal scale', make: (_, __, random) => 1e-37 * random.normal(), cpuOnly: FLUSH },
  {
    rows: 5,
    n: 64,
    title: 'a NaN',
    make: (row, j, random) => (row === 2 && j === 20 ? NaN : random.normal()),
    with: 'p',
    cpuOnly: FINITE,
  },
  {
    rows: 5,
    n: 96,
    title: 'infinities',
    make: (row, j, random) => (row === 1 && j > 90 ? INF : row === 4 && j === 3 ? -INF : random.normal()),
    cpuOnly: FINITE,
  },
  {
    rows: 4,
    n: 32,
    scale: 1,
    title: 'sums that overflow',
    make: (row, _, random) => (row % 2 ? 3e38 : 1) * random.uniform(),
    cpuOnly: FINITE,
  },
  {
    rows: 4,
    n: 32,
    title: 'a range that overflows',
    make: (row, j) => (row % 2 ? 3e38 : 1) * (j % 2 ? 1 : -0.9),
    cpuOnly: FINITE,
  },
];

const FORMATS: Format[] = [2, 4, 8].flatMap((bits) =>
  (['affine', 'symmetric'] as const).flatMap((scheme) => [0, 32].map((groupSize) => ({ bits, scheme, groupSize }))),
);

const formatOf = ({ bits, groupSize, scheme }: Format) =>
  `${bits} bits, ${groupSize ? `groups of ${groupSize}` : 'one group'}, ${scheme}`;

/** Every shape with a few formats in turn, one of each kind of row with all of them. */
const formatted: { input: Input; format: Format }[] = [
  ...[...SHAPES, ...ODD].flatMap((input, i) =>
    [0, 1, 2].map((turn) => ({ input, format: FORMATS[(5 * i + 7 * turn) % FORMATS.length]! })),
  ),
  ...[
    { rows: 17, n: 128, with: 's' },
    { rows: 5, n: 112, with: 'pfs' },
    { rows: 19, n: 36 },
  ].flatMap((input) => FORMATS.map((format) => ({ input, format }))),
  ...[16, 48, 128, 256].map((groupSize) => ({
    input: { rows: 2, n: 1024, with: 'ps' },
    format: { bits: 4, scheme: 'affine' as const, groupSize },
  })),
];

const rotateCases: Case<RotateOptions>[] = [...SHAPES, ...ODD].flatMap((input) =>
  [false, true].map((inverse) => ({
    title: titleOf(input, inverse && 'inverse'),
    options: { ...optionsOf(input), ...(inverse ? { inverse } : {}) },
    inputs: (random: Random) => inputsOf(input, random),
    ...(input.cpuOnly ? { cpuOnly: input.cpuOnly } : {}),
  })),
);

const quantizeCases: Case<RotateQuantizeOptions>[] = formatted.map(({ input, format }) => ({
  title: titleOf(input, formatOf(format)),
  options: { ...optionsOf(input), ...format },
  inputs: (random) => inputsOf(input, random),
  ...(input.cpuOnly ? { cpuOnly: input.cpuOnly } : {}),
}));

/** What quantising made, and any words at all. */
const dequantizeCases: Case<RotateQuantizeOptions>[] = [
  ...quantizeCases.map((one) => ({
    ...one,
    inputs(random: Random) {
      const { x, ...rotation } = one.inputs(random);
      const { minima, ...stored } = rotateQuantize(x as Float32Array, { ...one.options, ...(rotation as Rotation) });
      return { ...stored, ...(minima ? { minima } : {}), ...rotation } as Arrays;
    },
  })),
  ...FORMATS.map((format, i) => ({
    title: `any words, ${formatOf(format)}`,
    options: { rows: 5, n: [128, 60][i % 2]!, ...format },
    inputs(random: Random) {
      const options = { rows: 5, n: [128, 60][i % 2]!, ...format };
      const { codes, scales, minima } = rotate_dequantize_f32.lengths(rotate_dequantize_f32.params(options));
      return {
        codes: random.words(codes!),
        scales: random.normals(scales!),
        ...(minima ? { minima: random.normals(minima) } : {}),
        ...rotationFor(options.n, hadamardOrder(options.n), 'pfs', random),
      } as Arrays;
    },
  })),
];

const source =
  'Z. Su et al., "RotateKV", 2025; A. Zandieh et al., "TurboQuant", 2025; S. Ashkboos et al., "QuaRot", 2024';
const axes = {
  rows: 'tokens, or tokens times heads, 0 or more',
  n: 'values per row: order · 2^p, up to 2048',
  order: 'of the matrix: 1, or a multiple of 4 up to 256; default what n demands',
  scale: 'multiplies the unnormalised transform; any finite f32, default 1/√n',
};
const formatAxes = {
  bits: 'bits per code, as for quantize_f32',
  groupSize: 'values that share a scale: a multiple of 16 from 16 to 256, or the whole row (0, or at least n)',
  scheme: '`affine` (scale and minimum) or `symmetric` (scale only)',
};
const rotation = {
  permutation: { shape: '[n]', meaning: 'the column of x that each value comes from; each once' },
  factors: { shape: '[n]', meaning: 'multiply the columns of x; finite, not 0' },
  signs: { shape: '[n]', meaning: '±1 for each value of a permuted row' },
  matrix: {
    shape: '[order, ceil(order/32)]',
    meaning: 'a Hadamard matrix M, a bit per entry, 1 for −1 (hadamardMatrix)',
  },
  scratch: { shape: 'rotateScratchBytes', meaning: 'CPU only; independent of rows' },
};
const stored = {
  codes: { shape: '[rows, ceil(n·bits/32)]', meaning: 'codes, as quantize_f32 packs them' },
  scales: { shape: '[rows, ceil(n/groupSize)]', meaning: 'one per group' },
  minima: { shape: 'as scales', meaning: "each group's minimum; affine only" },
};

const operations = ({ rows, n, order }: Params) =>
  rows! * n! * (Math.log2(n! / order!) + 1 + (order! > 1 ? order! : 0));

function costOf(params: Params) {
  const { x, codes, scales, minima } = rotate_quantize_f32.lengths(params);
  return { values: 4 * x!, stored: 4 * (codes! + scales! + minima!) };
}

const spec: FamilySpec = {
  rotate_f32: {
    contract: rotate_f32,
    summary: 'Rows permuted, scaled, with random signs and Hadamard-transformed, and the way back',
    source,
    axes: { ...axes, inverse: 'the way back (default false)' },
    arrays: {
      x: { shape: '[rows, n]', meaning: 'any values' },
      ...rotation,
      out: { shape: '[rows, n]', meaning: 'scale·(M ⊗ H)·(signs ∘ (factors ∘ x)[permutation]), or the way back' },
    },
    reference: ({ x, ...arrays }, options: RotateOptions) => ({
      out: rotate(x as Float32Array, { ...options, ...rotationOf(arrays) }),
    }),
    user: { ...withMatrix, tolerance: { out: rotated } },
    cases: rotateCases,
    tolerance: { out: { cpu: exact, gpu: rotated } },
    cost: (params) => ({
      bytesRead: 4 * params.rows! * params.n!,
      bytesWritten: 4 * params.rows! * params.n!,
      operations: operations(params),
    }),
  },
  rotate_quantize_f32: {
    contract: rotate_quantize_f32,
    summary: 'Integer codes of rotated rows in one pass, with a scale (and minimum) per group',
    source,
    axes: { ...axes, ...formatAxes },
    arrays: { x: { shape: '[rows, n]', meaning: 'values' }, ...rotation, ...stored },
    reference({ x, ...arrays }, options: RotateQuantizeOptions) {
      const { minima, ...rest } = rotateQuantize(x as Float32Array, { ...options, ...rotationOf(arrays) });
      return minima?.length ? { ...rest, minima } : rest;
    },
    user: withMatrix,
    cases: quantizeCases,
    tolerance: { codes: { cpu: exact, gpu: nearestRotatedCodes }, scales: exact, minima: exact },
    cost: (params) => ({
      bytesRead: costOf(params).values,
      bytesWritten: costOf(params).stored,
      operations: operations(params),
    }),
  },
  rotate_dequantize_f32: {
    contract: rotate_dequantize_f32,
    summary: 'Values of the codes of rotated rows, rotated back',
    source,
    axes: { ...axes, ...formatAxes },
    arrays: { ...stored, ...rotation, out: { shape: '[rows, n]', meaning: 'values' } },
    reference: ({ codes, scales, minima, ...arrays }, options: RotateQuantizeOptions) => ({
      out: rotateDequantize({ codes, scales, minima } as unknown as Quantized, { ...options, ...rotationOf(arrays) }),
    }),
    user: { ...withMatrix, tolerance: { out: restored } },
    cases: dequantizeCases,
    tolerance: { out: { cpu: exact, gpu: restored } },
    cost: (params) => ({
      bytesRead: costOf(params).stored,
      bytesWritten: costOf(params).values,
      operations: operations(params),
    }),
  },
};

export default spec;
