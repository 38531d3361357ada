/** The Walsh–Hadamard transform of rows, in natural order: what hadamard, hadamardmixed and rotate share. See assembly/hadamard.ts. */

import { held, held_f32x4, held_i32x4 } from './held';
import { high16, high8, low16, low8 } from './interleave';

/** Bytes that all passes go over before the next bytes are begun, or one row where it is longer. */
const CHUNK: u32 = 8192;
/** The same for more than LARGE bytes, which come from beyond the second-level cache: reading ahead reaches past the other passes. */
const FAR_CHUNK: u32 = 1024;
const LARGE: u32 = 1 << 20;

/**
 * out = after ∘ H·(scale · before ∘ x), row by row; signs (i8 [n]) before or after, or 0: none. Those never given cost no code.
 * With coefficients (f32 [period], a multiple of n that is 16 or more), these in the place of scale and signs, from x's first value on.
 *
 * The order in which values are added depends on n alone, and rotate's codes hang on it: stages over values 2, 8, 4 and 1
 * apart (those that a row has); then, where three times a number of stages and one are left, 16 apart, where two are, 32 and
 * 16; then three at a time from below, of each three the longest first: 64, 32, 16; 512, 256, 128; ... With scale 1 every
 * result is the same at every level.
 */
// @ts-ignore: decorator
@inline
export function transform(
  x: usize, rows: u32, n: u32, scale: f32, before: usize, after: usize, out: usize, coefficients: usize = 0, period: u32 = 0,
): void {
  if (n < 16) {
    shortRows(x, rows * n, n, scale, before, after, out);
    return;
  }
  const rowBytes = n << 2;
  const totalBytes = rows * rowBytes;
  // Stages across vectors: the first pass takes two; three where that leaves a multiple of three.
  const left = (29 - clz(n)) % 3;
  const pairs: u32 = left == 0 ? 1 : 0;
  let pieceBytes = rowBytes;
  while (pieceBytes > CHUNK) pieceBytes >>= 3;
  const stepBytes = pieceBytes == rowBytes ? max(rowBytes, totalBytes > LARGE ? FAR_CHUNK : CHUNK) : pieceBytes;
  let at: u32 = 0;
  while (at < totalBytes) {
    const to = out + at;
    const bytes = min(stepBytes, totalBytes - at);
    if (coefficients) firstMultiplied(x + at, bytes, coefficients, period, pairs, to);
    else if (before) firstSigned(x + at, bytes, scale, before, at >> 2, n, pairs, to);
    else first(x + at, bytes, scale, pairs, to);
    let strideBytes: u32 = 64 << pairs;
    if (left == 1) {
      radix4(to, bytes);
      strideBytes = 256;
    }
    at += bytes;
    // Inside the piece; then, where eight pieces are complete, over them, and where eight of those are, over those.
    for (; strideBytes < rowBytes; strideBytes <<= 3) {
      const span = strideBytes << 3;
      const inside = strideBytes < pieceBytes;
      if (!inside && at & (span - 1)) break;
      const over = inside ? bytes : span;
      if (after && span == rowBytes) radix8Signs(out + at - over, over, strideBytes, after);
      else radix8(out + at - over, over, strideBytes);
    }
    if (after && n <= 64) flipRows(to, bytes, after, n);
  }
}

/** What `signed` takes: ±1 where that costs one multiply-add, else sign bits. */
// @ts-ignore: decorator
@inline
function alternating(): v128 {
  return held(ASC_FEATURE_RELAXED_SIMD ? f32x4(1, -1, 1, -1) : i32x4(0, 0x80000000, 0, 0x80000000));
}
// @ts-ignore: decorator
@inline
function halved(): v128 {
  return held(ASC_FEATURE_RELAXED_SIMD ? f32x4(1, 1, -1, -1) : i32x4(0, 0, 0x80000000, 0x80000000));
}
/** other ± v. */
// @ts-ignore: decorator
@inline
function signed(v: v128, other: v128, sign: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(v, sign, other) : f32x4.add(v128.xor(v, sign), other);
}
/** The stage over lanes two apart. */
// @ts-ignore: decorator
@inline
function halves(v: v128, sign: v128): v128 {
  return signed(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1), sign);
}
/** The stage over neighbouring lanes. */
// @ts-ignore: decorator
@inline
function neighbours(v: v128, sign: v128): v128 {
  return signed(v, v128.shuffle<f32>(v, v, 1, 0, 3, 2), sign);
}

/** a·b + c; rounded once or twice. */
// @ts-ignore: decorator
@inline
function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, c) : f32x4.add(f32x4.mul(a, b), c);
}
/** a − b, given to the multipliers where those would idle. */
// @ts-ignore: decorator
@inline
function difference(a: v128, b: v128, one: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_nmadd(b, one, a) : f32x4.sub(a, b);
}

/** v with the signs of the four bytes at p. `toTop` moves byte i of lane i to the lane's top. */
// @ts-ignore: decorator
@inline
function flip(v: v128, p: usize, toTop: v128, top: v128): v128 {
  return v128.xor(v, v128.and(i32x4.mul(v128.load32_splat(p), toTop), top));
}
/** See pass. `column` is the place of x in its row (or a multiple of n more). */
function first(x: usize, bytes: u32, scale: f32, pairs: u32, out: usize): void {
  pass(PLAIN, x, bytes, scale, 0, 0, 0, pairs, out);
}

/** With signs (i8 [n]) as well. */
function firstSigned(x: usize, bytes: u32, scale: f32, signs: usize, column: u32, n: u32, pairs: u32, out: usize): void {
  pass(SIGNED, x, bytes, scale, signs, column, n, pairs, out);
}

/** With coefficients (f32 [period]) in the place of scale and signs. */
function firstMultiplied(x: usize, bytes: u32, coefficients: usize, period: u32, pairs: u32, out: usize): void {
  pass(MULTIPLIED, x, bytes, 1, coefficients, 0, period << 2, pairs, out);
}

const PLAIN: u32 = 0, SIGNED: u32 = 1, MULTIPLIED: u32 = 2;

/**
 * From x to out, four vectors at a time: scale (or coefficients) and the first four stages; with `pairs` the fifth.
 * What is read for column c lies at columns + c: signs up to n of them, coefficients up to n bytes of them.
 */
// @ts-ignore: decorator
@inline
function pass(
  mode: u32, x: usize, bytes: u32, scale: f32, columns: usize, column: u32, n: u32, pairs: u32, out: usize,
): void {
  const halved_f32x4 = halved(), alternating_f32x4 = alternating(), scale_f32x4 = f32x4.splat(scale);
  const halvedScale_f32x4 = f32x4.mul(held(f32x4(1, 1, -1, -1)), scale_f32x4);
  const zero_i32x4 = held_i32x4(0), top_i8x16 = held_i32x4(0x80808080);
  const end = x + bytes;
  const delta = out - x;
  let second: u32 = 0;
  do {
    let w0: v128, w1: v128, w2: v128, w3: v128;
    if (mode == PLAIN) {
      // The stage over lanes two apart needs no shuffle where halves are loaded twice over.
      w0 = multiplyAdd(v128.load64_splat(x, 8), halvedScale_f32x4, f32x4.mul(v128.load64_splat(x), scale_f32x4));
      w1 = multiplyAdd(v128.load64_splat(x, 24), halvedScale_f32x4, f32x4.mul(v128.load64_splat(x, 16), scale_f32x4));
      w2 = multiplyAdd(v128.load64_splat(x, 40), halvedScale_f32x4, f32x4.mul(v128.load64_splat(x, 32), scale_f32x4));
      w3 = multiplyAdd(v128.load64_splat(x, 56), halvedScale_f32x4, f32x4.mul(v128.load64_splat(x, 48), scale_f32x4));
    } else if (mode == SIGNED) {
      const s = v128.and(v128.load(columns + (column & (n - 1))), top_i8x16);
      // Interleaved with zeros twice, a byte stands at the top of a lane.
      const s01 = low8(zero_i32x4, s), s23 = high8(zero_i32x4, s);
      w0 = f32x4.mul(v128.xor(v128.load(x), low16(zero_i32x4, s01)), scale_f32x4);
      w1 = f32x4.mul(v128.xor(v128.load(x, 16), high16(zero_i32x4, s01)), scale_f32x4);
      w2 = f32x4.mul(v128.xor(v128.load(x, 32), low16(zero_i32x4, s23)), scale_f32x4);
      w3 = f32x4.mul(v128.xor(v128.load(x, 48), high16(zero_i32x4, s23)), scale_f32x4);
      column += 16;
    } else {
      const c = columns + column;
      w0 = f32x4.mul(v128.load(x), v128.load(c)); w1 = f32x4.mul(v128.load(x, 16), v128.load(c, 16));
      w2 = f32x4.mul(v128.load(x, 32), v128.load(c, 32)); w3 = f32x4.mul(v128.load(x, 48), v128.load(c, 48));
      column = select<u32>(0, column + 64, column + 64 == n);
    }
    if (mode != PLAIN) {
      w0 = halves(w0, halved_f32x4); w1 = halves(w1, halved_f32x4);
      w2 = halves(w2, halved_f32x4); w3 = halves(w3, halved_f32x4);
    }
    const a0 = f32x4.add(w0, w2), a2 = f32x4.sub(w0, w2), a1 = f32x4.add(w1, w3), a3 = f32x4.sub(w1, w3);
    let v0 = neighbours(f32x4.add(a0, a1), alternating_f32x4), v1 = neighbours(f32x4.sub(a0, a1), alternating_f32x4);
    let v2 = neighbours(f32x4.add(a2, a3), alternating_f32x4), v3 = neighbours(f32x4.sub(a2, a3), alternating_f32x4);
    const to = x + delta;
    if (second) {
      const from = to - 64;
      const u0 = v128.load(from), u1 = v128.load(from, 16), u2 = v128.load(from, 32), u3 = v128.load(from, 48);
      v128.store(from, f32x4.add(u0, v0)); v128.store(from, f32x4.add(u1, v1), 16);
      v128.store(from, f32x4.add(u2, v2), 32); v128.store(from, f32x4.add(u3, v3), 48);
      v0 = f32x4.sub(u0, v0); v1 = f32x4.sub(u1, v1); v2 = f32x4.sub(u2, v2); v3 = f32x4.sub(u3, v3);
    }
    v128.store(to, v0); v128.store(to, v1, 16); v128.store(to, v2, 32); v128.store(to, v3, 48);
    second ^= pairs;
    x += 64;
  } while (x < end);
}

/** Two stages over vectors 64 bytes apart, in place. */
function radix4(p: usize, bytes: u32): void {
  const end = p + bytes;
  const one_f32x4 = held_f32x4(1);
  do {
    const stop = p + 64;
    do {
      const v0 = v128.load(p), v1 = v128.load(p, 64), v2 = v128.load(p, 128), v3 = v128.load(p, 192);
      const a0 = f32x4.add(v0, v2), a2 = f32x4.sub(v0, v2), a1 = f32x4.add(v1, v3), a3 = f32x4.sub(v1, v3);
      v128.store(p, f32x4.add(a0, a1)); v128.store(p, difference(a0, a1, one_f32x4), 64);
      v128.store(p, f32x4.add(a2, a3), 128); v128.store(p, difference(a2, a3, one_f32x4), 192);
      p += 16;
    } while (p < stop);
    p += 192;
  } while (p < end);
}

/** Three stages over vectors `strideBytes` apart, in place. */
export function radix8(p0: usize, bytes: u32, strideBytes: u32): void {
  const end = p0 + bytes;
  const one_f32x4 = held_f32x4(1);
  do {
    let p1 = p0 + strideBytes, p2 = p1 + strideBytes, p3 = p2 + strideBytes;
    let p4 = p3 + strideBytes, p5 = p4 + strideBytes, p6 = p5 + strideBytes, p7 = p6 + strideBytes;
    const stop = p1;
    do {
      const v0 = v128.load(p0), v1 = v128.load(p1), v2 = v128.load(p2), v3 = v128.load(p3);
      const v4 = v128.load(p4), v5 = v128.load(p5), v6 = v128.load(p6), v7 = v128.load(p7);
      const a0 = f32x4.add(v0, v4), a4 = f32x4.sub(v0, v4), a1 = f32x4.add(v1, v5), a5 = f32x4.sub(v1, v5);
      const a2 = f32x4.add(v2, v6), a6 = f32x4.sub(v2, v6), a3 = f32x4.add(v3, v7), a7 = f32x4.sub(v3, v7);
      const b0 = f32x4.add(a0, a2), b2 = difference(a0, a2, one_f32x4), b1 = f32x4.add(a1, a3), b3 = difference(a1, a3, one_f32x4);
      const b4 = f32x4.add(a4, a6), b6 = difference(a4, a6, one_f32x4), b5 = f32x4.add(a5, a7), b7 = difference(a5, a7, one_f32x4);
      v128.store(p0, f32x4.add(b0, b1)); v128.store(p1, difference(b0, b1, one_f32x4));
      v128.store(p2, f32x4.add(b2, b3)); v128.store(p3, difference(b2, b3, one_f32x4));
      v128.store(p4, f32x4.add(b4, b5)); v128.store(p5, difference(b4, b5, one_f32x4));
      v128.store(p6, f32x4.add(b6, b7)); v128.store(p7, difference(b6, b7, one_f32x4));
      p0 += 16; p1 += 16; p2 += 16; p3 += 16; p4 += 16; p5 += 16; p6 += 16; p7 += 16;
    } while (p0 < stop);
    p0 = p7;
  } while (p0 < end);
}

/** The same over whole rows of eight strides, one vector at a time, with the signs of the inverse. */
function radix8Signs(p0: usize, bytes: u32, strideBytes: u32, signs: usize): void {
  const end = p0 + bytes;
  const step = strideBytes >> 2;
  const toTop_i32x4 = held(i32x4(0x1000000, 0x10000, 0x100, 1)), top_i32x4 = held_i32x4(0x80000000);
  do {
    let p1 = p0 + strideBytes, p2 = p1 + strideBytes, p3 = p2 + strideBytes;
    let p4 = p3 + strideBytes, p5 = p4 + strideBytes, p6 = p5 + strideBytes, p7 = p6 + strideBytes;
    const stop = p1;
    let s0 = signs;
    do {
      const s1 = s0 + step, s2 = s1 + step, s3 = s2 + step, s4 = s3 + step, s5 = s4 + step, s6 = s5 + step, s7 = s6 + step;
      const v0 = v128.load(p0), v1 = v128.load(p1), v2 = v128.load(p2), v3 = v128.load(p3);
      const v4 = v128.load(p4), v5 = v128.load(p5), v6 = v128.load(p6), v7 = v128.load(p7);
      const a0 = f32x4.add(v0, v4), a4 = f32x4.sub(v0, v4), a1 = f32x4.add(v1, v5), a5 = f32x4.sub(v1, v5);
      const a2 = f32x4.add(v2, v6), a6 = f32x4.sub(v2, v6), a3 = f32x4.add(v3, v7), a7 = f32x4.sub(v3, v7);
      const b0 = f32x4.add(a0, a2), b2 = f32x4.sub(a0, a2), b1 = f32x4.add(a1, a3), b3 = f32x4.sub(a1, a3);
      const b4 = f32x4.add(a4, a6), b6 = f32x4.sub(a4, a6), b5 = f32x4.add(a5, a7), b7 = f32x4.sub(a5, a7);
      v128.store(p0, flip(f32x4.add(b0, b1), s0, toTop_i32x4, top_i32x4));
      v128.store(p1, flip(f32x4.sub(b0, b1), s1, toTop_i32x4, top_i32x4));
      v128.store(p2, flip(f32x4.add(b2, b3), s2, toTop_i32x4, top_i32x4));
      v128.store(p3, flip(f32x4.sub(b2, b3), s3, toTop_i32x4, top_i32x4));
      v128.store(p4, flip(f32x4.add(b4, b5), s4, toTop_i32x4, top_i32x4));
      v128.store(p5, flip(f32x4.sub(b4, b5), s5, toTop_i32x4, top_i32x4));
      v128.store(p6, flip(f32x4.add(b6, b7), s6, toTop_i32x4, top_i32x4));
      v128.store(p7, flip(f32x4.sub(b6, b7), s7, toTop_i32x4, top_i32x4));
      s0 += 4;
      p0 += 16; p1 += 16; p2 += 16; p3 += 16; p4 += 16; p5 += 16; p6 += 16; p7 += 16;
    } while (p0 < stop);
    p0 = p7;
  } while (p0 < end);
}

/** The signs of the inverse for rows of 16 to 64, which no radix-8 pass sees. */
function flipRows(p: usize, bytes: u32, signs: usize, n: u32): void {
  const toTop_i32x4 = held(i32x4(0x1000000, 0x10000, 0x100, 1)), top_i32x4 = held_i32x4(0x80000000);
  const end = p + bytes;
  let column: u32 = 0;
  do {
    v128.store(p, flip(v128.load(p), signs + column, toTop_i32x4, top_i32x4));
    column = (column + 4) & (n - 1);
    p += 16;
  } while (p < end);
}

/** n = 1, 2, 4 or 8: rows share vectors, signs repeat. */
function shortRows(x: usize, left: u32, n: u32, scale: f32, before: usize, after: usize, out: usize): void {
  const halved_f32x4 = halved(), alternating_f32x4 = alternating();
  const scale_f32x4 = f32x4.splat(scale);
  const zero_i32x4 = held_i32x4(0);
  // There are signs before or after, if any.
  const signs_i16x8 = signs8(before | after, n);
  const before_i16x8 = after ? zero_i32x4 : signs_i16x8, after_i16x8 = after ? signs_i16x8 : zero_i32x4;
  const scaleA_f32x4 = v128.xor(scale_f32x4, low16(zero_i32x4, before_i16x8)), scaleB_f32x4 = v128.xor(scale_f32x4, high16(zero_i32x4, before_i16x8));
  const afterA_i32x4 = low16(zero_i32x4, after_i16x8), afterB_i32x4 = high16(zero_i32x4, after_i16x8);
  const delta = out - x;
  for (; left >= 8; left -= 8) {
    let a = f32x4.mul(v128.load(x), scaleA_f32x4), b = f32x4.mul(v128.load(x, 16), scaleB_f32x4);
    if (n > 2) {
      a = halves(a, halved_f32x4);
      b = halves(b, halved_f32x4);
    }
    if (n == 8) {
      const v = a;
      a = f32x4.add(v, b);
      b = f32x4.sub(v, b);
    }
    if (n > 1) {
      a = neighbours(a, alternating_f32x4);
      b = neighbours(b, alternating_f32x4);
    }
    v128.store(x + delta, v128.xor(a, afterA_i32x4));
    v128.store(x + delta, v128.xor(b, afterB_i32x4), 16);
    x += 32;
  }
  // What is left is less than a pair of vectors; nothing behind it is touched.
  if (left & 4) {
    let a = f32x4.mul(v128.load(x), scaleA_f32x4);
    if (n > 2) a = halves(a, halved_f32x4);
    if (n > 1) a = neighbours(a, alternating_f32x4);
    v128.store(x + delta, v128.xor(a, afterA_i32x4));
    x += 16;
  }
  if (left & 2) {
    let a = f32x4.mul(v128.load64_zero(x), scaleA_f32x4);
    if (n > 1) a = neighbours(a, alternating_f32x4);
    v128.store64_lane(x + delta, v128.xor(a, afterA_i32x4), 0);
    x += 8;
  }
  if (left & 1) v128.store32_lane(x + delta, v128.xor(f32x4.mul(v128.load32_zero(x), scaleA_f32x4), afterA_i32x4), 0);
}

/** The signs of eight columns, modulo n, at the top of i16 lanes; none without signs. */
function signs8(signs: usize, n: u32): v128 {
  let s = i32x4.splat(0);
  if (signs) s = n == 8 ? v128.load64_splat(signs) : n == 4 ? v128.load32_splat(signs) : n == 2 ? v128.load16_splat(signs) : v128.load8_splat(signs);
  return low8(i32x4.splat(0), v128.and(s, i32x4.splat(0x80808080)));
}
