/** Horizontal reductions: four lanes to one number, in a fixed order, (0 with 2) with (1 with 3). */
import { high32, high64, low32, low64 } from './interleave';

/** The largest lane; NaN lanes may be passed over. Every lane of the result holds it. */
// @ts-ignore: decorator
@inline
export function maxAcross_f32x4(v: v128): v128 {
  const pairs = f32x4.pmax(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.pmax(pairs, v128.shuffle<i32>(pairs, pairs, 1, 0, 3, 2));
}

/** The smallest lane; NaN lanes may be passed over. Every lane of the result holds it. */
// @ts-ignore: decorator
@inline
export function minAcross_f32x4(v: v128): v128 {
  const pairs = f32x4.pmin(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.pmin(pairs, v128.shuffle<i32>(pairs, pairs, 1, 0, 3, 2));
}

/** The largest lane as a number. */
// @ts-ignore: decorator
@inline
export function max_f32x4(v: v128): f32 {
  return f32x4.extract_lane(maxAcross_f32x4(v), 0);
}

/** The smallest lane as a number. */
// @ts-ignore: decorator
@inline
export function min_f32x4(v: v128): f32 {
  return f32x4.extract_lane(minAcross_f32x4(v), 0);
}

/** The sums of the lanes of four vectors, a lane each. */
// @ts-ignore: decorator
@inline
export function sums_f32x4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(low32(a, b), high32(a, b)), cd = f32x4.add(low32(c, d), high32(c, d));
  return f32x4.add(low64(ab, cd), high64(ab, cd));
}
