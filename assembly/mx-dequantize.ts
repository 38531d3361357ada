import {
  E8M0_NAN, blockOf, elementBits, isInteger, isNv, mantissaBits, maxCode, minExponent, powerOfTwo, scaleOf, widthOf,
} from './lib/mx';
import { held_i32x4, held_i8x16 } from './lib/held';
import { high16, high8, low16, low8 } from './lib/interleave';

/** Sixteen codes of 6 bits from 12 bytes, a byte each; `sixes` has 63 in every 32 bits. */
// @ts-ignore: decorator
@inline
function load6(codes: usize, sixes: v128): v128 {
  const packed = v128.load32_lane(codes, v128.load64_zero(codes), 2, 8);
  // Three bytes as two pairs, the first two and the last two: each holds two codes.
  const pairs = v128.shuffle<i8>(packed, packed, 0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11);
  const a = v128.and(pairs, sixes);
  const b = v128.and(i32x4.shl(pairs, 2), i32x4.shl(sixes, 8));
  const c = v128.and(i32x4.shr_u(pairs, 4), i32x4.shl(sixes, 16));
  const d = v128.and(i32x4.shr_u(pairs, 2), i32x4.shl(sixes, 24));
  return v128.or(v128.or(a, b), v128.or(c, d));
}

/** Sixteen codes of 4 bits from 8 bytes, a byte each. */
// @ts-ignore: decorator
@inline
function load4(codes: usize, nibble: v128): v128 {
  const pairs = v128.load64_zero(codes);
  return v128.and(low8(pairs, i16x8.shr_u(pairs, 4)), nibble);
}

/** Eight values from the upper halves of their bits. */
// @ts-ignore: decorator
@inline
function store8(out: usize, upper: v128, zero: v128, scale: v128): void {
  v128.store(out, f32x4.mul(low16(zero, upper), scale));
  v128.store(out, f32x4.mul(high16(zero, upper), scale), 16);
}

/** Sixteen values from the two upper bytes of their bits. */
// @ts-ignore: decorator
@inline
function store16(out: usize, high: v128, low: v128, zero: v128, scale: v128): void {
  store8(out, low8(low, high), zero, scale);
  store8(out + 32, high8(low, high), zero, scale);
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

/** What one of an element's units, its least magnitude, is worth in a block. Denormal only where all of the block is tiny. */
// @ts-ignore: decorator
@inline
function unitOf(byte: u32, format: u32, unit: i32, tensorScale: f32): f32 {
  if (isNv(format)) return scaleOf(byte, format, tensorScale) * 0.5;
  return byte == E8M0_NAN ? reinterpret<f32>(0x7fc00000) : powerOfTwo(<i32>byte - 127 + unit);
}

/** E2M1 by table: the two upper bytes of its sixteen values as f32, in units of 0.5. */
function unpackE2m1(
  codes: usize, scales: usize, sixteens: u32, block: u32, format: u32, tensorScale: f32, out: usize,
): void {
  const zero = held_i32x4(0);
  const high = v128.xor(zero, i8x16(0, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x41, 0x41, -128, -65, -64, -64, -64, -64, -63, -63));
  const low = v128.xor(zero, i8x16(0, -128, 0, 0x40, -128, -64, 0, 0x40, 0, -128, 0, 0x40, -128, -64, 0, 0x40));
  const nibble = held_i8x16(15);
  block >>= 4;
  for (; sixteens; scales++) {
    const scale = f32x4.splat(unitOf(load<u8>(scales), format, -1, tensorScale));
    let count = min(block, sixteens);
    sixteens -= count;
    do {
      const bytes = load4(codes, nibble);
      store16(out, i8x16.swizzle(high, bytes), i8x16.swizzle(low, bytes), zero, scale);
      codes += 8;
      out += 64;
    } while (--count);
  }
}

/**
 * Floats in units of twice their least (E2M1, E2M3 and E4M3: m odd) or of their least: so the exponents that are added are
 * even, and sit in the upper byte alone. Magnitudes below 2^(m+1) by table; of those above, exponent and mantissa are moved
 * to their places. Infinities and NaNs are not: their blocks are done again.
 */
// @ts-ignore: decorator
@inline
function unpackFloats(
  codes: usize, scales: usize, sixteens: u32, block: u32, format: u32, width: u32, tensorScale: f32, out: usize,
): void {
  const element = elementBits(format, 0);
  const m = mantissaBits(format, 0);
  const odd = m & 1;
  const unit = minExponent(format) - <i32>m;
  const zero = held_i32x4(0);
  // 0, 1, ... 15 as f32, or their halves.
  const high = v128.xor(zero, odd
    ? i8x16(0, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40)
    : i8x16(0, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41));
  const low = v128.xor(zero, odd
    ? i8x16(0, 0, -128, -64, 0, 0x20, 0x40, 0x60, -128, -112, -96, -80, -64, -48, -32, -16)
    : i8x16(0, -128, 0, 0x40, -128, -96, -64, -32, 0, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70));
  const sixes = held_i32x4(63);
  const used = held_i8x16((1 << element) - 1);
  const magnitudes = held_i8x16((1 << (element - 1)) - 1);
  const tabled = held_i8x16((2 << m) - 1);
  const most = held_i8x16(maxCode(format, 0));
  const toTop = held_i32x4(0x0001_0001 << (8 - element));
  const up = held_i32x4(0x0001_0001 << (7 - m));
  const exponent = held_i8x16((126 + m - odd) >> 1);
  block >>= 4;
  for (; sixteens; scales++) {
    const scale = unitOf(load<u8>(scales), format, unit, tensorScale);
    const scale_f32x4 = f32x4.splat(odd ? scale + scale : scale);
    let special = i32x4.splat(0);
    const all = min(block, sixteens);
    sixteens -= all;
    let count = all;
    do {
      const bytes = width == 6 ? load6(codes, sixes) : v128.and(v128.load(codes), used);
      const magnitude = v128.and(bytes, magnitudes);
      const large = i8x16.gt_s(magnitude, tabled);
      special = v128.or(special, i8x16.gt_s(magnitude, most));
      const small = v128.or(magnitude, large);
      // Within bytes: bits that would cross into the next are masked away. The sign bit goes to the top.
      const bottom = v128.and(magnitude, tabled);
      const exponents = i8x16.add(i16x8.shr_u(v128.xor(magnitude, bottom), m + 1), exponent);
      const sign = i16x8.mul(v128.xor(bytes, magnitude), toTop);
      const highs = v128.or(v128.or(i8x16.swizzle(high, small), v128.and(exponents, large)), sign);
      const lows = v128.or(i8x16.swizzle(low, small), v128.and(i16x8.mul(bottom, up), large));
      store16(out, highs, lows, zero, scale_f32x4);
      codes += 2 * width;
      out += 64;
    } while (--count);
    if (v128.any_true(special)) unpackRest(codes - all * 2 * width, all << 4, format, 0, width, scale, out - (all << 6));
  }
}

function unpackFloats8(codes: usize, scales: usize, sixteens: u32, block: u32, format: u32, tensorScale: f32, out: usize): void {
  unpackFloats(codes, scales, sixteens, block, format, 8, tensorScale, out);
}

function unpackFloats6(codes: usize, scales: usize, sixteens: u32, block: u32, format: u32, tensorScale: f32, out: usize): void {
  unpackFloats(codes, scales, sixteens, block, format, 6, tensorScale, out);
}

function unpackIntegers(
  codes: usize, scales: usize, sixteens: u32, block: u32, format: u32, bits: u32, width: u32, out: usize,
): void {
  const unit = -<i32>mantissaBits(format, bits);
  const sixes = held_i32x4(63);
  const nibble = held_i8x16(15);
  const half = held_i8x16(1 << (width - 1));
  block >>= 4;
  for (; sixteens; scales++) {
    const scale = f32x4.splat(unitOf(load<u8>(scales), 0, unit, 1));
    let count = min(block, sixteens);
    sixteens -= count;
    do {
      const bytes = width == 8 ? v128.load(codes) : width == 4 ? load4(codes, nibble) : load6(codes, sixes);
      const signed = i8x16.sub(v128.xor(bytes, half), half);
      const first = i16x8.extend_low_i8x16_s(signed);
      const second = i16x8.extend_high_i8x16_s(signed);
      v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(first)), scale));
      v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(first)), scale), 16);
      v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(second)), scale), 32);
      v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(second)), scale), 48);
      codes += 2 * width;
      out += 64;
    } while (--count);
  }
}

/**
 * Values from elements and scale bytes: element · scale; nvfp4: element · f32(scale · tensorScale).
 *
 *   codes, scales u8, out f32 [rows, n]: shapes, layout and numbers those of mx_quantize_f32 (scaling and rounding mean nothing)
 *
 * With E8M0 exact, denormals included, but for overflow, which gives infinity; nvfp4 rounds twice. Any bytes are taken as they
 * are: a scale of NaN makes its block NaN; E4M3's NaN and E5M2's infinities and NaNs, which quantization never writes, are
 * those; the highest bit of an E4M3 scale is its sign. Unpacked codes: bits above a float element mean nothing.
 *
 * The caller guarantees: as mx_quantize_f32. Scratch: none.
 *
 * Method: an element of up to 3 mantissa and 5 exponent bits fits the upper half of an f32. E2M1 by two tables of sixteen
 * bytes; other floats see unpackFloats; units are chosen so that no denormal is multiplied save in blocks all tiny.
 *
 * Not done (8 M values, one Zen core): one loop for 6 and 8 bits, 2.4 ms instead of 2.1. Moving an element's bits to those of an
 * f32 and multiplying: fewer operations, but elements below the least normal are then denormal f32, slow on many CPUs.
 */
export function mx_dequantize_f32(
  codes: usize, scales: usize, rows: u32, n: u32, format: u32, out: usize,
  bits: u32, blockSize: u32, scaling: u32, rounding: u32, unpacked: u32, tensorScale: f32,
): void {
  const block = blockOf(format, blockSize);
  const width = widthOf(format, bits, unpacked);
  if (!(tensorScale > 0)) tensorScale = 1; // left out: 0, or NaN
  // Whole blocks follow each other without a seam.
  if (n % block == 0) {
    n *= rows;
    rows = <u32>(n != 0);
  }
  const sixteens = n >> 4;
  const rest = n & 15;
  while (rows--) {
    if (isInteger(format)) unpackIntegers(codes, scales, sixteens, block, format, bits, width, out);
    else if (width == 4) unpackE2m1(codes, scales, sixteens, block, format, tensorScale, out);
    else if (width == 6) unpackFloats6(codes, scales, sixteens, block, format, tensorScale, out);
    else unpackFloats8(codes, scales, sixteens, block, format, tensorScale, out);
    codes += 2 * sixteens * width;
    out += sixteens << 6;
    scales += (n + block - 1) / block;
    if (rest) {
      const unit = minExponent(format) - <i32>mantissaBits(format, bits);
      unpackRest(codes, rest, format, bits, width, unitOf(load<u8>(scales - 1), format, unit, tensorScale), out);
      codes += (rest * width + 7) >> 3;
      out += rest << 2;
    }
  }
}
