/** IEEE binary16 in the lower halves of i32 lanes. */

/** Nearest halves, ties to even; overflow gives infinity, NaN the quiet NaN 0x7e00. As `toHalf` (ts/half.ts). */
// @ts-ignore: decorator
@inline
export function halves_i32x4(x: v128): v128 {
  const magnitude = v128.and(x, i32x4.splat(0x7fffffff));
  // 13 bits fall away: add just under a half, and one more where the kept part is odd. Infinity is the most there is.
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const normal = i32x4.shr_u(i32x4.add(magnitude, i32x4.add(odd, i32x4.splat(0xfff - 0x38000000))), 13);
  // Subnormal: a multiple of 2^-24, which is the ulp of 0.5: adding that rounds there.
  const subnormal = i32x4.sub(f32x4.add(magnitude, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  let result = v128.bitselect(subnormal, i32x4.min_s(normal, i32x4.splat(0x7c00)), i32x4.lt_s(magnitude, i32x4.splat(0x38800000)));
  result = v128.bitselect(i32x4.splat(0x7e00), result, f32x4.ne(x, x));
  return v128.or(result, i32x4.shr_u(v128.andnot(x, i32x4.splat(0x7fffffff)), 16));
}

/** The values of halves. */
// @ts-ignore: decorator
@inline
export function fromHalves_f32x4(halves: v128): v128 {
  const magnitude = v128.and(halves, i32x4.splat(0x7fff));
  // Moved to f32's place, the exponent is 112 too small; infinity and NaN need all its bits.
  const value = f32x4.mul(i32x4.shl(magnitude, 13), f32x4.splat(5192296858534827628530496329220096.0)); // 2^112
  const special = v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x7bff)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(value, special), i32x4.shl(v128.andnot(halves, i32x4.splat(0x7fff)), 16));
}

/** One half as a number. */
// @ts-ignore: decorator
@inline
export function loadHalf(at: usize): f32 {
  return f32x4.extract_lane(fromHalves_f32x4(i32x4.splat(load<u16>(at))), 0);
}
