import {
  blockOf, elementBits, held_i32x4, held_i8x16, isInteger, isNv, mantissaBits, maxCode, minExponent, nvScale, powerOfTwo,
  widthOf,
} from './lib/mx';

/** Sixteen codes from 8, 12 or 16 bytes, a byte each. */
// @ts-ignore: decorator
@inline
function loadUnpacked(codes: usize, width: u32): v128 {
  if (width == 8) return v128.load(codes);
  if (width == 4) {
    const bytes = v128.load64_splat(codes);
    const low = v128.and(bytes, i8x16.splat(15));
    const high = i8x16.shr_u(bytes, 4);
    return v128.shuffle<i8>(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }
  const packed = v128.load32_lane(codes, v128.load64_zero(codes), 2, 8);
  const fours = v128.shuffle<i8>(packed, packed, 0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
  const a = v128.and(fours, i32x4.splat(0x3f));
  const b = v128.and(i32x4.shl(fours, 2), i32x4.splat(0x3f00));
  const c = v128.and(i32x4.shl(fours, 4), i32x4.splat(0x3f_0000));
  const d = v128.and(i32x4.shl(fours, 6), i32x4.splat(0x3f00_0000));
  return v128.or(v128.or(a, b), v128.or(c, d));
}

/** Eight values from the upper halves of their bits. */
// @ts-ignore: decorator
@inline
function store8(out: usize, upper: v128, scale: v128): void {
  const zero = i32x4.splat(0);
  v128.store(out, f32x4.mul(v128.shuffle<i16>(zero, upper, 0, 8, 1, 9, 2, 10, 3, 11), scale));
  v128.store(out, f32x4.mul(v128.shuffle<i16>(zero, upper, 4, 12, 5, 13, 6, 14, 7, 15), scale), 16);
}

/** Sixteen values whose bits 31 to 24 and 23 to 16 are given. */
// @ts-ignore: decorator
@inline
function store16(out: usize, high: v128, low: v128, scale: v128): void {
  store8(out, v128.shuffle<i8>(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), scale);
  store8(out + 32, v128.shuffle<i8>(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), scale);
}

/** One element: integers with their sign; floats in units of the least, which `scale` makes good. */
// @ts-ignore: decorator
@inline
function value_f32(code: u32, format: u32, bits: u32, width: u32): f32 {
  if (isInteger(format)) return <f32>((<i32>code << (32 - width)) >> (32 - width));
  const element = elementBits(format, bits);
  const m = mantissaBits(format, bits);
  const magnitude = code & ((1 << (element - 1)) - 1);
  let value = <f32>magnitude;
  if (magnitude >> m) value = reinterpret<f32>((magnitude << (23 - m)) + ((126 + m) << 23));
  if (<i32>magnitude > maxCode(format, bits)) {
    value = reinterpret<f32>(format == 4 && magnitude == 0x7c ? 0x7f800000 : 0x7fc00000);
  }
  return (code >> (element - 1)) & 1 ? -value : value;
}

/** n values one at a time. */
function unpackRest(codes: usize, n: u32, format: u32, bits: u32, width: u32, scale: f32, out: usize): void {
  for (let i: u32 = 0; i < n; i++, out += 4) {
    const at = codes + (i * width >> 3);
    const shift = i * width & 7;
    let word = <u32>load<u8>(at);
    if (shift + width > 8) word |= <u32>load<u8>(at + 1) << 8;
    store<f32>(out, value_f32((word >> shift) & ((1 << width) - 1), format, bits, width) * scale);
  }
}

/** E2M1 by table: the two upper bytes of its sixteen values as f32, here twice the value. */
// @ts-ignore: decorator
@inline
function unpackE2m1(codes: usize, sixteens: u32, scale: v128, out: usize): void {
  const zero = held_i32x4(0);
  const high = v128.xor(zero, i8x16(0, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x41, 0x41, -128, -65, -64, -64, -64, -64, -63, -63));
  const low = v128.xor(zero, i8x16(0, -128, 0, 0x40, -128, -64, 0, 0x40, 0, -128, 0, 0x40, -128, -64, 0, 0x40));
  for (; sixteens; sixteens--, codes += 8, out += 64) {
    const bytes = loadUnpacked(codes, 4);
    store16(out, i8x16.swizzle(high, bytes), i8x16.swizzle(low, bytes), scale);
  }
}

/**
 * Floats in units of the least: magnitudes below 2^(m+1) are themselves, by table; above, exponent and mantissa are moved
 * to their places. Answers with whether there was an infinity or a NaN, which are not given.
 */
// @ts-ignore: decorator
@inline
function unpackFloats(codes: usize, sixteens: u32, format: u32, bits: u32, width: u32, scale: v128, out: usize): bool {
  const element = elementBits(format, bits);
  const m = mantissaBits(format, bits);
  const zero = held_i32x4(0);
  const high = v128.xor(zero, i8x16(0, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41));
  const low = v128.xor(zero, i8x16(0, -128, 0, 0x40, -128, -96, -64, -32, 0, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70));
  const magnitudes = held_i8x16((1 << (element - 1)) - 1);
  const tabled = held_i8x16((2 << m) - 1);
  const most = held_i8x16(maxCode(format, bits));
  const up = 8 - element;
  const sign = held_i8x16(128);
  const exponentHigh = held_i8x16((126 + m) >> 1);
  const exponentLow = held_i8x16((m & 1) << 7);
  let special = i32x4.splat(0);
  for (; sixteens; sixteens--, codes += 2 * width, out += 64) {
    const bytes = loadUnpacked(codes, width);
    const magnitude = v128.and(bytes, magnitudes);
    const large = i8x16.gt_s(magnitude, tabled);
    special = v128.or(special, i8x16.gt_s(magnitude, most));
    const small = v128.or(magnitude, large);
    const highs = v128.or(
      v128.or(i8x16.swizzle(high, small), v128.and(i8x16.shl(bytes, up), sign)),
      v128.and(large, exponentHigh),
    );
    const lows = v128.or(i8x16.swizzle(low, small), v128.and(large, exponentLow));
    const moved = v128.and(magnitude, large);
    const first = v128.shuffle<i8>(lows, highs, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const second = v128.shuffle<i8>(lows, highs, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    store8(out, i16x8.add(first, i16x8.shl(i16x8.extend_low_i8x16_u(moved), 7 - m)), scale);
    store8(out + 32, i16x8.add(second, i16x8.shl(i16x8.extend_high_i8x16_u(moved), 7 - m)), scale);
  }
  return v128.any_true(special);
}

// @ts-ignore: decorator
@inline
function unpackIntegers(codes: usize, sixteens: u32, width: u32, scale: v128, out: usize): void {
  const half = held_i8x16(1 << (width - 1));
  for (; sixteens; sixteens--, codes += 2 * width, out += 64) {
    const bytes = i8x16.sub(v128.xor(loadUnpacked(codes, width), half), half);
    const first = i16x8.extend_low_i8x16_s(bytes);
    const second = i16x8.extend_high_i8x16_s(bytes);
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(first)), scale));
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(first)), scale), 16);
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(second)), scale), 32);
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(second)), scale), 48);
  }
}

/**
 * mx_dequantize_f32: HEADER
 */
export function mx_dequantize_f32(
  codes: usize, scales: usize, rows: u32, n: u32, format: u32, out: usize,
  bits: u32, blockSize: u32, scaling: u32, rounding: u32, unpacked: u32, tensorScale: f32,
): void {
  const block = blockOf(format, blockSize);
  const width = widthOf(format, bits, unpacked);
  // The exponent of the unit that elements are read in.
  const unit = minExponent(format) - <i32>mantissaBits(format, bits);
  if (tensorScale == 0) tensorScale = 1;
  if (n % block == 0) {
    n *= rows;
    rows = <u32>(n != 0);
  }
  while (rows--) {
    for (let left = n; left; scales++) {
      const count = min(left, block);
      const sixteens = count >> 4;
      const byte = <u32>load<u8>(scales);
      let scale = reinterpret<f32>(0x7fc00000);
      if (isNv(format)) scale = nvScale(byte, format, tensorScale) * 0.5;
      else if (byte != 255) scale = powerOfTwo(<i32>byte - 127 + unit);
      const scale_f32x4 = f32x4.splat(scale);
      let again: u32 = 0;
      if (isInteger(format)) unpackIntegers(codes, sixteens, width, scale_f32x4, out);
      else if (width == 4) unpackE2m1(codes, sixteens, scale_f32x4, out);
      else if (unpackFloats(codes, sixteens, format, bits, width, scale_f32x4, out)) again = sixteens << 4;
      if (again | (count & 15)) {
        const from = again ? 0 : sixteens << 4;
        unpackRest(codes + (from * width >> 3), count - from, format, bits, width, scale, out + (from << 2));
      }
      codes += (count * width + 7) >> 3;
      out += count << 2;
      left -= count;
    }
  }
}
