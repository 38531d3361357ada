import { held_i32x4 } from './held';

/** The relaxed level's dot products of signed bytes with bytes below 128: within that range they are exact, and the same on every host. */

/** Sums of four neighbours join `sum`, i32. */
// @ts-ignore: decorator
@inline
export function dot(signed: v128, codes: v128, sum: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(signed, codes, sum);
}

/** Sums of two neighbours join `sum`, i16: the caller counts when it is full. */
// @ts-ignore: decorator
@inline
export function dotPairs(signed: v128, codes: v128, sum: v128): v128 {
  return i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(signed, codes));
}

/**
 * Does the host have an instruction for `dot`? It shows where codes have bit 7: without one, sums of two products saturate
 * at 16 bits. Such hosts take five instructions for it, and two for `dotPairs`.
 */
export function dotsSaturate(): bool {
  const sums = dot(held_i32x4(0x7f7f7f7f), held_i32x4(-1), held_i32x4(0));
  return i32x4.extract_lane(sums, 0) == 65534;
}
