/**
 * The two products of attention on one tile (lib/attention.ts) of 8 rows (wide) or 4 (narrow): q·k of a few keys, and
 * the weighted sum of their values, f32 or (narrow) halves, T. Rows of k and v may have any length and alignment.
 *
 * Keys are worked off four at once, or two and two: not neighbours, but each the next of its quarter of the rows. From four
 * streams memory comes twice as fast as from one; rows side by side are none that hardware prefetchers would follow.
 */

import { madd_f32x4 } from './exp';
import { WIDEN_FIELDS, WIDEN_UP, load4 } from './half';
import { held_i32x4 } from './held';
import { maxAcross_f32x4, sums_f32x4 } from './reduce';

/** Bytes of so many keys' or values' elements. */
// @ts-ignore: decorator
@inline
export function bytesOf<T>(elements: u32): u32 {
  return elements * <u32>sizeof<T>();
}

// @ts-ignore: decorator
@inline
export function roundUp4(n: u32): u32 {
  return (n + 3) & ~3;
}

/** p = q·k of `count` keys for 8 rows, and their maximum by row to `top`: tiles of 4 keys × 2 vectors in registers. */
export function scoresWide(q: usize, k: usize, headDim: u32, count: u32, p: usize, top: usize): void {
  const stride = headDim << 2;
  const end = q + (headDim << 5);
  const parts = count + 3 >> 2;
  const far = parts * stride, pFar: usize = parts << 5;
  const last = k + (count - 1) * stride;
  let left = parts;
  let topA = f32x4.splat(-Infinity), topB = topA;
  do {
    let k0 = k, k1 = min(k + far, last), k2 = min(k + 2 * far, last), k3 = min(k + 3 * far, last);
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let x = q;
    do {
      const a = v128.load(x), b = v128.load(x, 16);
      let s = v128.load32_splat(k0);
      a0 = madd_f32x4(s, a, a0); b0 = madd_f32x4(s, b, b0);
      s = v128.load32_splat(k1);
      a1 = madd_f32x4(s, a, a1); b1 = madd_f32x4(s, b, b1);
      s = v128.load32_splat(k2);
      a2 = madd_f32x4(s, a, a2); b2 = madd_f32x4(s, b, b2);
      s = v128.load32_splat(k3);
      a3 = madd_f32x4(s, a, a3); b3 = madd_f32x4(s, b, b3);
      k0 += 4; k1 += 4; k2 += 4; k3 += 4;
      x += 32;
    } while (x < end);
    topA = f32x4.pmax(f32x4.pmax(f32x4.pmax(topA, a0), f32x4.pmax(a1, a2)), a3);
    topB = f32x4.pmax(f32x4.pmax(f32x4.pmax(topB, b0), f32x4.pmax(b1, b2)), b3);
    let y = p;
    v128.store(y, a0); v128.store(y, b0, 16);
    y += pFar;
    v128.store(y, a1); v128.store(y, b1, 16);
    y += pFar;
    v128.store(y, a2); v128.store(y, b2, 16);
    y += pFar;
    v128.store(y, a3); v128.store(y, b3, 16);
    p += 32;
    k += stride;
  } while (--left);
  v128.store(top, topA);
  v128.store(top, topB, 16);
}

/**
 * Four values. Halves (u16) become what they are in seven operations. Taken for finite (i16) they become 2^-112 times that in
 * three; then the functions below tell whether one was infinite or NaN after all, and what they computed is worth nothing.
 * Queries come times HALF_QUERIES: with either, products keep clear of f32's ends.
 */
// @ts-ignore: decorator
@inline
function four<T>(p: usize): v128 {
  if (sizeof<T>() == 2 && isSigned<T>()) return v128.and(i32x4.shl(v128.load_ext<i16>(p), 13), held_i32x4(WIDEN_FIELDS));
  return load4<T>(p);
}

export const HALF_QUERIES: f32 = 7.205759403792794e16; // 2^56

/** A score without what queries and keys have been multiplied by. */
// @ts-ignore: decorator
@inline
function scored<T>(score: v128): v128 {
  if (sizeof<T>() == 4) return score;
  return f32x4.mul(score, f32x4.splat(isSigned<T>() ? HALF_QUERIES : 1 / HALF_QUERIES));
}

/** Weights that make up for it. */
// @ts-ignore: decorator
@inline
function scaled<T>(weights: v128): v128 {
  return sizeof<T>() == 2 && isSigned<T>() ? f32x4.mul(weights, i32x4.splat(WIDEN_UP)) : weights;
}

/** Of four halves at p, four at r and those before: the largest without their signs. */
// @ts-ignore: decorator
@inline
function largest<T>(p: usize, r: usize, before: v128): v128 {
  if (sizeof<T>() == 4 || !isSigned<T>()) return before;
  return i16x8.max_u(before, i16x8.shl(v128.load64_lane(r, v128.load64_zero(p), 1), 1));
}

// @ts-ignore: decorator
@inline
function infinite<T>(largest: v128): bool {
  if (sizeof<T>() == 4 || !isSigned<T>()) return false;
  return v128.any_true(i16x8.ge_u(largest, i16x8.splat(<i16>0xf800)));
}

/** The same for 4 rows: 4 rows × 2 keys × 4 dimensions. */
export function scoresNarrow<T>(q: usize, k: usize, headDim: u32, count: u32, p: usize, top: usize): bool {
  const stride = bytesOf<T>(headDim);
  const main = q + ((headDim & ~3) << 4);
  const end = q + (roundUp4(headDim) << 4);
  const back: u32 = bytesOf<T>(-headDim & 3);
  const parts = count + 3 >> 2;
  const far = parts * stride, pFar: usize = parts << 4;
  const last = k + (count - 1) * stride;
  let left = parts << 1;
  let kOther = k + 2 * far, pOther = p + 2 * pFar;
  let topA = f32x4.splat(-Infinity), seen = f32x4.splat(0);
  do {
    let k0 = min(k, last), k1 = min(k + far, last);
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let x = q;
    let stop = main;
    do {
      do {
        const r = four<T>(k0), s = four<T>(k1);
        seen = largest<T>(k0, k1, seen);
        let a = v128.load(x);
        a0 = madd_f32x4(r, a, a0); b0 = madd_f32x4(s, a, b0);
        a = v128.load(x, 16);
        a1 = madd_f32x4(r, a, a1); b1 = madd_f32x4(s, a, b1);
        a = v128.load(x, 32);
        a2 = madd_f32x4(r, a, a2); b2 = madd_f32x4(s, a, b2);
        a = v128.load(x, 48);
        a3 = madd_f32x4(r, a, a3); b3 = madd_f32x4(s, a, b3);
        k0 += 4 * sizeof<T>(); k1 += 4 * sizeof<T>();
        x += 64;
      } while (x < stop);
      k0 -= back; k1 -= back;
      stop = end;
    } while (x < end);
    a0 = scored<T>(sums_f32x4(a0, a1, a2, a3));
    b0 = scored<T>(sums_f32x4(b0, b1, b2, b3));
    topA = f32x4.pmax(f32x4.pmax(topA, a0), b0);
    v128.store(p, a0); v128.store(p + pFar, b0);
    const next = k + stride, pNext = p + 16;
    k = kOther;
    kOther = next;
    p = pOther;
    pOther = pNext;
  } while (--left);
  v128.store(top, topA);
  return infinite<T>(seen);
}

/** o += p·v for 8 rows, four keys at a time: for values that no other tile of the pass uses. */
export function addWide(p: usize, v: usize, valueDim: u32, count: u32, o: usize): void {
  const stride = valueDim << 2;
  const slots = valueDim < 4 ? valueDim : roundUp4(valueDim);
  const back: u32 = slots - valueDim << 2;
  const main = back ? o + ((valueDim & ~3) << 5) : o + (slots << 5);
  const end = o + (slots << 5);
  const parts = count + 3 >> 2;
  const far = parts * stride, pFar: usize = parts << 5;
  const last = v + (count - 1) * stride;
  let left = parts;
  do {
    let v0 = v, v1 = min(v + far, last), v2 = min(v + 2 * far, last), v3 = min(v + 3 * far, last);
    const p1 = p + pFar, p2 = p1 + pFar, p3 = p2 + pFar;
    const a0 = v128.load(p), b0 = v128.load(p, 16), a1 = v128.load(p1), b1 = v128.load(p1, 16);
    const a2 = v128.load(p2), b2 = v128.load(p2, 16), a3 = v128.load(p3), b3 = v128.load(p3, 16);
    let x = o;
    let stop = main;
    do {
      do {
        let a = v128.load(x), b = v128.load(x, 16);
        let s = v128.load32_splat(v0);
        a = madd_f32x4(s, a0, a); b = madd_f32x4(s, b0, b);
        s = v128.load32_splat(v1);
        a = madd_f32x4(s, a1, a); b = madd_f32x4(s, b1, b);
        s = v128.load32_splat(v2);
        a = madd_f32x4(s, a2, a); b = madd_f32x4(s, b2, b);
        s = v128.load32_splat(v3);
        a = madd_f32x4(s, a3, a); b = madd_f32x4(s, b3, b);
        v128.store(x, a); v128.store(x, b, 16);
        v0 += 4; v1 += 4; v2 += 4; v3 += 4;
        x += 32;
      } while (x < stop);
      v0 -= back; v1 -= back; v2 -= back; v3 -= back;
      stop = end;
    } while (x < end);
    p += 32;
    v += stride;
  } while (--left);
}

/**
 * o += p·v for 8 rows, the sums in registers: for values in the cache. With a multiply-add six values at a time, as far as twelves
 * go, then four: of 8 sums each waits for its last one on a processor that begins two multiply-adds a cycle and ends them after
 * four; 12 leave no register for a product.
 */
export function addWideCached(p: usize, v: usize, valueDim: u32, count: u32, o: usize): void {
  const stride = valueDim << 2;
  const end = p + (count << 5);
  const sixes: u32 = ASC_FEATURE_RELAXED_SIMD ? valueDim / 12 * 12 : 0;
  let c: u32 = 0;
  for (; c < sixes; c += 6) {
    let y = v + (c << 2);
    let a0 = v128.load(o), b0 = v128.load(o, 16), a1 = v128.load(o, 32), b1 = v128.load(o, 48);
    let a2 = v128.load(o, 64), b2 = v128.load(o, 80), a3 = v128.load(o, 96), b3 = v128.load(o, 112);
    let a4 = v128.load(o, 128), b4 = v128.load(o, 144), a5 = v128.load(o, 160), b5 = v128.load(o, 176);
    let x = p;
    do {
      const a = v128.load(x), b = v128.load(x, 16);
      let s = v128.load32_splat(y);
      a0 = madd_f32x4(s, a, a0); b0 = madd_f32x4(s, b, b0);
      s = v128.load32_splat(y, 4);
      a1 = madd_f32x4(s, a, a1); b1 = madd_f32x4(s, b, b1);
      s = v128.load32_splat(y, 8);
      a2 = madd_f32x4(s, a, a2); b2 = madd_f32x4(s, b, b2);
      s = v128.load32_splat(y, 12);
      a3 = madd_f32x4(s, a, a3); b3 = madd_f32x4(s, b, b3);
      s = v128.load32_splat(y, 16);
      a4 = madd_f32x4(s, a, a4); b4 = madd_f32x4(s, b, b4);
      s = v128.load32_splat(y, 20);
      a5 = madd_f32x4(s, a, a5); b5 = madd_f32x4(s, b, b5);
      y += stride;
      x += 32;
    } while (x < end);
    v128.store(o, a0); v128.store(o, b0, 16); v128.store(o, a1, 32); v128.store(o, b1, 48);
    v128.store(o, a2, 64); v128.store(o, b2, 80); v128.store(o, a3, 96); v128.store(o, b3, 112);
    v128.store(o, a4, 128); v128.store(o, b4, 144); v128.store(o, a5, 160); v128.store(o, b5, 176);
    o += 192;
  }
  for (; c < valueDim; c += 4) {
    let y = v + (min(c, valueDim - 4) << 2);
    let a0 = v128.load(o), b0 = v128.load(o, 16), a1 = v128.load(o, 32), b1 = v128.load(o, 48);
    let a2 = v128.load(o, 64), b2 = v128.load(o, 80), a3 = v128.load(o, 96), b3 = v128.load(o, 112);
    let x = p;
    do {
      const a = v128.load(x), b = v128.load(x, 16);
      let s = v128.load32_splat(y);
      a0 = madd_f32x4(s, a, a0); b0 = madd_f32x4(s, b, b0);
      s = v128.load32_splat(y, 4);
      a1 = madd_f32x4(s, a, a1); b1 = madd_f32x4(s, b, b1);
      s = v128.load32_splat(y, 8);
      a2 = madd_f32x4(s, a, a2); b2 = madd_f32x4(s, b, b2);
      s = v128.load32_splat(y, 12);
      a3 = madd_f32x4(s, a, a3); b3 = madd_f32x4(s, b, b3);
      y += stride;
      x += 32;
    } while (x < end);
    v128.store(o, a0); v128.store(o, b0, 16); v128.store(o, a1, 32); v128.store(o, b1, 48);
    v128.store(o, a2, 64); v128.store(o, b2, 80); v128.store(o, a3, 96); v128.store(o, b3, 112);
    o += 128;
  }
}

/** o += p·v for 4 rows, two keys at a time. */
export function addNarrow<T>(p: usize, v: usize, valueDim: u32, count: u32, o: usize): bool {
  const stride = bytesOf<T>(valueDim);
  const main = o + ((valueDim & ~3) << 4);
  const end = o + (roundUp4(valueDim) << 4);
  const back: u32 = bytesOf<T>(-valueDim & 3);
  const parts = count + 3 >> 2;
  const far = parts * stride, pFar: usize = parts << 4;
  const last = v + (count - 1) * stride;
  let left = parts << 1;
  let vOther = v + 2 * far, pOther = p + 2 * pFar;
  let seen = f32x4.splat(0);
  do {
    let v0 = min(v, last), v1 = min(v + far, last);
    const y = p + pFar;
    const a0 = scaled<T>(v128.load32_splat(p)), a1 = scaled<T>(v128.load32_splat(p, 4)), a2 = scaled<T>(v128.load32_splat(p, 8)), a3 = scaled<T>(v128.load32_splat(p, 12));
    const b0 = scaled<T>(v128.load32_splat(y)), b1 = scaled<T>(v128.load32_splat(y, 4)), b2 = scaled<T>(v128.load32_splat(y, 8)), b3 = scaled<T>(v128.load32_splat(y, 12));
    let x = o;
    let stop = main;
    do {
      do {
        const r = four<T>(v0), s = four<T>(v1);
        seen = largest<T>(v0, v1, seen);
        v128.store(x, madd_f32x4(s, b0, madd_f32x4(r, a0, v128.load(x))));
        v128.store(x, madd_f32x4(s, b1, madd_f32x4(r, a1, v128.load(x, 16))), 16);
        v128.store(x, madd_f32x4(s, b2, madd_f32x4(r, a2, v128.load(x, 32))), 32);
        v128.store(x, madd_f32x4(s, b3, madd_f32x4(r, a3, v128.load(x, 48))), 48);
        v0 += 4 * sizeof<T>(); v1 += 4 * sizeof<T>();
        x += 64;
      } while (x < stop);
      v0 -= back; v1 -= back;
      stop = end;
    } while (x < end);
    const next = v + stride, pNext = p + 16;
    v = vOther;
    vOther = next;
    p = pOther;
    pOther = pNext;
  } while (--left);
  return infinite<T>(seen);
}

/** scoresNarrow for one row, four keys at a time; the other lanes' scores are the same. */
export function scoresOne<T>(q: usize, k: usize, headDim: u32, count: u32, p: usize, top: usize): bool {
  const stride = bytesOf<T>(headDim);
  const main = q + ((headDim & ~3) << 4);
  const end = q + (roundUp4(headDim) << 4);
  const back: u32 = bytesOf<T>(-headDim & 3);
  const parts = count + 3 >> 2;
  const far = parts * stride, pFar: usize = parts << 4;
  const last = k + (count - 1) * stride;
  let left = parts;
  let highest = f32x4.splat(-Infinity), seen = f32x4.splat(0);
  do {
    let k0 = k, k1 = min(k + far, last), k2 = min(k + 2 * far, last), k3 = min(k + 3 * far, last);
    let a = f32x4.splat(0), b = a, c = a, d = a;
    let x = q;
    let stop = main;
    do {
      do {
        const query = v128.load(x);
        a = madd_f32x4(four<T>(k0), query, a);
        b = madd_f32x4(four<T>(k1), query, b);
        c = madd_f32x4(four<T>(k2), query, c);
        d = madd_f32x4(four<T>(k3), query, d);
        seen = largest<T>(k2, k3, largest<T>(k0, k1, seen));
        k0 += 4 * sizeof<T>(); k1 += 4 * sizeof<T>(); k2 += 4 * sizeof<T>(); k3 += 4 * sizeof<T>();
        x += 64;
      } while (x < stop);
      k0 -= back; k1 -= back; k2 -= back; k3 -= back;
      stop = end;
    } while (x < end);
    const s = scored<T>(sums_f32x4(a, b, c, d));
    highest = f32x4.pmax(highest, s);
    const p1 = p + pFar, p2 = p1 + pFar, p3 = p2 + pFar;
    v128.store(p, v128.shuffle<f32>(s, s, 0, 0, 0, 0)); v128.store(p1, v128.shuffle<f32>(s, s, 1, 1, 1, 1));
    v128.store(p2, v128.shuffle<f32>(s, s, 2, 2, 2, 2)); v128.store(p3, v128.shuffle<f32>(s, s, 3, 3, 3, 3));
    p += 16;
    k += stride;
  } while (--left);
  v128.store(top, maxAcross_f32x4(highest));
  return infinite<T>(seen);
}

/** addNarrow for one row, four keys at a time. */
export function addOne<T>(p: usize, v: usize, valueDim: u32, count: u32, o: usize): bool {
  const stride = bytesOf<T>(valueDim);
  const main = o + ((valueDim & ~3) << 4);
  const end = o + (roundUp4(valueDim) << 4);
  const back: u32 = bytesOf<T>(-valueDim & 3);
  const parts = count + 3 >> 2;
  const far = parts * stride, pFar: usize = parts << 4;
  const last = v + (count - 1) * stride;
  let left = parts;
  let seen = f32x4.splat(0);
  do {
    let v0 = v, v1 = min(v + far, last), v2 = min(v + 2 * far, last), v3 = min(v + 3 * far, last);
    const p1 = p + pFar, p2 = p1 + pFar, p3 = p2 + pFar;
    const a = scaled<T>(v128.load(p)), b = scaled<T>(v128.load(p1)), c = scaled<T>(v128.load(p2)), d = scaled<T>(v128.load(p3));
    let x = o;
    let stop = main;
    do {
      do {
        v128.store(x, madd_f32x4(four<T>(v3), d, madd_f32x4(four<T>(v2), c, madd_f32x4(four<T>(v1), b, madd_f32x4(four<T>(v0), a, v128.load(x))))));
        seen = largest<T>(v2, v3, largest<T>(v0, v1, seen));
        v0 += 4 * sizeof<T>(); v1 += 4 * sizeof<T>(); v2 += 4 * sizeof<T>(); v3 += 4 * sizeof<T>();
        x += 64;
      } while (x < stop);
      v0 -= back; v1 -= back; v2 -= back; v3 -= back;
      stop = end;
    } while (x < end);
    p += 16;
    v += stride;
  } while (--left);
  return infinite<T>(seen);
}
