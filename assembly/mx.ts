import {
  E8M0_NAN, blockOf, elementBits, isInteger, isNv, mantissaBits, maxCode, maxExponent, minExponent, nvBias, nvNan, powerOfTwo, scaleOf, widthOf,
} from './lib/mx';
import { held_i32x4, held_i8x16 } from './lib/held';
import { high32, high64, low32, low64 } from './lib/interleave';

const AWAY: u32 = 1;
const FLOOR: u32 = 2;

/** Values whose scales are found before their codes: 4 KB of x. */
const CHUNK: u32 = 1024;

const INFINITY_BITS: u32 = 0x7f800000;

/** The greatest |x| of blocks of 16, lane by lane, as its bits (NaN counts as greater than infinity). */
// @ts-ignore: decorator
@inline
function magnitudes_u32x4(x: usize, sixteens: u32, absolute: v128): v128 {
  let high = i32x4.splat(0);
  for (; sixteens; sixteens--, x += 64) {
    const ab = i32x4.max_s(v128.and(v128.load(x), absolute), v128.and(v128.load(x, 16), absolute));
    const cd = i32x4.max_s(v128.and(v128.load(x, 32), absolute), v128.and(v128.load(x, 48), absolute));
    high = i32x4.max_s(high, i32x4.max_s(ab, cd));
  }
  return high;
}

/** The greatest lane of each of four vectors. */
// @ts-ignore: decorator
@inline
function greatest_u32x4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.max_s(low32(a, b), high32(a, b));
  const cd = i32x4.max_s(low32(c, d), high32(c, d));
  return i32x4.max_s(low64(ab, cd), high64(ab, cd));
}

/** E8M0 bytes of four magnitudes: `round` is added to their bits before all but the exponent falls away. */
// @ts-ignore: decorator
@inline
function powers_i32x4(high: v128, round: v128, maxExponent: v128): v128 {
  const exponent = i32x4.sub(i32x4.shr_u(i32x4.add(high, round), 23), maxExponent);
  const byte = i32x4.max_s(i32x4.min_s(exponent, i32x4.splat(E8M0_NAN - 1)), i32x4.splat(0));
  return v128.or(byte, i32x4.gt_s(high, i32x4.splat(INFINITY_BITS - 1)));
}

/** E4M3 or UE5M3 bytes: magnitude / 6 / tensorScale in the range of normal scales, to nearest, ties to even. */
// @ts-ignore: decorator
@inline
function nvs_i32x4(high: v128, least: v128, most: v128, offset: v128, tensorScale: v128, nan: v128): v128 {
  const quotient = f32x4.div(f32x4.div(high, f32x4.splat(6)), tensorScale);
  const scale = f32x4.pmin(f32x4.pmax(quotient, least), most);
  const even = v128.and(i32x4.shr_u(scale, 20), i32x4.splat(1));
  const byte = i32x4.shr_u(i32x4.add(i32x4.add(scale, offset), even), 20);
  return v128.bitselect(nan, byte, i32x4.gt_s(high, i32x4.splat(INFINITY_BITS - 1)));
}

/** The scale bytes of n values, four blocks at a time; at the end of a row block by block. */
// @ts-ignore: decorator
@inline
function findScales(
  nv: bool, x: usize, n: u32, block: u32, format: u32, round: u32, tensorScale: f32, scales: usize,
): void {
  const absolute = held_i32x4(0x7fffffff);
  const round_i32x4 = i32x4.splat(round);
  const maxExponent_i32x4 = i32x4.splat(maxExponent(format));
  const offset = (127 - nvBias(format)) << 23;
  const least = i32x4.splat(offset + 0x800000);
  const most = i32x4.splat(offset + ((nvNan(format) - 1) << 20));
  const nan = i32x4.splat(nvNan(format));
  const offset_i32x4 = i32x4.splat(0x7ffff - offset);
  const tensorScale_f32x4 = f32x4.splat(tensorScale);
  const sixteens = block >> 4;
  for (; n; scales += 4) {
    let high: v128;
    const count = min(n, 4 * block);
    if (n >= 4 * block) {
      high = greatest_u32x4(
        magnitudes_u32x4(x, sixteens, absolute),
        magnitudes_u32x4(x + 4 * block, sixteens, absolute),
        magnitudes_u32x4(x + 8 * block, sixteens, absolute),
        magnitudes_u32x4(x + 12 * block, sixteens, absolute),
      );
    } else {
      // Fewer than four blocks, the last of them perhaps short: one value after the other, block by block into the lanes.
      high = i32x4.splat(0);
      let left = n;
      do {
        let greatest: u32 = 0;
        // The last block comes first, and moves up by a lane with each one before it.
        const from = (left - 1) / block * block;
        for (let i = from; i < left; i++) greatest = max(greatest, load<u32>(x + (i << 2)) & 0x7fffffff);
        high = i32x4.replace_lane(v128.shuffle<i32>(high, high, 0, 0, 1, 2), 0, greatest);
        left = from;
      } while (left);
    }
    const bytes = nv
      ? nvs_i32x4(high, least, most, offset_i32x4, tensorScale_f32x4, nan)
      : powers_i32x4(high, round_i32x4, maxExponent_i32x4);
    const halves = i16x8.narrow_i32x4_s(v128.and(bytes, i32x4.splat(255)), bytes);
    const packed = i8x16.narrow_i16x8_u(halves, halves);
    if (n >= 4 * block) {
      v128.store32_lane(scales, packed, 0);
    } else {
      let word = <u32>i32x4.extract_lane(packed, 0);
      for (let blocks = (n + block - 1) / block, at = scales; blocks; blocks--, word >>= 8) store<u8>(at++, word);
    }
    x += count << 2;
    n -= count;
  }
}

function powerScales(x: usize, n: u32, block: u32, format: u32, round: u32, scales: usize): void {
  findScales(false, x, n, block, format, round, 1, scales);
}

function nvScales(x: usize, n: u32, block: u32, format: u32, tensorScale: f32, scales: usize): void {
  findScales(true, x, n, block, format, 0, tensorScale, scales);
}

/**
 * The codes of four magnitudes, 256-fold, saturated by whoever narrows them. Adding 2^(e + 23 − m) rounds a float of exponent
 * e to m bits, half to even. Less what was added but for e, the sum's lower half is the steps above 2^e (or above 0, below the
 * least normal), its upper half 2^7 times e above its least: one dot product makes the code of both.
 */
// @ts-ignore: decorator
@inline
function codes_i32x4(
  x: v128, scale: v128, divide: bool, exact: bool, absolute: v128, most: v128, least: v128, exponents: v128,
  above: v128, added: v128, weights: v128, away: v128, floor: v128, half: v128,
): v128 {
  const magnitude = v128.and(x, absolute);
  const value = divide ? f32x4.pmin(f32x4.div(magnitude, scale), most) : f32x4.mul(magnitude, scale);
  const exponent = v128.and(f32x4.pmax(value, least), exponents);
  const magic = i32x4.add(exponent, above);
  const sum = f32x4.add(value, magic);
  let steps = i32x4.sub(sum, added);
  if (!exact) {
    // What the rounding took away: half a step where a tie went down, less than 0 where it went up.
    const lost = f32x4.sub(value, f32x4.sub(sum, magic));
    steps = i32x4.sub(steps, v128.and(f32x4.eq(lost, i32x4.sub(exponent, half)), away));
    steps = i32x4.add(steps, v128.and(f32x4.lt(lost, i32x4.splat(0)), floor));
  }
  return i32x4.dot_i16x8_s(steps, weights);
}

/** Sixteen codes of `width` bits, a byte each, side by side: 8, 12 or 16 bytes. `ones` has 1 in every 32 bits. */
// @ts-ignore: decorator
@inline
function storePacked(codes: usize, bytes: v128, width: u32, ones: v128): void {
  if (width == 8) {
    v128.store(codes, bytes);
  } else if (width == 4) {
    const pairs = v128.or(bytes, i16x8.shr_u(bytes, 4));
    v128.store64_lane(codes, v128.shuffle<i8>(pairs, pairs, 0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0), 0);
  } else {
    // a + 64·b + 2^12·(c + 64·d)
    const second = i16x8.shr_u(bytes, 8);
    const pairs = i16x8.add(i16x8.sub(bytes, i16x8.shl(second, 8)), i16x8.shl(second, 6));
    const fours = i32x4.dot_i16x8_s(pairs, i32x4.add(ones, i32x4.shl(ones, 28)));
    const packed = v128.shuffle<i8>(fours, fours, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
    v128.store64_lane(codes, packed, 0);
    v128.store32_lane(codes, packed, 2, 8);
  }
}

/** The largest magnitude as the bits of an f32, from the least normal's. */
// @ts-ignore: decorator
@inline
function mostBits(format: u32, bits: u32): u32 {
  const least = (127 + minExponent(format)) << 23;
  return least - 0x800000 + (maxCode(format, bits) << (23 - mantissaBits(format, bits)));
}

/** The codes of whole blocks of 16 values whose scales are known. */
// @ts-ignore: decorator
@inline
function pack(
  divide: bool, exact: bool, x: usize, sixteens: u32, block: u32, format: u32, bits: u32, rounding: u32, width: u32,
  tensorScale: f32, codes: usize, scales: usize,
): void {
  const m = mantissaBits(format, bits);
  const leastBits = (127 + minExponent(format)) << 23;
  const absolute = held_i32x4(0x7fffffff);
  const most = held_i32x4(mostBits(format, bits));
  const least = held_i32x4(leastBits);
  const exponents = held_i32x4(INFINITY_BITS);
  const above = held_i32x4((23 - m) << 23);
  const added = i32x4.add(above, least);
  const weights = held_i32x4((2 << (16 + m)) | 256);
  const half = held_i32x4((m + 1) << 23);
  const away = i32x4.splat(rounding == AWAY ? -1 : 0);
  const floor = i32x4.splat(rounding == FLOOR ? -1 : 0);
  const largest = held_i8x16(maxCode(format, bits));
  const complement = held_i8x16(isInteger(format) ? -1 : 0);
  const sign = held_i8x16(isInteger(format) ? 0 : 1 << (elementBits(format, bits) - 1));
  const mask = held_i8x16((1 << width) - 1);
  const ones = held_i32x4(1);
  const nan = isNv(format) ? nvNan(format) : E8M0_NAN;
  const offset = (127 - nvBias(format)) << 23;

  block >>= 4;
  for (; sixteens; scales++) {
    const byte = <u32>load<u8>(scales);
    // Dividing by a power of two is the same as multiplying by its inverse, down to denormals.
    let scale = powerOfTwo(127 - <i32>byte);
    if (divide) scale = exact ? reinterpret<f32>((byte << 20) + offset) * tensorScale : scaleOf(byte, format, tensorScale);
    const scale_f32x4 = f32x4.splat(scale);
    const kept = v128.and(mask, i32x4.splat(-i32(byte != nan)));
    let count = min(block, sixteens);
    sixteens -= count;
    do {
      const a = v128.load(x);
      const b = v128.load(x, 16);
      const ab = i16x8.narrow_i32x4_s(
        codes_i32x4(a, scale_f32x4, divide, exact, absolute, most, least, exponents, above, added, weights, away, floor, half),
        codes_i32x4(b, scale_f32x4, divide, exact, absolute, most, least, exponents, above, added, weights, away, floor, half),
      );
      const c = v128.load(x, 32);
      const d = v128.load(x, 48);
      const cd = i16x8.narrow_i32x4_s(
        codes_i32x4(c, scale_f32x4, divide, exact, absolute, most, least, exponents, above, added, weights, away, floor, half),
        codes_i32x4(d, scale_f32x4, divide, exact, absolute, most, least, exponents, above, added, weights, away, floor, half),
      );
      const magnitudes = i8x16.min_u(i8x16.narrow_i16x8_u(i16x8.shr_u(ab, 8), i16x8.shr_u(cd, 8)), largest);
      // Saturation keeps the sign.
      const signs = i8x16.lt_s(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)), i32x4.splat(0));
      let signed = v128.or(magnitudes, v128.and(signs, sign));
      if (!exact) {
        const negated = v128.and(signs, complement);
        signed = i8x16.sub(v128.xor(signed, negated), negated);
      }
      storePacked(codes, v128.and(signed, kept), width, ones);
      x += 64;
      codes += 2 * width;
    } while (--count);
  }
}

/** Any format, any rounding. */
function packAny(
  x: usize, sixteens: u32, block: u32, format: u32, bits: u32, rounding: u32, width: u32, tensorScale: f32,
  codes: usize, scales: usize,
): void {
  pack(true, false, x, sixteens, block, format, bits, rounding, width, tensorScale, codes, scales);
}

function packNv(
  x: usize, sixteens: u32, block: u32, format: u32, width: u32, tensorScale: f32, codes: usize, scales: usize,
): void {
  pack(true, true, x, sixteens, block, format, 0, 0, width, tensorScale, codes, scales);
}

function packFloats(
  x: usize, sixteens: u32, block: u32, format: u32, width: u32, codes: usize, scales: usize,
): void {
  pack(false, true, x, sixteens, block, format, 0, 0, width, 1, codes, scales);
}

/** Two's complement, half to even. */
function packIntegers(x: usize, sixteens: u32, block: u32, bits: u32, width: u32, codes: usize, scales: usize): void {
  // 1.5·2^(23 − m): adding it rounds to m = bits − 2 places.
  const magic = held_i32x4(0x4b400000 - ((bits - 2) << 23));
  const largest = held_i8x16((1 << (bits - 1)) - 1);
  const smallest = i8x16.neg(largest);
  const mask = held_i8x16((1 << width) - 1);
  const ones = held_i32x4(1);
  block >>= 4;
  for (; sixteens; scales++) {
    const byte = <u32>load<u8>(scales);
    const scale = f32x4.splat(powerOfTwo(127 - <i32>byte));
    const kept = v128.and(mask, i32x4.splat(-i32(byte != E8M0_NAN)));
    let count = min(block, sixteens);
    sixteens -= count;
    do {
      const a = i32x4.sub(f32x4.add(f32x4.mul(v128.load(x), scale), magic), magic);
      const b = i32x4.sub(f32x4.add(f32x4.mul(v128.load(x, 16), scale), magic), magic);
      const ab = i16x8.narrow_i32x4_s(a, b);
      const c = i32x4.sub(f32x4.add(f32x4.mul(v128.load(x, 32), scale), magic), magic);
      const d = i32x4.sub(f32x4.add(f32x4.mul(v128.load(x, 48), scale), magic), magic);
      const bytes = i8x16.narrow_i16x8_s(ab, i16x8.narrow_i32x4_s(c, d));
      storePacked(codes, v128.and(i8x16.max_s(i8x16.min_s(bytes, largest), smallest), kept), width, ones);
      x += 64;
      codes += 2 * width;
    } while (--count);
  }
}

/** The codes of the last values of a row: bytes are filled low bits first. */
function packRest(
  x: usize, count: u32, format: u32, bits: u32, rounding: u32, width: u32, scale: f32, codes: usize,
): void {
  const m = mantissaBits(format, bits);
  const leastBits = (127 + minExponent(format)) << 23;
  const largest = reinterpret<f32>(mostBits(format, bits));
  let filled: u32 = 0;
  let pending: u32 = 0;
  for (; count; count--, x += 4) {
    let code = 0;
    if (scale == scale) {
      const value = min(abs(load<f32>(x)) / scale, largest);
      const exponent = reinterpret<u32>(max(value, reinterpret<f32>(leastBits))) & INFINITY_BITS;
      const magic = reinterpret<f32>(exponent + ((23 - m) << 23));
      const sum = value + magic;
      const lost = value - (sum - magic);
      code = reinterpret<i32>(sum) - reinterpret<i32>(magic) + ((exponent - leastBits) >> (23 - m));
      if (rounding == AWAY) code += i32(lost == reinterpret<f32>(exponent - ((m + 1) << 23)));
      if (rounding == FLOOR) code -= i32(lost < 0);
      if (load<i32>(x) < 0) code = isInteger(format) ? -code : code | (1 << (elementBits(format, bits) - 1));
    }
    pending |= (code & ((1 << width) - 1)) << filled;
    filled += width;
    for (; filled >= 8; filled -= 8, pending >>= 8) store<u8>(codes++, pending);
  }
  if (filled) store<u8>(codes, pending);
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
 * Elements of a few bits with a scale byte per block along the row: OCP microscaling, block floating point, NVFP4.
 *
 *   x      f32 [rows, n]
 *   codes  u8  [rows, ceil(n·width/8)] out: elements of `width` = 4, 6 or 8 bits, low bits first (the first of a byte's two
 *              in its low nibble; four of 6 bits in three bytes). A row starts a byte; its unused high bits are 0. Floats are
 *              sign, exponent, mantissa; integers two's complement, in the next field that holds them.
 *   scales u8  [rows, ceil(n/block)] out: E8M0; nvfp4: E4M3 or UE5M3. The last block of a row may be shorter
 *   format, scaling, rounding: positions in the lists of ts/contract/mx.ts. bits: bfp's, else 0. blockSize 0: the format's
 *   own. unpacked 1: a byte for each element. tensorScale 0: 1
 *
 * E8M0: byte = exponent of the greatest magnitude (after `scaling` has rounded it) − the element's greatest exponent + 127, in
 * [0, 254]; nvfp4: greatest magnitude / 6 / tensorScale, each rounded to f32, in the range of the scale's normal numbers, to
 * nearest, ties to even. An element is x / scale (nvfp4: / f32(scale · tensorScale)), rounded as `rounding` says, saturated.
 * torchao's to_mx and nvfp4_quantize bit for bit. Floats keep the sign of zero. Denormals are numbers like others.
 * A block of zeros: the least scale (E8M0 0, nvfp4 0x08), codes 0. NaN or infinity in a block: scale NaN (255; E4M3 0x7f,
 * UE5M3 0xff), all codes 0; other blocks are not touched by it.
 *
 * The caller guarantees: numbers in the contract's bounds, arrays that do not overlap. Any byte may start codes and scales.
 * Scratch: none. Nothing is fused at any level.
 *
 * Method: B. Rouhani et al., "OCP Microscaling Formats (MX) Specification v1.0", 2023. 4 KB of x at a time, so that x is read
 * from cache the second time: scales of four blocks at once, then codes, sixteen at once: see codes_i32x4. Integers take one
 * addition: the sum's lower bits are the code, and narrowing saturates it.
 *
 * Not done (8 M values, one Zen core): exponents moved to their place by shifts, whose amount depends on the format, MXFP4 6.5 ms
 * instead of 3.5; integers as magnitudes with signs, 4.7 instead of 1.9; scales block by block, nvfp4 7.0 instead of 5.7.
 * Multiplying by reciprocals in nvfp4 (other codes next to ties).
 */
export function mx_quantize_f32(
  x: usize, rows: u32, n: u32, format: u32, codes: usize, scales: usize,
  bits: u32, blockSize: u32, scaling: u32, rounding: u32, unpacked: u32, tensorScale: f32,
): void {
  const block = blockOf(format, blockSize);
  const width = widthOf(format, bits, unpacked);
  const round = roundingOf(scaling, format, bits);
  if (!(tensorScale > 0)) tensorScale = 1; // left out: 0, or NaN
  // Whole blocks follow each other without a seam.
  if (n % block == 0) {
    n *= rows;
    rows = <u32>(n != 0);
  }
  while (rows--) {
    for (let left = n; left; ) {
      const count = min(left, CHUNK);
      // Prefetching by hardware begins anew with every page: the one after the next begins to come near.
      if (left >= 3 * CHUNK) load<u8>(x + 8 * CHUNK);
      const sixteens = count >> 4;
      const rest = count & 15;
      if (isNv(format)) nvScales(x, count, block, format, tensorScale, scales);
      else powerScales(x, count, block, format, round, scales);
      if (rounding) packAny(x, sixteens, block, format, bits, rounding, width, tensorScale, codes, scales);
      else if (isNv(format)) packNv(x, sixteens, block, format, width, tensorScale, codes, scales);
      else if (isInteger(format)) packIntegers(x, sixteens, block, elementBits(format, bits), width, codes, scales);
      else packFloats(x, sixteens, block, format, width, codes, scales);
      x += sixteens << 6;
      codes += 2 * sixteens * width;
      scales += (count + block - 1) / block;
      if (rest) {
        packRest(x, rest, format, bits, rounding, width, scaleOf(load<u8>(scales - 1), format, tensorScale), codes);
        x += rest << 2;
        codes += (rest * width + 7) >> 3;
      }
      left -= count;
    }
  }
}
