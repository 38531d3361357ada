import {
  blockOf, elementBits, held_i32x4, held_i8x16, isInteger, isNv, mantissaBits, maxCode, maxExponent, minExponent, nvBias,
  nvNan, nvScale, powerOfTwo, widthOf,
} from './lib/mx';

const AWAY: u32 = 1;
const FLOOR: u32 = 2;

/** Values whose scales are found before their codes: 4 KB of x. */
const CHUNK: u32 = 1024;

const INFINITY_BITS: u32 = 0x7f800000;
const E8M0_NAN: u32 = 255;

/** The greatest |x| as its bits (NaN counts as greater than infinity): blocks of 16, then `rest` values. */
// @ts-ignore: decorator
@inline
function magnitude(x: usize, sixteens: u32, rest: u32, absolute: v128): u32 {
  let high_u32x4 = i32x4.splat(0);
  for (; sixteens; sixteens--, x += 64) {
    const ab = i32x4.max_s(v128.and(v128.load(x), absolute), v128.and(v128.load(x, 16), absolute));
    const cd = i32x4.max_s(v128.and(v128.load(x, 32), absolute), v128.and(v128.load(x, 48), absolute));
    high_u32x4 = i32x4.max_s(high_u32x4, i32x4.max_s(ab, cd));
  }
  high_u32x4 = i32x4.max_s(high_u32x4, v128.shuffle<i32>(high_u32x4, high_u32x4, 2, 3, 0, 1));
  high_u32x4 = i32x4.max_s(high_u32x4, v128.shuffle<i32>(high_u32x4, high_u32x4, 1, 0, 3, 2));
  let high = <u32>i32x4.extract_lane(high_u32x4, 0);
  for (; rest; rest--, x += 4) high = max(high, load<u32>(x) & 0x7fffffff);
  return high;
}

/** E8M0 bytes. `round` is what is added to the magnitude's bits before all but its exponent falls away. */
function powerScales(x: usize, n: u32, block: u32, round: u32, maxExponent: i32, scales: usize): void {
  const absolute = held_i32x4(0x7fffffff);
  for (; n; scales++) {
    const count = min(block, n);
    const high = magnitude(x, count >> 4, count & 15, absolute);
    const byte = min(max(<i32>((high + round) >> 23) - maxExponent, 0), <i32>E8M0_NAN - 1);
    store<u8>(scales, high < INFINITY_BITS ? byte : E8M0_NAN);
    x += count << 2;
    n -= count;
  }
}

/** E4M3 or UE5M3 bytes: magnitude / 6 / tensorScale in the range of normal scales, to nearest, ties to even. */
function nvScales(x: usize, n: u32, block: u32, format: u32, tensorScale: f32, scales: usize): void {
  const absolute = held_i32x4(0x7fffffff);
  const nan = nvNan(format);
  const bias = nvBias(format);
  const least = powerOfTwo(1 - bias);
  const most = reinterpret<f32>(((nan - 1) << 20) + ((127 - bias) << 23));
  for (; n; scales++) {
    const count = min(block, n);
    const high = magnitude(x, count >> 4, count & 15, absolute);
    const scale = reinterpret<u32>(min(max(reinterpret<f32>(high) / 6.0 / tensorScale, least), most));
    const byte = ((scale + 0x7ffff + ((scale >> 20) & 1)) >> 20) - ((127 - bias) << 3);
    store<u8>(scales, high < INFINITY_BITS ? byte : nan);
    x += count << 2;
    n -= count;
  }
}

/** Four magnitudes' codes, each in 32 bits. Adding 2^(e + 23 − m) rounds a float of exponent e to m bits, half to even. */
// @ts-ignore: decorator
@inline
function codes_i32x4(
  x: v128, scale: v128, divide: bool, exact: bool, absolute: v128, most: v128, least: v128, exponents: v128,
  above: v128, shift: i32, away: v128, floor: v128, half: v128,
): v128 {
  const magnitude = v128.and(x, absolute);
  const value = f32x4.pmin(divide ? f32x4.div(magnitude, scale) : f32x4.mul(magnitude, scale), most);
  const exponent = v128.and(f32x4.pmax(value, least), exponents);
  const magic = i32x4.add(exponent, above);
  const sum = f32x4.add(value, magic);
  let code = i32x4.add(i32x4.sub(sum, magic), i32x4.shr_u(i32x4.sub(exponent, least), shift));
  if (!exact) {
    // What the rounding took away: half a step where a tie went down, less than 0 where it went up.
    const lost = f32x4.sub(value, f32x4.sub(sum, magic));
    code = i32x4.sub(code, v128.and(f32x4.eq(lost, i32x4.sub(exponent, half)), away));
    code = i32x4.add(code, v128.and(f32x4.lt(lost, i32x4.splat(0)), floor));
  }
  return code;
}

/** One magnitude's code, as above. */
// @ts-ignore: decorator
@inline
function code_i32(value: f32, rounding: u32, m: u32, most: f32, least: f32): i32 {
  value = min(value, most);
  const exponent = reinterpret<u32>(max(value, least)) & INFINITY_BITS;
  const magic = reinterpret<f32>(exponent + ((23 - m) << 23));
  const sum = value + magic;
  const lost = value - (sum - magic);
  const code = reinterpret<i32>(sum) - reinterpret<i32>(magic) + ((exponent - reinterpret<i32>(least)) >> (23 - m));
  if (rounding == AWAY) return code + i32(lost == reinterpret<f32>(exponent - ((m + 1) << 23)));
  return code - i32(rounding == FLOOR && lost < 0);
}

/** Sixteen codes of `width` bits, a byte each, side by side: 8, 12 or 16 bytes. */
// @ts-ignore: decorator
@inline
function storePacked(codes: usize, bytes: v128, width: u32): void {
  if (width == 8) {
    v128.store(codes, bytes);
  } else if (width == 4) {
    const pairs = v128.and(v128.or(bytes, i16x8.shr_u(bytes, 4)), i16x8.splat(0x00ff));
    v128.store64_lane(codes, i8x16.narrow_i16x8_u(pairs, pairs), 0);
  } else {
    const pairs = v128.or(v128.and(bytes, i16x8.splat(0x003f)), i16x8.shr_u(v128.and(bytes, i16x8.splat(0x3f00)), 2));
    const fours = v128.or(v128.and(pairs, i32x4.splat(0xfff)), i32x4.shr_u(v128.and(pairs, i32x4.splat(0x0fff_0000)), 4));
    const packed = v128.shuffle<i8>(fours, fours, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
    v128.store64_lane(codes, packed, 0);
    v128.store32_lane(codes, packed, 2, 8);
  }
}

/** The codes of n values whose scales are known. */
// @ts-ignore: decorator
@inline
function pack(
  divide: bool, exact: bool, x: usize, n: u32, block: u32, format: u32, bits: u32, rounding: u32, width: u32,
  tensorScale: f32, codes: usize, scales: usize,
): void {
  const integer = <u32>isInteger(format);
  const m = mantissaBits(format, bits);
  const shift = 23 - m;
  const leastBits = (127 + minExponent(format)) << 23;
  const mostBits = leastBits - 0x800000 + (maxCode(format, bits) << shift);
  const mask = (1 << width) - 1;
  const sign = integer ? 0 : 1 << (elementBits(format, bits) - 1);

  const absolute = held_i32x4(0x7fffffff);
  const most = held_i32x4(mostBits);
  const least = held_i32x4(leastBits);
  const exponents = held_i32x4(INFINITY_BITS);
  const above = held_i32x4(shift << 23);
  const half = held_i32x4((m + 1) << 23);
  const away = i32x4.splat(rounding == AWAY ? -1 : 0);
  const floor = i32x4.splat(rounding == FLOOR ? -1 : 0);
  const sign_u8x16 = held_i8x16(sign);
  const complement = held_i8x16(-<i32>integer);
  const mask_u8x16 = held_i8x16(mask);

  for (; n; scales++) {
    const count = min(block, n);
    const byte = <u32>load<u8>(scales);
    const nan = byte == (divide && isNv(format) ? nvNan(format) : E8M0_NAN);
    // Dividing by a power of two is the same as multiplying by its inverse, down to denormals.
    const scale = isNv(format) ? nvScale(byte, format, tensorScale) : powerOfTwo(divide ? <i32>byte - 127 : 127 - <i32>byte);
    const scale_f32x4 = f32x4.splat(scale);
    const kept = v128.andnot(mask_u8x16, i32x4.splat(-i32(nan)));
    for (let sixteens = count >> 4; sixteens; sixteens--) {
      const a = v128.load(x);
      const b = v128.load(x, 16);
      const c = v128.load(x, 32);
      const d = v128.load(x, 48);
      const ab = i16x8.narrow_i32x4_s(
        codes_i32x4(a, scale_f32x4, divide, exact, absolute, most, least, exponents, above, shift, away, floor, half),
        codes_i32x4(b, scale_f32x4, divide, exact, absolute, most, least, exponents, above, shift, away, floor, half),
      );
      const cd = i16x8.narrow_i32x4_s(
        codes_i32x4(c, scale_f32x4, divide, exact, absolute, most, least, exponents, above, shift, away, floor, half),
        codes_i32x4(d, scale_f32x4, divide, exact, absolute, most, least, exponents, above, shift, away, floor, half),
      );
      // Saturation keeps the sign.
      const signs = i8x16.shr_s(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)), 7);
      const negated = v128.and(signs, complement);
      const signed = i8x16.sub(v128.xor(i8x16.narrow_i16x8_u(ab, cd), negated), negated);
      storePacked(codes, v128.and(v128.or(signed, v128.and(signs, sign_u8x16)), kept), width);
      x += 64;
      codes += 2 * width;
    }
    n -= count;
    // The end of a row: bytes are filled low bits first.
    let filled: u32 = 0;
    let pending: u32 = 0;
    for (let rest = count & 15; rest; rest--, x += 4) {
      const value = abs(load<f32>(x));
      const code = code_i32(divide ? value / scale : value * scale, rounding, m, reinterpret<f32>(mostBits), reinterpret<f32>(leastBits));
      const negative = load<i32>(x) < 0;
      const signed = nan ? 0 : negative && integer ? -code : negative ? code | sign : code;
      pending |= (signed & mask) << filled;
      filled += width;
      for (; filled >= 8; filled -= 8, pending >>= 8) store<u8>(codes++, pending);
    }
    if (filled) store<u8>(codes, pending);
  }
}

function packDivided(
  x: usize, n: u32, block: u32, format: u32, bits: u32, rounding: u32, width: u32, tensorScale: f32,
  codes: usize, scales: usize,
): void {
  pack(true, false, x, n, block, format, bits, rounding, width, tensorScale, codes, scales);
}

function packNv(x: usize, n: u32, block: u32, format: u32, width: u32, tensorScale: f32, codes: usize, scales: usize): void {
  pack(true, true, x, n, block, format, 0, 0, width, tensorScale, codes, scales);
}

function packPower(x: usize, n: u32, block: u32, format: u32, bits: u32, width: u32, codes: usize, scales: usize): void {
  pack(false, true, x, n, block, format, bits, 0, width, 1, codes, scales);
}

/** What the scaling adds to a magnitude's bits: 0, all but one, half a step of the element, all above the largest mantissa. */
function roundingOf(scaling: u32, format: u32, bits: u32): u32 {
  const m = mantissaBits(format, bits);
  if (scaling == 1) return 0x7fffff;
  if (scaling == 2) return 1 << (22 - m);
  if (scaling == 3) return 0x7fffff - ((maxCode(format, bits) << (23 - m)) & 0x7fffff);
  return 0;
}

/**
 * mx_quantize_f32: HEADER
 */
export function mx_quantize_f32(
  x: usize, rows: u32, n: u32, format: u32, codes: usize, scales: usize,
  bits: u32, blockSize: u32, scaling: u32, rounding: u32, unpacked: u32, tensorScale: f32,
): void {
  const block = blockOf(format, blockSize);
  const width = widthOf(format, bits, unpacked);
  const round = roundingOf(scaling, format, bits);
  if (tensorScale == 0) tensorScale = 1;
  // Whole blocks follow each other without a seam.
  if (n % block == 0) {
    n *= rows;
    rows = <u32>(n != 0);
  }
  while (rows--) {
    for (let left = n; left; ) {
      const count = min(left, CHUNK);
      if (isNv(format)) nvScales(x, count, block, format, tensorScale, scales);
      else powerScales(x, count, block, round, maxExponent(format), scales);
      if (rounding) packDivided(x, count, block, format, bits, rounding, width, tensorScale, codes, scales);
      else if (isNv(format)) packNv(x, count, block, format, width, tensorScale, codes, scales);
      else packPower(x, count, block, format, bits, width, codes, scales);
      x += count << 2;
      codes += (count * width + 7) >> 3;
      scales += (count + block - 1) / block;
      left -= count;
    }
  }
}
