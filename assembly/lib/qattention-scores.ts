/** Scores of quantised keys: queries in order and rounded, then their products with codes as bytes. See lib/qattention-products.ts. */

import { madd_f32x4 } from './exp';
import { held_f32x4, held_i32x4 } from './held';
import { high32, high64, low32, low64, storeTransposed } from './interleave';
import { LEVELS, TINY, clear, corrected, eight, splat, sumsOfProducts, touch } from './qattention-products';
import { MAGIC, MAGIC_BITS } from './quantize';
import { sums_f32x4 } from './reduce';

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

// @ts-ignore: decorator
@inline
function put(p: usize, sum: v128, correction: v128, units: v128, offset: v128, s: usize, m: usize, middle: f32, add: bool): void {
  const scale = v128.load32_splat(s);
  const off = madd_f32x4(scale, f32x4.splat(middle), v128.load32_splat(m));
  const score = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(sum, correction)), units);
  const rest = f32x4.mul(off, offset);
  v128.store(p, madd_f32x4(score, scale, add ? f32x4.add(rest, v128.load(p)) : rest));
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
