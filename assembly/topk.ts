import { gather, keyOf, numberOf, reaching, select } from './lib/topk';

/**
 * topk_f32: the k largest (or smallest) values of each row with their positions, in order. Exact.
 *
 *   x        f32 [rows, n]  any values
 *   values   f32 [rows, k]  out: bit for bit as stored in x, best first
 *   indices  u32 [rows, k]  out: their positions in the row
 *   smallest u32            0: the largest, descending; 1: the smallest, ascending
 *   scratch  u32 [topkScratchBytes / 4], or offset 0: none
 *
 * Order: equal values keep the lower index first, -0 equals +0, NaN comes last in both directions (by index).
 * The caller guarantees 1 <= k <= n <= 2^24, 4-byte alignment, and arrays that do not overlap.
 *
 * Method, with scratch (lib/topk.ts). One pass stores the maximum of every lane of every run of 64 values. Any t that k of those
 * maxima reach is reached by at least k values, and hardly more when there are 4k maxima or more (fewer are left by
 * merging four into one). t is found by bisection with SIMD counting; only runs whose maxima reach t are read again.
 * For large k the row's beginning takes the maxima's place as a sample. Where t turns out too low (sorted, clustered
 * or tied rows) or too high, bisection goes on with the runs themselves, down to single keys if need be: the lowest
 * indices of the last key are kept. Few candidates are ordered by counting who beats whom, many by an LSD radix sort.
 * Without scratch: maxima of residue classes, held in the output arrays, give t; a heap in the output arrays the rest.
 *
 * Maxima are taken from both halves of the row in turn: beyond the caches memory comes faster from two streams than from one (1.1
 * times for 4 M values on a Zen 5). Four are faster yet on a Zen 3 (1.4), but take twice as long on a Zen 5.
 *
 * Not done, against 64 of 32768 in 3.8 µs: a heap alone (46 µs) and a running threshold alone (15, ascending rows 150), both
 * from a prototype; maxima of adjacent runs instead of distant ones merged (ascending rows 7.5 instead of 4.7, a wave 9.3
 * instead of 4.9); a second loop for `smallest` that saves the sign flip (3.5, nothing beyond L2, 250 bytes); counting by
 * popcnt of bit masks (4.2, 180 bytes less); touching memory ahead (1.3 to 1.6 times slower beyond L2); radix sort of key and
 * index as one u64 with all four digits counted in one pass (k = n/2 and n 12 to 15 % quicker, but 110 bytes past the 4096 that compile
 * synchronously, and 3 KiB more scratch).
 */

/** The i-th of a heap (keys, and their indices `gap` further) as one number: less is worse, equal keys by index. */
@inline
function order(p: usize, gap: usize): i64 {
  return (<i64>load<i32>(p) << 32) - load<u32>(p + gap);
}

@inline
function put(p: usize, gap: usize, item: i64): void {
  const index = -<u32>item;
  store<u32>(p + gap, index);
  store<i32>(p, <i32>((item + index) >> 32));
}

/** Makes a heap, the worst at its root, or goes on to sort: the best first. */
function heap(values: usize, gap: usize, bytes: usize, sort: bool): void {
  for (let start = (bytes >> 3) << 2; ; ) {
    let item: i64;
    if (start) {
      start -= 4;
      item = order(values + start, gap);
    } else {
      bytes -= 4;
      if (!sort || <isize>bytes <= 0) break;
      item = order(values + bytes, gap);
      put(values + bytes, gap, order(values, gap));
    }
    siftDown(values, gap, start, bytes, item);
  }
}

/** Puts an item into the heap of so many bytes whose place `hole` is free. */
function siftDown(values: usize, gap: usize, hole: usize, bytes: usize, item: i64): void {
  for (;;) {
    let child = (hole << 1) + 4;
    if (child >= bytes) break;
    let worst = order(values + child, gap);
    if (child + 4 < bytes) {
      const other = order(values + child + 4, gap);
      if (other < worst) {
        worst = other;
        child += 4;
      }
    }
    if (item < worst) break;
    put(values + hole, gap, worst);
    hole = child;
  }
  put(values + hole, gap, item);
}

/** One row without scratch. */
function selectInPlace(x: usize, n: u32, k: u32, values: usize, indices: usize, flip: u32): usize {
  const gap = indices - values;
  const bytes = <usize>k << 2;
  const flip_i32x4 = i32x4.splat(flip);
  // Maxima of residue classes: a few more than k, one vector of them here, the others in the place of the values.
  let t_f32x4 = f32x4.splat(reinterpret<f32>(0xff800000 | (flip & 1)));
  const lanes = bytes & ~15;
  for (let i: usize = 0; i < lanes; i += 16) v128.store(values + i, t_f32x4);
  const step = lanes + 16;
  const end = x + (<usize>n << 2);
  let p = x;
  while (p + step <= end) {
    for (let i: usize = 0; i < lanes; i += 16, p += 16) v128.store(values + i, f32x4.pmax(v128.load(values + i), v128.xor(v128.load(p), flip_i32x4)));
    t_f32x4 = f32x4.pmax(t_f32x4, v128.xor(v128.load(p), flip_i32x4));
    p += 16;
  }
  for (let i: usize = 0; i < lanes; i += 16) t_f32x4 = f32x4.pmin(t_f32x4, v128.load(values + i));
  t_f32x4 = f32x4.pmin(t_f32x4, v128.shuffle<i64>(t_f32x4, t_f32x4, 1, 0));
  let t = min(f32x4.extract_lane(t_f32x4, 0), f32x4.extract_lane(t_f32x4, 1));

  let c: usize = 0;
  for (let i: u32 = 0; i < n; i += 64) {
    p = x + (<usize>i << 2);
    for (let mask = i + 64 > n ? ((<u64>1) << (n & 63)) - 1 : reaching<f32>(p, t, flip); mask; mask &= mask - 1) {
      const j = <u32>ctz(mask);
      const value = reinterpret<f32>(load<u32>(p + (<usize>j << 2)) ^ flip);
      if (!(value >= t)) continue;
      const item = (<i64>keyOf<f32>(value) << 32) - (i + j);
      if (c < bytes) {
        put(values + c, gap, item);
        c += 4;
        if (c < bytes) continue;
        heap(values, gap, c, false);
      } else siftDown(values, gap, 0, c, item);
      t = numberOf<f32>(load<i32>(values) + 1);
    }
  }
  heap(values, gap, c, true);
  gather<f32>(x, indices, c, values, indices);
  return c;
}

export function topk_f32(
  x: usize, rows: u32, n: u32, k: u32, values: usize, indices: usize, smallest: u32, scratch: usize,
): void {
  const flip: u32 = smallest << 31;
  for (; rows; rows--) {
    let i = scratch ? select<f32>(x, n, k, values, indices, flip, scratch) : selectInPlace(x, n, k, values, indices, flip);
    // Fewer numbers than k: NaN in the order of their indices.
    const bytes = <usize>k << 2;
    for (let index: u32 = 0; i < bytes; index++) {
      const bits = load<u32>(x + (<usize>index << 2));
      const value = reinterpret<f32>(bits);
      if (value == value) continue;
      store<u32>(values + i, bits);
      store<u32>(indices + i, index);
      i += 4;
    }
    x += <usize>n << 2;
    values += bytes;
    indices += bytes;
  }
}
