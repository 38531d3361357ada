import { type Contract, type Float, type Params, SCALE_TYPES } from '../contract.js';
import { message } from '../errors.js';
import { checkGroupSize, elements, integer, options, word } from '../validate.js';
import { AXES, groupOf } from './quantize.js';

/**
 * Every integer format a cache is kept in. 2, 4 and 8 bits are those of `quantize_f32` (ts/contract/quantize.ts), bit for
 * bit; the others lie along their group likewise, in 32-bit words, and each line (row, or column) starts a word:
 *
 *     1 bit       a word holds 32 codes, the first in bit 0
 *     3 bits      32 codes take three words          bit 31 ............... bit 0
 *                 word 0: their low two bits          15 15 14 14 ... 1 1 0 0
 *                 word 1                              31 31 30 30 ... 17 17 16 16
 *                 word 2: their third bits            31 30 29 ........... 2 1 0
 *                 a line takes 3·ceil(length/32) words
 *     1.6 bits    ternary codes plus 1 as digits 0, 1, 2; a word holds 20, five to a byte in base 3:
 *                 byte b = d[b] + 3·d[4+b] + 9·d[8+b] + 27·d[12+b] + 81·d[16+b]
 *                 so that four neighbours are one digit of all four bytes. A line takes ceil(length/20) words.
 *
 * Bits, and digits, past the last code are 0.
 */
export interface IntegerOptions {
  /** Rows of x (tokens). */
  rows: number;
  /** Values per row (channels). */
  n: number;
  /** Bits per code: 1, 2, 3, 4 or 8; ternary: 2, or 1.6 for five to a byte. */
  bits: number;
  /** Consecutive values that share a scale: a multiple of 16 from 16 to 256, or the whole axis (0, or at least its length). */
  groupSize: number;
  /**
   * `affine`: a scale and a minimum for each group. `symmetric`: a scale, codes around 0 (1 bit: a sign, and the mean of |x|
   * as scale). `ternary`: codes −1, 0, 1, and the mean of |x| as scale (BitNet b1.58).
   */
  scheme: 'affine' | 'symmetric' | 'ternary';
  /** `row`: a group runs along a row (per token). `column`: down a column (per channel). */
  axis: 'row' | 'column';
  /** What scales and minima are stored in. Default `f32`. Codes belong to the stored, rounded ones. */
  scaleType?: 'f32' | 'f16';
}

export interface RoundingOptions {
  /** Rounds at random: up with the probability that the fraction says. 1 to 2^32 − 1; left out or 0: to nearest. */
  seed?: number;
  /** Number of x's first value in the random sequence (modulo 2^32). Default 0: a later call goes on where this one ended. */
  first?: number;
}

export type QuantizeIntegersOptions = IntegerOptions & RoundingOptions;

export interface QuantizedIntegers {
  /** Row groups: `[rows, words]`. Column groups: `[words, n]`. */
  codes: Uint32Array;
  /** Row groups: `[rows, ceil(n/groupSize)]`. Column groups: `[ceil(rows/groupSize), n]`. f16 as bits in a Uint16Array. */
  scales: Float32Array | Uint16Array;
  /** As scales; affine only. */
  minima?: Float32Array | Uint16Array | undefined;
}

/** Given instead of searched: one value per group, shaped as scales. Values outside saturate. */
export interface Range {
  /** The value of code 0; affine only. */
  lows?: Float32Array | undefined;
  /** Affine: the value of the last code. Symmetric: the magnitude of the last code. Ternary, 1 bit: the scale. */
  highs: Float32Array;
}

export const SCHEMES = ['affine', 'symmetric', 'ternary'] as const;
const TERNARY = 2;

const BITS = (scheme: number) => (scheme === TERNARY ? '1.6 or 2' : '1, 2, 3, 4 or 8');

/** In a kernel's arguments, 1.6 bits are `bits` 1 and the ternary scheme, which has no other use for 1. */
function params(kernel: string, o: IntegerOptions): Params {
  const { rows, n, bits, groupSize, scheme: name, axis, scaleType = 'f32' } = options(kernel, o);
  const scheme = word(kernel, 'scheme', name, SCHEMES);
  if (scheme === TERNARY && bits === 1) throw new RangeError(message(kernel, 'bits', BITS(scheme), bits));
  return {
    rows,
    n,
    bits: scheme === TERNARY && bits === 1.6 ? 1 : bits,
    groupSize,
    scheme,
    axis: word(kernel, 'axis', axis, AXES),
    scaleType: word(kernel, 'scaleType', scaleType, SCALE_TYPES),
  };
}

/** What does not depend on the axes, and is fixed at compile on a GPU. */
export function checkFormat(kernel: string, { bits, scheme, axis, scaleType }: Params): void {
  integer(kernel, 'scheme', scheme, 0, 2);
  if (typeof bits !== 'number') throw new TypeError(message(kernel, 'bits', BITS(scheme!), bits));
  if (!(scheme === TERNARY ? [1, 2] : [1, 2, 3, 4, 8]).includes(bits))
    throw new RangeError(message(kernel, 'bits', BITS(scheme!), bits));
  integer(kernel, 'axis', axis, 0, 1);
  integer(kernel, 'scaleType', scaleType, 0, 1);
}

/** Codes that share words with no others, and the words they take. */
export function runOf({ bits, scheme }: Params): { codes: number; words: number } {
  if (scheme === TERNARY && bits === 1) return { codes: 20, words: 1 };
  if (bits === 3) return { codes: 32, words: 3 };
  return { codes: 32 / bits!, words: 1 };
}

/** Groups of affine formats have minima; the rest is told by scales. */
const isAffine = ({ scheme }: Params) => scheme === 0;

/** Every length; `values` is the name of the array that holds the values themselves. */
function lengths(kernel: string, values: 'x' | 'out', p: Params) {
  checkFormat(kernel, p);
  const rows = integer(kernel, 'rows', p.rows, 0);
  const n = integer(kernel, 'n', p.n, 1);
  const length = p.axis ? rows : n;
  checkGroupSize(kernel, 'groupSize', p.groupSize, length);
  const x = elements(kernel, values, rows, n);
  if (x === 0) return { x, codes: 0, scales: 0, minima: 0 };
  const { codes, words } = runOf(p);
  const lines = p.axis ? n : rows;
  const scales = Math.ceil(length / groupOf(p)) * lines;
  return { x, codes: Math.ceil(length / codes) * words * lines, scales, minima: isAffine(p) ? scales : 0 };
}

const stored = (role: 'in' | 'out') =>
  ({
    scales: { dtype: 'f32', dtypeIf: { scaleType: 'f16' }, role },
    minima: { dtype: 'f32', dtypeIf: { scaleType: 'f16' }, role, optional: 'empty' },
  }) as const;

/** Values that the f16 kernels widen or narrow at a time: whole rows, four at least, or 16 columns of a group, and as many as the first-level cache likes. */
const scratchLength = (p: Params): number => Math.max(2048, 4 * p.n!, p.axis ? 16 * groupOf(p) : 0);

/** Bytes of scratch that `quantize_integers_f16` and `dequantize_integers_f16` need in the pointer layer (those of f32 need none). */
export function integersScratchBytes(format: IntegerOptions): number {
  return 4 * dequantize_integers_f16.lengths(dequantize_integers_f16.params(format)).scratch!;
}

/** They pass through f32. */
const scratchOf = (dtype: Float) => dtype === 'f16' && ({ scratch: { dtype: 'f32', role: 'scratch' } } as const);

function quantizeOf(dtype: Float): Contract<QuantizeIntegersOptions> {
  const kernel = `quantize_integers_${dtype}`;
  return {
    kernel,
    arrays: {
      x: { dtype, role: 'in' },
      codes: { dtype: 'u32', role: 'out' },
      ...stored('out'),
      lows: { dtype: 'f32', role: 'in', optional: true },
      highs: { dtype: 'f32', role: 'in', optional: true },
      ...scratchOf(dtype),
    },
    params(o) {
      const { seed = 0, first = 0 } = options(kernel, o);
      return { ...params(kernel, o), seed, first };
    },
    lengths(p) {
      const all = lengths(kernel, 'x', p);
      integer(kernel, 'seed', p.seed, 0);
      integer(kernel, 'first', p.first, 0);
      return { ...all, lows: all.minima, highs: all.scales, ...(dtype === 'f16' && { scratch: scratchLength(p) }) };
    },
    checkData(p, arrays) {
      const { lows, highs } = arrays;
      const { scales } = lengths(kernel, 'x', p);
      const expected = `Float32Array of length ${scales}`;
      if (lows?.length && !highs) throw new TypeError(message(kernel, 'highs', expected, highs));
      if (highs?.length && isAffine(p) && !lows) throw new TypeError(message(kernel, 'lows', expected, lows));
    },
  };
}

export const quantize_integers_f32: Contract<QuantizeIntegersOptions> = quantizeOf('f32');
export const quantize_integers_f16: Contract<QuantizeIntegersOptions> = quantizeOf('f16');

function dequantizeOf(dtype: Float): Contract<IntegerOptions> {
  const kernel = `dequantize_integers_${dtype}`;
  return {
    kernel,
    arrays: { codes: { dtype: 'u32', role: 'in' }, ...stored('in'), out: { dtype, role: 'out' }, ...scratchOf(dtype) },
    params: (o) => params(kernel, o),
    lengths(p) {
      const { x, ...rest } = lengths(kernel, 'out', p);
      return { ...rest, out: x, ...(dtype === 'f16' && { scratch: scratchLength(p) }) };
    },
  };
}

export const dequantize_integers_f32: Contract<IntegerOptions> = dequantizeOf('f32');
export const dequantize_integers_f16: Contract<IntegerOptions> = dequantizeOf('f16');
