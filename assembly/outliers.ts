import { held_i32x4 } from './lib/held';

/** |x| as an integer of the same order; NaN is -1, below them all. */
// @ts-ignore: decorator
@inline
function key_i32x4(x: v128, absolute: v128, infinite: v128): v128 {
  const bits = v128.and(x, absolute);
  return v128.or(bits, i32x4.gt_s(bits, infinite));
}

/** The same of up to three values at the end of a row; -2 where there is none. */
function lastKeys(x: usize, count: u32, absolute: v128, infinite: v128): v128 {
  let values = v128.load32_zero(x);
  if (count > 1) values = v128.load32_lane(x + 4, values, 1);
  if (count > 2) values = v128.load32_lane(x + 8, values, 2);
  const present = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count));
  return v128.bitselect(key_i32x4(values, absolute, infinite), i32x4.splat(-2), present);
}

// @ts-ignore: decorator
@inline
function sum_i32x4(v: v128): i32 {
  v = i32x4.add(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1);
}

/** How many keys reach t, which is no less than 0: as numbers they compare alike, and NaN does not. */
function reaching(x: usize, end: usize, last: v128, t: i32): u32 {
  const absolute = held_i32x4(0x7fffffff);
  const least = f32x4.splat(reinterpret<f32>(t));
  let a = i32x4.gt_s(last, i32x4.splat(t - 1));
  let b = held_i32x4(0);
  for (; x + 32 <= end; x += 32) {
    a = i32x4.add(a, f32x4.ge(v128.and(v128.load(x), absolute), least));
    b = i32x4.add(b, f32x4.ge(v128.and(v128.load(x, 16), absolute), least));
  }
  if (x + 16 <= end) b = i32x4.add(b, f32x4.ge(v128.and(v128.load(x), absolute), least));
  return -sum_i32x4(i32x4.add(a, b));
}

/** Nearly in proportion to the logarithm: what the bits of a number are as an integer. */
// @ts-ignore: decorator
@inline
function logarithm(value: f32): f32 {
  return <f32>(reinterpret<i32>(value) - 0x3f000000);
}

/** The largest key. */
function largest(x: usize, end: usize, last: v128): i32 {
  const absolute = held_i32x4(0x7fffffff);
  // Where there are only NaN the sign stays.
  let a = f32x4.splat(-1), b = a;
  for (; x + 32 <= end; x += 32) {
    a = f32x4.pmax(a, v128.and(v128.load(x), absolute));
    b = f32x4.pmax(b, v128.and(v128.load(x, 16), absolute));
  }
  if (x + 16 <= end) b = f32x4.pmax(b, v128.and(v128.load(x), absolute));
  a = i32x4.max_s(i32x4.max_s(f32x4.pmax(a, b), i32x4.splat(-1)), last);
  a = i32x4.max_s(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  return max(i32x4.extract_lane(a, 0), i32x4.extract_lane(a, 1));
}

/**
 * The k values of largest magnitude of each row, and the row without them.
 *
 *   x        f32 [rows, n]  any values
 *   values   f32 [rows, k]  out: bit for bit as stored in x, by ascending index
 *   indices  u32 [rows, k]  out: their positions in the row, ascending
 *   rest     f32 [rows, n]  out: x with +0 in their place; may be x
 *
 * Of equal magnitudes (-0 is +0's) the lower indices are taken. NaN is taken last, the lower indices first.
 * The caller guarantees 1 <= k <= n <= 2^24, 4-byte alignment, and that nothing overlaps but rest and x. Scratch: none.
 *
 * Method: a key |x| that exactly k reach, closed in on by counting with SIMD: the first guess is the threshold of the row before (13 %
 * faster), the next where the logarithm of the counts, taken for a straight line, puts it; every fourth guess halves the numbers or
 * the keys, which copes with any range. Where only ties are left, the first of them; then one pass. "Dense and sparse":
 * C. Hooper et al., "KVQuant", 2024; H. Kang et al., "GEAR", 2024.
 *
 * Not done: topk's lane maxima (rows of this length lie in the first-level cache, and they want scratch); order by magnitude (a sort,
 * and restoring would jump about).
 */
export function outliers_extract_f32(x: usize, rows: u32, n: u32, k: u32, values: usize, indices: usize, rest: usize): void {
  const absolute = held_i32x4(0x7fffffff);
  const infinite = held_i32x4(0x7f800000);
  const left = n & 3;
  const bytes: usize = n << 2;
  // What the row before came to: rows of one matrix are much alike.
  let guess: i32 = 0;
  for (; rows; rows--) {
    const end = x + ((n & ~3) << 2);
    const last = left ? lastKeys(end, left, absolute, infinite) : i32x4.splat(-2);

    // `low` is reached by at least k (as many as `reached`), `high` by fewer (`above`).
    let low: i32 = -1;
    let high = largest(x, end, last) + 1;
    let reached = n;
    let above: u32 = 0;
    for (let round = 0; high - low > 1 && reached != k; round++) {
      const from = reinterpret<f32>(max(low, 0));
      const spread = reinterpret<f32>(high) - from;
      let share: f32 = 0.5;
      if (round & 3 ^ 3) share = (logarithm(<f32>reached) - logarithm(<f32>k + 0.5)) / (logarithm(<f32>reached) - logarithm(max(<f32>above, 0.5)));
      let middle = round || !guess ? reinterpret<i32>(from + spread * share) : guess;
      if (middle <= low || middle >= high || (round & 7) == 7) middle = low + ((high - low) >> 1);
      const count = reaching(x, end, last, middle);
      if (count >= k) {
        low = middle;
        reached = count;
      } else {
        high = middle;
        above = count;
      }
    }
    guess = low;
    // All above `low`, and of those equal to it the first.
    let ties = reached == k ? k : k - above;

    const below = i32x4.splat(low - 1);
    let taken: u32 = 0;
    for (let i: u32 = 0; i < n; i += 4) {
      const at: usize = i << 2;
      const whole = i + 4 <= n;
      const v = whole ? v128.load(x + at) : last;
      const hit = i32x4.gt_s(whole ? key_i32x4(v, absolute, infinite) : last, below);
      let mask = i32x4.bitmask(hit);
      if (whole) {
        if (!mask) {
          v128.store(rest + at, v);
          continue;
        }
      } else if (rest != x) memory.copy(rest + at, x + at, left << 2);
      let bits: u32;
      // Read before they are overwritten.
      for (let lanes = mask; lanes; lanes &= lanes - 1) {
        const j = i + ctz(lanes);
        bits = load<u32>(x + (j << 2));
        const magnitude = bits & 0x7fffffff;
        const key: i32 = magnitude > 0x7f800000 ? -1 : magnitude;
        if (key == low) {
          if (!ties) {
            mask &= ~(1 << (j & 3));
            continue;
          }
          ties--;
        }
        store<u32>(values + (taken << 2), bits);
        store<u32>(indices + (taken << 2), j);
        taken++;
      }
      if (whole) v128.store(rest + at, v);
      for (; mask; mask &= mask - 1) store<u32>(rest + at + (ctz(mask) << 2), 0);
    }
    x += bytes;
    rest += bytes;
    values += k << 2;
    indices += k << 2;
  }
}

/**
 * out = rest, with each value added at its index.
 *
 *   rest     f32 [rows, n]  any values
 *   values   f32 [rows, k]
 *   indices  u32 [rows, k]  in any order, different in a row; those not below n are passed over
 *   out      f32 [rows, n]  out; may be rest
 *
 * One f32 addition: what outliers_extract_f32 took out comes back as it was where rest is still 0 (-0 as +0).
 * The caller guarantees 4-byte alignment, and that nothing overlaps but rest and out. Scratch: none.
 */
export function outliers_restore_f32(
  rest: usize, values: usize, indices: usize, rows: u32, n: u32, k: u32, out: usize,
): void {
  const bytes: usize = n << 2;
  for (; rows; rows--) {
    if (out != rest) memory.copy(out, rest, bytes);
    for (let i: u32 = 0; i < k; i++) {
      const index = load<u32>(indices);
      if (index < n) store<f32>(out + (index << 2), load<f32>(out + (index << 2)) + load<f32>(values));
      values += 4;
      indices += 4;
    }
    rest += bytes;
    out += bytes;
  }
}
