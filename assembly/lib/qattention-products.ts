/**
 * The two products of attention on codes as bytes (lib/qattention-expand.ts), for four rows (a query of a head each) at
 * a time, in integers: queries and weights are rounded to 16 bits of their largest, sums are exact.
 *
 * Row lanes: `f32x4` and `i32x4` at an address without further word hold one number for each of the four rows.
 */

import { held, madd_f32x4 } from './exp';
import { MAGIC, MAGIC_BITS, held_i32x4 } from './quantize';

const LEVELS: f32 = 32767;
/** Anything smaller counts as this: its inverse must be finite. */
const TINY: f32 = 1e-30;

// @ts-ignore: decorator
@inline
function low32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
}

// @ts-ignore: decorator
@inline
function high32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
}

// @ts-ignore: decorator
@inline
function low64(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 0, 2);
}

// @ts-ignore: decorator
@inline
function high64(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 1, 3);
}

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
function sums_f32x4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(low32(a, b), high32(a, b)), cd = f32x4.add(low32(c, d), high32(c, d));
  return f32x4.add(low64(ab, cd), high64(ab, cd));
}

// @ts-ignore: decorator
@inline
function maxima_f32x4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.pmax(low32(a, b), high32(a, b)), cd = f32x4.pmax(low32(c, d), high32(c, d));
  return f32x4.pmax(low64(ab, cd), high64(ab, cd));
}

/** [n][4 rows] becomes [n/4][4 rows][4]. */
export function transposeQueries(from: usize, n: u32, to: usize): void {
  const end = from + (n << 4);
  do {
    const a = v128.load(from), b = v128.load(from, 16), c = v128.load(from, 32), d = v128.load(from, 48);
    const ac = low32(a, c), bd = low32(b, d), AC = high32(a, c), BD = high32(b, d);
    v128.store(to, low32(ac, bd));
    v128.store(to, high32(ac, bd), 16);
    v128.store(to, low32(AC, BD), 32);
    v128.store(to, high32(AC, BD), 48);
    from += 64;
    to += 64;
  } while (from < end);
}

/**
 * x = q·s as 16-bit integers [n/8][4 rows][8], x ≈ integer · `unit` (row lanes); for every `size` of them the sum of
 * the integers, and Σ q·(m + middle·s) (`offsets`): row lanes each. NaN or infinity in q or s makes the offset NaN.
 */
export function roundQueries(
  q: usize, s: usize, m: usize, middle: f32, n: u32, size: u32, x: usize, unit: usize, sums: usize, offsets: usize,
): void {
  const absolute = held_i32x4(0x7fffffff), middle_f32x4 = held(middle);
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
  const inverses = f32x4.div(f32x4.splat(LEVELS), high);
  roundRow(q, s, splat(inverses, 0), n, size, x, sums);
  roundRow(q + 16, s, splat(inverses, 1), n, size, x + 16, sums + 4);
  roundRow(q + 32, s, splat(inverses, 2), n, size, x + 32, sums + 8);
  roundRow(q + 48, s, splat(inverses, 3), n, size, x + 48, sums + 12);
}

function roundRow(q: usize, s: usize, inverse: v128, n: u32, size: u32, x: usize, sums: usize): void {
  const magic = held(MAGIC), bits = held_i32x4(MAGIC_BITS), ones = held_i32x4(0x10001);
  for (let left: i32 = n; left > 0; left -= size) {
    const end = s + (min(size, left) << 2);
    let sum = i32x4.splat(0);
    do {
      const a = madd_f32x4(f32x4.mul(v128.load(q), v128.load(s)), inverse, magic);
      const b = madd_f32x4(f32x4.mul(v128.load(q, 64), v128.load(s, 16)), inverse, magic);
      const v = i16x8.narrow_i32x4_s(i32x4.sub(a, bits), i32x4.sub(b, bits));
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

/**
 * Scores of `count` keys from `width` of their dimensions, to p [count][4 rows], or added to what is there:
 * s·(x·(u − half))·unit·factor + (m + middle·s)·offset. Scales and minima lie `step` and `minStep` bytes apart.
 */
export function scores(
  e: usize, n: u32, count: u32, x: usize, width: u32, sums: usize, half: i32, unit: usize, factor: f32, offsets: usize,
  s: usize, step: u32, m: usize, minStep: u32, middle: f32, add: bool, p: usize,
): void {
  const end = x + (width << 3);
  const correction = i32x4.mul(v128.load(sums), i32x4.splat(half));
  const units = f32x4.mul(v128.load(unit), f32x4.splat(factor));
  const offset = v128.load(offsets);
  let left: i32 = count;
  do {
    let e0 = e, e1 = left > 1 ? e + n : e;
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let at = x;
    do {
      const a = v128.load8x8_u(e0), b = v128.load8x8_u(e1);
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
 * Weights p·s as 16-bit integers, pairs of keys [count/2][4 rows][2], p·s ≈ integer · `unit`; their sum, and
 * Σ p·(m + middle·s) (`offset`): row lanes each.
 */
export function roundWeights(
  p: usize, count: u32, s: usize, step: u32, m: usize, minStep: u32, middle: f32, w: usize, unit: usize, sums: usize, offset: usize,
): void {
  const absolute = held_i32x4(0x7fffffff), middle_f32x4 = held(middle);
  const end = p + (count << 4);
  let high = f32x4.splat(TINY), off = f32x4.splat(0);
  let at = p, sAt = s;
  do {
    const weight = v128.load(at), scale = v128.load32_splat(sAt);
    high = f32x4.pmax(high, v128.and(f32x4.mul(weight, scale), absolute));
    off = madd_f32x4(weight, madd_f32x4(scale, middle_f32x4, v128.load32_splat(m)), off);
    at += 16;
    sAt += step;
    m += minStep;
  } while (at < end);
  v128.store(unit, f32x4.div(high, f32x4.splat(LEVELS)));
  v128.store(offset, off);

  const inverse = f32x4.div(f32x4.splat(LEVELS), high);
  const magic = held(MAGIC), bits = held_i32x4(MAGIC_BITS), lower = held_i32x4(0xffff);
  let sum = i32x4.splat(0);
  do {
    const a = i32x4.sub(madd_f32x4(f32x4.mul(v128.load(p), v128.load32_splat(s)), inverse, magic), bits);
    let b = i32x4.splat(0);
    if (p + 16 < end)
      b = i32x4.sub(madd_f32x4(f32x4.mul(v128.load(p, 16), v128.load32_splat(s + step)), inverse, magic), bits);
    sum = i32x4.add(sum, i32x4.add(a, b));
    v128.store(w, v128.or(v128.and(a, lower), i32x4.shl(b, 16)));
    p += 32;
    s += step << 1;
    w += 16;
  } while (p < end);
  v128.store(sums, sum);
}

/**
 * Outputs o [width][4 rows] += (w·(u − half))·unit·factor·s + offset·(m + middle·s) of `count` keys. s and m: one for
 * each dimension, or s = 0: they are 1.
 */
export function addValues(
  e: usize, n: u32, count: u32, w: usize, width: u32, sums: usize, half: i32, unit: usize, factor: f32, offset: usize,
  s: usize, m: usize, middle: f32, o: usize,
): void {
  const wEnd = w + ((count + 1) >> 1 << 4);
  const end = e + width;
  do {
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let at = e, x = w;
    do {
      const u = v128.load8x8_u(at), v = v128.load8x8_u(at + n);
      const low = v128.shuffle<i16>(u, v, 0, 8, 1, 9, 2, 10, 3, 11), high = v128.shuffle<i16>(u, v, 4, 12, 5, 13, 6, 14, 7, 15);
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
    } while (x < wEnd);
    const correction = i32x4.mul(v128.load(sums), i32x4.splat(half));
    const units = f32x4.mul(v128.load(unit), f32x4.splat(factor));
    const off = v128.load(offset);
    addFour(a0, a1, a2, a3, correction, units, off, s, m, middle, o);
    if (s) { s += 16; m += 16; }
    addFour(b0, b1, b2, b3, correction, units, off, s, m, middle, o + 64);
    if (s) { s += 16; m += 16; }
    o += 128;
    e += 8;
  } while (e < end);
}

// @ts-ignore: decorator
@inline
function addFour(
  a: v128, b: v128, c: v128, d: v128, correction: v128, units: v128, offset: v128, s: usize, m: usize, middle: f32, o: usize,
): void {
  const ab = low32(a, b), cd = low32(c, d), AB = high32(a, b), CD = high32(c, d);
  addOne(low64(ab, cd), correction, units, offset, s, m, middle, o);
  addOne(high64(ab, cd), correction, units, offset, s ? s + 4 : s, m + 4, middle, o + 16);
  addOne(low64(AB, CD), correction, units, offset, s ? s + 8 : s, m + 8, middle, o + 32);
  addOne(high64(AB, CD), correction, units, offset, s ? s + 12 : s, m + 12, middle, o + 48);
}

// @ts-ignore: decorator
@inline
function addOne(sum: v128, correction: v128, units: v128, offset: v128, s: usize, m: usize, middle: f32, o: usize): void {
  let value = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(sum, correction)), units);
  let rest = offset;
  if (s) {
    const scale = v128.load32_splat(s);
    value = f32x4.mul(value, scale);
    rest = f32x4.mul(rest, madd_f32x4(scale, f32x4.splat(middle), v128.load32_splat(m)));
  }
  v128.store(o, f32x4.add(v128.load(o), f32x4.add(value, rest)));
}
