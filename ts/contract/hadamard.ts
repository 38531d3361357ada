import type { Contract, Float, Out } from '../contract.js';
import { message } from '../errors.js';
import { elements, finite, flag, integer, options, signs } from '../validate.js';

export interface HadamardOptions {
  /** Independent rows. */
  rows: number;
  /** Values per row: a power of two, 1 to 32768. */
  n: number;
  /** Multiplies the unnormalised transform; any finite f32. Default 1/√n: orthonormal, its own inverse. */
  scale?: number;
  /** Signs come after the transform instead of before it: undoes a call without. Default false. */
  inverse?: boolean;
}

export interface HadamardArrays extends Out<Float32Array> {
  /** ±1 per column: multiply the input, or with `inverse` the output. */
  signs?: Int8Array | undefined;
}

export interface HadamardHalfArrays extends Out<Uint16Array>, Pick<HadamardArrays, 'signs'> {}

const MAX_N = 32768;

/** Values that the f16 kernel widens, transforms and narrows at a time: whole rows, and as many as the first-level cache likes. */
const scratchLength = (n: number): number => Math.max(n, 2048);

/** Bytes of scratch that `hadamard_f16` needs in the pointer layer (`hadamard_f32` needs none). */
export function hadamardScratchBytes(size: { n: number }): number {
  return 4 * scratchLength(rowLength('hadamard_f16', options('hadamard_f16', size).n));
}

function rowLength(kernel: string, n: number | undefined): number {
  integer(kernel, 'n', n, 1, MAX_N);
  if (n! & (n! - 1)) throw new RangeError(message(kernel, 'n', `power of two in [1, ${MAX_N}]`, n));
  return n!;
}

function hadamardOf(dtype: Float): Contract<HadamardOptions> {
  const kernel = `hadamard_${dtype}`;
  return {
    kernel,
    arrays: {
      x: { dtype, role: 'in' },
      signs: { dtype: 'i8', role: 'in', optional: true },
      out: { dtype, role: 'out', inPlace: 'x' },
      // The passes go through out where that is f32.
      ...(dtype === 'f16' && { scratch: { dtype: 'f32', role: 'scratch' } as const }),
    },
    params(given) {
      const { rows, n, scale = 1 / Math.sqrt(n), inverse = false } = options(kernel, given);
      return { rows, n, scale, inverse: flag(kernel, 'inverse', inverse) };
    },
    lengths({ rows, n, scale, inverse }) {
      integer(kernel, 'rows', rows, 0);
      rowLength(kernel, n);
      finite(kernel, 'scale', scale);
      // Kernels take it as an f32.
      finite(kernel, 'scale', Math.fround(scale!));
      integer(kernel, 'inverse', inverse, 0, 1);
      const values = elements(kernel, 'x', rows!, n!);
      return { x: values, signs: n!, out: values, ...(dtype === 'f16' && { scratch: scratchLength(n!) }) };
    },
    checkData: (_, arrays) => signs(kernel, arrays.signs),
  };
}

export const hadamard_f32: Contract<HadamardOptions> = hadamardOf('f32');
export const hadamard_f16: Contract<HadamardOptions> = hadamardOf('f16');
