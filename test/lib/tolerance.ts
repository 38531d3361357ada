import type { Params, TypedArray } from '../../ts/contract.js';
import type { Arrays } from './spec.js';

type Numbers = ArrayLike<number>;

/** How far an output may lie from the reference. `error` and `limit` are in `unit`. */
export interface Tolerance {
  unit: string;
  /** Why it is not exact, in one line. */
  reason?: string;
  /** The largest error over the array; Infinity where NaN, infinities or sizes disagree. */
  error(got: TypedArray, want: Numbers, inputs: Arrays, params: Params): number;
  limit(params: Params): number;
}

/** The distance of two floats where NaN equals NaN and infinities equal themselves. */
function distance(got: number, want: number, unit: (want: number) => number): number {
  if (got === want || (got !== got && want !== want)) return 0;
  const error = Math.abs(got - want) / unit(want);
  return error === error ? error : Infinity;
}

function largest(got: Numbers, want: Numbers, unit: (want: number, index: number) => number): number {
  if (got.length !== want.length) return Infinity;
  let error = 0;
  for (let i = 0; i < got.length; i++)
    error = Math.max(
      error,
      distance(got[i]!, want[i]!, (w) => unit(w, i)),
    );
  return error;
}

/** Every value equal (-0 equals +0, NaN equals NaN): counts the values that are not. */
export const exact: Tolerance = {
  unit: 'values',
  error(got, want) {
    if (got.length !== want.length) return Infinity;
    let wrong = 0;
    for (let i = 0; i < got.length; i++)
      if (!Object.is(got[i]! + 0, Math.fround(want[i]!) + 0) && got[i] !== want[i]) wrong++;
    return wrong;
  },
  limit: () => 0,
};

/** The spacing of float32 at |x|, the smallest normal's below it. */
export function ulpOf(x: number): number {
  const a = Math.abs(x);
  if (!(a > 2 ** -126)) return 2 ** -149;
  return 2 ** (Math.floor(Math.log2(a)) - 23);
}

/** Each value within n units in the last place of the reference's. */
export function ulp(n: number | ((p: Params) => number), reason: string): Tolerance {
  return {
    unit: 'ulp',
    reason,
    error: (got, want) => largest(got, want, ulpOf),
    limit: typeof n === 'number' ? () => n : n,
  };
}

/**
 * Each value within `limit` times a magnitude that belongs to it (the norm of its row, the largest term of its sum):
 * the bound that rounding error analysis gives for sums with cancellation.
 */
export function relativeTo(
  magnitude: (inputs: Arrays, params: Params) => Numbers,
  limit: number | ((p: Params) => number),
  reason: string,
): Tolerance {
  return {
    unit: 'rel',
    reason,
    error(got, want, inputs, params) {
      const size = magnitude(inputs, params);
      return largest(got, want, (_, i) => size[i]! || 2 ** -149);
    },
    limit: typeof limit === 'number' ? () => limit : limit,
  };
}
