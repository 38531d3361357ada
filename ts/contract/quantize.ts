import type { Contract, Float, Params } from '../contract.js';
import { message } from '../errors.js';
import { checkGroupSize, elements, integer, options, word } from '../validate.js';

/**
 * The layout, the same on every backend: codes lie along their group, low bits first, in 32-bit words; unused high bits
 * are 0. Here 4 bits and groups of 32 (2 bits: 16 codes in a word, 8 bits: 4).
 *
 *     axis 'row'                                          axis 'column'
 *     x [rows, n]        a group is 32 columns            x [rows, n]        a group is 32 rows
 *     codes [rows, ceil(n/8)]                             codes [ceil(rows/8), n]
 *
 *             word 0            word 1                              column 0   column 1
 *     row 0   x0,7 ... x0,0     x0,15 ... x0,8  ...        word 0   x7,0       x7,1
 *     row 1   x1,7 ... x1,0     x1,15 ... x1,8  ...                 ...        ...        ...
 *             bit 31 ... bit 0                                      x0,0       x0,1        (bits 3 to 0)
 *                                                         word 1   x15,0      x15,1
 *     scales, minima [rows, ceil(n/32)]                             ...        ...        ...
 *                                                         scales, minima [ceil(rows/32), n]
 */
export interface QuantizeOptions {
  /** Rows of x (tokens). */
  rows: number;
  /** Values per row (channels). */
  n: number;
  /** Bits per code: 2, 4 or 8. */
  bits: number;
  /**
   * Consecutive values that share a scale: a multiple of 16 from 16 to 256, or the whole axis: its length, anything
   * longer, or 0. The last group of an axis may be shorter.
   */
  groupSize: number;
  /** `affine`: a scale and a float minimum for each group. `symmetric`: a scale, codes around 0, no minima. */
  scheme: 'affine' | 'symmetric';
  /** `row`: a group runs along a row (per token). `column`: down a column (per channel). */
  axis: 'row' | 'column';
}

export interface Quantized {
  /** Row groups: `[rows, ceil(n·bits/32)]`. Column groups: `[ceil(rows·bits/32), n]`. */
  codes: Uint32Array;
  /** Row groups: `[rows, ceil(n/groupSize)]`. Column groups: `[ceil(rows/groupSize), n]`. */
  scales: Float32Array;
  /** As scales; affine only. */
  minima?: Float32Array | undefined;
}

/** Positions in these lists are the numbers that kernels take. */
export const SCHEMES = ['affine', 'symmetric'] as const;
export const AXES = ['row', 'column'] as const;

function params(kernel: string, o: QuantizeOptions): Params {
  const { rows, n, bits, groupSize, scheme, axis } = options(kernel, o);
  return {
    rows,
    n,
    bits,
    groupSize,
    scheme: word(kernel, 'scheme', scheme, SCHEMES),
    axis: word(kernel, 'axis', axis, AXES),
  };
}

/** What does not depend on the axes, and is fixed at compile on a GPU; groupSize only as far as it is known. */
export function checkFormat(kernel: string, { bits, groupSize, scheme, axis }: Params): void {
  integer(kernel, 'bits', bits, 2, 8);
  if (bits !== 2 && bits !== 4 && bits !== 8) throw new RangeError(message(kernel, 'bits', '2, 4 or 8', bits));
  integer(kernel, 'groupSize', groupSize, 0);
  integer(kernel, 'scheme', scheme, 0, 1);
  integer(kernel, 'axis', axis, 0, 1);
}

/** Values per group, as long as the axis at most. */
export const groupOf = ({ groupSize, rows, n, axis }: Params): number => {
  const length = axis ? rows! : n!;
  return groupSize === 0 ? length : Math.min(groupSize!, length);
};

/** Every length; `values` is the name of the array that holds the values themselves. */
function lengths(
  kernel: string,
  values: 'x' | 'out',
  p: Params,
): { x: number; codes: number; scales: number; minima: number } {
  checkFormat(kernel, p);
  const rows = integer(kernel, 'rows', p.rows, 0);
  const n = integer(kernel, 'n', p.n, 1);
  const length = p.axis ? rows : n;
  checkGroupSize(kernel, 'groupSize', p.groupSize, length);
  const x = elements(kernel, values, rows, n);
  if (x === 0) return { x, codes: 0, scales: 0, minima: 0 };
  const words = Math.ceil(length / (32 / p.bits!));
  const groups = Math.ceil(length / groupOf(p));
  const lines = p.axis ? n : rows;
  return { x, codes: words * lines, scales: groups * lines, minima: p.scheme ? 0 : groups * lines };
}

export { lengths as quantizedLengths };

function quantizeOf(dtype: Float): Contract<QuantizeOptions> {
  const kernel = `quantize_${dtype}`;
  return {
    kernel,
    arrays: {
      x: { dtype, role: 'in' },
      codes: { dtype: 'u32', role: 'out' },
      scales: { dtype: 'f32', role: 'out' },
      minima: { dtype: 'f32', role: 'out', optional: 'empty' },
    },
    params: (o) => params(kernel, o),
    lengths: (p) => lengths(kernel, 'x', p),
  };
}

export const quantize_f32: Contract<QuantizeOptions> = quantizeOf('f32');
export const quantize_f16: Contract<QuantizeOptions> = quantizeOf('f16');

function dequantizeOf(dtype: Float): Contract<QuantizeOptions> {
  const kernel = `dequantize_${dtype}`;
  return {
    kernel,
    arrays: {
      codes: { dtype: 'u32', role: 'in' },
      scales: { dtype: 'f32', role: 'in' },
      minima: { dtype: 'f32', role: 'in', optional: 'empty' },
      out: { dtype, role: 'out' },
    },
    params: (o) => params(kernel, o),
    lengths(p) {
      const { x, ...stored } = lengths(kernel, 'out', p);
      return { ...stored, out: x };
    },
  };
}

export const dequantize_f32: Contract<QuantizeOptions> = dequantizeOf('f32');
export const dequantize_f16: Contract<QuantizeOptions> = dequantizeOf('f16');
