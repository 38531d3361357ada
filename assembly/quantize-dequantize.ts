import {
  NARROW_EXPONENT, NARROW_LEAST, NARROW_MAGIC, NARROW_NAN, NARROW_SIZE, NARROW_TOP, halves_i32x4, narrow_i16x8, store1, storeNth, storeSome,
} from './lib/half';
import { loadPart } from './lib/part';
import { codeBytes, halfOf, stepAhead, unpack16, value_f32x4 } from './lib/quantize';
import { held_i32x4 } from './lib/held';

/** The code at bit `shift` of a word, sign-extended as (u ^ half) − half, and its value. */
// @ts-ignore: decorator
@inline
function value_f32(word: u32, shift: u32, mask: u32, half: i32, scale: f32, minimum: f32): f32 {
  return <f32>(<i32>(word >> shift & mask ^ half) - half) * scale + minimum;
}

/** The values of eight codes, the i-th such eight from out. */
// @ts-ignore: decorator
@inline
function store8<T>(
  out: usize, i: u32, codes: v128, scale: v128, minimum: v128,
  size: v128, exponent: v128, top: v128, nan: v128, least: v128, magic: v128,
): void {
  if (sizeof<T>() == 4) {
    storeNth(out, value_f32x4(i32x4.extend_low_i16x8_s(codes), scale, minimum), 2 * i);
    storeNth(out, value_f32x4(i32x4.extend_high_i16x8_s(codes), scale, minimum), 2 * i + 1);
    return;
  }
  const low = value_f32x4(i32x4.extend_low_i16x8_s(codes), scale, minimum);
  const high = value_f32x4(i32x4.extend_high_i16x8_s(codes), scale, minimum);
  storeNth(out, narrow_i16x8(low, high, size, exponent, top, nan, least, magic), i);
}

/**
 * Groups in rows of blocks, as in `extremes`; after each row, bytes of out and codes, and a scale and minimum, are passed over.
 * Four: an integer of the size of four codes.
 */
// @ts-ignore: decorator
@inline
function unpack<T, Four>(
  groups: u32, perGroup: u32, row: u32, skip: u32, codeSkip: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize, out: usize,
): void {
  const bits: u32 = 2 * sizeof<Four>();
  const size = halves_i32x4<T>(NARROW_SIZE), exponent = halves_i32x4<T>(NARROW_EXPONENT), top = halves_i32x4<T>(NARROW_TOP);
  const nan = halves_i32x4<T>(NARROW_NAN), least = halves_i32x4<T>(NARROW_LEAST), magic = halves_i32x4<T>(NARROW_MAGIC);
  const half = halfOf(bits, symmetric);
  const by4 = held_i32x4(0x0f0f0f0f);
  const by2 = held_i32x4(0x03030303);
  const sign = held_i32x4(half * 0x0101_0101);
  const offset = held_i32x4(half * 0x0001_0001);
  const used = held_i32x4(symmetric - 1);
  const slot: u32 = skip ? 4 : 0;
  if (symmetric) minima = scales; // anything readable: `used` makes it 0
  let rest = row;
  do {
    const s = v128.load32_splat(scales);
    const minimum = v128.and(v128.load32_splat(minima), used);
    let blocks = min(perGroup, rest);
    rest -= blocks;
    do {
      const words = bits == 2 ? v128.load32_splat(codes) : bits == 4 ? v128.load64_splat(codes) : v128.load(codes);
      const bytes = v128.xor(unpack16(bits, words, by4, by2), sign);
      const ab = i16x8.sub(i16x8.extend_low_i8x16_u(bytes), offset);
      const cd = i16x8.sub(i16x8.extend_high_i8x16_u(bytes), offset);
      store8<T>(out, 0, ab, s, minimum, size, exponent, top, nan, least, magic);
      store8<T>(out, 1, cd, s, minimum, size, exponent, top, nan, least, magic);
      codes += 2 * bits;
      out += 16 * sizeof<T>();
    } while (--blocks);
    scales += 4;
    minima += 4;
    if (!rest) {
      rest = row;
      out += skip;
      codes += codeSkip;
      scales += slot;
      minima += slot;
    }
  } while (--groups);
}

/** Bytes of out that hold as many values as `at` bytes of f32. */
// @ts-ignore: decorator
@inline
function bytes<T>(at: usize): usize {
  return sizeof<T>() == 4 ? at : at >> 1;
}

/** The last groups of rows `stride` bytes of out apart: any number of values. */
function unpackLast<T>(
  rows: u32, length: u32, stride: u32, codeStride: u32, slots: u32, bits: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize, out: usize,
): void {
  const half = halfOf(bits, symmetric);
  const by4 = held_i32x4(0x0f0f0f0f);
  const by2 = held_i32x4(0x03030303);
  const sign = held_i32x4(half * 0x0101_0101);
  const offset = held_i32x4(half * 0x0001_0001);
  do {
    const s = v128.load32_splat(scales);
    const minimum = symmetric ? i32x4.splat(0) : v128.load32_splat(minima);
    let from = codes;
    let to = out;
    for (let left: i32 = length; left > 0; left -= 16) {
      const words = bits == 2 ? v128.load32_splat(from)
        : bits == 4 && left > 8 ? v128.load64_splat(from)
        : bits == 4 ? v128.load32_splat(from)
        : loadPart(from, (left + 3) >> 2, by4);
      const bytes = v128.xor(bits == 2 ? unpack16(2, words, by4, by2) : bits == 4 ? unpack16(4, words, by4, by2) : words, sign);
      const ab = i16x8.sub(i16x8.extend_low_i8x16_u(bytes), offset);
      storeSome<T>(to, value_f32x4(i32x4.extend_low_i16x8_s(ab), s, minimum), left);
      if (left > 4) storeSome<T>(to + 4 * sizeof<T>(), value_f32x4(i32x4.extend_high_i16x8_s(ab), s, minimum), left - 4);
      if (left > 8) {
        const cd = i16x8.sub(i16x8.extend_high_i8x16_u(bytes), offset);
        storeSome<T>(to + 8 * sizeof<T>(), value_f32x4(i32x4.extend_low_i16x8_s(cd), s, minimum), left - 8);
        if (left > 12) storeSome<T>(to + 12 * sizeof<T>(), value_f32x4(i32x4.extend_high_i16x8_s(cd), s, minimum), left - 12);
      }
      from += 2 * bits;
      to += 16 * sizeof<T>();
    }
    codes += codeStride;
    scales += slots;
    minima += slots;
    out += stride;
  } while (--rows);
}

function unpackGroups<T>(
  groups: u32, size: u32, row: u32, skip: u32, codeSkip: u32, bits: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize, out: usize,
): void {
  if (bits == 2) unpack<T, u8>(groups, size, row, skip, codeSkip, symmetric, codes, scales, minima, out);
  else if (bits == 4) unpack<T, u16>(groups, size, row, skip, codeSkip, symmetric, codes, scales, minima, out);
  else unpack<T, u32>(groups, size, row, skip, codeSkip, symmetric, codes, scales, minima, out);
}

function dequantizeRows<T>(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, symmetric: u32, out: usize,
): void {
  if (!(n & 15)) {
    unpackGroups<T>(rows * ((n + groupSize - 1) / groupSize), groupSize >> 4, n >> 4, 0, 0, bits, symmetric, codes, scales, minima, out);
    return;
  }
  const groups = groupSize & 15 ? 0 : n / groupSize;
  const whole = groups * groupSize;
  const length = n - whole;
  const wholeBytes = codeBytes(whole, bits);
  const lastBytes = codeBytes(length, bits);
  const slots = 4 * (groups + 1);
  // Few enough rows that the second loop finds the first one's cache lines.
  const chunk = length < 64 ? max(1, 1024 / n) : 1;
  while (rows) {
    const count = min(rows, chunk);
    if (groups)
      unpackGroups<T>(count * groups, groupSize >> 4, whole >> 4, sizeof<T>() * length, lastBytes, bits, symmetric, codes, scales, minima, out);
    // Of a long last group, the blocks first.
    const more = length < 64 ? length : length & 15;
    const done = length - more;
    const at = 4 * groups;
    if (done)
      unpackGroups<T>(1, done >> 4, done >> 4, 0, 0, bits, symmetric, codes + wholeBytes, scales + at, minima + at, out + sizeof<T>() * whole);
    unpackLast<T>(
      count, more, sizeof<T>() * n, wholeBytes + lastBytes, slots, bits, symmetric,
      codes + wholeBytes + codeBytes(done, bits), scales + at, minima + at, out + sizeof<T>() * (whole + done),
    );
    codes += (wholeBytes + lastBytes) * count;
    scales += slots * count;
    minima += slots * count;
    out += sizeof<T>() * n * count;
    rows -= count;
  }
}

/** The value of a code, sign-extended as (u ^ half) − half. */
// @ts-ignore: decorator
@inline
function signed_f32x4(code: v128, half: v128, scale: v128, minimum: v128): v128 {
  return value_f32x4(i32x4.sub(v128.xor(code, half), half), scale, minimum);
}

/** Up to four rows from bits [shift, shift + rows·bits) of their columns' words. */
function unpackRows<T>(
  vectors: u32, bits: u32, symmetric: u32, shift: u32, codes: usize, scales: usize, minima: usize,
  out: usize, out1: usize, out2: usize, out3: usize, ahead: usize, step: usize,
): void {
  const size = halves_i32x4<T>(NARROW_SIZE), exponent = halves_i32x4<T>(NARROW_EXPONENT), top = halves_i32x4<T>(NARROW_TOP);
  const nan = halves_i32x4<T>(NARROW_NAN), least = halves_i32x4<T>(NARROW_LEAST), magic = halves_i32x4<T>(NARROW_MAGIC);
  const half = held_i32x4(halfOf(bits, symmetric));
  const mask = held_i32x4((1 << bits) - 1);
  const used = held_i32x4(symmetric - 1);
  if (symmetric) minima = scales; // anything readable: `used` makes it 0
  let at: usize = 0;
  do {
    const s = v128.load(scales + at);
    const minimum = v128.and(v128.load(minima + at), used);
    const words = i32x4.shr_u(v128.load(codes + at), shift);
    // The last first: rows past the end are written where the first then goes.
    if (sizeof<T>() == 4) {
      v128.store(out3 + at, signed_f32x4(v128.and(i32x4.shr_u(words, 3 * bits), mask), half, s, minimum));
      v128.store(out2 + at, signed_f32x4(v128.and(i32x4.shr_u(words, 2 * bits), mask), half, s, minimum));
      v128.store(out1 + at, signed_f32x4(v128.and(i32x4.shr_u(words, bits), mask), half, s, minimum));
      v128.store(out + at, signed_f32x4(v128.and(words, mask), half, s, minimum));
    } else {
      const d = signed_f32x4(v128.and(i32x4.shr_u(words, 3 * bits), mask), half, s, minimum);
      const c = signed_f32x4(v128.and(i32x4.shr_u(words, 2 * bits), mask), half, s, minimum);
      const dc = narrow_i16x8(d, c, size, exponent, top, nan, least, magic);
      v128.store64_lane(out3 + bytes<T>(at), dc, 0);
      v128.store64_lane(out2 + bytes<T>(at), dc, 1);
      const b = signed_f32x4(v128.and(i32x4.shr_u(words, bits), mask), half, s, minimum);
      const a = signed_f32x4(v128.and(words, mask), half, s, minimum);
      const ba = narrow_i16x8(b, a, size, exponent, top, nan, least, magic);
      v128.store64_lane(out1 + bytes<T>(at), ba, 0);
      v128.store64_lane(out + bytes<T>(at), ba, 1);
    }
    load<u32>(ahead);
    ahead += step;
    at += 16;
  } while (--vectors);
}

function dequantizeColumns<T>(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, symmetric: u32, out: usize,
): void {
  const stride = n << 2;
  const outStride = n * sizeof<T>();
  const vectors = n >> 2;
  const half = halfOf(bits, symmetric);
  for (let row: u32 = 0; row < rows; row += 4) {
    const shift = row * bits & 31;
    const left = rows - row;
    if (vectors) {
      const out1 = left > 1 ? out + outStride : out;
      const out2 = left > 2 ? out + 2 * outStride : out;
      const out3 = left > 3 ? out + 3 * outStride : out;
      const ahead = left < 8 ? out : out + 4 * outStride;
      unpackRows<T>(vectors, bits, symmetric, shift, codes, scales, minima, out, out1, out2, out3, ahead, stepAhead(n));
    }
    for (let at = vectors << 4; at < stride; at += 4) {
      const minimum: f32 = symmetric ? 0 : load<f32>(minima + at);
      for (let i: u32 = 0; i < min(left, 4); i++) {
        const value = value_f32(load<u32>(codes + at), shift + i * bits, (1 << bits) - 1, half, load<f32>(scales + at), minimum);
        store1<T>(out + i * outStride + bytes<T>(at), value);
      }
    }
    out += 4 * outStride;
    if (shift + 4 * bits == 32) codes += stride;
    if ((row + 4) % groupSize == 0) {
      scales += stride;
      minima += stride;
    }
  }
}

function dequantize<T>(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  out: usize,
): void {
  if (rows == 0 || n == 0) return;
  const extent = axis ? rows : n;
  if (groupSize == 0 || groupSize > extent) groupSize = extent;
  if (axis) dequantizeColumns<T>(codes, scales, minima, rows, n, bits, groupSize, scheme, out);
  else dequantizeRows<T>(codes, scales, minima, rows, n, bits, groupSize, scheme, out);
}

/**
 * Values from packed codes: code · scale + minimum (symmetric: code · scale), two roundings, never fused.
 *
 * codes, scales, minima, out: shapes and layout as in quantize_f32, out f32 [rows, n]. Any words, scales and minima are
 * taken as they are: a scale of NaN gives NaN, infinities follow IEEE 754.
 *
 * The caller guarantees: bits 2, 4 or 8; groupSize 0, a multiple of 16 or at least the axis; out overlaps nothing; minima
 * when affine. Scratch: none.
 *
 * Method: along rows, sixteen codes at a time become bytes, i16, i32, f32; down columns, four rows at a time from the words
 * of four columns. The sign of symmetric codes comes from (u ^ half) − half, with half = 0 when affine.
 *
 * Not done (16 M values, one Zen 4 core): a row of a column-grouped matrix at a time, 10.5 ms instead of 5.5; constant
 * shifts, one loop for each number of bits, down columns, −0.2 ms for 600 bytes.
 */
export function dequantize_f32(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  out: usize,
): void {
  dequantize<f32>(codes, scales, minima, rows, n, bits, groupSize, scheme, axis, out);
}

/** For quantize-f16; and for rotate, row by row. */
export { dequantize, dequantizeRows };
