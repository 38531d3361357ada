import type { Contract } from '../contract.js';
import { message } from '../errors.js';
import { elements, finite, flag, integer, options } from '../validate.js';

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

const MAX_N = 32768;

export const hadamard_f32: Contract<HadamardOptions> = {
  kernel: 'hadamard_f32',
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    signs: { dtype: 'i8', role: 'in', optional: true },
    out: { dtype: 'f32', role: 'out', inPlace: 'x' },
  },
  params(given) {
    const { rows, n, scale = 1 / Math.sqrt(n), inverse = false } = options('hadamard_f32', given);
    return { rows, n, scale, inverse: flag('hadamard_f32', 'inverse', inverse) };
  },
  lengths({ rows, n, scale, inverse }) {
    integer('hadamard_f32', 'rows', rows, 0);
    integer('hadamard_f32', 'n', n, 1, MAX_N);
    if (n! & (n! - 1)) throw new RangeError(message('hadamard_f32', 'n', `power of two in [1, ${MAX_N}]`, n));
    finite('hadamard_f32', 'scale', scale);
    // Kernels take it as an f32.
    finite('hadamard_f32', 'scale', Math.fround(scale!));
    integer('hadamard_f32', 'inverse', inverse, 0, 1);
    const values = elements('hadamard_f32', 'x', rows!, n!);
    return { x: values, signs: n!, out: values };
  },
  checkData(_, { signs }) {
    const at = signs?.findIndex((sign) => sign !== 1 && sign !== -1) ?? -1;
    if (at >= 0) throw new RangeError(message('hadamard_f32', `signs[${at}]`, '1 or -1', signs![at]));
  },
};
