/**
 * Selection of the k best of a row, for topk (T: f32) and topk-f16 (`half`). See assembly/topk.ts.
 *
 * Everything is compared as f32 numbers, the greatest first. A value of f32 stands for itself, or where the smallest are
 * wanted for its negative; NaN reaches nothing. A half stands for its place among all halves, an integer: both zeros for the
 * same, infinity for 32767, every NaN for LAST, below -infinity.
 */

import { halves_i32x4 } from './half';

/** Candidates up to this many are ordered by rank, more by radix sort. */
const RANKED: usize = 128;
/** A search result's high word where no tie is left out. */
const ALL: u64 = 0xffffffff00000000;
/** Halves without their signs; added to them with their signs, what carries NaN past the end of i16. */
const SIZE: i32 = 0x7fff_7fff;
const ROTATE: i32 = 0x03ff_03ff;
const LAST: i32 = -30722;

/** A number (not NaN) as an integer of the same order; -0 and +0 share one. */
@inline
export function keyOf<T>(value: f32): i32 {
  if (sizeof<T>() == 2) return <i32>value;
  const bits = reinterpret<i32>(value + 0);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

@inline
export function numberOf<T>(key: i32): f32 {
  return sizeof<T>() == 2 ? <f32>key : reinterpret<f32>(key ^ ((key >> 31) & 0x7fffffff));
}

/** The lowest key: -infinity's, NaN's. */
@inline
function lowestKey<T>(): i32 {
  return sizeof<T>() == 2 ? LAST : 0x807fffff;
}

/** Sign bits where the smallest are wanted. */
@inline
function turnOf<T>(flip: u32): v128 {
  return i32x4.splat(sizeof<T>() == 4 ? flip : flip | flip >> 16);
}

/** The places of eight halves; those of NaN are LAST or lower. Held: SIZE, ROTATE. */
@inline
function places_i16x8(halves: v128, turn: v128, size: v128, rotate: v128): v128 {
  const signs = i16x8.shr_s(v128.xor(halves, turn), 15);
  return i16x8.add(i16x8.sub(v128.xor(v128.and(halves, size), signs), signs), rotate);
}

/** The number of the value at p. */
@inline
function numberAt<T>(p: usize, flip: u32): f32 {
  if (sizeof<T>() == 4) return reinterpret<f32>(load<u32>(p) ^ flip);
  const bits: i32 = load<u16>(p);
  const magnitude = bits & 0x7fff;
  if (magnitude > 0x7c00) return <f32>LAST;
  return <f32>(((bits ^ (flip >> 16)) & 0x8000 ? -magnitude : magnitude) + (ROTATE & 0xffff));
}

/** The maximum of each lane of the 64 values at p as a number, NaN left out; `lowest` is -inf. */
@inline
function laneMaximum<T>(p: usize, lowest: v128, turn: v128, size: v128, rotate: v128): v128 {
  if (sizeof<T>() == 4) {
    let a = f32x4.pmax(lowest, v128.xor(v128.load(p), turn)), b = f32x4.pmax(lowest, v128.xor(v128.load(p, 16), turn));
    a = f32x4.pmax(a, v128.xor(v128.load(p, 32), turn)); b = f32x4.pmax(b, v128.xor(v128.load(p, 48), turn));
    a = f32x4.pmax(a, v128.xor(v128.load(p, 64), turn)); b = f32x4.pmax(b, v128.xor(v128.load(p, 80), turn));
    a = f32x4.pmax(a, v128.xor(v128.load(p, 96), turn)); b = f32x4.pmax(b, v128.xor(v128.load(p, 112), turn));
    a = f32x4.pmax(a, v128.xor(v128.load(p, 128), turn)); b = f32x4.pmax(b, v128.xor(v128.load(p, 144), turn));
    a = f32x4.pmax(a, v128.xor(v128.load(p, 160), turn)); b = f32x4.pmax(b, v128.xor(v128.load(p, 176), turn));
    a = f32x4.pmax(a, v128.xor(v128.load(p, 192), turn)); b = f32x4.pmax(b, v128.xor(v128.load(p, 208), turn));
    a = f32x4.pmax(a, v128.xor(v128.load(p, 224), turn)); b = f32x4.pmax(b, v128.xor(v128.load(p, 240), turn));
    return f32x4.pmax(a, b);
  }
  let a = places_i16x8(v128.load(p), turn, size, rotate), b = places_i16x8(v128.load(p, 16), turn, size, rotate);
  a = i16x8.max_s(a, places_i16x8(v128.load(p, 32), turn, size, rotate)); b = i16x8.max_s(b, places_i16x8(v128.load(p, 48), turn, size, rotate));
  a = i16x8.max_s(a, places_i16x8(v128.load(p, 64), turn, size, rotate)); b = i16x8.max_s(b, places_i16x8(v128.load(p, 80), turn, size, rotate));
  a = i16x8.max_s(a, places_i16x8(v128.load(p, 96), turn, size, rotate)); b = i16x8.max_s(b, places_i16x8(v128.load(p, 112), turn, size, rotate));
  a = i16x8.max_s(a, b);
  return f32x4.convert_i32x4_s(i32x4.max_s(i32x4.splat(LAST), i32x4.max_s(i32x4.extend_low_i16x8_s(a), i32x4.extend_high_i16x8_s(a))));
}

/**
 * Stores the maximum of each lane of every run of 64 values. Answers with that of them all; `lowest` is -inf. The next of each
 * half of the row in turn.
 */
function laneMaxima<T>(p: usize, end: usize, to: usize, lowest: v128, flip: u32): v128 {
  const turn = turnOf<T>(flip), size = halves_i32x4<T>(SIZE), rotate = halves_i32x4<T>(ROTATE);
  const run: usize = 64 * sizeof<T>();
  const shift: usize = sizeof<T>() == 4 ? 4 : 3;
  let best = lowest;
  to -= p >> shift;
  const half = ((end - p - 1) / (2 * run) + 1) * run;
  const first = p + half, stop = first + half, back = run - 2 * half;
  do {
    do {
      if (p < end) {
        const maximum = laneMaximum<T>(p, lowest, turn, size, rotate);
        v128.store(to + (p >> shift), maximum);
        best = f32x4.pmax(best, maximum);
      }
      p += half;
    } while (p < stop);
    p += back;
  } while (p < first);
  return best;
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

/** What values of a row are compared with. */
@inline
function threshold<T>(t: f32): v128 {
  return sizeof<T>() == 4 ? f32x4.splat(t) : i16x8.splat(t > <f32>LAST ? <i16>t : -32768);
}

/** Which of a run's 64 values reach t, as bits. */
export function reaching<T>(p: usize, t: f32, flip: u32): u64 {
  const turn = turnOf<T>(flip), size = halves_i32x4<T>(SIZE), rotate = halves_i32x4<T>(ROTATE);
  const least = threshold<T>(t);
  let mask: u64 = 0;
  for (const end = p + 64 * sizeof<T>(); p < end; p += 16 * sizeof<T>()) {
    let a: v128, b: v128;
    if (sizeof<T>() == 4) {
      a = i16x8.narrow_i32x4_s(f32x4.ge(v128.xor(v128.load(p), turn), least), f32x4.ge(v128.xor(v128.load(p, 16), turn), least));
      b = i16x8.narrow_i32x4_s(f32x4.ge(v128.xor(v128.load(p, 32), turn), least), f32x4.ge(v128.xor(v128.load(p, 48), turn), least));
    } else {
      a = i16x8.ge_s(places_i16x8(v128.load(p), turn, size, rotate), least);
      b = i16x8.ge_s(places_i16x8(v128.load(p, 16), turn, size, rotate), least);
    }
    mask = (mask >> 16) | (<u64>i8x16.bitmask(i8x16.narrow_i16x8_s(a, b)) << 48);
  }
  return mask;
}

/**
 * A key that at least `need` and at most `limit` values reach, in the low word; all of them may be taken (high word
 * -1). If ties allow none: the highest key that `need` values reach, and in the high word how many equal to it to take.
 * `lo` is reached by `need` values (or is the lowest key), `hi` by fewer. The values are the runs of 64 in `list` up to `hot`,
 * the one at `full` moved to `pad`; those whose lane maxima stay below are skipped. Without `maxima`: list to hot itself. Keys are
 * those of T, values are stored as they are in x, or as numbers.
 */
function search<Stored, T>(
  x: usize, pad: usize, full: u32, maxima: usize, list: usize, hot: usize,
  lo: i32, mid: i32, hi: i32, need: u32, limit: u32, flip: u32,
): u64 {
  const turn = turnOf<Stored>(flip), size = halves_i32x4<Stored>(SIZE), rotate = halves_i32x4<Stored>(ROTATE);
  const run: usize = 64 * sizeof<Stored>();
  let above: u32 = 0;
  for (let round = 0; <u32>(hi - lo) > 1; round++) {
    if (mid <= lo || mid >= hi) mid = lo + (<u32>(hi - lo) >> 1);
    const t_f32x4 = f32x4.splat(numberOf<T>(mid));
    const least = threshold<Stored>(numberOf<T>(mid));
    let a_i32x4 = v128.xor(t_f32x4, t_f32x4);
    let b_i32x4 = a_i32x4;
    for (let i = list; i < hot; ) {
      let p = i;
      if (maxima) {
        const at = load<u32>(i);
        i += 4;
        if (!v128.any_true(f32x4.ge(v128.load(maxima + (<usize>at << 4)), t_f32x4))) continue;
        p = at == full ? pad : x + <usize>at * run;
      } else i += run;
      for (const end = p + run; p < end; p += 16 * sizeof<Stored>()) {
        if (sizeof<Stored>() == 4) {
          a_i32x4 = i32x4.add(a_i32x4, f32x4.ge(v128.xor(v128.load(p), turn), least));
          b_i32x4 = i32x4.add(b_i32x4, f32x4.ge(v128.xor(v128.load(p, 16), turn), least));
          a_i32x4 = i32x4.add(a_i32x4, f32x4.ge(v128.xor(v128.load(p, 32), turn), least));
          b_i32x4 = i32x4.add(b_i32x4, f32x4.ge(v128.xor(v128.load(p, 48), turn), least));
        } else {
          const a = i16x8.ge_s(places_i16x8(v128.load(p), turn, size, rotate), least);
          const b = i16x8.ge_s(places_i16x8(v128.load(p, 16), turn, size, rotate), least);
          a_i32x4 = i32x4.add(a_i32x4, i32x4.extadd_pairwise_i16x8_s(i16x8.add(a, b)));
        }
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
    mid = round & 1 ? lo : keyOf<T>((numberOf<T>(lo) + numberOf<T>(hi)) * 0.5);
  }
  return <u64>(<u32>lo) | (<u64>(need - above) << 32);
}

/** Writes where the best k of the candidates are, by rank: how many others are larger, then how many equal ones came before. */
function rankSort(candidates: usize, size: usize, bytes: usize, k: u32, indices: usize): void {
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
    if (rank < k) store<u32>(indices + (<usize>rank << 2), load<u32>(i + size));
  }
}

/** The 4-byte counter of a key's digit. */
@inline
function bin(histogram: usize, key: u32, digit: u32): usize {
  return histogram + <usize>(((key >> digit) & 255) << 2);
}

/** Orders the candidates (stable LSD radix sort, digits of 8 bits); indices lie `size` after keys. Answers with their place. */
function radixSort<T>(keys: usize, size: usize, bytes: usize, histogram: usize, best: i32): usize {
  let other = keys + 2 * size;
  // How far below the best: ascending means best first, and high digits that are all zero cost little.
  for (let i: usize = 0; i < bytes; i += 4) store<i32>(keys + i, best - keyOf<T>(load<f32>(keys + i)));
  for (let digit: u32 = 0; digit < 8 * sizeof<T>(); digit += 8) {
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

/** Writes indices, and the values where they point. */
export function gather<T>(x: usize, from: usize, bytes: usize, values: usize, indices: usize): void {
  for (let i: usize = 0; i < bytes; i += 4) {
    const index = load<u32>(from + i);
    store<u32>(indices + i, index);
    const at = x + <usize>index * sizeof<T>();
    if (sizeof<T>() == 4) store<u32>(values + i, load<u32>(at));
    else store<u16>(values + (i >> 1), load<u16>(at));
  }
}

/**
 * One row: the best k, or all numbers of f32 where there are fewer; answers with their indices' bytes. Scratch: the last run padded (later
 * a histogram), lane maxima, guesses (later a list), two times candidates.
 */
export function select<T>(x: usize, n: u32, k: u32, values: usize, indices: usize, flip: u32, pad: usize): usize {
  const runBytes: usize = 64 * sizeof<T>();
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

  let p = x + <usize>full * runBytes;
  let best_f32x4 = laneMaxima<T>(x, p, maxima, lowest_f32x4, flip);
  if (full != runs) {
    memory.fill(pad, 255, runBytes); // NaN
    memory.copy(pad, p, <usize>(n & 63) * sizeof<T>());
    best_f32x4 = f32x4.pmax(best_f32x4, laneMaxima<T>(pad, pad + runBytes, maxima + (<usize>full << 4), lowest_f32x4, flip));
  }
  for (p = maxima + (<usize>runs << 4); p < list; p += 16) v128.store(p, lowest_f32x4);
  best_f32x4 = f32x4.pmax(best_f32x4, v128.shuffle<i64>(best_f32x4, best_f32x4, 1, 0));
  const highest = keyOf<T>(max(f32x4.extract_lane(best_f32x4, 0), f32x4.extract_lane(best_f32x4, 1)));

  // Where to look for the threshold: first among guesses, then, if those were no good, in the row itself.
  const lowest = lowestKey<T>();
  let found = <u64>(<u32>lowest) | ALL;
  let hi = highest + 1;
  const mid = keyOf<T>(load<f32>(maxima));
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
      found = search<f32, T>(0, 0, 0, 0, from, from + bytes, lowest, mid, hi, k, most, 0) | ALL;
    } else if (n >= 4096)
      // The first sixteenth of the row as a sample.
      found = search<T, T>(
        0, 0, 0, 0, x, x + <usize>(full >> 4) * runBytes,
        lowest, mid, hi, (k + (extra * 3 >> 3)) >> 4, (k + (extra * 5 >> 3)) >> 4, flip,
      ) | ALL;
    else exactly = true;
  }

  let to = keys;
  let run: u32 = 0;
  for (;;) {
    const key = <i32>found;
    const t = numberOf<T>(key);
    const hot = listHot(maxima, run, runs, t, list);
    if (exactly) {
      exactly = false;
      found = search<T, T>(x, pad, full, maxima, list, hot, key, mid, hi, k, most, flip);
      continue;
    }
    let ties = <u32>(found >> 32);
    for (let i = list; i < hot && ties && to <= limit; i += 4) {
      run = load<u32>(i);
      p = run == full ? pad : x + <usize>run * runBytes;
      for (let mask = reaching<T>(p, t, flip); mask; mask &= mask - 1) {
        const j = <u32>ctz(mask);
        const value = numberAt<T>(p + <usize>j * sizeof<T>(), flip);
        if (value == t) {
          if (!ties) continue;
          ties--;
        }
        store<f32>(to, value);
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
      if (to >= keys + (<usize>k << 2) || key == lowest) break;
      hi = key;
      found = <u64>(<u32>lowest);
    }
    exactly = true;
    to = keys;
    run = 0;
  }

  const bytes = to - keys;
  const best = min(bytes, <usize>k << 2);
  let from = indices;
  if (bytes <= RANKED << 2) rankSort(keys, size, bytes, k, indices);
  else from = radixSort<T>(keys, size, bytes, pad, highest);
  gather<T>(x, from, best, values, indices);
  return best;
}
