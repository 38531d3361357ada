/** What reading and writing ggml's blocks share: numbers in their headers, tables of their codes. */

import { held } from './held';

/** The value of 16 bits. Subnormals are not made by way of f32 denormals, which some hardware is slow at. */
// @ts-ignore: decorator
@inline
export function fromHalf(bits: u32): f32 {
  const magnitude = bits & 0x7fff;
  const special: u32 = magnitude >= 0x7c00 ? 0x7f800000 : 0;
  const normal = reinterpret<f32>(((magnitude << 13) + 0x38000000) | special);
  const value = magnitude < 0x400 ? reinterpret<f32>(magnitude | 0x3f000000) - 0.5 : normal;
  return reinterpret<f32>(reinterpret<u32>(value) | (bits & 0x8000) << 16);
}

/** The 16 bits nearest to a value, ties to even; overflow gives infinity, NaN what x86 makes of an invalid operation (hosts do not agree on its sign). */
export function toHalf(value: f32): u32 {
  const bits = reinterpret<u32>(value);
  const sign = bits >> 16 & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0xfe00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) return sign | (reinterpret<u32>(reinterpret<f32>(magnitude) + 0.5) - 0x3f000000);
  return sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
}

/** The sixteen numbers of IQ4_NL and IQ4_XS. */
// @ts-ignore: decorator
@inline
export function iq4_i8x16(): v128 {
  return held(i8x16(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
}

/** Entries of a table of bytes; indices are below 16. */
// @ts-ignore: decorator
@inline
export function lookup_i8x16(table: v128, indices: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(table, indices);
  return i8x16.swizzle(table, indices);
}

/** Half of an unsigned E4M3 number (bias 7): bit 7 is ignored, 127 is 0. */
// @ts-ignore: decorator
@inline
export function halfE4M3(byte: u32): f32 {
  if (byte == 127) return 0;
  const magnitude = byte & 127;
  if (magnitude < 8) return <f32>magnitude * 0.0009765625; // 2^-10
  return reinterpret<f32>((magnitude << 20) + (119 << 23));
}

/** 2^(e − 128): half of an E8M0 scale. */
// @ts-ignore: decorator
@inline
export function halfE8M0(e: u32): f32 {
  return reinterpret<f32>(e < 2 ? 0x00200000 << e : e - 1 << 23);
}

/** Four i32 times scale. */
// @ts-ignore: decorator
@inline
export function scaled_f32x4(codes: v128, scale: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(codes), scale);
}

/** Sixteen signed bytes times scale. */
// @ts-ignore: decorator
@inline
export function store16(out: usize, codes: v128, scale: v128): void {
  const low = i16x8.extend_low_i8x16_s(codes);
  v128.store(out, scaled_f32x4(i32x4.extend_low_i16x8_s(low), scale));
  v128.store(out, scaled_f32x4(i32x4.extend_high_i16x8_s(low), scale), 16);
  const high = i16x8.extend_high_i8x16_s(codes);
  v128.store(out, scaled_f32x4(i32x4.extend_low_i16x8_s(high), scale), 32);
  v128.store(out, scaled_f32x4(i32x4.extend_high_i16x8_s(high), scale), 48);
}

/** Sixteen bytes times scale, plus offset: two roundings. */
// @ts-ignore: decorator
@inline
export function store16Affine(out: usize, codes: v128, scale: v128, offset: v128): void {
  const low = i16x8.extend_low_i8x16_s(codes);
  v128.store(out, f32x4.add(scaled_f32x4(i32x4.extend_low_i16x8_s(low), scale), offset));
  v128.store(out, f32x4.add(scaled_f32x4(i32x4.extend_high_i16x8_s(low), scale), offset), 16);
  const high = i16x8.extend_high_i8x16_s(codes);
  v128.store(out, f32x4.add(scaled_f32x4(i32x4.extend_low_i16x8_s(high), scale), offset), 32);
  v128.store(out, f32x4.add(scaled_f32x4(i32x4.extend_high_i16x8_s(high), scale), offset), 48);
}

/** Twice the numbers of E2M1, MXFP4's and NVFP4's codes. */
// @ts-ignore: decorator
@inline
export function fp4_i8x16(): v128 {
  return held(i8x16(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
}

/** Bits 8·byte to 8·byte + 15 of a word as sixteen bytes of ones or zeros. */
// @ts-ignore: decorator
@inline
export function fifth_i8x16(word: v128, byte: u32): v128 {
  const select = i64x2.splat(0x8040_2010_0804_0201);
  const bytes = byte
    ? v128.shuffle<i8>(word, word, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3)
    : v128.shuffle<i8>(word, word, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  return i8x16.eq(v128.and(bytes, select), select);
}
