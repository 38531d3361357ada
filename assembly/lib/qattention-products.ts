/**
 * The two products of attention on codes as bytes (lib/qattention-expand.ts), for four rows (a query of a head each) at
 * a time, in integers: queries and weights are rounded to 16 bits of their largest, sums are exact. Here what scores
 * (lib/qattention-scores.ts) and the weighted sums of values (lib/qattention-values.ts) share.
 *
 * Row lanes: `f32x4` and `i32x4` at an address without further word hold one number for each of the four rows.
 */

import { dot, dotPairs } from './dot';

/** Bytes touched at once: that many cache lines are on their way together. */
const BURST: u32 = 512;

/**
 * Reads a byte of every cache line up to `due`, when `next` (what the next step will read, before `end`) has come there: it comes near while this
 * step computes. Answers with the next `due`.
 */
// @ts-ignore: decorator
@inline
export function touch(next: usize, due: usize, end: usize): usize {
  if (next < due) return due;
  let at = due;
  due += BURST;
  const stop = min(due, end);
  while (at < stop) {
    load<u8>(at);
    at += 64;
  }
  return due;
}

/** Leaves both bytes of an integer in range when the lower one is signed: 127·256 + 127. */
export const LEVELS: f32 = 32639;

/** Anything smaller counts as this: its inverse must be finite. */
export const TINY: f32 = 1e-30;

// @ts-ignore: decorator
@inline
export function splat(v: v128, lane: i32): v128 {
  return lane == 0 ? v128.shuffle<f32>(v, v, 0, 0, 0, 0)
    : lane == 1 ? v128.shuffle<f32>(v, v, 1, 1, 1, 1)
    : lane == 2 ? v128.shuffle<f32>(v, v, 2, 2, 2, 2)
    : v128.shuffle<f32>(v, v, 3, 3, 3, 3);
}

/** Eight bytes, signed or not. */
// @ts-ignore: decorator
@inline
export function eight<T>(p: usize): v128 {
  return isSigned<T>() ? v128.load8x8_s(p) : v128.load8x8_u(p);
}

/** `dot` with sums of T: i32, or i16 (of two products each) for a `span` of additions at most. */
// @ts-ignore: decorator
@inline
function dotOf<T>(signed: v128, codes: v128, sum: v128): v128 {
  return sizeof<T>() == 4 ? dot(signed, codes, sum) : dotPairs(signed, codes, sum);
}

/** Sums of i16 of one plane join eight sums of i32 at `to`. */
// @ts-ignore: decorator
@inline
function flush(a0: v128, a1: v128, a2: v128, a3: v128, b0: v128, b1: v128, b2: v128, b3: v128, plane: u32, to: usize): void {
  const weight = i16x8.splat(plane ? 1 : 256);
  v128.store(to, i32x4.add(v128.load(to), i32x4.dot_i16x8_s(a0, weight)));
  v128.store(to, i32x4.add(v128.load(to, 16), i32x4.dot_i16x8_s(a1, weight)), 16);
  v128.store(to, i32x4.add(v128.load(to, 32), i32x4.dot_i16x8_s(a2, weight)), 32);
  v128.store(to, i32x4.add(v128.load(to, 48), i32x4.dot_i16x8_s(a3, weight)), 48);
  v128.store(to, i32x4.add(v128.load(to, 64), i32x4.dot_i16x8_s(b0, weight)), 64);
  v128.store(to, i32x4.add(v128.load(to, 80), i32x4.dot_i16x8_s(b1, weight)), 80);
  v128.store(to, i32x4.add(v128.load(to, 96), i32x4.dot_i16x8_s(b2, weight)), 96);
  v128.store(to, i32x4.add(v128.load(to, 112), i32x4.dot_i16x8_s(b3, weight)), 112);
}

/** Eight vectors of 0. memory.fill is a call into the host, as long as a dozen products. */
// @ts-ignore: decorator
@inline
export function clear(to: usize): void {
  for (const end = to + 128; to < end; to += 16) v128.store(to, i32x4.splat(0));
}

/**
 * Sums of products of `count` fours of x, [count][4 rows][4] in two planes of bytes `second` bytes apart, with codes below 128: for
 * the four rows with the sixteen bytes at `codes`, and `step` bytes on for the next four, then with those `beside` them. To
 * `to`, eight vectors of i32. One plane after the other, into the same sums. T, span: `dotOf`.
 */
function sumProducts<T>(x: usize, count: u32, second: u32, codes: usize, step: u32, beside: u32, span: u32, to: usize): void {
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  if (sizeof<T>() == 2) clear(to);
  for (let plane: u32 = 0; plane < 2; plane++) {
    let at = x, from = codes;
    const end = x + (count << 4);
    if (sizeof<T>() == 4) {
      a0 = i32x4.shl(a0, 8); a1 = i32x4.shl(a1, 8); a2 = i32x4.shl(a2, 8); a3 = i32x4.shl(a3, 8);
      b0 = i32x4.shl(b0, 8); b1 = i32x4.shl(b1, 8); b2 = i32x4.shl(b2, 8); b3 = i32x4.shl(b3, 8);
    }
    do {
      const last = sizeof<T>() == 4 ? end : min(at + (span << 4), end);
      if (sizeof<T>() == 2) { a0 = i32x4.splat(0); a1 = a0; a2 = a0; a3 = a0; b0 = a0; b1 = a0; b2 = a0; b3 = a0; }
      do {
        const u = v128.load(from), v = v128.load(from + beside);
        let one = v128.load32_splat(at);
        a0 = dotOf<T>(one, u, a0); b0 = dotOf<T>(one, v, b0);
        one = v128.load32_splat(at, 4);
        a1 = dotOf<T>(one, u, a1); b1 = dotOf<T>(one, v, b1);
        one = v128.load32_splat(at, 8);
        a2 = dotOf<T>(one, u, a2); b2 = dotOf<T>(one, v, b2);
        one = v128.load32_splat(at, 12);
        a3 = dotOf<T>(one, u, a3); b3 = dotOf<T>(one, v, b3);
        from += step;
        at += 16;
      } while (at < last);
      if (sizeof<T>() == 2) flush(a0, a1, a2, a3, b0, b1, b2, b3, plane, to);
    } while (sizeof<T>() == 2 && at < end);
    x += second;
  }
  if (sizeof<T>() == 4) {
    v128.store(to, a0); v128.store(to, a1, 16); v128.store(to, a2, 32); v128.store(to, a3, 48);
    v128.store(to, b0, 64); v128.store(to, b1, 80); v128.store(to, b2, 96); v128.store(to, b3, 112);
  }
}

/** sumProducts with sums of 32 bits, or, with a span, of 16. */
// @ts-ignore: decorator
@inline
export function sumsOfProducts(x: usize, count: u32, second: u32, codes: usize, step: u32, beside: u32, span: u32, to: usize): void {
  if (span) sumProducts<i16>(x, count, second, codes, step, beside, span, to);
  else sumProducts<i32>(x, count, second, codes, step, beside, 0, to);
}

/** Products of one row with four keys, to be corrected, as numbers. */
// @ts-ignore: decorator
@inline
export function corrected(products: usize, correction: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.sub(v128.load(products), correction));
}
