import type { Contract, Out } from '../contract.js';
import { message } from '../errors.js';
import { HADAMARD_ORDERS, hadamardOrder } from '../hadamard-matrices.js';
import { elements, finite, flag, integer, options, signs } from '../validate.js';

export interface HadamardMixedOptions {
  /** Independent rows. */
  rows: number;
  /** Values that are transformed together: order · 2^p, 2^p up to 32768. */
  n: number;
  /** The order of the matrix: 1, or a multiple of 4 up to 256. Default `hadamardOrder(n)`: 1, 12, 20, 28, ... 172, as QuaRot has it. */
  order?: number;
  /**
   * Values that lie between two that are transformed together: x is [rows, n, inner]. 1 (the default): along a row.
   * The head dimension, n being the number of heads: across the heads of a token.
   */
  inner?: number;
  /** Multiplies the unnormalised transform; any finite f32. Default 1/√n: orthonormal. */
  scale?: number;
  /** The transpose of the matrix, and the signs after the transform instead of before it: undoes a call without. Default false. */
  inverse?: boolean;
}

export interface HadamardMixedArrays extends Out<Float32Array> {
  /** A Hadamard matrix of the order, packed as by `hadamardMatrix`, which it is by default. */
  matrix?: Uint32Array | undefined;
  /** ±1 for each of the n values: multiply the input, or with `inverse` the output. */
  signs?: Int8Array | undefined;
}

const KERNEL = 'hadamard_mixed_f32';
const MAX_BLOCK = 32768;
const MAX_ORDER = 256;

/** 4-byte words of scratch: the matrix as indices, and the sums those point to (assembly/lib/hadamard-mixed.ts). */
export const mixScratchLength = (order: number): number =>
  order > 1 ? 4 * Math.ceil((order * order) / 64) + 32 * order : 0;

/** Words of a packed matrix. */
export const matrixLength = (order: number): number => (order > 1 ? order * Math.ceil(order / 32) : 0);

/** n = order · 2^p, checked; 2^p. */
export function checkOrder(kernel: string, n: number, order: number): number {
  if (Number.isNaN(order))
    throw new RangeError(message(kernel, 'n', `power of two, or one times ${HADAMARD_ORDERS.join(', ')}`, n));
  integer(kernel, 'order', order, 1, MAX_ORDER);
  if (order > 1 && order % 4) throw new RangeError(message(kernel, 'order', '1 or multiple of 4', order));
  const block = n / order;
  if (!Number.isInteger(block) || block & (block - 1) || block > MAX_BLOCK)
    throw new RangeError(message(kernel, 'n', `${order} times a power of two up to ${MAX_BLOCK}`, n));
  return block;
}

/** Bytes of scratch that `hadamard_mixed_f32` needs in the pointer layer. */
export function hadamardMixedScratchBytes(size: Pick<HadamardMixedOptions, 'n' | 'order'>): number {
  const n = integer(KERNEL, 'n', options(KERNEL, size).n, 1);
  const { order = hadamardOrder(n) } = size;
  checkOrder(KERNEL, n, order);
  return 4 * mixScratchLength(order);
}

export const hadamard_mixed_f32: Contract<HadamardMixedOptions> = {
  kernel: KERNEL,
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    matrix: { dtype: 'u32', role: 'in', optional: 'empty' },
    signs: { dtype: 'i8', role: 'in', optional: true },
    scratch: { dtype: 'f32', role: 'scratch' },
    out: { dtype: 'f32', role: 'out' },
  },
  params(given) {
    const {
      rows,
      n,
      order = hadamardOrder(n),
      inner = 1,
      scale = 1 / Math.sqrt(n),
      inverse = false,
    } = options(KERNEL, given);
    return { rows, n, order, inner, scale, inverse: flag(KERNEL, 'inverse', inverse) };
  },
  lengths({ rows, n, order, inner, scale, inverse }) {
    integer(KERNEL, 'rows', rows, 0);
    integer(KERNEL, 'n', n, 1);
    checkOrder(KERNEL, n!, order!);
    integer(KERNEL, 'inner', inner, 1);
    finite(KERNEL, 'scale', scale);
    finite(KERNEL, 'scale', Math.fround(scale!));
    integer(KERNEL, 'inverse', inverse, 0, 1);
    const values = elements(KERNEL, 'x', rows!, n!, inner!);
    return { x: values, matrix: matrixLength(order!), signs: n!, scratch: mixScratchLength(order!), out: values };
  },
  checkData: (_, arrays) => signs(KERNEL, arrays.signs),
};
