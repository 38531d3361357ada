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
 * Method, with scratch. One pass stores the maximum of every lane of every run of 64 values. Any t that k of those
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

/** Candidates up to this many are ordered by rank, more by radix sort. */
const RANKED: usize = 128;
/** The key of -inf: no number has a lower one. */
const LOWEST: i32 = 0x807fffff;
/** A search result's high word where no tie is left out. */
const ALL: u64 = 0xffffffff00000000;

/** A number (not NaN) as an integer of the same order; -0 and +0 share one. */
@inline
function keyOf(value: f32): i32 {
  const bits = reinterpret<i32>(value + 0);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

@inline
function numberOf(key: i32): f32 {
  return reinterpret<f32>(key ^ ((key >> 31) & 0x7fffffff));
}

/** Stores the maximum of each lane of every run of 64 values, NaN left out. Answers with that of them all; `lowest` is -inf. */
function laneMaxima(p: usize, end: usize, to: usize, lowest_f32x4: v128, flip: u32): v128 {
  const flip_i32x4 = i32x4.splat(flip);
  let best_f32x4 = lowest_f32x4;
  // The next of each half in turn.
  to -= p >> 4;
  const half = ((end - p - 1 >> 9) + 1) << 8;
  const first = p + half, stop = first + half, back = 256 - 2 * half;
  do {
    do {
      if (p < end) {
        let a_f32x4 = f32x4.pmax(lowest_f32x4, v128.xor(v128.load(p), flip_i32x4));
        let b_f32x4 = f32x4.pmax(lowest_f32x4, v128.xor(v128.load(p, 16), flip_i32x4));
        a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(v128.load(p, 32), flip_i32x4));
        b_f32x4 = f32x4.pmax(b_f32x4, v128.xor(v128.load(p, 48), flip_i32x4));
        a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(v128.load(p, 64), flip_i32x4));
        b_f32x4 = f32x4.pmax(b_f32x4, v128.xor(v128.load(p, 80), flip_i32x4));
        a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(v128.load(p, 96), flip_i32x4));
        b_f32x4 = f32x4.pmax(b_f32x4, v128.xor(v128.load(p, 112), flip_i32x4));
        a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(v128.load(p, 128), flip_i32x4));
        b_f32x4 = f32x4.pmax(b_f32x4, v128.xor(v128.load(p, 144), flip_i32x4));
        a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(v128.load(p, 160), flip_i32x4));
        b_f32x4 = f32x4.pmax(b_f32x4, v128.xor(v128.load(p, 176), flip_i32x4));
        a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(v128.load(p, 192), flip_i32x4));
        b_f32x4 = f32x4.pmax(b_f32x4, v128.xor(v128.load(p, 208), flip_i32x4));
        a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(v128.load(p, 224), flip_i32x4));
        b_f32x4 = f32x4.pmax(b_f32x4, v128.xor(v128.load(p, 240), flip_i32x4));
        a_f32x4 = f32x4.pmax(a_f32x4, b_f32x4);
        v128.store(to + (p >> 4), a_f32x4);
        best_f32x4 = f32x4.pmax(best_f32x4, a_f32x4);
      }
      p += half;
    } while (p < stop);
    p += back;
  } while (p < first);
  return best_f32x4;
}

/** Lists the runs from `run` on in which some value reaches t. Answers with the list's end. */
function listHot(maxima: usize, run: u32, runs: u32, t: f32, list: usize): usize {
  const t_f32x4 = f32x4.splat(t);
  for (; run < runs; run++) {
    store<u32>(list, run);
    list += <usize>v128.any_true(f32x4.ge(v128.load(maxima + (<usize>run << 4)), t_f32x4)) << 2;
  }
  return list;
}

/** Which of a run's 64 values reach t, as bits. */
function reaching(p: usize, t: f32, flip: u32): u64 {
  const flip_i32x4 = i32x4.splat(flip);
  const t_f32x4 = f32x4.splat(t);
  let mask: u64 = 0;
  for (const end = p + 256; p < end; p += 64) {
    const a_i16x8 = i16x8.narrow_i32x4_s(
      f32x4.ge(v128.xor(v128.load(p), flip_i32x4), t_f32x4),
      f32x4.ge(v128.xor(v128.load(p, 16), flip_i32x4), t_f32x4),
    );
    const b_i16x8 = i16x8.narrow_i32x4_s(
      f32x4.ge(v128.xor(v128.load(p, 32), flip_i32x4), t_f32x4),
      f32x4.ge(v128.xor(v128.load(p, 48), flip_i32x4), t_f32x4),
    );
    mask = (mask >> 16) | (<u64>i8x16.bitmask(i8x16.narrow_i16x8_s(a_i16x8, b_i16x8)) << 48);
  }
  return mask;
}

/**
 * A key that at least `need` and at most `limit` values reach, in the low word; all of them may be taken (high word
 * -1). If ties allow none: the highest key that `need` values reach, and in the high word how many equal to it to take.
 * `lo` is reached by `need` values (or is LOWEST), `hi` by fewer. The values are the runs of 64 in `list` up to `hot`,
 * the one at `full` moved to `pad`; those whose lane maxima stay below are skipped. Without `maxima`: list to hot itself.
 */
function search(
  x: usize, pad: usize, full: u32, maxima: usize, list: usize, hot: usize,
  lo: i32, mid: i32, hi: i32, need: u32, limit: u32, flip: u32,
): u64 {
  const flip_i32x4 = i32x4.splat(flip);
  let above: u32 = 0;
  for (let round = 0; <u32>(hi - lo) > 1; round++) {
    if (mid <= lo || mid >= hi) mid = lo + (<u32>(hi - lo) >> 1);
    const t_f32x4 = f32x4.splat(numberOf(mid));
    let a_i32x4 = v128.xor(t_f32x4, t_f32x4);
    let b_i32x4 = a_i32x4;
    for (let i = list; i < hot; ) {
      let p = i;
      if (maxima) {
        const run = load<u32>(i);
        i += 4;
        if (!v128.any_true(f32x4.ge(v128.load(maxima + (<usize>run << 4)), t_f32x4))) continue;
        p = run == full ? pad : x + (<usize>run << 8);
      } else i += 256;
      for (const end = p + 256; p < end; p += 64) {
        a_i32x4 = i32x4.add(a_i32x4, f32x4.ge(v128.xor(v128.load(p), flip_i32x4), t_f32x4));
        b_i32x4 = i32x4.add(b_i32x4, f32x4.ge(v128.xor(v128.load(p, 16), flip_i32x4), t_f32x4));
        a_i32x4 = i32x4.add(a_i32x4, f32x4.ge(v128.xor(v128.load(p, 32), flip_i32x4), t_f32x4));
        b_i32x4 = i32x4.add(b_i32x4, f32x4.ge(v128.xor(v128.load(p, 48), flip_i32x4), t_f32x4));
      }
    }
    a_i32x4 = i32x4.add(a_i32x4, b_i32x4);
    a_i32x4 = i32x4.add(a_i32x4, v128.shuffle<i64>(a_i32x4, a_i32x4, 1, 0));
    const reached = <u32>-(i32x4.extract_lane(a_i32x4, 0) + i32x4.extract_lane(a_i32x4, 1));
    if (reached >= need) {
      lo = mid;
      if (reached <= limit) return <u64>(<u32>lo) | ALL;
    } else {
      hi = mid;
      above = reached;
    }
    // Halving the keys copes with any range, halving the values is quicker within a few binades: take turns.
    mid = round & 1 ? lo : keyOf((numberOf(lo) + numberOf(hi)) * 0.5);
  }
  return <u64>(<u32>lo) | (<u64>(need - above) << 32);
}

/** Writes the best k of the candidates by rank: how many others are larger, then how many equal ones came before. */
function rankSort(candidates: usize, size: usize, bytes: usize, k: u32, values: usize, indices: usize, flip: u32): void {
  const end = candidates + bytes;
  const ranks = size << 1;
  const placed = ranks + size;
  let mine_f32x4 = v128.load(candidates);
  v128.store(end, i32x4.eq(mine_f32x4, mine_f32x4)); // NaN: larger than none
  for (let i = candidates; i < end; i += 16) {
    mine_f32x4 = v128.load(i);
    let rank_i32x4 = v128.xor(mine_f32x4, mine_f32x4);
    v128.store(i + placed, rank_i32x4);
    for (let j = candidates; j < end; j += 16) {
      rank_i32x4 = i32x4.sub(rank_i32x4, f32x4.gt(v128.load32_splat(j), mine_f32x4));
      rank_i32x4 = i32x4.sub(rank_i32x4, f32x4.gt(v128.load32_splat(j, 4), mine_f32x4));
      rank_i32x4 = i32x4.sub(rank_i32x4, f32x4.gt(v128.load32_splat(j, 8), mine_f32x4));
      rank_i32x4 = i32x4.sub(rank_i32x4, f32x4.gt(v128.load32_splat(j, 12), mine_f32x4));
    }
    v128.store(i + ranks, rank_i32x4);
  }
  for (let i = candidates; i < end; i += 4) {
    let rank = load<u32>(i + ranks);
    const counter = candidates + placed + (<usize>rank << 2);
    const before = load<u32>(counter);
    store<u32>(counter, before + 1);
    rank += before;
    if (rank < k) {
      store<u32>(values + (<usize>rank << 2), load<u32>(i) ^ flip);
      store<u32>(indices + (<usize>rank << 2), load<u32>(i + size));
    }
  }
}

/** The 4-byte counter of a key's digit. */
@inline
function bin(histogram: usize, key: u32, digit: u32): usize {
  return histogram + <usize>(((key >> digit) & 255) << 2);
}

/** Orders the candidates (stable LSD radix sort, digits of 8 bits); indices lie `size` after keys. Answers with their place. */
function radixSort(keys: usize, size: usize, bytes: usize, histogram: usize, best: i32): usize {
  let other = keys + 2 * size;
  // How far below the best: ascending means best first, and high digits that are all zero cost little.
  for (let i: usize = 0; i < bytes; i += 4) store<i32>(keys + i, best - keyOf(load<f32>(keys + i)));
  for (let digit: u32 = 0; digit < 32; digit += 8) {
    memory.fill(histogram, 0, 1024);
    const end = keys + bytes;
    for (let p = keys; p < end; p += 4) {
      const counter = bin(histogram, load<u32>(p), digit);
      store<u32>(counter, load<u32>(counter) + 4);
    }
    if (load<u32>(bin(histogram, load<u32>(keys), digit)) == <u32>bytes) continue;
    let to = other;
    for (let counter = histogram; counter < histogram + 1024; counter += 4) {
      const bytesHere = load<u32>(counter);
      store<u32>(counter, <u32>to);
      to += bytesHere;
    }
    for (let p = keys; p < end; p += 4) {
      const key = load<u32>(p);
      const counter = bin(histogram, key, digit);
      to = <usize>load<u32>(counter);
      store<u32>(counter, <u32>to + 4);
      store<u32>(to, key);
      store<u32>(to + size, load<u32>(p + size));
    }
    to = keys;
    keys = other;
    other = to;
  }
  return keys + size;
}

/** Values where indices point. */
function gather(x: usize, from: usize, bytes: usize, values: usize, indices: usize): void {
  for (let i: usize = 0; i < bytes; i += 4) {
    const index = load<u32>(from + i);
    store<u32>(indices + i, index);
    store<u32>(values + i, load<u32>(x + (<usize>index << 2)));
  }
}

/** One row. Scratch: the last run padded (later a histogram), lane maxima, guesses (later a list), two times candidates. */
export function select(x: usize, n: u32, k: u32, values: usize, indices: usize, flip: u32, pad: usize): usize {
  const full = n >> 6;
  const runs = (n + 63) >> 6;
  const vectors = <usize>((runs + 15) & ~15) << 4;
  const extra = min(k, <u32>(16 * Math.sqrt(n)));
  const cap = k + extra + 64;
  const maxima = pad + 1024;
  const list = maxima + vectors;
  const keys = list + vectors;
  const size = (<usize>cap << 2) + 256;
  const limit = keys + (<usize>cap << 2);
  // Always -inf, but not to the optimiser, which would build the constant anew wherever it is used.
  const lowest_f32x4 = f32x4.splat(reinterpret<f32>(0xff800000 | (flip & 1)));

  let p = x + (<usize>full << 8);
  let best_f32x4 = laneMaxima(x, p, maxima, lowest_f32x4, flip);
  if (full != runs) {
    memory.fill(pad, 255, 256); // NaN
    memory.copy(pad, p, <usize>(n & 63) << 2);
    best_f32x4 = f32x4.pmax(best_f32x4, laneMaxima(pad, pad + 256, maxima + (<usize>full << 4), lowest_f32x4, flip));
  }
  for (p = maxima + (<usize>runs << 4); p < list; p += 16) v128.store(p, lowest_f32x4);
  best_f32x4 = f32x4.pmax(best_f32x4, v128.shuffle<i64>(best_f32x4, best_f32x4, 1, 0));
  const best = keyOf(max(f32x4.extract_lane(best_f32x4, 0), f32x4.extract_lane(best_f32x4, 1)));

  // Where to look for the threshold: first among guesses, then, if those were no good, in the row itself.
  let found = <u64>(<u32>LOWEST) | ALL;
  let hi = best + 1;
  const mid = keyOf(load<f32>(maxima));
  const most = k + (k >> 3) + 4;
  let exactly = false;
  if (n > cap) {
    if (k << 5 <= n && k == extra) {
      // Four quarters into one: classes that lie far apart, so that a sorted or clustered row spreads over many.
      let from = maxima;
      let bytes = vectors;
      while (bytes > max(<usize>k << 6, 256)) {
        const quarter = bytes >> 2;
        for (let i: usize = 0; i < quarter; i += 16) {
          p = from + i;
          const a_f32x4 = f32x4.pmax(v128.load(p), v128.load(p + quarter));
          p += 2 * quarter;
          v128.store(list + i, f32x4.pmax(a_f32x4, f32x4.pmax(v128.load(p), v128.load(p + quarter))));
        }
        for (bytes = quarter; bytes & 255; bytes += 16) v128.store(list + bytes, lowest_f32x4);
        from = list;
      }
      found = search(0, 0, 0, 0, from, from + bytes, LOWEST, mid, hi, k, most, 0) | ALL;
    } else if (n >= 4096)
      // The first sixteenth of the row as a sample.
      found = search(
        0, 0, 0, 0, x, x + (<usize>(full & ~15) << 4),
        LOWEST, mid, hi, (k + (extra * 3 >> 3)) >> 4, (k + (extra * 5 >> 3)) >> 4, flip,
      ) | ALL;
    else exactly = true;
  }

  let to = keys;
  let run: u32 = 0;
  for (;;) {
    const key = <i32>found;
    const t = numberOf(key);
    const hot = listHot(maxima, run, runs, t, list);
    if (exactly) {
      exactly = false;
      found = search(x, pad, full, maxima, list, hot, key, mid, hi, k, most, flip);
      continue;
    }
    let ties = <u32>(found >> 32);
    for (let i = list; i < hot && ties && to <= limit; i += 4) {
      run = load<u32>(i);
      p = run == full ? pad : x + (<usize>run << 8);
      for (let mask = reaching(p, t, flip); mask; mask &= mask - 1) {
        const j = <u32>ctz(mask);
        const bits = load<u32>(p + (<usize>j << 2)) ^ flip;
        if (reinterpret<f32>(bits) == t) {
          if (!ties) continue;
          ties--;
        }
        store<u32>(to, bits);
        store<u32>(to + size, (run << 6) + j);
        to += 4;
      }
    }
    if (!ties) {
      // Enough of the equal ones: from here on only larger values count.
      found = <u64>(<u32>(key + 1)) | ALL;
      run++;
      continue;
    }
    if (to <= limit) {
      if (to >= keys + (<usize>k << 2) || key == LOWEST) break;
      hi = key;
      found = <u64>(<u32>LOWEST);
    }
    exactly = true;
    to = keys;
    run = 0;
  }

  const bytes = to - keys;
  if (bytes <= RANKED << 2) rankSort(keys, size, bytes, k, values, indices, flip);
  else gather(x, radixSort(keys, size, bytes, pad, best), min(bytes, <usize>k << 2), values, indices);
  return bytes;
}

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
    for (let mask = i + 64 > n ? ((<u64>1) << (n & 63)) - 1 : reaching(p, t, flip); mask; mask &= mask - 1) {
      const j = <u32>ctz(mask);
      const value = reinterpret<f32>(load<u32>(p + (<usize>j << 2)) ^ flip);
      if (!(value >= t)) continue;
      const item = (<i64>keyOf(value) << 32) - (i + j);
      if (c < bytes) {
        put(values + c, gap, item);
        c += 4;
        if (c < bytes) continue;
        heap(values, gap, c, false);
      } else siftDown(values, gap, 0, c, item);
      t = numberOf(load<i32>(values) + 1);
    }
  }
  heap(values, gap, c, true);
  gather(x, indices, c, values, indices);
  return c;
}

export function topk_f32(
  x: usize, rows: u32, n: u32, k: u32, values: usize, indices: usize, smallest: u32, scratch: usize,
): void {
  const flip: u32 = smallest << 31;
  for (; rows; rows--) {
    let i = scratch ? select(x, n, k, values, indices, flip, scratch) : selectInPlace(x, n, k, values, indices, flip);
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
