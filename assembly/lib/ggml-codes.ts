/** What writing ggml's blocks shares: ranges, and codes from values. */

import { held_i32x4 } from './held';

/** The greatest magnitude of 16 values; NaN is passed over. */
// @ts-ignore: decorator
@inline
export function magnitude16(x: usize): v128 {
  const zero = held_i32x4(0);
  const a = f32x4.pmax(f32x4.pmax(zero, f32x4.abs(v128.load(x))), f32x4.abs(v128.load(x, 16)));
  const b = f32x4.pmax(f32x4.pmax(zero, f32x4.abs(v128.load(x, 32))), f32x4.abs(v128.load(x, 48)));
  return f32x4.pmax(a, b);
}

/** 1/d; 0 for 0. Where that overflows, NaN: then every code becomes 0. */
// @ts-ignore: decorator
@inline
export function inverse(d: f32): f32 {
  if (d == 0) return 0;
  const id = <f32>1 / d;
  return f32.abs(id) == <f32>Infinity ? <f32>NaN : id;
}

/** Small numbers toward zero; NaN gives 0, or the least integer. */
// @ts-ignore: decorator
@inline
export function truncated_i32x4(v: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_trunc_f32x4_s(v);
  return i32x4.trunc_sat_f32x4_s(v);
}

/** x·id to the nearest integer, halves away from zero: adding the number before 0.5 never carries a smaller fraction over. */
// @ts-ignore: decorator
@inline
function rounded_i32x4(x: v128, id: v128, sign: v128, half: v128): v128 {
  const v = f32x4.mul(x, id);
  return truncated_i32x4(f32x4.add(v, v128.or(v128.and(v, sign), half)));
}

/** Sixteen rounded codes as bytes; NaN, which saturates below, gives 0. */
// @ts-ignore: decorator
@inline
export function bytes_i8x16(x: usize, id: v128, sign: v128, half: v128): v128 {
  const ab = i16x8.narrow_i32x4_s(rounded_i32x4(v128.load(x), id, sign, half), rounded_i32x4(v128.load(x, 16), id, sign, half));
  const cd = i16x8.narrow_i32x4_s(rounded_i32x4(v128.load(x, 32), id, sign, half), rounded_i32x4(v128.load(x, 48), id, sign, half));
  const codes = i8x16.narrow_i16x8_s(ab, cd);
  if (!ASC_FEATURE_RELAXED_SIMD) return codes;
  return v128.andnot(codes, i8x16.eq(codes, i8x16.splat(-128)));
}

/** Four vectors of small integers as bytes. */
// @ts-ignore: decorator
@inline
export function narrowed_i8x16(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

// @ts-ignore: decorator
@inline
export function plusLanes(sum: f32, v: v128): f32 {
  return sum + f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3);
}
