import { load1, splat1 } from './half';
import { held_f32x4, held_i32x4 } from './held';
import { low8 } from './interleave';

/** What rows, columns and the way back share. Arguments are those of quantize_f32. */

/** 1.5·2^23: adding it rounds to an integer, ties to even, and leaves that integer above MAGIC_BITS in the number's bits. */
export const MAGIC: f32 = 12582912.0;
export const MAGIC_BITS: i32 = 0x4b400000;

/** From here on, range / scale cannot round to a code past the last: no clamp is needed. */
export const SAFE_SCALE: f32 = 1e-37;

/** The largest code: 3, 15, 255; symmetric 1, 7, 127. */
// @ts-ignore: decorator
@inline
export function levels(bits: u32, symmetric: u32): f32 {
  return <f32>((1 << (bits - symmetric)) - 1);
}

/** Symmetric codes are computed plus `half`, which is their sign bit: flipping that bit gives two's complement. */
// @ts-ignore: decorator
@inline
export function halfOf(bits: u32, symmetric: u32): i32 {
  return symmetric << (bits - 1);
}

/** Bytes of `length` codes in whole words. */
// @ts-ignore: decorator
@inline
export function codeBytes(length: u32, bits: u32): u32 {
  const perWord = 5 - ctz(bits); // as a power of two
  return ((length + (1 << perWord) - 1) >> perWord) << 2;
}

/** `x` as MAGIC_BITS + half + code where the quotient is in range; anything where the scale is 0 or NaN. */
// @ts-ignore: decorator
@inline
export function code_f32x4(x: v128, minimum: v128, scale: v128, magic: v128): v128 {
  return f32x4.add(f32x4.div(f32x4.sub(x, minimum), scale), magic);
}

/** Greatest values become scales, in place; scale and minimum become NaN where the scale would not be finite. */
export function scale(count: u32, bits: u32, symmetric: u32, scales: usize, minima: usize): void {
  const highest = levels(bits, symmetric);
  const highest_f32x4 = held_f32x4(highest);
  for (let vectors = count >> 2; vectors; vectors--) {
    const low = symmetric ? i32x4.splat(0) : v128.load(minima);
    const s = f32x4.div(f32x4.sub(v128.load(scales), low), highest_f32x4);
    const odd = f32x4.sub(s, s); // 0, or NaN
    v128.store(scales, f32x4.add(s, odd));
    if (!symmetric) v128.store(minima, f32x4.add(low, odd));
    scales += 16;
    minima += 16;
  }
  for (let left = count & 3; left; left--) {
    const low: f32 = symmetric ? 0 : load<f32>(minima);
    const s = (load<f32>(scales) - low) / highest;
    store<f32>(scales, s + (s - s));
    if (!symmetric) store<f32>(minima, low + (s - s));
    scales += 4;
    minima += 4;
  }
}

/** Values [from, length) of a group, `step` bytes apart, into its extremes; from 0 on they start anew. One at a time, all lanes alike. */
export function foldRest<T>(x: usize, step: u32, from: u32, length: u32, symmetric: u32, scales: usize, minima: usize): void {
  x += from * step;
  const absolute = held_i32x4(symmetric ? 0x7fffffff : -1);
  let low = v128.and(splat1<T>(x), absolute);
  let high = low;
  if (from) {
    high = v128.load32_splat(scales);
    if (!symmetric) low = v128.load32_splat(minima);
  }
  let odd = i32x4.splat(0);
  for (let left = length - from; left; left--) {
    const value = v128.and(splat1<T>(x), absolute);
    odd = v128.or(odd, f32x4.sub(value, value)); // NaN from the first NaN or infinity on
    high = f32x4.pmax(high, value);
    low = f32x4.pmin(low, value);
    x += step;
  }
  v128.store_lane<f32>(scales, f32x4.add(high, odd), 0);
  if (!symmetric) v128.store_lane<f32>(minima, low, 0);
}

/** The codes of values [from, length), whatever they are; `codes` is the word of the first, words lie `wordStep` apart. */
export function packRest<T>(
  x: usize, step: u32, from: u32, length: u32, bits: u32, symmetric: u32, codes: usize, wordStep: u32, scales: usize, minima: usize,
): void {
  x += from * step;
  const s = load<f32>(scales);
  const minimum: f32 = symmetric ? 0 : load<f32>(minima);
  const highest = levels(bits, symmetric);
  const lowest: f32 = symmetric ? -highest : 0;
  let word = 0;
  let shift: u32 = 0;
  for (let left = length - from; left; ) {
    if (s > 0) {
      const quotient = (load1<T>(x) - minimum) / s;
      const code = nearest(quotient < lowest ? lowest : quotient > highest ? highest : quotient);
      word |= (<i32>code & ((1 << bits) - 1)) << shift;
    }
    x += step;
    shift += bits;
    if (--left == 0 || shift == 32) {
      store<i32>(codes, word);
      codes += wordStep;
      word = 0;
      shift = 0;
    }
  }
}

/** One group of any length and content. */
export function group<T>(
  x: usize, step: u32, length: u32, bits: u32, symmetric: u32, codes: usize, wordStep: u32, scales: usize, minima: usize,
): void {
  foldRest<T>(x, step, 0, length, symmetric, scales, minima);
  scale(1, bits, symmetric, scales, minima);
  packRest<T>(x, step, 0, length, bits, symmetric, codes, wordStep, scales, minima);
}

/**
 * Four rows at a time are four streams too short for a hardware prefetcher when rows are of middling length. Reading one
 * word per cache line of the four rows after them keeps it on track: 64 bytes per vector, or 0 where it would not help.
 */
// @ts-ignore: decorator
@inline
export function stepAhead(n: u32): usize {
  return n >= 96 && n <= 512 ? 64 : 0;
}

/** Bits in pairs: each byte's lower and upper part as two bytes. */
// @ts-ignore: decorator
@inline
function split_i8x16(v: v128, shift: i32, mask: v128): v128 {
  const low = v128.and(v, mask);
  const high = v128.and(i16x8.shr_u(v, shift), mask);
  return low8(low, high);
}

/** The sixteen codes in the first bits/2 words, as bytes. */
// @ts-ignore: decorator
@inline
export function unpack16(bits: u32, v: v128, by4: v128, by2: v128): v128 {
  if (bits == 8) return v;
  const nibbles = split_i8x16(v, 4, by4);
  return bits == 4 ? nibbles : split_i8x16(nibbles, 2, by2);
}

/** code · scale + minimum, two roundings. */
// @ts-ignore: decorator
@inline
export function value_f32x4(code: v128, scale: v128, minimum: v128): v128 {
  return f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(code), scale), minimum);
}
