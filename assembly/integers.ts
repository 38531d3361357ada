import { narrow_i32x4 } from './lib/half';
import {
  AFFINE, code_i32x4, divisor_f32x4, fromHalves_f32x4, highestOf, isPacked, isSign, loadScale, mixed, nearest_i32x4, rowBytes, usesMean,
} from './lib/integers';
import { quantizeIntegerColumns } from './lib/integers-columns';
import { load4, loadPart, storePart } from './lib/part';
import { MAGIC, MAGIC_BITS } from './lib/quantize';
import { held_f32x4, held_i32x4 } from './lib/held';

/** Values of a row whose scales are all found before the first is encoded, so that no group waits for its own. */
const PIECE: u32 = 128;

/** The least and the greatest value in lanes 0 and 1, both NaN if there is one. */
function extremes(x: usize, length: u32): v128 {
  const first = v128.load32_splat(x);
  let low = first;
  let high = first;
  let odd = i32x4.splat(0);
  let left = length;
  for (; left >= 16; left -= 16) {
    const a = v128.load(x);
    const b = v128.load(x, 16);
    const c = v128.load(x, 32);
    const d = v128.load(x, 48);
    low = f32x4.pmin(low, f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d)));
    high = f32x4.pmax(high, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)));
    odd = v128.or(v128.or(odd, v128.or(f32x4.ne(a, a), f32x4.ne(b, b))), v128.or(f32x4.ne(c, c), f32x4.ne(d, d)));
    x += 64;
  }
  while (left) {
    const count = min(left, 4);
    const v = loadPart(x, count, first);
    low = f32x4.pmin(low, v);
    high = f32x4.pmax(high, v);
    odd = v128.or(odd, f32x4.ne(v, v));
    x += 16;
    left -= count;
  }
  // (low, low, high, high), then pairs meet.
  const a = v128.shuffle<i32>(low, high, 0, 1, 4, 5);
  const b = v128.shuffle<i32>(low, high, 2, 3, 6, 7);
  const least = f32x4.pmin(a, b);
  const most = f32x4.pmax(a, b);
  low = f32x4.pmin(least, v128.shuffle<i32>(least, least, 1, 0, 3, 2));
  high = f32x4.pmax(most, v128.shuffle<i32>(most, most, 1, 0, 3, 2));
  const both = v128.shuffle<i32>(low, high, 0, 6, 0, 6);
  return v128.any_true(odd) ? f32x4.splat(NaN) : both;
}

/** The greatest |x|: as integers, so that NaN counts as greater than infinity. */
function magnitude(x: usize, length: u32): f32 {
  const absolute = held_i32x4(0x7fffffff);
  let high = i32x4.splat(0);
  for (; length >= 16; length -= 16) {
    const a = v128.and(v128.load(x), absolute);
    const b = v128.and(v128.load(x, 16), absolute);
    const c = v128.and(v128.load(x, 32), absolute);
    const d = v128.and(v128.load(x, 48), absolute);
    high = i32x4.max_s(high, i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d)));
    x += 64;
  }
  while (length) {
    const count = min(length, 4);
    high = i32x4.max_s(high, v128.and(load4(x, count), absolute));
    x += 16;
    length -= count;
  }
  high = i32x4.max_s(high, v128.shuffle<i32>(high, high, 2, 3, 0, 1));
  high = i32x4.max_s(high, v128.shuffle<i32>(high, high, 1, 0, 3, 2));
  return f32x4.extract_lane(high, 0);
}

/** The mean of |x|, summed in the one order that all backends keep: see quantize_integers_f32. */
function mean(x: usize, length: u32): f32 {
  let total: f32 = 0;
  for (let left = length; left; ) {
    let sums = f32x4.splat(0);
    let block = min(left, 256);
    left -= block;
    while (block) {
      const count = min(block, 4);
      sums = f32x4.add(sums, f32x4.abs(load4(x, count)));
      x += 16;
      block -= count;
    }
    sums = f32x4.add(sums, v128.shuffle<i32>(sums, sums, 2, 3, 0, 1));
    total += f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1);
  }
  return total / <f32>length;
}

/** Sixteen codes as bytes become bits/2 words at `at`; 3 bits: the third bits go to `above`. Of fewer, only their words are written. */
// @ts-ignore: decorator
@inline
function store16(bits: u32, at: usize, above: usize, bytes: v128, count: u32): void {
  if (bits == 8) {
    storePart(at, bytes, (count + 3) >> 2);
    return;
  }
  if (bits == 1) {
    store<u16>(at, i8x16.bitmask(i8x16.shl(bytes, 7)));
    return;
  }
  if (bits == 4) {
    const v = v128.and(v128.or(bytes, i16x8.shr_u(bytes, 4)), i16x8.splat(0xff));
    const words = i8x16.narrow_i16x8_u(v, v);
    if (count > 8) v128.store_lane<i64>(at, words, 0);
    else v128.store_lane<i32>(at, words, 0);
    return;
  }
  // Two bits: neighbours join to nibbles in bytes 0 and 2 of each word, these to its lowest byte.
  let v = bits == 3 ? v128.and(bytes, i8x16.splat(3)) : bytes;
  v = v128.or(v, i32x4.shr_u(v, 6));
  v = v128.or(v, i32x4.shr_u(v, 12));
  v128.store_lane<i32>(at, v128.shuffle<i8>(v, v, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12), 0);
  if (bits == 3) store<u16>(above, i8x16.bitmask(i8x16.shl(bytes, 5)));
}

/** The codes of one group as bytes into words from code number `at` of a line on. */
// @ts-ignore: decorator
@inline
function encode(
  x: usize, at: u32, length: u32, bits: u32, sign: bool, seed: u32, key: u32, first: u32, scale: f32, minimum: f32,
  low: v128, high: v128, magic: v128, magicBits: v128, byte: v128, mask: v128, codes: usize,
): void {
  const m = f32x4.splat(minimum);
  const d = divisor_f32x4(f32x4.splat(scale));
  const plain = !seed && !sign;
  const end = at + length;
  do {
    const count = min(16, end - at);
    let bytes: v128;
    if (count == 16 && plain) {
      const ab = i16x8.narrow_i32x4_s(
        nearest_i32x4(v128.load(x), m, d, low, high, magic, magicBits),
        nearest_i32x4(v128.load(x, 16), m, d, low, high, magic, magicBits),
      );
      const cd = i16x8.narrow_i32x4_s(
        nearest_i32x4(v128.load(x, 32), m, d, low, high, magic, magicBits),
        nearest_i32x4(v128.load(x, 48), m, d, low, high, magic, magicBits),
      );
      bytes = i8x16.narrow_i16x8_u(v128.and(ab, byte), v128.and(cd, byte));
    } else if (count == 16 && !seed) {
      const zero = i32x4.splat(0);
      const ab = i16x8.narrow_i32x4_s(f32x4.lt(v128.load(x), zero), f32x4.lt(v128.load(x, 16), zero));
      const cd = i16x8.narrow_i32x4_s(f32x4.lt(v128.load(x, 32), zero), f32x4.lt(v128.load(x, 48), zero));
      bytes = v128.and(i8x16.narrow_i16x8_s(ab, cd), f32x4.eq(d, d));
    } else {
      bytes = i32x4.splat(0);
      let index = i32x4.add(i32x4.splat(first + at), i32x4(0, 1, 2, 3));
      for (let i: u32 = 0; i < 16; i += 4) {
        let code = i32x4.splat(0);
        if (i < count) {
          code = code_i32x4(load4(x + 4 * i, count - i), m, d, low, high, sign, seed, key, index);
          code = v128.and(code, i32x4.splat(0xff));
        }
        code = i16x8.narrow_i32x4_s(code, code);
        bytes = v128.shuffle<i32>(bytes, i8x16.narrow_i16x8_u(code, code), 1, 2, 3, 4);
        index = i32x4.add(index, i32x4.splat(4));
      }
      const places = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      bytes = v128.and(bytes, i8x16.lt_u(places, i8x16.splat(<i8>count)));
    }
    const block = at >> 4;
    const run = codes + (block >> 1) * 12;
    store16(bits, bits == 3 ? run + 4 * (block & 1) : codes + 2 * bits * block, run + 8 + 2 * (block & 1), v128.and(bytes, mask), count);
    x += 64;
    at += 16;
  } while (at < end);
}

/** Of ternary codes, the digits in a line so far: twenty to a word, which groups end within. */
// @ts-ignore: decorator
@inline
function encodePacked(
  x: usize, at: u32, length: u32, line: u32, seed: u32, key: u32, first: u32, scale: f32, codes: usize,
): void {
  const zero = i32x4.splat(0);
  const one = f32x4.splat(1);
  const d = divisor_f32x4(f32x4.splat(scale));
  const end = at + length;
  let place = at % 20 >> 2;
  let power: u32 = place == 0 ? 1 : place == 1 ? 3 : place == 2 ? 9 : place == 3 ? 27 : 81;
  codes += at / 20 << 2;
  do {
    const count = min(4, end - at);
    const index = i32x4.add(i32x4.splat(first + at), i32x4(0, 1, 2, 3));
    let code = code_i32x4(load4(x, count), zero, d, f32x4.neg(one), one, false, seed, key, index);
    code = i32x4.add(code, i32x4.splat(1));
    code = i16x8.narrow_i32x4_s(code, code);
    let digits: u32 = i32x4.extract_lane(i8x16.narrow_i16x8_u(code, code), 0);
    if (count < 4) digits &= (1 << (8 * count)) - 1;
    store<u32>(codes, (power == 1 ? 0 : load<u32>(codes)) + digits * power);
    power *= 3;
    if (power == 243) {
      power = 1;
      codes += 4;
    }
    x += 16;
    at += 4;
  } while (at < end);
}

/** Scales, and minima where there are any, of groups that `length` values of a row fall into. */
function findScales(
  x: usize, length: u32, groupSize: u32, bits: u32, scheme: u32, half: u32, lows: usize, highs: usize, scales: usize, minima: usize,
): void {
  const averaged = usesMean(bits, scheme);
  const highest = highestOf(bits, scheme);
  const step: usize = half ? 2 : 4;
  for (; length; length -= groupSize) {
    groupSize = min(groupSize, length);
    let s: f32;
    let m: f32 = 0;
    if (highs) {
      if (scheme == AFFINE) m = load<f32>(lows);
      s = (load<f32>(highs) - m) / (averaged ? 1 : highest);
      lows += 4;
      highs += 4;
    } else if (averaged) {
      s = mean(x, groupSize);
    } else if (scheme == AFFINE) {
      const range = extremes(x, groupSize);
      m = f32x4.extract_lane(range, 0);
      s = (f32x4.extract_lane(range, 1) - m) / highest;
    } else {
      s = magnitude(x, groupSize) / highest;
    }
    let halves = i32x4.splat(0);
    if (half) {
      halves = narrow_i32x4(f32x4.replace_lane(f32x4.splat(s), 1, m));
      const rounded = fromHalves_f32x4(halves);
      s = f32x4.extract_lane(rounded, 0);
      m = f32x4.extract_lane(rounded, 1);
    }
    if (!(s >= 0 && s < Infinity && m - m == 0)) {
      s = m = NaN;
      halves = i32x4.splat(0x7e00);
    }
    if (half) {
      v128.store_lane<u16>(scales, halves, 0);
      if (scheme == AFFINE) v128.store_lane<u16>(minima, halves, 2);
    } else {
      store<f32>(scales, s);
      if (scheme == AFFINE) store<f32>(minima, m);
    }
    x += groupSize << 2;
    scales += step;
    minima += step;
  }
}

function quantizeIntegerRows(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, half: u32, lows: usize, highs: usize, seed: u32, first: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  const packed = isPacked(bits, scheme);
  const lineBytes = rowBytes(n, bits, scheme);
  const step: usize = half ? 2 : 4;
  const pieceGroups = max(1, PIECE / groupSize);
  const key = mixed(seed);
  const sign = isSign(bits, scheme);
  const highest = highestOf(bits, scheme);
  const high = held_f32x4(highest);
  const low = held_f32x4(scheme == AFFINE || sign ? 0 : -highest);
  const magic = held_f32x4(MAGIC);
  const magicBits = held_i32x4(MAGIC_BITS);
  const byte = held_i32x4(0x00ff_00ff);
  const mask = held_i32x4(((1 << bits) - 1) * 0x0101_0101);
  do {
    for (let at: u32 = 0; at < n; ) {
      const end = min(n, at + pieceGroups * groupSize);
      findScales(x, end - at, groupSize, bits, scheme, half, lows, highs, scales, minima);
      while (at < end) {
        const length = min(groupSize, n - at);
        const s = loadScale(scales, half), m: f32 = scheme == AFFINE ? loadScale(minima, half) : 0;
        if (packed) encodePacked(x, at, length, n, seed, key, first, s, codes);
        else encode(x, at, length, bits, sign, seed, key, first, s, m, low, high, magic, magicBits, byte, mask, codes);
        at += length;
        x += length << 2;
        scales += step;
        minima += step;
        if (highs) {
          lows += 4;
          highs += 4;
        }
      }
    }
    // A run of 32 codes whose second half nobody has.
    const blocks = (n + 15) >> 4;
    if (blocks & 1) {
      if (bits == 1 && !packed) store<u16>(codes + 2 * blocks, 0);
      if (bits == 3) {
        store<u32>(codes + lineBytes - 8, 0);
        store<u16>(codes + lineBytes - 2, 0);
      }
    }
    codes += lineBytes;
    first += n;
  } while (--rows);
}

/**
 * Integer codes of 1, 1.6, 2, 3, 4 or 8 bits with one scale (and, when affine, one minimum) per group of values, f32 or f16.
 *
 * x f32 [rows, n]; codes u32, laid out as ts/contract/integers.ts draws them: axis 0 [rows, words], axis 1 [words, n];
 * scales, minima f32 or (scaleType 1) f16, [rows, ceil(n/groupSize)] or [ceil(rows/groupSize), n].
 * lows, highs f32, shaped as scales, or offset 0: ranges given instead of searched.
 * scheme 0 affine: scale = (max − min) / (2^bits − 1), code = round((x − min) / scale).
 * scheme 1 symmetric: scale = max|x| / (2^(bits−1) − 1), code = round(x / scale) in two's complement; 1 bit: scale = mean|x|,
 *   code 1 where x < 0. scheme 2 ternary: scale = mean|x|, code = round(x / scale) within [−1, 1]; bits 2, or 1 for five to a byte.
 * With scaleType 1, scale and minimum are those f32 numbers rounded to f16; codes are made of the rounded ones. Codes saturate.
 * seed 0: to nearest, ties to even. Otherwise up where number first + row·n + column of the seed's sequence is less than the
 *   fraction (1 bit symmetric: code 1 with the probability (1 − x/scale)/2).
 *
 * Every operation is one correctly rounded f32 operation and nothing is fused at any level: the codes are the reference's.
 * The mean sums in one order: within each 256 values, value i joins sum i mod 4; (s0 + s2) + (s1 + s3) joins the total.
 * Scale 0: codes 0. NaN, infinity, a range that overflows f32 (or a scale or minimum that overflows f16) or runs backwards:
 * scale and minimum NaN, codes 0. With a given range x is not asked: infinities saturate, NaN gets code 0.
 *
 * The caller guarantees: bits and scheme as above; groupSize 0, a multiple of 16 or at least the axis; arrays that do not
 * overlap; minima when affine, lows too if highs then. Scratch: none.
 *
 * Method: KIVI (Z. Liu et al., 2024), BitNet b1.58 (S. Ma et al., 2024), XNOR-Net (M. Rastegari et al., 2016) for the formats;
 * G. Steele et al., SplitMix (2014), with lowbias32 for the random numbers. First the scales of 128 values, then their
 * codes (groups of 32 in 0.8 of the time that they take one after the other, others about the same; of 1024 values: the same from
 * the cache, but from memory up to 1.6 times as long where scales are means; Intel Xeon).
 * Blocks of sixteen codes are whole in every format but the packed ternary, whose words are added to four digits at a
 * time. Down columns, four columns at a time.
 *
 * Not done: extremes in a loop of their own and scales four at a time, as in quantize_f32, which takes half the time still
 * (one Zen 4 core, groups of 32, 4 bits): it keeps f32 extremes where scales go, and f16 ones have no room for
 * them. Rows of extremes instead of four columns at a time: needs scratch.
 */
export function quantize_integers_f32(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  codes: usize, scales: usize, minima: usize, scaleType: u32, lows: usize, highs: usize, seed: u32, first: u32,
): void {
  if (rows == 0 || n == 0) return;
  const length = axis ? rows : n;
  if (groupSize == 0 || groupSize > length) groupSize = length;
  if (axis) quantizeIntegerColumns(x, n << 2, 0, rows, n, n, bits, groupSize, scheme, scaleType, lows, highs, seed, first, codes, scales, minima);
  else quantizeIntegerRows(x, rows, n, bits, groupSize, scheme, scaleType, lows, highs, seed, first, codes, scales, minima);
}
