/**
 * Generic in what activations are (T: f32 FLOATS, i16 PAIRS, i8 BYTES, u8 the same with sums of 16 bits) and in the width of
 * codes (W: u16 four bits, u8 eight).
 *
 * Products of prepared activations (lib/gemm-activations.ts) with one panel of packed weights: eight rows of the weights
 * by one, two or four rows of activations. The lanes of a vector are four rows of the panel, so nothing is reduced across
 * lanes; an activation is broadcast.
 *
 * Codes of a panel, four inputs at a time: 4 bits, 16 bytes: byte 4·r + i has input i of row r in its low bits and of row
 * r + 4 in its high bits. 8 bits, twice 16 bytes: byte 4·r + i has input i of row r, then of row r + 4.
 */
import { dot, dotPairs } from './dot';
import { headerBytes } from './gemm-activations';
import { madd_f32x4 } from './exp';
import { held_i32x4 } from './held';

/** Codes as the numbers that addProduct takes. */
// @ts-ignore: decorator
@inline
function number<T>(codes: v128): v128 {
  return isFloat<T>() ? f32x4.convert_i32x4_s(codes) : codes;
}

// @ts-ignore: decorator
@inline
function addProduct<T>(c: v128, a: v128, to: v128): v128 {
  if (isFloat<T>()) return madd_f32x4(c, a, to);
  if (ASC_FEATURE_RELAXED_SIMD && sizeof<T>() == 1) return isSigned<T>() ? dot(a, c, to) : dotPairs(a, c, to);
  return i32x4.add(i32x4.dot_i16x8_s(a, c), to);
}

/** `to` plus a · the codes under `mask`. */
// @ts-ignore: decorator
@inline
function madd<T>(codes: v128, mask: v128, a: v128, to: v128): v128 {
  return addProduct<T>(number<T>(v128.and(codes, mask)), a, to);
}

/** Bytes of codes whose products, two of at most 127 · 15 in each of eight, 16 bits hold the sum of: 32 inputs. */
const SPAN: usize = 128;

/** Full sums of 16 bits join `to`. */
// @ts-ignore: decorator
@inline
function flush(sums: v128, ones: v128, to: v128): v128 {
  return i32x4.add(to, i32x4.dot_i16x8_s(sums, ones));
}

/** Where the sum that holds upper halves starts: at 17 (16) times what they start from, see `upper`. */
// @ts-ignore: decorator
@inline
function widened<T>(a: v128): v128 {
  return isFloat<T>() ? f32x4.mul(a, f32x4.splat(16)) : i32x4.add(a, i32x4.shl(a, 4));
}

/** The sum of upper halves of bytes: b holds it times 16, and when of integers that of the lower halves, a, as well. */
// @ts-ignore: decorator
@inline
function upper<T>(a: v128, b: v128): v128 {
  return isFloat<T>() ? f32x4.mul(b, f32x4.splat(1.0 / 16)) : i32x4.shr_s(i32x4.sub(b, a), 4);
}

/** No level fuses what belongs to integer activations: its bits are the same everywhere. */
// @ts-ignore: decorator
@inline
function addMinima<T>(minima: v128, sum: v128, to: v128): v128 {
  return isFloat<T>() ? madd_f32x4(minima, sum, to) : f32x4.add(to, f32x4.mul(minima, sum));
}

/** The sums of a block as f32, times the scales. */
// @ts-ignore: decorator
@inline
function scaled<T>(sums: v128, scales: v128, to: v128): v128 {
  if (isFloat<T>()) return madd_f32x4(sums, scales, to);
  return f32x4.add(to, f32x4.mul(f32x4.convert_i32x4_s(sums), scales));
}

/**
 * Panels by one row, `parts` of them `far` bytes apart, `turn` inputs (some blocks) of each in turn: two streams come from memory
 * up to twice as fast as one. Eight results of each to `out`.
 */
export function one<T, W>(a: usize, panel: usize, far: usize, parts: u32, k: u32, block: u32, turn: u32, affine: u32, out: usize): void {
  const mask0 = held_i32x4(sizeof<W>() == 1 ? (isFloat<T>() ? 0xff : 0x00ff00ff) : isFloat<T>() ? 0xf : sizeof<T>() == 1 ? 0x0f0f0f0f : 0x000f000f);
  const mask1 = held_i32x4(sizeof<W>() == 1 ? 0xff00 : isFloat<T>() ? 0xf0 : 0x00ff00ff);
  const mask2 = held_i32x4(0xf00), mask3 = held_i32x4(0xf000), ones = held_i32x4(0x0001_0001);
  const headBytes = affine ? 64 : 32;
  for (let i: usize = 0; i < parts << 5; i += 16) v128.store(out + i, i32x4.splat(0));
  do {
    const begun = a, from = k;
    let at = panel, w = at, to = out;
    let left = parts;
    do {
      w = at;
      let outA = v128.load(to), outB = v128.load(to, 16);
      a = begun;
      k = from;
      const until = from > turn ? from - turn : 0;
      do {
        const count = min(block, k - until);
        const header = w, given = a;
        w += headBytes;
        const end = w + ((count + 31) & ~31) * (sizeof<W>() == 1 ? 8 : 4);
        a += headerBytes(1);
        let a0 = v128.load32_splat(given, 8), b0 = a0;
        let a1 = f32x4.splat(0), a2 = a1, a3 = a1, b1 = a1, b2 = a1, b3 = a1;
        if (isFloat<T>()) {
          if (sizeof<W>() != 1) b0 = widened<T>(b0);
          do {
            let v = v128.load(w);
            let s = v128.load32_splat(a);
            if (sizeof<W>() != 1) {
              a0 = madd<T>(v, mask0, s, a0); b0 = madd<T>(v, mask1, s, b0);
              s = v128.load32_splat(a, 4);
              a1 = madd<T>(v, mask2, s, a1); b1 = madd<T>(v, mask3, s, b1);
              v = i32x4.shr_u(v, 16);
              s = v128.load32_splat(a, 8);
              a2 = madd<T>(v, mask0, s, a2); b2 = madd<T>(v, mask1, s, b2);
              s = v128.load32_splat(a, 12);
              a3 = madd<T>(v, mask2, s, a3); b3 = madd<T>(v, mask3, s, b3);
              w += 16;
            } else {
              let u = v128.load(w, 16);
              a0 = madd<T>(v, mask0, s, a0); b0 = madd<T>(u, mask0, s, b0);
              s = v128.load32_splat(a, 4);
              a1 = madd<T>(v, mask1, s, a1); b1 = madd<T>(u, mask1, s, b1);
              v = i32x4.shr_u(v, 16); u = i32x4.shr_u(u, 16);
              s = v128.load32_splat(a, 8);
              a2 = madd<T>(v, mask0, s, a2); b2 = madd<T>(u, mask0, s, b2);
              s = v128.load32_splat(a, 12);
              a3 = madd<T>(v, mask1, s, a3); b3 = madd<T>(u, mask1, s, b3);
              w += 32;
            }
            a += 16;
          } while (w < end);
          a0 = f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3));
          b0 = f32x4.add(f32x4.add(b0, b1), f32x4.add(b2, b3));
          if (sizeof<W>() != 1) b0 = upper<T>(a0, b0);
        } else if (sizeof<T>() == 1 && !isSigned<T>()) {
          do {
            a1 = i32x4.splat(0); b1 = a1;
            const last = w + SPAN;
            do {
              let v = v128.load(w);
              let s = v128.load32_splat(a);
              a1 = madd<T>(v, mask0, s, a1); b1 = madd<T>(i16x8.shr_u(v, 4), mask0, s, b1);
              v = v128.load(w, 16); s = v128.load32_splat(a, 4);
              a1 = madd<T>(v, mask0, s, a1); b1 = madd<T>(i16x8.shr_u(v, 4), mask0, s, b1);
              v = v128.load(w, 32); s = v128.load32_splat(a, 8);
              a1 = madd<T>(v, mask0, s, a1); b1 = madd<T>(i16x8.shr_u(v, 4), mask0, s, b1);
              v = v128.load(w, 48); s = v128.load32_splat(a, 12);
              a1 = madd<T>(v, mask0, s, a1); b1 = madd<T>(i16x8.shr_u(v, 4), mask0, s, b1);
              w += 64; a += 16;
            } while (w < last);
            a0 = flush(a1, ones, a0); b0 = flush(b1, ones, b0);
          } while (w < end);
        } else if (sizeof<T>() == 1) {
          do {
            let v = v128.load(w);
            let s = v128.load32_splat(a);
            a0 = madd<T>(v, mask0, s, a0); b0 = madd<T>(i16x8.shr_u(v, 4), mask0, s, b0);
            v = v128.load(w, 16); s = v128.load32_splat(a, 4);
            a1 = madd<T>(v, mask0, s, a1); b1 = madd<T>(i16x8.shr_u(v, 4), mask0, s, b1);
            v = v128.load(w, 32); s = v128.load32_splat(a, 8);
            a2 = madd<T>(v, mask0, s, a2); b2 = madd<T>(i16x8.shr_u(v, 4), mask0, s, b2);
            v = v128.load(w, 48); s = v128.load32_splat(a, 12);
            a3 = madd<T>(v, mask0, s, a3); b3 = madd<T>(i16x8.shr_u(v, 4), mask0, s, b3);
            w += 64; a += 16;
          } while (w < end);
          a0 = i32x4.add(i32x4.add(a0, a1), i32x4.add(a2, a3));
          b0 = i32x4.add(i32x4.add(b0, b1), i32x4.add(b2, b3));
        } else {
          if (sizeof<W>() != 1) b0 = widened<T>(b0);
          do {
            let v = v128.load(w), u = v128.load(w, 16);
            let s = v128.load32_splat(a), t = v128.load32_splat(a, 4);
            if (sizeof<W>() != 1) {
              a0 = madd<T>(v, mask0, s, a0); b0 = madd<T>(v, mask1, s, b0);
              v = i16x8.shr_u(v, 8);
              a1 = madd<T>(v, mask0, t, a1); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(v, t));
              s = v128.load32_splat(a, 8); t = v128.load32_splat(a, 12);
              a0 = madd<T>(u, mask0, s, a0); b0 = madd<T>(u, mask1, s, b0);
              u = i16x8.shr_u(u, 8);
              a1 = madd<T>(u, mask0, t, a1); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(u, t));
              w += 32;
            } else {
              a0 = madd<T>(v, mask0, s, a0); b0 = madd<T>(u, mask0, s, b0);
              a1 = i32x4.add(a1, i32x4.dot_i16x8_s(i16x8.shr_u(v, 8), t)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(i16x8.shr_u(u, 8), t));
              v = v128.load(w, 32); u = v128.load(w, 48);
              s = v128.load32_splat(a, 8); t = v128.load32_splat(a, 12);
              a0 = madd<T>(v, mask0, s, a0); b0 = madd<T>(u, mask0, s, b0);
              a1 = i32x4.add(a1, i32x4.dot_i16x8_s(i16x8.shr_u(v, 8), t)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(i16x8.shr_u(u, 8), t));
              w += 64;
            }
            a += 16;
          } while (w < end);
          a0 = i32x4.add(a0, a1);
          b0 = i32x4.add(b0, b1);
          if (sizeof<W>() != 1) b0 = upper<T>(a0, b0);
        }
        let scalesA = v128.load(header), scalesB = v128.load(header, 16);
        if (!isFloat<T>()) {
          const scale = v128.load32_splat(given);
          scalesA = f32x4.mul(scalesA, scale); scalesB = f32x4.mul(scalesB, scale);
        }
        outA = scaled<T>(a0, scalesA, outA); outB = scaled<T>(b0, scalesB, outB);
        if (affine) {
          const sum = v128.load32_splat(given, 4);
          outA = addMinima<T>(v128.load(header, 32), sum, outA); outB = addMinima<T>(v128.load(header, 48), sum, outB);
        }
        k -= count;
      } while (k > until);
      v128.store(to, outA);
      v128.store(to, outB, 16);
      to += 32;
      at += far;
    } while (--left);
    panel += w + far - at;
  } while (k);
}

/** What a tile's row has to show for a block: its sums times the scales, its part of the minima, added to `out`. */
// @ts-ignore: decorator
@inline
function settle<T, R>(a: v128, b: v128, scalesA: v128, scalesB: v128, minima: usize, given: usize, affine: u32, out: usize): void {
  if (!isFloat<T>()) {
    const scale = v128.load32_splat(given);
    scalesA = f32x4.mul(scalesA, scale); scalesB = f32x4.mul(scalesB, scale);
  }
  let outA = scaled<T>(a, scalesA, v128.load(out)), outB = scaled<T>(b, scalesB, v128.load(out, 16));
  if (affine) {
    const sum = v128.load32_splat(given, sizeof<R>() << 2);
    outA = addMinima<T>(v128.load(minima), sum, outA); outB = addMinima<T>(v128.load(minima, 16), sum, outB);
  }
  v128.store(out, outA);
  v128.store(out, outB, 16);
}

/** A panel by several rows, four (R: u32) or two (R: u16); their eight results each to `out`. */
// @ts-ignore: decorator
@inline
export function several<T, W, R>(a: usize, w: usize, k: u32, block: u32, affine: u32, out: usize): void {
  const mask0 = held_i32x4(sizeof<W>() == 1 ? (isFloat<T>() ? 0xff : 0x00ff00ff) : isFloat<T>() ? 0xf : sizeof<T>() == 1 ? 0x0f0f0f0f : 0x000f000f);
  const mask1 = held_i32x4(isFloat<T>() ? 0xf0 : 0x00ff00ff), ones = held_i32x4(0x0001_0001);
  const narrow = sizeof<T>() == 1 && !isSigned<T>();
  for (let i: usize = 0; i < sizeof<R>() << 5; i += 16) v128.store(out + i, i32x4.splat(0));
  do {
    const count = min(block, k);
    const end = w + (affine ? 64 : 32) + ((count + 31) & ~31) * (sizeof<W>() == 1 ? 8 : 4);
    const header = w, given = a;
    w += affine ? 64 : 32;
    a += sizeof<R>() * headerBytes(sizeof<R>());
    const start = given + (sizeof<R>() << 3);
    let a0 = v128.load32_splat(start), a1 = v128.load32_splat(start, 4), a2 = a0, a3 = a0;
    if (sizeof<R>() == 4) {
      a2 = v128.load32_splat(start, 8); a3 = v128.load32_splat(start, 12);
    }
    let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
    if (sizeof<W>() != 1 && sizeof<T>() != 1) {
      b0 = widened<T>(a0); b1 = widened<T>(a1);
      if (sizeof<R>() == 4) {
        b2 = widened<T>(a2); b3 = widened<T>(a3);
      }
    }
    // Sums of a span, and what they join when it is full.
    let sum0 = a0, sum1 = a1, sum2 = a2, sum3 = a3, sum4 = a0, sum5 = a1, sum6 = a2, sum7 = a3;
    do {
      let last = end;
      if (narrow) {
        last = w + SPAN;
        a0 = i32x4.splat(0); a1 = a0; a2 = a0; a3 = a0; b0 = a0; b1 = a0; b2 = a0; b3 = a0;
      }
      do {
        let v = v128.load(w), u = v;
        if (sizeof<W>() == 1) {
          u = v128.load(w, 16);
          w += 16;
        }
        w += 16;
        let steps: u32 = isFloat<T>() ? 4 : 2;
        do {
          const c = number<T>(v128.and(v, mask0));
          const d = number<T>(sizeof<W>() == 1 ? v128.and(u, mask0) : sizeof<T>() == 1 ? v128.and(i16x8.shr_u(v, 4), mask0) : v128.and(v, mask1));
          let s = v128.load32_splat(a);
          a0 = addProduct<T>(c, s, a0); b0 = addProduct<T>(d, s, b0);
          s = v128.load32_splat(a, 4);
          a1 = addProduct<T>(c, s, a1); b1 = addProduct<T>(d, s, b1);
          if (sizeof<R>() == 4) {
            s = v128.load32_splat(a, 8);
            a2 = addProduct<T>(c, s, a2); b2 = addProduct<T>(d, s, b2);
            s = v128.load32_splat(a, 12);
            a3 = addProduct<T>(c, s, a3); b3 = addProduct<T>(d, s, b3);
          }
          a += sizeof<R>() << 2;
          if (sizeof<T>() == 1) break;
          v = isFloat<T>() ? i32x4.shr_u(v, 8) : i16x8.shr_u(v, 8);
          if (sizeof<W>() == 1) u = isFloat<T>() ? i32x4.shr_u(u, 8) : i16x8.shr_u(u, 8);
        } while (--steps);
      } while (w < last);
      if (narrow) {
        sum0 = flush(a0, ones, sum0); sum1 = flush(a1, ones, sum1); sum4 = flush(b0, ones, sum4); sum5 = flush(b1, ones, sum5);
        if (sizeof<R>() == 4) {
          sum2 = flush(a2, ones, sum2); sum3 = flush(a3, ones, sum3); sum6 = flush(b2, ones, sum6); sum7 = flush(b3, ones, sum7);
        }
      }
    } while (narrow && w < end);
    if (narrow) {
      a0 = sum0; a1 = sum1; a2 = sum2; a3 = sum3; b0 = sum4; b1 = sum5; b2 = sum6; b3 = sum7;
    }
    if (sizeof<W>() != 1 && sizeof<T>() != 1) {
      b0 = upper<T>(a0, b0); b1 = upper<T>(a1, b1);
      if (sizeof<R>() == 4) {
        b2 = upper<T>(a2, b2); b3 = upper<T>(a3, b3);
      }
    }
    const scalesA = v128.load(header), scalesB = v128.load(header, 16), minima = header + 32;
    settle<T, R>(a0, b0, scalesA, scalesB, minima, given, affine, out);
    settle<T, R>(a1, b1, scalesA, scalesB, minima, given + 4, affine, out + 32);
    if (sizeof<R>() == 4) {
      settle<T, R>(a2, b2, scalesA, scalesB, minima, given + 8, affine, out + 64);
      settle<T, R>(a3, b3, scalesA, scalesB, minima, given + 12, affine, out + 96);
    }
    k -= count;
  } while (k);
}

/** Vectors of a block that `expand` makes hold so many of its inputs: one as f32, two in pairs of 16 bits. */
// @ts-ignore: decorator
@inline
function inputsOf<T>(): u32 {
  return isFloat<T>() ? 1 : 2;
}

/** Bytes of a block of `count` inputs as `expand` makes it. */
// @ts-ignore: decorator
@inline
export function expandedBytes<T>(count: u32): usize {
  return ((count + 31) & ~31) / inputsOf<T>() << 5;
}

/** A block's codes of `bits` as addProduct takes them: vectors of the first four and of the last four outputs in turn. */
export function expand<T>(bits: u32, w: usize, count: u32, to: usize): void {
  const mask = held_i32x4((isFloat<T>() ? 1 : 0x0001_0001) * ((1 << bits) - 1));
  const end = to + expandedBytes<T>(count);
  do {
    let v = v128.load(w), u = v;
    if (bits == 8) u = v128.load(w, 16);
    else u = i16x8.shr_u(v, 4);
    w += bits << 2;
    for (let i = inputsOf<T>(); i <= 4; i += inputsOf<T>()) {
      v128.store(to, number<T>(v128.and(v, mask)));
      v128.store(to, number<T>(v128.and(u, mask)), 16);
      v = i32x4.shr_u(v, 8);
      u = i32x4.shr_u(u, 8);
      to += 32;
    }
  } while (to < end);
}

/** A block that `expand` made by four rows: what it has to show is added to their eight results each. */
export function expanded<T>(a: usize, codes: usize, count: u32, header: usize, affine: u32, out: usize): void {
  const end = codes + expandedBytes<T>(count);
  const start = a + 32, given = a;
  let a0 = v128.load32_splat(start), a1 = v128.load32_splat(start, 4), a2 = v128.load32_splat(start, 8), a3 = v128.load32_splat(start, 12);
  let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
  a += 4 * headerBytes(4);
  do {
    const c = v128.load(codes), d = v128.load(codes, 16);
    let s = v128.load32_splat(a);
    a0 = addProduct<T>(c, s, a0); b0 = addProduct<T>(d, s, b0);
    s = v128.load32_splat(a, 4);
    a1 = addProduct<T>(c, s, a1); b1 = addProduct<T>(d, s, b1);
    s = v128.load32_splat(a, 8);
    a2 = addProduct<T>(c, s, a2); b2 = addProduct<T>(d, s, b2);
    s = v128.load32_splat(a, 12);
    a3 = addProduct<T>(c, s, a3); b3 = addProduct<T>(d, s, b3);
    a += 16;
    codes += 32;
  } while (codes < end);
  const scalesA = v128.load(header), scalesB = v128.load(header, 16), minima = header + 32;
  settle<T, u32>(a0, b0, scalesA, scalesB, minima, given, affine, out);
  settle<T, u32>(a1, b1, scalesA, scalesB, minima, given + 4, affine, out + 32);
  settle<T, u32>(a2, b2, scalesA, scalesB, minima, given + 8, affine, out + 64);
  settle<T, u32>(a3, b3, scalesA, scalesB, minima, given + 12, affine, out + 96);
}
