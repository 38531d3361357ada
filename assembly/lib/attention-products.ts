/**
 * The two products of attention on one tile (lib/attention.ts) of 8 rows (wide) or 4 (narrow): q·k of a few keys, and
 * the weighted sum of their values, f32 or halves (T). Rows of k and v may have any length and alignment. Only the `count` rows are read,
 * and, to bring them near, those up to `limit`.
 */

import { madd_f32x4 } from './exp';
import { load4, widen_f32x4 } from './half';
import { maxAcross_f32x4, sums_f32x4 } from './reduce';

/**
 * How far ahead of the arithmetic memory is touched, where keys (values) have at least TOUCHED bytes: hardware
 * prefetchers follow two or four rows at once only while they are short. Without it, decoding with headDim 128 from
 * DRAM takes three times as long; with it, headDim 64 would take a third longer.
 */
export const TOUCHED: u32 = 448;
const AHEAD: usize = 512;
const BURST: usize = 2048;

/** Bytes of so many keys' or values' elements. */
// @ts-ignore: decorator
@inline
export function bytesOf<T>(elements: u32): u32 {
  return elements * <u32>sizeof<T>();
}

/** One element in all lanes. */
// @ts-ignore: decorator
@inline
function splat<T>(p: usize, offset: usize = 0): v128 {
  return sizeof<T>() == 4 ? v128.load32_splat(p + offset) : widen_f32x4(i32x4.splat(load<i16>(p + offset)));
}

// @ts-ignore: decorator
@inline
export function roundUp4(n: u32): u32 {
  return (n + 3) & ~3;
}

/**
 * Reads a byte of every cache line that the arithmetic comes to next, in bursts: [ahead, at + AHEAD) and at least BURST
 * bytes, not past `limit`. Answers with the new `ahead`.
 */
// @ts-ignore: decorator
@inline
function touch(at: usize, ahead: usize, limit: usize): usize {
  if (ahead >= at + AHEAD) return ahead;
  const next = max(at + AHEAD, ahead + BURST);
  const end = min(next, limit);
  while (ahead < end) {
    load<u8>(ahead);
    ahead += 64;
  }
  return next;
}

/** p = q·k of `count` keys for 8 rows, and their maximum by row to `top`: tiles of 4 keys × 2 vectors in registers. */
export function scoresWide<T>(q: usize, k: usize, limit: usize, headDim: u32, count: u32, p: usize, top: usize): void {
  const stride: usize = bytesOf<T>(headDim);
  const end = q + (headDim << 5);
  let left: i32 = count;
  let ahead = k + AHEAD;
  let topA = f32x4.splat(-Infinity), topB = topA;
  do {
    ahead = touch(k + (stride << 2), ahead, limit);
    let k0 = k, k1 = k0 + (left > 1 ? stride : <usize>0);
    let k2 = k1 + (left > 2 ? stride : <usize>0), k3 = k2 + (left > 3 ? stride : <usize>0);
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let x = q;
    do {
      const a = v128.load(x), b = v128.load(x, 16);
      let s = splat<T>(k0);
      a0 = madd_f32x4(s, a, a0); b0 = madd_f32x4(s, b, b0);
      s = splat<T>(k1);
      a1 = madd_f32x4(s, a, a1); b1 = madd_f32x4(s, b, b1);
      s = splat<T>(k2);
      a2 = madd_f32x4(s, a, a2); b2 = madd_f32x4(s, b, b2);
      s = splat<T>(k3);
      a3 = madd_f32x4(s, a, a3); b3 = madd_f32x4(s, b, b3);
      k0 += sizeof<T>(); k1 += sizeof<T>(); k2 += sizeof<T>(); k3 += sizeof<T>();
      x += 32;
    } while (x < end);
    topA = f32x4.pmax(f32x4.pmax(f32x4.pmax(topA, a0), f32x4.pmax(a1, a2)), a3);
    topB = f32x4.pmax(f32x4.pmax(f32x4.pmax(topB, b0), f32x4.pmax(b1, b2)), b3);
    v128.store(p, a0); v128.store(p, b0, 16); v128.store(p, a1, 32); v128.store(p, b1, 48);
    v128.store(p, a2, 64); v128.store(p, b2, 80); v128.store(p, a3, 96); v128.store(p, b3, 112);
    p += 128;
    k += stride << 2;
    left -= 4;
  } while (left > 0);
  v128.store(top, topA);
  v128.store(top, topB, 16);
}

/** The same for 4 rows, two keys at a time, each in the order it lies in memory: 4 rows × 2 keys × 4 dimensions. */
export function scoresNarrow<T>(q: usize, k: usize, limit: usize, headDim: u32, count: u32, p: usize, top: usize): void {
  const stride: usize = bytesOf<T>(headDim);
  const main = q + ((headDim & ~3) << 4);
  const end = q + (roundUp4(headDim) << 4);
  const back: u32 = bytesOf<T>(-headDim & 3);
  let left: i32 = count;
  let ahead = k + AHEAD;
  let topA = f32x4.splat(-Infinity);
  do {
    ahead = touch(k + (stride << 1), ahead, limit);
    let k0 = k, k1 = k0 + (left > 1 ? stride : <usize>0);
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let x = q;
    let stop = main;
    do {
      do {
        const r = load4<T>(k0), s = load4<T>(k1);
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
    a0 = sums_f32x4(a0, a1, a2, a3);
    b0 = sums_f32x4(b0, b1, b2, b3);
    topA = f32x4.pmax(f32x4.pmax(topA, a0), b0);
    v128.store(p, a0); v128.store(p, b0, 16);
    p += 32;
    k += stride << 1;
    left -= 2;
  } while (left > 0);
  v128.store(top, topA);
}

/** o += p·v for 8 rows, four keys at a time in memory order: for values that no other tile of the pass uses. */
export function addWide<T>(p: usize, v: usize, limit: usize, valueDim: u32, count: u32, o: usize): void {
  const stride: usize = bytesOf<T>(valueDim);
  const slots = valueDim < 4 ? valueDim : roundUp4(valueDim);
  const back: u32 = bytesOf<T>(slots - valueDim);
  const main = back ? o + ((valueDim & ~3) << 5) : o + (slots << 5);
  const end = o + (slots << 5);
  let left: i32 = count;
  let ahead = v + AHEAD;
  do {
    ahead = touch(v + (stride << 2), ahead, limit);
    let v0 = v, v1 = v0 + (left > 1 ? stride : <usize>0);
    let v2 = v1 + (left > 2 ? stride : <usize>0), v3 = v2 + (left > 3 ? stride : <usize>0);
    const a0 = v128.load(p), b0 = v128.load(p, 16), a1 = v128.load(p, 32), b1 = v128.load(p, 48);
    const a2 = v128.load(p, 64), b2 = v128.load(p, 80), a3 = v128.load(p, 96), b3 = v128.load(p, 112);
    let x = o;
    let stop = main;
    do {
      do {
        let a = v128.load(x), b = v128.load(x, 16);
        let s = splat<T>(v0);
        a = madd_f32x4(s, a0, a); b = madd_f32x4(s, b0, b);
        s = splat<T>(v1);
        a = madd_f32x4(s, a1, a); b = madd_f32x4(s, b1, b);
        s = splat<T>(v2);
        a = madd_f32x4(s, a2, a); b = madd_f32x4(s, b2, b);
        s = splat<T>(v3);
        a = madd_f32x4(s, a3, a); b = madd_f32x4(s, b3, b);
        v128.store(x, a); v128.store(x, b, 16);
        v0 += sizeof<T>(); v1 += sizeof<T>(); v2 += sizeof<T>(); v3 += sizeof<T>();
        x += 32;
      } while (x < stop);
      v0 -= back; v1 -= back; v2 -= back; v3 -= back;
      stop = end;
    } while (x < end);
    p += 128;
    v += stride << 2;
    left -= 4;
  } while (left > 0);
}

/**
 * o += p·v for 8 rows and four values at a time, the sums in registers: for values in the cache (same bits as addWide).
 */
export function addWideCached<T>(p: usize, v: usize, valueDim: u32, count: u32, o: usize): void {
  const stride: usize = bytesOf<T>(valueDim);
  const end = p + (count << 5);
  for (let c: u32 = 0; c < valueDim; c += 4) {
    let y = v + bytesOf<T>(min(c, valueDim - 4));
    let a0 = v128.load(o), b0 = v128.load(o, 16), a1 = v128.load(o, 32), b1 = v128.load(o, 48);
    let a2 = v128.load(o, 64), b2 = v128.load(o, 80), a3 = v128.load(o, 96), b3 = v128.load(o, 112);
    let x = p;
    do {
      const a = v128.load(x), b = v128.load(x, 16);
      let s = splat<T>(y);
      a0 = madd_f32x4(s, a, a0); b0 = madd_f32x4(s, b, b0);
      s = splat<T>(y, 1 * sizeof<T>());
      a1 = madd_f32x4(s, a, a1); b1 = madd_f32x4(s, b, b1);
      s = splat<T>(y, 2 * sizeof<T>());
      a2 = madd_f32x4(s, a, a2); b2 = madd_f32x4(s, b, b2);
      s = splat<T>(y, 3 * sizeof<T>());
      a3 = madd_f32x4(s, a, a3); b3 = madd_f32x4(s, b, b3);
      y += stride;
      x += 32;
    } while (x < end);
    v128.store(o, a0); v128.store(o, b0, 16); v128.store(o, a1, 32); v128.store(o, b1, 48);
    v128.store(o, a2, 64); v128.store(o, b2, 80); v128.store(o, a3, 96); v128.store(o, b3, 112);
    o += 128;
  }
}

/** o += p·v for 4 rows, two keys at a time in memory order. */
export function addNarrow<T>(p: usize, v: usize, limit: usize, valueDim: u32, count: u32, o: usize): void {
  const stride: usize = bytesOf<T>(valueDim);
  const main = o + ((valueDim & ~3) << 4);
  const end = o + (roundUp4(valueDim) << 4);
  const back: u32 = bytesOf<T>(-valueDim & 3);
  let left: i32 = count;
  let ahead = v + AHEAD;
  do {
    ahead = touch(v + (stride << 1), ahead, limit);
    let v0 = v, v1 = v0 + (left > 1 ? stride : <usize>0);
    const a0 = v128.load32_splat(p), a1 = v128.load32_splat(p, 4), a2 = v128.load32_splat(p, 8), a3 = v128.load32_splat(p, 12);
    const b0 = v128.load32_splat(p, 16), b1 = v128.load32_splat(p, 20), b2 = v128.load32_splat(p, 24), b3 = v128.load32_splat(p, 28);
    let x = o;
    let stop = main;
    do {
      do {
        const r = load4<T>(v0), s = load4<T>(v1);
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
    p += 32;
    v += stride << 1;
    left -= 2;
  } while (left > 0);
}

/** scoresNarrow for one row, four keys at a time; the other lanes' scores are the same. */
export function scoresOne<T>(q: usize, k: usize, limit: usize, headDim: u32, count: u32, p: usize, top: usize): void {
  const stride: usize = bytesOf<T>(headDim);
  const main = q + ((headDim & ~3) << 4);
  const end = q + (roundUp4(headDim) << 4);
  const back: u32 = bytesOf<T>(-headDim & 3);
  let left: i32 = count;
  let ahead = k + AHEAD;
  let highest = f32x4.splat(-Infinity);
  do {
    ahead = touch(k + (stride << 2), ahead, limit);
    let k0 = k, k1 = k0 + (left > 1 ? stride : <usize>0);
    let k2 = k1 + (left > 2 ? stride : <usize>0), k3 = k2 + (left > 3 ? stride : <usize>0);
    let a = f32x4.splat(0), b = a, c = a, d = a;
    let x = q;
    let stop = main;
    do {
      do {
        const query = v128.load(x);
        a = madd_f32x4(load4<T>(k0), query, a);
        b = madd_f32x4(load4<T>(k1), query, b);
        c = madd_f32x4(load4<T>(k2), query, c);
        d = madd_f32x4(load4<T>(k3), query, d);
        k0 += 4 * sizeof<T>(); k1 += 4 * sizeof<T>(); k2 += 4 * sizeof<T>(); k3 += 4 * sizeof<T>();
        x += 64;
      } while (x < stop);
      k0 -= back; k1 -= back; k2 -= back; k3 -= back;
      stop = end;
    } while (x < end);
    const s = sums_f32x4(a, b, c, d);
    highest = f32x4.pmax(highest, s);
    v128.store(p, v128.shuffle<f32>(s, s, 0, 0, 0, 0)); v128.store(p, v128.shuffle<f32>(s, s, 1, 1, 1, 1), 16);
    v128.store(p, v128.shuffle<f32>(s, s, 2, 2, 2, 2), 32); v128.store(p, v128.shuffle<f32>(s, s, 3, 3, 3, 3), 48);
    p += 64;
    k += stride << 2;
    left -= 4;
  } while (left > 0);
  v128.store(top, maxAcross_f32x4(highest));
}

/** addNarrow for one row, four keys at a time. */
export function addOne<T>(p: usize, v: usize, limit: usize, valueDim: u32, count: u32, o: usize): void {
  const stride: usize = bytesOf<T>(valueDim);
  const main = o + ((valueDim & ~3) << 4);
  const end = o + (roundUp4(valueDim) << 4);
  const back: u32 = bytesOf<T>(-valueDim & 3);
  let left: i32 = count;
  let ahead = v + AHEAD;
  do {
    ahead = touch(v + (stride << 2), ahead, limit);
    let v0 = v, v1 = v0 + (left > 1 ? stride : <usize>0);
    let v2 = v1 + (left > 2 ? stride : <usize>0), v3 = v2 + (left > 3 ? stride : <usize>0);
    const a = v128.load(p), b = v128.load(p, 16), c = v128.load(p, 32), d = v128.load(p, 48);
    let x = o;
    let stop = main;
    do {
      do {
        v128.store(x, madd_f32x4(load4<T>(v3), d, madd_f32x4(load4<T>(v2), c, madd_f32x4(load4<T>(v1), b, madd_f32x4(load4<T>(v0), a, v128.load(x))))));
        v0 += 4 * sizeof<T>(); v1 += 4 * sizeof<T>(); v2 += 4 * sizeof<T>(); v3 += 4 * sizeof<T>();
        x += 64;
      } while (x < stop);
      v0 -= back; v1 -= back; v2 -= back; v3 -= back;
      stop = end;
    } while (x < end);
    p += 64;
    v += stride << 2;
    left -= 4;
  } while (left > 0);
}
