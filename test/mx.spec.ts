import {
  FORMATS,
  isNv,
  type MxFormat,
  type MxOptions,
  mx_dequantize_f32,
  mx_quantize_f32,
  ROUNDINGS,
  SCALINGS,
} from '../ts/contract/mx.js';
import type { Params } from '../ts/contract.js';
import { type MxQuantized, mxDequantize, mxQuantize } from '../ts/reference/mx.js';
import type { Random } from './lib/random.js';
import type { Case, FamilySpec } from './lib/spec.js';
import { exact, type Tolerance, ulpOf } from './lib/tolerance.js';

/** Every value the same, the sign of zero included; NaN equals NaN. */
const sameBits: Tolerance = {
  unit: 'values',
  error(got, want) {
    if (got.length !== want.length) return Infinity;
    let wrong = 0;
    for (let i = 0; i < got.length; i++) if (!Object.is(got[i], want[i])) wrong++;
    return wrong;
  },
  limit: () => 0,
};

const optionsOf = (p: Params): MxOptions => ({
  rows: p.rows!,
  n: p.n!,
  format: FORMATS[p.format!]!,
  ...(p.bits ? { bits: p.bits } : {}),
  blockSize: p.blockSize!,
  scaling: SCALINGS[p.scaling!]!,
  rounding: ROUNDINGS[p.rounding!]!,
  unpacked: p.unpacked === 1,
  tensorScale: p.tensorScale!,
});

/**
 * Codes of a GPU: the reference's. Only nvfp4 with a tensorScale may be one step off, where the quotient lies within 4
 * ulp of what divides the two codes: a midpoint, or for rounding towards zero the larger value.
 */
const nearestCodes: Tolerance = {
  unit: 'codes',
  reason: 'nvfp4 with a tensorScale compares with rounded products: one step within 4 ulp of a rounding boundary',
  error(got, want, inputs, params) {
    if (got.length !== want.length) return Infinity;
    let wrong = 0;
    for (let i = 0; i < got.length; i++) if (got[i] !== want[i]) wrong++;
    if (!wrong || !isNv(params.format!) || params.tensorScale === 1) return wrong;
    const { scales } = mxQuantize(inputs.x as Float32Array, optionsOf(params));
    const values = (codes: ArrayLike<number>, bytes: Uint8Array, tensorScale: number) =>
      mxDequantize({ codes: Uint8Array.from(codes), scales: bytes }, { ...optionsOf(params), tensorScale });
    // 0x38 is 1 in E4M3, 0x78 in UE5M3.
    const one = new Uint8Array(scales.length).fill(params.format === FORMATS.indexOf('nvfp4') ? 0x38 : 0x78);
    const [a, b] = [values(got, one, 1), values(want, one, 1)];
    const ones = new Uint8Array(want.length).fill(params.unpacked ? 2 : 0x22);
    const total = values(ones, scales, params.tensorScale!);
    wrong = 0;
    for (const [i, mine] of a.entries()) {
      const [low, high] = [Math.abs(mine), Math.abs(b[i]!)].sort((x, y) => x - y) as [number, number];
      if (low === high) continue;
      const boundary = params.rounding === 2 ? high : (low + high) / 2;
      const quotient = Math.abs(inputs.x![i]!) / total[i]!;
      const step = high <= 2 ? 0.5 : high <= 4 ? 1 : 2;
      if (high - low > step || Math.abs(quotient - boundary) > 4 * ulpOf(quotient)) wrong++;
    }
    return wrong;
  },
  limit: () => 0,
};

type Make = (random: Random, column: number, row: number) => number;
type Rule = Omit<MxOptions, 'rows' | 'n'>;

interface Input {
  title: string;
  options: MxOptions;
  make: Make;
}

const normal: Make = (random) => random.normal();
const titleOf = ({ rows, n, ...rule }: MxOptions) => `${rows} × ${n}, ${Object.values(rule).join(' ')}`;
const input = (rows: number, n: number, rule: Rule, make = normal, title = ''): Input => {
  const options = { rows, n, ...rule };
  return { title: `${title}${title && ', '}${titleOf(options)}`, options, make };
};

const floats: MxFormat[] = ['mxfp4', 'mxfp6_e2m3', 'mxfp6_e3m2', 'mxfp8_e4m3', 'mxfp8_e5m2'];
const powers: Rule[] = [
  ...floats.map((format) => ({ format })),
  { format: 'mxint8' },
  ...[3, 4, 5, 6, 8].map((bits): Rule => ({ format: 'bfp', bits })),
];
const nvs: Rule[] = [
  { format: 'nvfp4' },
  { format: 'nvfp4', tensorScale: 0.0123 },
  { format: 'nvfp4_ue5m3' },
  { format: 'nvfp4_ue5m3', tensorScale: 3.7 },
];
const all = [...powers, ...nvs];
const each = (rows: number, n: number, make = normal, title = '', rules = all): Input[] =>
  rules.map((rule) => input(rows, n, rule, make, title));

/** An element's midpoints and its values at scale 1, whose block maximum is 2^k. */
const ties: Make = (random, column) =>
  column % 16 === 0 ? 2 : (random.int(0, 1) ? -1 : 1) * random.int(0, 64) * 2 ** random.int(-9, -5);
const anyMagnitude: Make = (random) => random.normal() * 2 ** random.int(-30, 30);

// A vector is 4 values, a step 16, a block 16 to 64, a chunk 1024; a GPU's word holds 4 to 8 codes.
const LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 80, 100, 130];

const inputs: Input[] = [
  ...LENGTHS.flatMap((n) =>
    (['mxfp4', 'mxfp6_e2m3', 'mxfp8_e4m3', 'nvfp4'] as const).map((format) => input(3, n, { format })),
  ),
  ...each(5, 96),
  ...each(7, 53),
  ...[16, 32, 64].flatMap((blockSize) => [
    ...(['mxfp4', 'mxfp6_e3m2', 'mxfp8_e5m2', 'nvfp4'] as const).map((format) => input(3, 200, { format, blockSize })),
    input(2, 192, { format: 'bfp', bits: 4, blockSize }),
  ]),
  ...SCALINGS.flatMap((scaling) => [
    ...each(
      4,
      64,
      anyMagnitude,
      'any magnitudes',
      powers.map((rule) => ({ ...rule, scaling })),
    ),
    ...each(
      2,
      64,
      // Just below and just above a power of two, the formats' largest values, and halves of their steps.
      (random, column) =>
        column % 32
          ? 0.1 * random.normal()
          : 2 ** random.int(-3, 3) * [1 - 2 ** -24, 1 + 2 ** -23, 1.75, 1.5, 1.875, 127 / 64][random.int(0, 5)]!,
      'largest values at the edges',
      powers.map((rule) => ({ ...rule, scaling })),
    ),
  ]),
  ...ROUNDINGS.flatMap((rounding) => [
    ...each(
      3,
      80,
      ties,
      'ties',
      all.map((rule) => ({ ...rule, rounding })),
    ),
    ...each(
      3,
      37,
      anyMagnitude,
      'any magnitudes',
      all.map((rule) => ({ ...rule, rounding })),
    ),
  ]),
  ...each(
    3,
    53,
    normal,
    '',
    all.map((rule) => ({ ...rule, unpacked: true })),
  ),
  ...each(2, 40, () => 0, 'zeros'),
  ...each(2, 40, (_, column) => (column % 2 ? -0 : 0), 'zeros of both signs'),
  ...each(2, 35, () => -1.7, 'a constant'),
  ...each(3, 64, (random) => (random.uniform() - 0.5) * 6.8e38, 'huge values'),
  ...each(3, 70, (random) => random.normal() * 1e-37, 'around the least normals'),
  ...each(3, 70, (random) => random.int(-3, 3) * 2 ** -random.int(127, 149), 'denormals'),
  ...each(4, 100, (random, column, row) => (row === 1 && column % 50 === 20 ? NaN : random.normal()), 'NaN'),
  ...each(
    4,
    100,
    (random, column, row) => (row === 2 && column % 70 === 29 ? (column > 50 ? -Infinity : Infinity) : random.normal()),
    'infinities',
  ),
  ...each(2, 20, (_, column) => (column === 19 ? NaN : 1), 'NaN in the tail'),
  ...each(3, 96, (random, column) => (column % 32 === 5 ? 1e4 : 1) * random.normal(), 'outliers'),
  ...nvs.flatMap((rule) => [
    input(3, 96, rule, (random, column) => 10 ** ((column % 16) - 8) * random.normal(), 'scales past both ends'),
    input(4, 64, rule, (random) => Math.round(random.normal() * 8) / 4, 'quotients on boundaries'),
  ]),
  input(2, 5000, { format: 'mxfp4' }),
  input(3, 1057, { format: 'mxfp6_e2m3' }),
  input(1, 70_001, { format: 'mxfp8_e4m3' }),
  input(2100, 33, { format: 'nvfp4' }),
  input(0, 12, { format: 'mxfp4' }),
];

const valuesOf = ({ options: { rows, n }, make }: Input, random: Random) =>
  random.floats(rows * n, (i) => make(random, i % n, Math.floor(i / n)));

const quantizeCases: Case<MxOptions>[] = inputs.map((one) => ({
  ...one,
  inputs: (random) => ({ x: valuesOf(one, random) }),
}));

/** What mxQuantize made, and any bytes at all: mxDequantize asks nothing of them. */
const dequantizeCases: Case<MxOptions>[] = [
  ...inputs.map((one) => ({
    ...one,
    inputs: (random: Random) => ({ ...mxQuantize(valuesOf(one, random), one.options) }),
  })),
  ...[
    ...each(5, 1056),
    ...each(9, 301),
    ...each(
      9,
      53,
      normal,
      '',
      all.map((rule) => ({ ...rule, unpacked: true })),
    ),
  ].map(({ options }) => ({
    title: `any bytes, ${titleOf(options)}`,
    options,
    inputs: (random: Random) => {
      const { codes, scales } = mx_dequantize_f32.lengths(mx_dequantize_f32.params(options));
      return { codes: random.bytes(codes!), scales: random.bytes(scales!) };
    },
  })),
];

const source = 'OCP Microscaling Formats (MX) v1.0, 2023; NVFP4: torchao nvfp4_quantize';
const axes = {
  rows: 'rows of x (tokens), 0 or more',
  n: 'values per row (channels), 1 or more',
  format: FORMATS.map((name) => `\`${name}\``).join(', '),
  bits: 'bfp: bits of a mantissa with its sign, 3 to 8',
  blockSize: "values that share a scale: 16, 32 or 64 (default: the format's 32; nvfp4: 16)",
  scaling: `E8M0: ${SCALINGS.map((name) => `\`${name}\``).join(', ')}`,
  rounding: `of elements: ${ROUNDINGS.map((name) => `\`${name}\``).join(', ')}`,
  unpacked: 'one element per byte',
  tensorScale: 'nvfp4: a second scale for all, 2^-100 to 2^100',
};
const stored = {
  codes: {
    shape: '[rows, ceil(n·width/8)]',
    meaning: 'elements of 4, 6 or 8 bits, low bits first, each row in bytes of its own; unused bits 0',
  },
  scales: { shape: '[rows, ceil(n/blockSize)]', meaning: 'E8M0 bytes; nvfp4: E4M3 or UE5M3' },
};
const x = { shape: '[rows, n]', meaning: 'values' };

function bytesOf(params: Params) {
  const lengths = mx_quantize_f32.lengths(params);
  return { values: 4 * lengths.x!, stored: lengths.codes! + lengths.scales! };
}

const spec: FamilySpec = {
  mx_quantize_f32: {
    contract: mx_quantize_f32,
    summary:
      'Elements of 3 to 8 bits with a scale byte per block: MXFP4, MXFP6, MXFP8, MXINT8, block floating point, NVFP4',
    source,
    axes,
    arrays: { x, ...stored },
    reference: ({ x }, options: MxOptions) => ({ ...mxQuantize(x as Float32Array, options) }),
    cases: quantizeCases,
    tolerance: { codes: { cpu: exact, gpu: nearestCodes }, scales: exact },
    cost: (params) => ({ bytesRead: bytesOf(params).values, bytesWritten: bytesOf(params).stored }),
  },
  mx_dequantize_f32: {
    contract: mx_dequantize_f32,
    summary: 'Values from elements and scale bytes',
    source,
    axes,
    arrays: { ...stored, out: x },
    reference: (inputs, options: MxOptions) => ({ out: mxDequantize(inputs as unknown as MxQuantized, options) }),
    cases: dequantizeCases,
    tolerance: { out: sameBits },
    cost: (params) => ({ bytesRead: bytesOf(params).stored, bytesWritten: bytesOf(params).values }),
  },
};

export default spec;
