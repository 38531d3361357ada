/**
 * Values stored as f32 or as IEEE binary16, read and written as f32: T is f32, or `half`. One source gives both kernels;
 * with f32 each of these is the plain load or store.
 *
 * A half widens exactly (subnormals, infinities; NaN stays NaN). An f32 narrows to the nearest half, ties to even: from
 * 65520 on to infinity, below 2^-14 to a multiple of 2^-24, NaN to the quiet NaN 0x7e00 with its sign, as ts/half.ts does it.
 *
 * Method: exponents are moved by a multiplication with 2^112, which also normalises subnormals; rounding as F. Giesen's
 * float_to_half_fast3_rtne. Integer and f32 operations only: no level has any of f16.
 *
 * Not done: constants handed in and `held` by the caller, as in exp.ts. They are literals, which V8 rebuilds at every use: softmax_f16
 * takes 5 to 6 times as long as softmax_f32 on rows in cache.
 */
export type half = u16;

/** Bits of a half in their place in an f32; 2^112; what infinity and NaN are at least then; their exponent. */
export const WIDEN_MASK: i32 = 0x8fffe000;
export const WIDEN_POWER: i32 = 0x77800000;
export const WIDEN_EDGE: f32 = 65536;
export const WIDEN_EXPONENT: i32 = 0x7f800000;

/** Four halves from their sign-extended bits. */
// @ts-ignore: decorator
@inline
export function widen_f32x4(bits: v128): v128 {
  return widenWith_f32x4(bits, i32x4.splat(WIDEN_MASK), i32x4.splat(WIDEN_POWER), f32x4.splat(WIDEN_EDGE), i32x4.splat(WIDEN_EXPONENT));
}

/** The same with the constants from the caller, who holds them (held.ts) over a loop that does little else. */
// @ts-ignore: decorator
@inline
export function widenWith_f32x4(bits: v128, mask: v128, power: v128, edge: v128, exponent: v128): v128 {
  const value = f32x4.mul(v128.and(i32x4.shl(bits, 13), mask), power);
  return v128.or(value, v128.and(f32x4.ge(f32x4.abs(value), edge), exponent));
}

/** The bits of four halves, each in the low 16 of a lane. */
// @ts-ignore: decorator
@inline
export function narrow_i32x4(v: v128): v128 {
  const size = v128.and(v, i32x4.splat(0x7fffffff));
  // 13 bits fall away: add just under a half, and one more where the kept part is odd.
  const odd = v128.and(i32x4.shr_u(size, 13), i32x4.splat(1));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(size, odd), i32x4.splat(0xfff - 0x38000000)), 13);
  // The ulp of 0.5 is that of subnormal halves.
  const subnormal = i32x4.sub(f32x4.add(size, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  const finite = v128.bitselect(subnormal, normal, i32x4.lt_s(size, i32x4.splat(0x38800000)));
  const nan = v128.and(i32x4.gt_s(size, i32x4.splat(0x7f800000)), i32x4.splat(0x7e00));
  const rounded = i32x4.max_s(i32x4.min_s(finite, i32x4.splat(0x7c00)), nan);
  return v128.or(rounded, v128.and(i32x4.shr_u(v, 16), i32x4.splat(0x8000)));
}

// @ts-ignore: decorator
@inline
export function load4<T>(p: usize): v128 {
  return sizeof<T>() == 4 ? v128.load(p) : widen_f32x4(v128.load_ext<i16>(p));
}

// @ts-ignore: decorator
@inline
export function store4<T>(p: usize, v: v128): void {
  if (sizeof<T>() == 4) {
    v128.store(p, v);
    return;
  }
  const halves = narrow_i32x4(v);
  v128.store64_lane(p, i16x8.narrow_i32x4_u(halves, halves), 0);
}

// @ts-ignore: decorator
@inline
export function load1<T>(p: usize): f32 {
  return sizeof<T>() == 4 ? load<f32>(p) : loadHalf(p);
}

// @ts-ignore: decorator
@inline
export function store1<T>(p: usize, value: f32): void {
  if (sizeof<T>() == 4) store<f32>(p, value);
  else storeHalf(p, value);
}

// Not inlined: what handles single values is not worth its size.
function loadHalf(p: usize): f32 {
  return f32x4.extract_lane(widen_f32x4(i32x4.splat(load<i16>(p))), 0);
}

function storeHalf(p: usize, value: f32): void {
  store<u16>(p, <u16>i32x4.extract_lane(narrow_i32x4(f32x4.splat(value)), 0));
}

/** The i-th four from p: i is a literal, and with f32 an immediate offset. */
// @ts-ignore: decorator
@inline
export function loadNth4<T>(p: usize, i: u32): v128 {
  if (sizeof<T>() != 4) return load4<T>(p + 8 * i);
  return i == 0 ? v128.load(p) : i == 1 ? v128.load(p, 16) : i == 2 ? v128.load(p, 32) : v128.load(p, 48);
}

// @ts-ignore: decorator
@inline
export function storeNth4<T>(p: usize, v: v128, i: u32): void {
  if (sizeof<T>() != 4) store4<T>(p + 8 * i, v);
  else if (i == 0) v128.store(p, v);
  else if (i == 1) v128.store(p, v, 16);
  else if (i == 2) v128.store(p, v, 32);
  else v128.store(p, v, 48);
}

/** One value in all lanes. */
// @ts-ignore: decorator
@inline
export function splat1<T>(p: usize): v128 {
  return sizeof<T>() == 4 ? v128.load32_splat(p) : f32x4.splat(loadHalf(p));
}
