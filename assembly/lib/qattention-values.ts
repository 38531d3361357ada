/** Sums of quantised values: weights scaled and rounded, then their products with codes as bytes. See lib/qattention-products.ts. */

import { dot } from './dot';
import { madd_f32x4 } from './exp';
import { held_f32x4, held_i32x4 } from './held';
import { high16, high64, low16, low64 } from './interleave';
import { LEVELS, TINY, corrected, eight, splat, sumsOfProducts, touch } from './qattention-products';
import { MAGIC, MAGIC_BITS } from './quantize';

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
