import {
  GGML_TYPES,
  GGML_WRITABLE,
  type GgmlDequantizeOptions,
  type GgmlQuantizeOptions,
  type GgmlType,
  type GgmlWritableType,
  ggml_dequantize_f32,
  ggml_quantize_f32,
  ggmlTypeOf,
} from '../ts/contract/ggml.js';
import type { Params } from '../ts/contract.js';
import { fromHalf, toHalf } from '../ts/half.js';
import { ggmlDequantize, ggmlQuantize } from '../ts/reference/ggml.js';
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

const halfAt = (b: ArrayLike<number>, at: number) => b[at]! | (b[at + 1]! << 8);

interface Writer {
  /** Where a block's u32 of fifth bits and its codes begin. */
  fifths?: number;
  codes: number;
  /** The stored minimum, or what the code 0 stands for, and 8-bit codes with their sign. */
  center?: number;
  minimum?: true;
  bytes?: true;
}

/** Formats whose codes are f32(x · f32(1/d)) rounded. The others' are found by comparing exact products. */
const DIVIDED: Record<string, Writer> = {
  q4_0: { codes: 2, center: 8 },
  q4_1: { codes: 4, minimum: true },
  q5_0: { codes: 6, fifths: 2, center: 16 },
  q5_1: { codes: 8, fifths: 4, minimum: true },
  q8_0: { codes: 2, bytes: true },
  q8_1: { codes: 4, bytes: true },
};

/** The codes of a block as numbers. */
function codesOf({ fifths, codes, bytes }: Writer, b: ArrayLike<number>): number[] {
  return Array.from({ length: 32 }, (_, i) => {
    if (bytes) return (b[codes + i]! << 24) >> 24;
    const code = (b[codes + (i % 16)]! >> (i < 16 ? 0 : 4)) & 15;
    return fifths ? code + 16 * ((b[fifths + (i >> 3)]! >> (i & 7)) & 1) : code;
  });
}

/** x / d before it is rounded, and how far from a boundary it may be: 4 ulp of the largest number on the way. */
function quotients(type: string, { center, minimum }: Writer, x: Float32Array): { q: number[]; near: number } {
  const size = x.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const least = minimum ? Math.min(...x) : 0;
  const last = type === 'q4_1' ? 15 : 31;
  const signed = x.find((v) => Math.abs(v) === size)!;
  const d = minimum
    ? Math.fround(Math.fround(Math.max(...x) - least) / last)
    : center
      ? signed / -center
      : Math.fround(size / 127);
  const id = d && Math.fround(1 / d);
  const q = Array.from(x, (v) => Math.fround(v - least) * id + (minimum ? 0 : (center ?? 0)));
  return { q, near: 4 * ulpOf(Math.max(...q.map(Math.abs))) };
}

/** Whether a is b's neighbour (or b) among f16 and the exact number lies where rounding may go either way. */
function halfNear(a: number, b: number, exactly: number, relative: number): boolean {
  if (a === b) return true;
  const [low, high] = [fromHalf(a), fromHalf(b)];
  return Math.abs(a - b) === 1 && Math.abs(exactly - (low + high) / 2) <= relative * Math.abs(exactly);
}

const IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/**
 * Sixty-four roundings of sums whose terms are positive but for codes near zero, and a division: within 80 · 2^-24 of the
 * exact quotient, whichever of its steps a GPU fuses.
 */
const LEAST_SQUARES = 80 * 2 ** -24;

/** Q1_0's sum of 128 magnitudes: 127 roundings, each of less than the whole. */
const MEAN = 128 * 2 ** -24;

/** What differs in one block and may not. */
function wrongIn(type: GgmlWritableType, got: Uint8Array, want: Uint8Array, x: Float32Array): number {
  const differing = got.reduce((count, byte, i) => count + Number(byte !== want[i]), 0);
  if (!differing) return 0;
  if (type === 'iq4_nl') {
    if (got.subarray(2).some((byte, i) => byte !== want[2 + i])) return differing;
    let [xq, qq] = [0, 0];
    codesOf({ codes: 2 }, want).forEach((code, i) => {
      xq += x[i]! ** 3 * IQ4[code]!;
      qq += x[i]! ** 2 * IQ4[code]! ** 2;
    });
    return halfNear(halfAt(got, 0), halfAt(want, 0), xq / qq, LEAST_SQUARES) ? 0 : differing;
  }
  if (type === 'q1_0') {
    if (got.subarray(2).some((byte, i) => byte !== want[2 + i])) return differing;
    const mean = x.reduce((sum, v) => sum + Math.abs(v), 0) / 128;
    return halfNear(halfAt(got, 0), halfAt(want, 0), mean, MEAN) ? 0 : differing;
  }
  const writer = DIVIDED[type];
  if (!writer) return differing;
  const [a, b] = [codesOf(writer, got), codesOf(writer, want)];
  const { q, near } = quotients(type, writer, x);
  let wrong = 0;
  for (const [i, mine] of a.entries()) {
    if (mine === b[i]) continue;
    // Boundaries lie in the middle of two codes in every format.
    if (Math.abs(mine - b[i]!) !== 1 || Math.abs(q[i]! - (mine + b[i]!) / 2) > near) wrong++;
  }
  // Scales and minima are exact; Q8_1's sum is that of the codes that are there.
  const fixed = type === 'q8_1' ? 2 : (writer.fifths ?? writer.codes);
  for (let i = 0; i < fixed; i++) if (got[i] !== want[i]) wrong++;
  if (type === 'q8_1') {
    const d = Math.fround(x.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / 127);
    if (halfAt(got, 2) !== toHalf(Math.fround(a.reduce((sum, code) => sum + code, 0) * d))) wrong++;
  }
  return wrong;
}

const nearestCodes: Tolerance = {
  unit: 'bytes',
  reason:
    'Q4, Q5, Q8: a GPU may fuse x · (1/d) with the addition that rounds it: one code step within 4 ulp of a rounding boundary; IQ4_NL: its sums are of 32 terms, which moves the scale across an f16 boundary that is within 80 · 2^-24, Q1_0: of 128, 128 · 2^-24; scales else exact',
  error(got, want, inputs, params) {
    if (got.length !== want.length) return Infinity;
    const type = ggmlTypeOf(params.type!) as GgmlWritableType;
    const { block, bytes } = GGML_TYPES[type];
    const [mine, theirs] = [Uint8Array.from(got), Uint8Array.from(want)];
    let wrong = 0;
    for (let i = 0; i * bytes < mine.length; i++) {
      const [from, to] = [i * bytes, (i + 1) * bytes];
      const x = (inputs.x as Float32Array).subarray(i * block, (i + 1) * block);
      wrong += wrongIn(type, mine.subarray(from, to), theirs.subarray(from, to), x);
    }
    return wrong;
  },
  limit: () => 0,
};

/** A value by its place in 32 and by its block's number. */
type Make = (random: Random, i: number, block: number) => number;

const normal: Make = (random) => random.normal();

interface Input {
  title: string;
  options: GgmlQuantizeOptions & { type: GgmlWritableType };
  make: Make;
  cpuOnly?: string;
}

const titleOf = ({ rows, n, type }: GgmlDequantizeOptions) => `${rows} × ${n} ${type}`;

const input = (
  type: GgmlWritableType,
  rows: number,
  blocks: number,
  make = normal,
  title = '',
  cpuOnly?: string,
): Input => {
  const options = { rows, n: blocks * GGML_TYPES[type].block, type };
  const whole = `${title}${title && ', '}${titleOf(options)}`;
  return { title: whole, options, make, ...(cpuOnly ? { cpuOnly } : {}) };
};

const each = (
  blocks: number,
  make = normal,
  title = '',
  cpuOnly?: string,
  types: readonly GgmlType[] = GGML_WRITABLE,
) => types.map((type) => input(type as GgmlWritableType, 1, blocks, make, title, cpuOnly));

const FLUSHES = 'a GPU may flush denormals';
const FINITE = 'WGSL may assume finite numbers';
const FP4: GgmlType[] = ['mxfp4', 'nvfp4'];
/** The largest magnitude is the step: where that is beyond 2^126, 1/d is a denormal. */
const TERNARY: GgmlType[] = ['tq1_0', 'tq2_0', 'q2_0'];
const INTEGER = GGML_WRITABLE.filter((type) => !FP4.includes(type));
const WITHOUT_CUBES = GGML_WRITABLE.filter((type) => type !== 'iq4_nl');

// A GPU's invocation writes 1, 2 or 4 blocks, for whole words.
const inputs: Input[] = [
  ...GGML_WRITABLE.flatMap((type) => [
    ...[0, 1, 2, 3, 4, 5, 7, 8, 9, 33].map((blocks) => input(type, 1, blocks)),
    input(type, 3, 1),
    input(type, 5, 3),
    input(type, 0, 4),
    input(type, 300, 4),
  ]),
  ...each(5, () => 0, 'zeros'),
  ...each(5, (_, i) => (i % 2 ? 0 : -0), 'zeros of both signs'),
  ...each(32, (_, i, block) => (i === block ? 0 : -0), 'one +0 among -0'),
  ...each(32, (_, i, block) => (i === block ? -0 : 0), 'one -0 among +0'),
  ...each(32, (random) => (random.int(0, 1) ? 0 : -0), 'zeros of mixed sign'),
  ...each(5, (random, i, block) => ((i + block) % 7 ? -0 : random.uniform()), 'zeros of both signs under a value'),
  ...each(5, () => -3.5, 'a constant'),
  ...each(5, (_, i) => (i % 5 === 2 ? 1.25 : 0), 'a few positive values'),
  ...each(6, (random, i, block) => (i === block * 5 ? 1e4 : random.normal()), 'one outlier'),
  // The first of two values of the same magnitude decides the sign of the scale.
  ...each(
    8,
    (random, i, block) => (i === 3 || i === 20 ? ((i + block) % 2 ? 2 : -2) : random.uniform()),
    'ties of magnitude',
  ),
  // The scale is a power of two and quotients lie on boundaries.
  ...each(8, (random, i) => (i === 7 ? -8 : random.int(-16, 15) / 2), 'ties'),
  ...each(8, (random, i) => (i === 7 ? 127 : random.int(-253, 253) / 2), 'ties of bytes'),
  ...each(
    8,
    (random, i) => (i === 0 ? 0 : i === 1 ? 15 : i === 17 ? 31 : random.int(0, 62) / 2),
    'ties from a minimum',
  ),
  ...each(8, (random, i) => (i % 16 === 0 ? 6 : ((random.int(0, 1) ? 1 : -1) * random.int(0, 24)) / 4), 'ties of E2M1'),
  ...each(
    8,
    (random, i, block) => (i ? random.uniform() : 1 - block * 2 ** -24) * 2 ** (block * 8 - 30),
    'just below a power of two',
  ),
  ...each(
    64,
    (random, i, block) => (i ? random.uniform() / 2 : 2 ** (block - 32) * (1 - random.int(0, 50) * 2 ** -24)),
    'where log2 rounds up',
    undefined,
    FP4,
  ),
  // Where f32(512 x + 0.5) is 1 and 512 x + 0.5 is not.
  input('nvfp4', 1, 2, () => 6 * 2 ** -10 * (1 - 2 ** -24), 'a scale just below half the least'),
  ...each(16, (random, _, block) => random.normal() * 2 ** (2 * block - 16), 'magnitudes from tiny to large'),
  ...each(16, (random, _, block) => random.normal() * 2 ** -(10 + block), 'scales of subnormal f16'),
  ...each(6, (random, _, block) => random.normal() * 2 ** (15 + block), 'scales that overflow f16'),
  ...each(6, (random) => 100 + random.uniform(), 'a large offset'),
  ...each(6, (random) => 1e30 * random.normal(), 'huge', undefined, WITHOUT_CUBES),
  ...each(6, (random) => 3.4e38 * (random.uniform() - 0.5), 'near the end of f32', undefined, [
    'q4_0',
    'q5_0',
    'q8_0',
    'mxfp4',
    'nvfp4',
  ]),
  ...each(6, (random) => 3.4e38 * (random.uniform() - 0.5), 'near the end of f32', FLUSHES, TERNARY),
  // The logarithm rounds up to 128: the scale is 2^126, and 4 or 6 of it are beyond f32.
  ...each(
    24,
    (random, i, block) =>
      i
        ? (random.int(0, 1) || -1) * random.uniform() * 3.4028234663852886e38
        : 3.4028234663852886e38 * (1 - (block >> 1) * 2 ** -21) * (block % 2 ? -1 : 1),
    'around the largest f32',
    undefined,
    FP4,
  ),
  ...each(8, (random, i) => (i === 7 ? -8 : random.int(-16, 16) / 2), 'ties of three levels', undefined, TERNARY),
  ...each(
    8,
    (random, i) => (i === 3 ? 1 : (random.int(0, 1) || -1) * (0.5 + random.int(-3, 3) * 2 ** -25)) * 1.7,
    'around the middles of three levels',
    undefined,
    TERNARY,
  ),
  // Sums of cubes that overflow, from neither of IQ4_NL's two to both.
  ...each(32, (random, _, block) => 10 ** (block + 6) * random.normal(), 'sums that overflow', undefined, ['iq4_nl']),
  ...each(6, (random) => 1e30 * random.normal(), 'huge', undefined, ['iq4_nl']),
  ...each(6, (random) => 6.8e38 * (random.uniform() - 0.5), 'a range that overflows', FINITE, INTEGER),
  ...each(6, (random, _, block) => random.normal() * 1e-15 * 2 ** block, 'around the least IQ4_NL', FLUSHES, [
    'iq4_nl',
  ]),
  ...each(6, (random) => random.normal() * 1e-37, 'around the least normals', FLUSHES),
  ...each(6, (random) => random.int(-40, 40) * 2 ** -149, 'denormals', FLUSHES),
  ...each(6, (random, i) => (i % 8 ? random.normal() : random.int(-9, 9) * 2 ** -145), 'denormals among others'),
  ...each(6, (random, i, block) => (i === 11 + block ? NaN : random.normal()), 'NaN', FINITE),
  ...each(4, () => NaN, 'nothing but NaN', FINITE),
  ...each(
    6,
    (random, i, block) => (i === 30 - block ? (block % 2 ? -Infinity : Infinity) : random.normal()),
    'infinities',
    FINITE,
  ),
  ...each(4, (_, i) => (i % 2 ? Infinity : -Infinity), 'infinities of both signs', FINITE),
];

const valuesOf = ({ options: { rows, n, type }, make }: Input, random: Random) =>
  random.floats(rows * n, (i) => make(random, i % 32, Math.floor(i / GGML_TYPES[type].block)));

const quantizeCases: Case<GgmlQuantizeOptions>[] = inputs.map((one) => ({
  ...one,
  inputs: (random) => ({ x: valuesOf(one, random) }),
}));

/** Where blocks keep their f16 numbers. */
const HALVES: Partial<Record<GgmlType, number[]>> = {
  q4_0: [0],
  q4_1: [0, 2],
  q5_0: [0],
  q5_1: [0, 2],
  q8_0: [0],
  q8_1: [0, 2],
  q2_K: [80, 82],
  q3_K: [108],
  q4_K: [0, 2],
  q5_K: [0, 2],
  q6_K: [208],
  iq4_nl: [0],
  iq4_xs: [0],
  tq1_0: [52],
  tq2_0: [64],
  q1_0: [0],
  q2_0: [0],
};

const TYPES = Object.keys(GGML_TYPES) as GgmlType[];

/** Any bytes; f16 numbers finite where asked. */
function anyBlocks(random: Random, { rows, n, type }: GgmlDequantizeOptions & { type: GgmlType }, finite: boolean) {
  const { block, bytes } = GGML_TYPES[type];
  const blocks = random.bytes(((rows * n) / block) * bytes);
  if (finite)
    for (let i = 0; i < blocks.length; i += bytes) {
      for (const at of HALVES[type] ?? []) if ((blocks[i + at + 1]! & 0x7c) === 0x7c) blocks[i + at + 1]! ^= 0x40;
      // An f32: products neither denormal nor infinite.
      if (type === 'q8_K') blocks[i + 3]! = (blocks[i + 3]! & 0xbf) ^ (blocks[i + 3]! & 0x20 ? 0 : 0x40);
    }
  return { blocks };
}

const dequantizeCases: Case<GgmlDequantizeOptions>[] = [
  ...TYPES.flatMap((type) => {
    const { block } = GGML_TYPES[type];
    const shapes = [
      ...[0, 1, 2, 3, 4, 5, 9].map((blocks) => [1, blocks] as const),
      [3, 1] as const,
      [5, 3] as const,
      [0, 4] as const,
      [200, 3] as const,
    ];
    return shapes.map(([rows, blocks]) => {
      const options = { rows, n: blocks * block, type };
      return { title: titleOf(options), options, inputs: (random: Random) => anyBlocks(random, options, true) };
    });
  }),
  ...TYPES.map((type) => {
    const options = { rows: 8, n: 4 * GGML_TYPES[type].block, type };
    return {
      title: `scales of all kinds, ${titleOf(options)}`,
      options,
      inputs(random: Random) {
        const { blocks } = anyBlocks(random, options, true);
        // Zeros of both signs, subnormals, the largest.
        const special = [0, 0x8000, 1, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff];
        const { bytes } = GGML_TYPES[type];
        for (let i = 0; i < blocks.length; i += bytes)
          for (const at of HALVES[type] ?? []) {
            const bits = special[random.int(0, 7)]!;
            blocks.set([bits & 255, bits >> 8], i + at);
          }
        return { blocks };
      },
    };
  }),
  ...TYPES.filter((type) => !FP4.includes(type)).map((type) => {
    const options = { rows: 100, n: 2 * GGML_TYPES[type].block, type };
    return {
      title: `any bytes, ${titleOf(options)}`,
      options,
      inputs: (random: Random) => anyBlocks(random, options, false),
      cpuOnly: FINITE,
    };
  }),
  ...TYPES.filter((type) => !FP4.includes(type)).map((type) => {
    const { block, bytes } = GGML_TYPES[type];
    const options = { rows: 256, n: block, type };
    return {
      title: `every byte, ${titleOf(options)}`,
      options,
      inputs() {
        const blocks = Uint8Array.from({ length: 256 * bytes }, (_, i) => i / bytes);
        for (let i = 0; i < blocks.length; i += bytes) {
          for (const at of HALVES[type] ?? []) blocks.set([0x9a, 0x2b], i + at);
          if (type === 'q8_K') blocks.set([0x9a, 0x99, 0x19, 0x3f], i);
        }
        return { blocks };
      },
    };
  }),
  ...FP4.map((type) => {
    const { block, bytes } = GGML_TYPES[type];
    const options = { rows: 256, n: block, type };
    return {
      title: `every scale byte, ${titleOf(options)}`,
      options,
      inputs(random: Random) {
        const blocks = random.bytes(256 * bytes);
        for (let i = 0; i < 256; i++) blocks.fill(i, i * bytes, i * bytes + (type === 'mxfp4' ? 1 : 4));
        return { blocks };
      },
    };
  }),
  ...inputs
    .filter(({ cpuOnly }) => !cpuOnly)
    .filter((_, i) => i % 5 === 0)
    .map((one) => ({
      title: `written: ${one.title}`,
      options: one.options,
      inputs: (random: Random) => ({ blocks: ggmlQuantize(valuesOf(one, random), one.options) }),
      ...(/overflow f16|huge|end of f32/.test(one.title) ? { cpuOnly: FINITE } : {}),
    })),
];

const source = 'ggml and the GGUF specification (ggml-org/ggml d99724f2): dequantize_row_*, quantize_row_*_ref';
const names = (types: readonly GgmlType[]) => types.map((type) => `\`${type}\` (${GGML_TYPES[type].id})`).join(', ');
const axesOf = (types: readonly GgmlType[]) => ({
  rows: 'rows of values, 0 or more',
  n: "values per row: a multiple of the type's block",
  type: `by name or by its number in a GGUF file: ${names(types)}`,
});
const blocks = { shape: '[rows, n / block · bytes]', meaning: "ggml's blocks, one after another, at any byte" };
const x = { shape: '[rows, n]', meaning: 'values' };

function bytesOf(params: Params) {
  const lengths = ggml_dequantize_f32.lengths(params);
  return { values: 4 * lengths.out!, stored: lengths.blocks! };
}

const spec: FamilySpec = {
  ggml_dequantize_f32: {
    contract: ggml_dequantize_f32,
    summary:
      "Values from GGUF's block formats: Q4_0 to Q8_1, K-quants, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, MXFP4, NVFP4, Q1_0, Q2_0",
    source,
    axes: axesOf(TYPES),
    arrays: { blocks, out: x },
    reference: (inputs, options: GgmlDequantizeOptions) => ({
      out: ggmlDequantize(inputs.blocks as Uint8Array, options),
    }),
    cases: dequantizeCases,
    // Products of an f16, a scale and a code fit f32, so fused or not a sum is rounded once. A GPU may lose a zero's sign.
    tolerance: { out: { cpu: sameBits, gpu: exact } },
    cost: (params) => ({ bytesRead: bytesOf(params).stored, bytesWritten: bytesOf(params).values }),
  },
  ggml_quantize_f32: {
    contract: ggml_quantize_f32,
    summary: "GGUF's block formats that have one definition, as ggml's reference functions write them",
    source,
    axes: axesOf(GGML_WRITABLE),
    arrays: { x, blocks },
    reference: ({ x }, options: GgmlQuantizeOptions) => ({ blocks: ggmlQuantize(x as Float32Array, options) }),
    cases: quantizeCases,
    tolerance: { blocks: { cpu: exact, gpu: nearestCodes } },
    cost: (params) => ({ bytesRead: bytesOf(params).values, bytesWritten: bytesOf(params).stored }),
  },
};

export default spec;
