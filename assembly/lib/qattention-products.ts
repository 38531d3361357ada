/**
 * The two products of attention on codes as bytes (lib/qattention-expand.ts), for four rows (a query of a head each) at
 * a time, in integers: queries and weights are rounded to 16 bits of their largest, sums are exact.
 *
 * Row lanes: `f32x4` and `i32x4` at an address without further word hold one number for each of the four rows.
 */

import { dot, dotPairs } from './dot';
import { madd_f32x4 } from './exp';
import { MAGIC, MAGIC_BITS } from './quantize';
import { held_f32x4, held_i32x4 } from './held';
import { high16, high32, high64, low16, low32, low64, storeTransposed } from './interleave';
import { sums_f32x4 } from './reduce';

/** Bytes touched at once: that many cache lines are on their way together. */
const BURST: u32 = 512;

/**
 * Reads a byte of every cache line up to `due`, when `next` (what the next step will read, before `end`) has come there: it comes near while this
 * step computes. Answers with the next `due`.
 */
// @ts-ignore: decorator
@inline
function touch(next: usize, due: usize, end: usize): usize {
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
const LEVELS: f32 = 32639;
/** Anything smaller counts as this: its inverse must be finite. */
const TINY: f32 = 1e-30;

// @ts-ignore: decorator
@inline
function splat(v: v128, lane: i32): v128 {
  return lane == 0 ? v128.shuffle<f32>(v, v, 0, 0, 0, 0)
    : lane == 1 ? v128.shuffle<f32>(v, v, 1, 1, 1, 1)
    : lane == 2 ? v128.shuffle<f32>(v, v, 2, 2, 2, 2)
    : v128.shuffle<f32>(v, v, 3, 3, 3, 3);
}

/** The four sums of lanes. */
// @ts-ignore: decorator
@inline
function sums_i32x4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(low32(a, b), high32(a, b)), cd = i32x4.add(low32(c, d), high32(c, d));
  return i32x4.add(low64(ab, cd), high64(ab, cd));
}

// @ts-ignore: decorator
@inline
function maxima_f32x4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.pmax(low32(a, b), high32(a, b)), cd = f32x4.pmax(low32(c, d), high32(c, d));
  return f32x4.pmax(low64(ab, cd), high64(ab, cd));
}

/** Queries [n/4][4 rows][4], those of a four then `apart` dimensions (a power of two) from each other, `apart` such fours side by side. */
export function orderQueries(from: usize, n: u32, apart: u32, to: usize): void {
  for (let at: u32 = 0; at < n; at++) {
    const four = at >> 2;
    const dim = (four & ~(apart - 1)) * 4 + (at & 3) * apart + (four & (apart - 1));
    for (let row: u32 = 0; row < 4; row++)
      store<f32>(to + (four << 6) + (row << 4) + ((at & 3) << 2), load<f32>(from + (dim >> 2 << 6) + (row << 4) + ((dim & 3) << 2)));
  }
}

/**
 * x = q·s as 16-bit integers, x ≈ integer · `unit` (row lanes): [n/8][4 rows][8] of i16, or, in `planes`, two of signed bytes
 * one behind the other, x = 256·first + second, [n/4][4 rows][4] each. For every `size` of them the sum of the integers, and Σ q·(m + middle·s) (`offsets`): row lanes each. NaN or infinity in q or s makes the offset NaN.
 */
export function roundQueries(
  q: usize, s: usize, m: usize, middle: f32, n: u32, size: u32, planes: u32, x: usize, unit: usize, sums: usize, offsets: usize,
): void {
  const absolute = held_i32x4(0x7fffffff), middle_f32x4 = held_f32x4(middle);
  let h0 = f32x4.splat(0), h1 = h0, h2 = h0, h3 = h0;
  let from = q, sAt = s;
  for (let left: i32 = n; left > 0; left -= size) {
    const end = from + (min(size, left) << 4);
    let o0 = f32x4.splat(0), o1 = o0, o2 = o0, o3 = o0;
    do {
      const scale = v128.load(sAt), offset = madd_f32x4(scale, middle_f32x4, v128.load(m));
      let v = v128.load(from);
      o0 = madd_f32x4(v, offset, o0);
      h0 = f32x4.pmax(h0, v128.and(f32x4.mul(v, scale), absolute));
      v = v128.load(from, 16);
      o1 = madd_f32x4(v, offset, o1);
      h1 = f32x4.pmax(h1, v128.and(f32x4.mul(v, scale), absolute));
      v = v128.load(from, 32);
      o2 = madd_f32x4(v, offset, o2);
      h2 = f32x4.pmax(h2, v128.and(f32x4.mul(v, scale), absolute));
      v = v128.load(from, 48);
      o3 = madd_f32x4(v, offset, o3);
      h3 = f32x4.pmax(h3, v128.and(f32x4.mul(v, scale), absolute));
      from += 64;
      sAt += 16;
      m += 16;
    } while (from < end);
    v128.store(offsets, sums_f32x4(o0, o1, o2, o3));
    offsets += 16;
  }
  const high = f32x4.pmax(maxima_f32x4(h0, h1, h2, h3), f32x4.splat(TINY));
  v128.store(unit, f32x4.div(high, f32x4.splat(LEVELS)));
  v128.store(unit, f32x4.div(f32x4.splat(LEVELS), high), 16);
  if (planes) {
    roundRows(q, s, unit + 16, n, size, x, sums);
    return;
  }
  for (let row: usize = 0; row < 64; row += 16) {
    const inverse = v128.load32_splat(unit + 16 + (row >> 2));
    roundRow(q + row, s, inverse, n, size, x + row, sums + (row >> 2));
  }
}

/** Eight of a row of queries (64 bytes from four to the next four). */
// @ts-ignore: decorator
@inline
function rounded(q: usize, s: usize, inverse: v128, magic: v128, bits: v128): v128 {
  const a = madd_f32x4(f32x4.mul(v128.load(q), v128.load(s)), inverse, magic);
  const b = madd_f32x4(f32x4.mul(v128.load(q, 64), v128.load(s, 16)), inverse, magic);
  return i16x8.narrow_i32x4_s(i32x4.sub(a, bits), i32x4.sub(b, bits));
}

function roundRow(q: usize, s: usize, inverse: v128, n: u32, size: u32, x: usize, sums: usize): void {
  const magic = held_f32x4(MAGIC), bits = held_i32x4(MAGIC_BITS), ones = held_i32x4(0x10001);
  for (let left: i32 = n; left > 0; left -= size) {
    const end = s + (min(size, left) << 2);
    let sum = i32x4.splat(0);
    do {
      const v = rounded(q, s, inverse, magic, bits);
      v128.store(x, v);
      sum = i32x4.add(sum, i32x4.dot_i16x8_s(v, ones));
      q += 128;
      s += 32;
      x += 64;
    } while (s < end);
    sum = i32x4.add(sum, high64(sum, sum));
    store<i32>(sums, i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1));
    sums += 16;
  }
}

/** All four rows in planes. */
function roundRows(q: usize, s: usize, inverses: usize, n: u32, size: u32, x: usize, sums: usize): void {
  const magic = held_f32x4(MAGIC), bits = held_i32x4(MAGIC_BITS), ones = held_i32x4(0x10001);
  const half = held_i32x4(0x800080), lower = held_i32x4(0xff00ff);
  const i0 = v128.load32_splat(inverses), i1 = v128.load32_splat(inverses, 4), i2 = v128.load32_splat(inverses, 8), i3 = v128.load32_splat(inverses, 12);
  const second = n << 2;
  for (let left: i32 = n; left > 0; left -= size) {
    const end = s + (min(size, left) << 2);
    let ab = i32x4.splat(0), cd = ab;
    do {
      const scale = v128.load(s);
      const v = i16x8.narrow_i32x4_s(
        i32x4.sub(madd_f32x4(f32x4.mul(v128.load(q), scale), i0, magic), bits),
        i32x4.sub(madd_f32x4(f32x4.mul(v128.load(q, 16), scale), i1, magic), bits),
      );
      const w = i16x8.narrow_i32x4_s(
        i32x4.sub(madd_f32x4(f32x4.mul(v128.load(q, 32), scale), i2, magic), bits),
        i32x4.sub(madd_f32x4(f32x4.mul(v128.load(q, 48), scale), i3, magic), bits),
      );
      ab = i32x4.add(ab, i32x4.dot_i16x8_s(v, ones));
      cd = i32x4.add(cd, i32x4.dot_i16x8_s(w, ones));
      v128.store(x, i8x16.narrow_i16x8_s(i16x8.shr_s(i16x8.add(v, half), 8), i16x8.shr_s(i16x8.add(w, half), 8)));
      v128.store(x + second, i8x16.narrow_i16x8_u(v128.and(v, lower), v128.and(w, lower)));
      q += 64;
      s += 16;
      x += 16;
    } while (s < end);
    v128.store(sums, i32x4.add(v128.shuffle<i32>(ab, cd, 0, 2, 4, 6), v128.shuffle<i32>(ab, cd, 1, 3, 5, 7)));
    sums += 16;
  }
}

/** Eight bytes, signed or not. */
// @ts-ignore: decorator
@inline
function eight<T>(p: usize): v128 {
  return isSigned<T>() ? v128.load8x8_s(p) : v128.load8x8_u(p);
}

/**
 * Scores of `count` keys from `width` of their dimensions, to p [count][4 rows], or added to what is there (meanwhile
 * touching [next, nextEnd), nextStep bytes for two keys):
 * s·(x·(u − half))·unit·factor + (m + middle·s)·offset. Scales and minima lie `step` and `minStep` bytes apart. T: the type of u.
 */
export function scores<T>(
  e: usize, n: u32, count: u32, x: usize, width: u32, sums: usize, half: i32, unit: usize, factor: f32, offsets: usize,
  s: usize, step: u32, m: usize, minStep: u32, middle: f32, add: bool, p: usize, next: usize, nextStep: u32, nextEnd: usize,
): void {
  const end = x + (width << 3);
  const correction = i32x4.mul(v128.load(sums), i32x4.splat(half));
  const units = f32x4.mul(v128.load(unit), f32x4.splat(factor));
  const offset = v128.load(offsets);
  let left: i32 = count;
  let due = next;
  do {
    due = touch(next, due, nextEnd);
    next += nextStep;
    let e0 = e, e1 = left > 1 ? e + n : e;
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let at = x;
    do {
      const a = eight<T>(e0), b = eight<T>(e1);
      let q = v128.load(at);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(a, q)); b0 = i32x4.add(b0, i32x4.dot_i16x8_s(b, q));
      q = v128.load(at, 16);
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(a, q)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(b, q));
      q = v128.load(at, 32);
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(a, q)); b2 = i32x4.add(b2, i32x4.dot_i16x8_s(b, q));
      q = v128.load(at, 48);
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(a, q)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(b, q));
      e0 += 8; e1 += 8;
      at += 64;
    } while (at < end);
    put(p, sums_i32x4(a0, a1, a2, a3), correction, units, offset, s, m, middle, add);
    s += step; m += minStep;
    if (left > 1) put(p + 16, sums_i32x4(b0, b1, b2, b3), correction, units, offset, s, m, middle, add);
    s += step; m += minStep;
    p += 32;
    e += n << 1;
    left -= 2;
  } while (left > 0);
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
function clear(to: usize): void {
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
function sumsOfProducts(x: usize, count: u32, second: u32, codes: usize, step: u32, beside: u32, span: u32, to: usize): void {
  if (span) sumProducts<i16>(x, count, second, codes, step, beside, span, to);
  else sumProducts<i32>(x, count, second, codes, step, beside, 0, to);
}

/**
 * Scores from queries in planes and codes below 128 in fours of keys, e [fours][n/4][4 keys][4] (lib/qattention-expand.ts),
 * eight keys at a time: lanes are keys, nothing is added across them. Keys `lead` to `end` of those from e and p on. What
 * scales them is in the queries already. span: sumsOfProducts. `products`: 128 bytes of scratch.
 */
export function scoresColumns(
  e: usize, n: u32, lead: u32, end: u32, x: usize, sums: usize, half: i32, unit: usize, offset: usize,
  p: usize, products: usize, span: u32, next: usize, nextStep: u32, nextEnd: usize,
): void {
  const correction = i32x4.mul(v128.load(sums), i32x4.splat(half));
  const units = v128.load(unit), rest = v128.load(offset);
  let due = next;
  for (let key: u32 = 0; key < end; key += 8) {
    due = touch(next, due, nextEnd);
    next += nextStep << 2;
    sumsOfProducts(x, n >> 2, n << 2, e, 16, key + 4 < end ? n << 2 : 0, span, products);
    transposeFours(products);
    const to = min(key + 8, end);
    for (let i = max(key, lead); i < to; i++) {
      const sum = i32x4.sub(v128.load(products + (i - key << 4)), correction);
      v128.store(p + (i << 4), madd_f32x4(f32x4.convert_i32x4_s(sum), units, rest));
    }
    e += n << 3;
  }
}

/** Each of eight keys gets a vector of its rows. */
// @ts-ignore: decorator
@inline
function transposeFours(at: usize): void {
  storeTransposed(v128.load(at), v128.load(at, 16), v128.load(at, 32), v128.load(at, 48), at);
  storeTransposed(v128.load(at, 64), v128.load(at, 80), v128.load(at, 96), v128.load(at, 112), at + 64);
}

/** One number each of four keys, of which at least one and `left` are there. */
// @ts-ignore: decorator
@inline
function ofFour(p: usize, step: u32, left: i32): v128 {
  let v = v128.load32_splat(p);
  p += left > 1 ? step : 0;
  v = v128.load_lane<f32>(p, v, 1);
  p += left > 2 ? step : 0;
  v = v128.load_lane<f32>(p, v, 2);
  p += left > 3 ? step : 0;
  return v128.load_lane<f32>(p, v, 3);
}

/** a·b joins what stands at `to`. */
// @ts-ignore: decorator
@inline
function join(a: v128, b: v128, to: usize): void {
  v128.store(to, madd_f32x4(a, b, v128.load(to)));
}

/** Products of one row with four keys, to be corrected, as numbers. */
// @ts-ignore: decorator
@inline
function corrected(products: usize, correction: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.sub(v128.load(products), correction));
}

/**
 * The same where keys have scales, each of a group of `size` dimensions, to p or added to what is there. Scales are applied
 * while lanes are keys. s, m: the first key's, `step` and `minStep` bytes to the next; minStep 0: values lie around 0.
 * `offsets`: [groups] row lanes, in units. `products`: 256 bytes of scratch.
 */
export function scoresRows(
  e: usize, n: u32, lead: u32, end: u32, x: usize, size: u32, sums: usize, half: i32, unit: usize, factor: f32, offsets: usize,
  s: usize, step: u32, m: usize, minStep: u32, middle: f32, add: bool, p: usize, products: usize, span: u32, next: usize, nextStep: u32, nextEnd: usize,
): void {
  const joined = products + 128;
  let units = f32x4.mul(v128.load(unit), f32x4.splat(factor));
  // What is NaN in a query shows in its offset.
  for (let c: u32 = 0, at = offsets; c < n; c += size, at += 16) units = f32x4.add(units, f32x4.mul(v128.load(at), f32x4.splat(0)));
  let due = next;
  for (let key: u32 = 0; key < end; key += 8) {
    due = touch(next, due, nextEnd);
    next += nextStep << 2;
    clear(joined);
    const left: i32 = end - key;
    const beside = left > 4 ? step << 2 : 0, minBeside = left > 4 ? minStep << 2 : 0;
    let scale = s, minimum = m, sum = sums, offset = offsets;
    for (let c: u32 = 0; c < n; c += size) {
      sumsOfProducts(x + (c << 2), min(size, n - c) >> 2, n << 2, e + (c << 2), 16, left > 4 ? n << 2 : 0, span, products);
      const a = ofFour(scale, step, left), b = ofFour(scale + beside, step, left - 4);
      const correction = i32x4.mul(v128.load(sum), i32x4.splat(half));
      let one = splat(correction, 0);
      join(corrected(products, one), a, joined); join(corrected(products + 64, one), b, joined + 64);
      one = splat(correction, 1);
      join(corrected(products + 16, one), a, joined + 16); join(corrected(products + 80, one), b, joined + 80);
      one = splat(correction, 2);
      join(corrected(products + 32, one), a, joined + 32); join(corrected(products + 96, one), b, joined + 96);
      one = splat(correction, 3);
      join(corrected(products + 48, one), a, joined + 48); join(corrected(products + 112, one), b, joined + 112);
      if (minStep) {
        const middles = f32x4.splat(middle);
        const u = madd_f32x4(a, middles, ofFour(minimum, minStep, left)), v = madd_f32x4(b, middles, ofFour(minimum + minBeside, minStep, left - 4));
        one = v128.load32_splat(offset);
        join(u, one, joined); join(v, one, joined + 64);
        one = v128.load32_splat(offset, 4);
        join(u, one, joined + 16); join(v, one, joined + 80);
        one = v128.load32_splat(offset, 8);
        join(u, one, joined + 32); join(v, one, joined + 96);
        one = v128.load32_splat(offset, 12);
        join(u, one, joined + 48); join(v, one, joined + 112);
        minimum += 4;
      }
      scale += 4;
      sum += 16;
      offset += 16;
    }
    transposeFours(joined);
    const to = min(key + 8, end);
    for (let i = max(key, lead); i < to; i++) {
      const score = f32x4.mul(v128.load(joined + (i - key << 4)), units);
      v128.store(p + (i << 4), add ? f32x4.add(score, v128.load(p + (i << 4))) : score);
    }
    s += step << 3;
    m += minStep << 3;
    e += n << 3;
  }
}

// @ts-ignore: decorator
@inline
function put(p: usize, sum: v128, correction: v128, units: v128, offset: v128, s: usize, m: usize, middle: f32, add: bool): void {
  const scale = v128.load32_splat(s);
  const off = madd_f32x4(scale, f32x4.splat(middle), v128.load32_splat(m));
  const score = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(sum, correction)), units);
  const rest = f32x4.mul(off, offset);
  v128.store(p, madd_f32x4(score, scale, add ? f32x4.add(rest, v128.load(p)) : rest));
}

/** Bytes of one group's rounded weights, 64 keys; behind them their sums and Σ p·offset (row lanes). */
const W_SUMS: usize = 512;
export const W_OFFSET: usize = 528;
export const W_GROUP: usize = 544;

/** Weights [count][4 rows] are scaled so that a row's largest becomes LEVELS; `unit` (row lanes) scales back. */
export function scaleWeights(p: usize, count: u32, unit: usize): void {
  const end = p + (count << 4);
  let high = f32x4.splat(TINY);
  let at = p;
  do {
    high = f32x4.pmax(high, v128.load(at));
    at += 16;
  } while (at < end);
  v128.store(unit, f32x4.div(high, f32x4.splat(LEVELS)));
  const scale = f32x4.div(f32x4.splat(LEVELS), high);
  do {
    v128.store(p, f32x4.mul(v128.load(p), scale));
    p += 16;
  } while (p < end);
}

/**
 * Scales s of `count` keys, `groups` each, for the weights to take in: divided by the group's largest (`highest`
 * [groups]), [count][groups] to `scaled`; and m + middle·s, to `offsets`.
 */
export function scaleScales(
  s: usize, m: usize, minStep: u32, middle: f32, count: u32, groups: u32, scaled: usize, offsets: usize, highest: usize,
): void {
  const all = count * groups;
  if (all & 3 || (groups & 3 && groups > 2)) {
    scaleScalesOneByOne(s, m, minStep, middle, count, groups, scaled, offsets, highest);
    return;
  }
  // Four at a time: lanes are groups, or keys of one group or two.
  const step: usize = max(groups, 4) << 2;
  const middle_f32x4 = held_f32x4(middle), absolute = held_i32x4(0x7fffffff);
  const end = scaled + (all << 2);
  const back = s - scaled, offsetsAhead = offsets - scaled, minimaBack = m - scaled;
  for (let g: usize = 0; g < step; g += 16) {
    let high = f32x4.splat(TINY);
    let at = scaled + g;
    do {
      const scale = v128.load(at + back);
      high = f32x4.pmax(high, v128.and(scale, absolute));
      v128.store(at + offsetsAhead, madd_f32x4(scale, middle_f32x4, v128.load(minStep ? at + minimaBack : m)));
      at += step;
    } while (at < end);
    if (groups < 4) high = f32x4.pmax(high, high64(high, high));
    if (groups == 1) high = f32x4.pmax(v128.shuffle<f32>(high, high, 0, 0, 0, 0), v128.shuffle<f32>(high, high, 1, 1, 1, 1));
    if (groups == 2) high = low64(high, high);
    const inverse = f32x4.div(f32x4.splat(1), high);
    if (groups < 4) v128.store64_lane(highest, high, 0);
    else v128.store(highest + g, high);
    at = scaled + g;
    do {
      v128.store(at, f32x4.mul(v128.load(at + back), inverse));
      at += step;
    } while (at < end);
  }
}

function scaleScalesOneByOne(
  s: usize, m: usize, minStep: u32, middle: f32, count: u32, groups: u32, scaled: usize, offsets: usize, highest: usize,
): void {
  const step = groups << 2;
  for (let g: u32 = 0; g < groups; g++) {
    let high = TINY;
    let at = s, mAt = m, to: usize = g << 2;
    for (let i: u32 = 0; i < count; i++) {
      const scale = load<f32>(at);
      const size = abs(scale);
      high = size > high ? size : high;
      store<f32>(offsets + to, scale * middle + load<f32>(mAt));
      at += step;
      mAt += minStep;
      to += step;
    }
    store<f32>(highest + (g << 2), high);
    const inverse: f32 = 1 / high;
    at = s;
    to = g << 2;
    for (let i: u32 = 0; i < count; i++) {
      store<f32>(scaled + to, load<f32>(at) * inverse);
      at += step;
      to += step;
    }
    s += 4;
    if (minStep) m += 4;
  }
}

/** Σ p·offset: row lanes. Four sums side by side, or each addition would wait for the one before. */
export function weighOffsets(p: usize, count: u32, offsets: usize, step: u32, sum: usize): void {
  const end = p + (count << 4), fours = p + (count >> 2 << 6);
  let a = f32x4.splat(0), b = a, c = a, d = a;
  while (p < fours) {
    a = madd_f32x4(v128.load(p), v128.load32_splat(offsets), a);
    offsets += step;
    b = madd_f32x4(v128.load(p, 16), v128.load32_splat(offsets), b);
    offsets += step;
    c = madd_f32x4(v128.load(p, 32), v128.load32_splat(offsets), c);
    offsets += step;
    d = madd_f32x4(v128.load(p, 48), v128.load32_splat(offsets), d);
    offsets += step;
    p += 64;
  }
  while (p < end) {
    a = madd_f32x4(v128.load(p), v128.load32_splat(offsets), a);
    p += 16;
    offsets += step;
  }
  v128.store(sum, f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

/** Weights p·s as 16-bit integers, pairs of keys [count/2][4 rows][2], and their sums (row lanes). */
export function roundPairs(p: usize, count: u32, s: usize, step: u32, w: usize): void {
  const sums = w + W_SUMS;
  const end = p + (count << 4);
  const magic = held_f32x4(MAGIC), bits = held_i32x4(MAGIC_BITS), lower = held_i32x4(0xffff);
  let sum = i32x4.splat(0);
  do {
    const a = i32x4.sub(madd_f32x4(v128.load(p), v128.load32_splat(s), magic), bits);
    let b = i32x4.splat(0);
    if (p + 16 < end) b = i32x4.sub(madd_f32x4(v128.load(p, 16), v128.load32_splat(s + step), magic), bits);
    sum = i32x4.add(sum, i32x4.add(a, b));
    v128.store(w, v128.or(v128.and(a, lower), i32x4.shl(b, 16)));
    p += 32;
    s += step << 1;
    w += 16;
  } while (p < end);
  v128.store(sums, sum);
}

/**
 * The same in two planes of bytes, 256·first + second, fours of keys [16][4 rows][4] each: keys `lead` to `end` of those
 * from p and s on, others count nothing. From the four of `lead` to that of `end` - 1.
 */
export function roundFours(p: usize, lead: u32, end: u32, s: usize, step: u32, w: usize): void {
  const sums = w + W_SUMS;
  // 128 more, so that the first plane's bytes are whole bytes; the second's then have the wrong sign.
  const magic = held_f32x4(MAGIC + 128), lower = held_i32x4(0xff00ff), low16 = held_i32x4(0xffff), sign = held_i32x4(0x80808080);
  const ones = held_i32x4(0x01010101);
  let mask: u32 = <u32>-1 << (lead << 3);
  let left: i32 = end;
  let high = i32x4.splat(0), low = high;
  do {
    if (left < 4) mask &= <u32>-1 >> ((4 - left) << 3);
    const a = madd_f32x4(v128.load(p), v128.load32_splat(s), magic);
    s += step;
    const b = madd_f32x4(v128.load(p, 16), v128.load32_splat(s), magic);
    s += step;
    const c = madd_f32x4(v128.load(p, 32), v128.load32_splat(s), magic);
    s += step;
    const d = madd_f32x4(v128.load(p, 48), v128.load32_splat(s), magic);
    s += step;
    const ac = v128.or(v128.and(a, low16), i32x4.shl(c, 16)), bd = v128.or(v128.and(b, low16), i32x4.shl(d, 16));
    const used = i32x4.splat(mask);
    const x = v128.and(v128.or(i16x8.shr_u(ac, 8), v128.andnot(bd, lower)), used);
    const y = v128.and(v128.xor(v128.or(v128.and(ac, lower), i16x8.shl(bd, 8)), sign), used);
    v128.store(w, x);
    v128.store(w, y, 256);
    high = dot(x, ones, high);
    low = dot(y, ones, low);
    mask = -1;
    left -= 4;
    p += 64;
    w += 16;
  } while (left > 0);
  v128.store(sums, i32x4.add(i32x4.shl(high, 8), low));
}

/**
 * Outputs o [n][4 rows] += (w·(u − half))·unit·factor·highest·s + offset·unit·(m + middle·s) of `count` keys. `size`
 * dimensions at a time share weights, their sums, offset (unless not `plain`: then 0) and highest scale. s and m: one for each
 * dimension, or s = 0: they are 1. Meanwhile touches [next, nextEnd), nextStep bytes for eight dimensions.
 */
export function addValues<T>(
  e: usize, n: u32, count: u32, w: usize, size: u32, half: i32, unit: usize, factor: f32, highest: usize, plain: u32,
  s: usize, m: usize, middle: f32, o: usize, next: usize, nextStep: u32, nextEnd: usize,
): void {
  const bytes = (count + 1) >> 1 << 4;
  const end = e + n;
  // The last row; where it has no partner, it is its own: with weight 0.
  let last = e + (count - 1) * n;
  let left: i32 = size;
  let due = next;
  do {
    due = touch(next, due, nextEnd);
    next += nextStep;
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let at = e, x = w;
    do {
      const u = eight<T>(at), v = eight<T>(at < last ? at + n : at);
      const low = low16(u, v), high = high16(u, v);
      const weights = v128.load(x);
      let weight = splat(weights, 0);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(low, weight)); b0 = i32x4.add(b0, i32x4.dot_i16x8_s(high, weight));
      weight = splat(weights, 1);
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(low, weight)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(high, weight));
      weight = splat(weights, 2);
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(low, weight)); b2 = i32x4.add(b2, i32x4.dot_i16x8_s(high, weight));
      weight = splat(weights, 3);
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(low, weight)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(high, weight));
      at += n << 1;
      x += 16;
    } while (x < w + bytes);
    const correction = i32x4.mul(v128.load(w, W_SUMS), i32x4.splat(half));
    const units = f32x4.mul(v128.load(unit), f32x4.splat(factor * load<f32>(highest)));
    const off = plain ? f32x4.mul(v128.load(w, W_OFFSET), v128.load(unit)) : f32x4.splat(0);
    addFour(a0, a1, a2, a3, correction, units, off, s, m, middle, o);
    if (s) { s += 16; m += 16; }
    addFour(b0, b1, b2, b3, correction, units, off, s, m, middle, o + 64);
    if (s) { s += 16; m += 16; }
    o += 128;
    e += 8;
    last += 8;
    left -= 8;
    if (left == 0) {
      left = size;
      w += W_GROUP;
      highest += 4;
    }
  } while (e < end);
}

/** The same from weights in two planes of bytes, and codes below 128 in fours of keys, e [fours][n][4]. `products`: 128 bytes of scratch. */
export function addValuesBytes(
  e: usize, n: u32, fours: u32, w: usize, size: u32, half: i32, unit: usize, factor: f32, highest: usize, plain: u32,
  s: usize, m: usize, middle: f32, o: usize, products: usize, span: u32, next: usize, nextStep: u32, nextEnd: usize,
): void {
  const end = e + (n << 2);
  let left: i32 = size;
  let due = next;
  do {
    due = touch(next, due, nextEnd);
    next += nextStep;
    sumsOfProducts(w, fours, 256, e, n << 2, 16, span, products);
    const correction = i32x4.mul(v128.load(w, W_SUMS), i32x4.splat(half));
    const units = f32x4.mul(v128.load(unit), f32x4.splat(factor * load<f32>(highest)));
    const off = plain ? f32x4.mul(v128.load(w, W_OFFSET), v128.load(unit)) : f32x4.splat(0);
    for (let four = products; four < products + 128; four += 64) {
      addFour(v128.load(four), v128.load(four, 16), v128.load(four, 32), v128.load(four, 48), correction, units, off, s, m, middle, o);
      if (s) { s += 16; m += 16; }
      o += 64;
    }
    e += 32;
    left -= 8;
    if (left == 0) {
      left = size;
      w += W_GROUP;
      highest += 4;
    }
  } while (e < end);
}

/** Sums of four values for each row, to be corrected and multiplied (row lanes), join the outputs, [4 rows][4]. */
// @ts-ignore: decorator
@inline
function addFour(
  a: v128, b: v128, c: v128, d: v128, correction: v128, units: v128, offset: v128, s: usize, m: usize, middle: f32, o: usize,
): void {
  addRow(a, splat(correction, 0), splat(units, 0), splat(offset, 0), s, m, middle, o);
  addRow(b, splat(correction, 1), splat(units, 1), splat(offset, 1), s, m, middle, o + 16);
  addRow(c, splat(correction, 2), splat(units, 2), splat(offset, 2), s, m, middle, o + 32);
  addRow(d, splat(correction, 3), splat(units, 3), splat(offset, 3), s, m, middle, o + 48);
}

// @ts-ignore: decorator
@inline
function addRow(sums: v128, correction: v128, units: v128, offset: v128, s: usize, m: usize, middle: f32, o: usize): void {
  let values = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(sums, correction)), units);
  let rest = offset;
  if (s) {
    const scales = v128.load(s);
    values = f32x4.mul(values, scales);
    rest = f32x4.mul(rest, madd_f32x4(scales, f32x4.splat(middle), v128.load(m)));
  }
  v128.store(o, f32x4.add(v128.load(o), f32x4.add(values, rest)));
}
