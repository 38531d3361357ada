/** What quantising with a table and the way back share: how codes lie in bytes, and f32 tables of 16 as byte planes. */

/** Bytes of a row's codes. */
// @ts-ignore: decorator
@inline
export function rowBytes(n: u32, bits: u32): u32 {
  if (bits == 3) return 12 * ((n + 31) >> 5);
  return bits > 4 ? n : (n * bits + 7) >> 3;
}

/** Where the block of 16 codes that begins with the i-th lies: with 3 bits its two low bits; the third lies at `thirdBits`. */
// @ts-ignore: decorator
@inline
export function blockBytes(i: u32, bits: u32): u32 {
  if (bits == 3) return 12 * (i >> 5) + (i >> 2 & 4);
  return bits > 4 ? i : i * bits >> 3;
}

// @ts-ignore: decorator
@inline
export function thirdBits(i: u32): u32 {
  return 12 * (i >> 5) + 8 + (i >> 3 & 2);
}

/** The byte of the i-th code of at most 4 bits (of 3 bits, the two low ones), and its shift there. */
// @ts-ignore: decorator
@inline
export function codeByte(i: u32, bits: u32): u32 {
  if (bits == 3) return 12 * (i >> 5) + (i >> 2 & 7);
  return i * bits >> 3;
}

// @ts-ignore: decorator
@inline
export function codeShift(i: u32, bits: u32, high: u32): u32 {
  if (bits == 3) return 2 * i & 7;
  return bits == 4 ? (i ^ high) << 2 & 4 : i * bits & 7;
}

/** Four of a table's values, from the i-th on; past its end +infinity. */
function four_f32x4(table: usize, i: u32, bits: u32): v128 {
  const p = table + (i << 2);
  if (i >> bits) return f32x4.splat(Infinity);
  if (bits > 1) return v128.load(p);
  return v128.load64_lane(p, f32x4.splat(Infinity), 0);
}

/** The j-th byte of each of a table's values (16 at most): what i8x16.swizzle can look up. */
export function plane_i8x16(table: usize, bits: u32, j: u32): v128 {
  const mask = i32x4.splat(255);
  const a = v128.and(i32x4.shr_u(four_f32x4(table, 0, bits), 8 * j), mask);
  const b = v128.and(i32x4.shr_u(four_f32x4(table, 4, bits), 8 * j), mask);
  const c = v128.and(i32x4.shr_u(four_f32x4(table, 8, bits), 8 * j), mask);
  const d = v128.and(i32x4.shr_u(four_f32x4(table, 12, bits), 8 * j), mask);
  return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_u(a, b), i16x8.narrow_i32x4_u(c, d));
}
