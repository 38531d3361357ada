import { held } from './ggml';

/** Four i32 times scale. */
// @ts-ignore: decorator
@inline
function scaled_f32x4(codes: v128, scale: v128): v128 {
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
