/**
 * Softmax, log-sum-exp, and the states that let both be computed in pieces.
 *
 * A row is read twice (largest value; sum of exponentials) and softmax writes it twice (exponentials; times 1/sum).
 * exp(scale·x − max) is e^d with d = (x − top)·scale in f32, where top is the x with the largest scale·x: the difference comes
 * first, so a large common offset of a row costs no accuracy. e^d is within 2.4 ulp down to d = -87.3: see lib/exp.ts.
 *
 * Sums: f32 in each of four lanes over at most 1024 values, then f64; at most 256 additions reach one rounding.
 *
 * The row's top starts at the lowest finite number instead of -infinity: then -inf − top is -inf (weight 0) and never
 * NaN, and a row without a finite value has sum 0. A NaN or +inf makes the sum NaN by itself.
 *
 * The caller guarantees: offsets multiples of 4, arrays inside the memory, and |x| ≤ 1.7e38 where |scale| < 2.6e-37 (the
 * difference of two values has to fit f32 unless its product with scale is far below -88 anyway).
 * Rows of any length, 0 included. No scratch.
 *
 * Method: M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax" (2018) for the states and their merge.
 *
 * Not done: the single-pass online form (an exponential more per value to rescale the sum: slower as long as a row fits
 * the L2 cache); one loop for every scale (multiplying by 1 costs 4 % without madd, 10 % with it, and so does asking inside
 * the loop); a first pass that does not turn signs (1 %); the four quarters of a row side by
 * side in the first pass (nothing for 1024 x 4096, rows of 1000 a fifth slower). More in lib/exp.ts.
 */
import {
  EXP2_MAGIC, EXP_C2, EXP_C3, EXP_C4, EXP_C5, EXP_LN2_HIGH, EXP_LN2_LOW, EXP_LOWEST, exp_f32x4, expOnce_f32x4, ln_f64, LOG2E, madd_f32x4,
} from './lib/exp';
import {
  NARROW_EXPONENT, NARROW_LEAST, NARROW_MAGIC, NARROW_NAN, NARROW_SIZE, NARROW_TOP, WIDEN_DOWN, WIDEN_FIELDS, WIDEN_UP,
  halves_i32x4, load1, load4, loadSome, narrow_i16x8, narrowWeights_i16x8, store4, storeSome, widen_f32x4,
} from './lib/half';
import { maxAcross_f32x4 } from './lib/reduce';
import { held_f32x4 } from './lib/held';

/** Values of a row whose exponentials are added in f32 before the sum goes on in f64. */
const BLOCK: usize = 1024;

/** What is left of a row after whole vectors: its last four values again, or all of it where it has fewer. */
// @ts-ignore: decorator
@inline
function loadTail<T>(row: usize, n: u32): v128 {
  return n < 4 ? loadSome<T>(row, n) : load4<T>(row + <usize>(n - 4) * sizeof<T>());
}

// @ts-ignore: decorator
@inline
function storeTail<T>(row: usize, n: u32, v: v128): void {
  if (n >= 4) store4<T>(row + <usize>(n - 4) * sizeof<T>(), v);
  else storeSome<T>(row, v, n);
}

/** Lanes of loadTail's vector that no whole vector covers. */
// @ts-ignore: decorator
@inline
function tailLanes(n: u32): v128 {
  const left = i32x4.splat(n & 3);
  return n < 4 ? i32x4.gt_s(left, i32x4(0, 1, 2, 3)) : i32x4.gt_s(left, i32x4(3, 2, 1, 0));
}

/**
 * The largest of halves whose signs `flip` turns, compared as integers: the greatest bits where there is one without a sign, else
 * the least. A NaN may come out: it makes the sum NaN, whatever the row's top.
 */
function topOfHalves_f32x4(row: usize, n: u32, flip_i32x4: v128): v128 {
  const flip_i16x8 = v128.or(flip_i32x4, i32x4.shr_u(flip_i32x4, 16));
  const last = row + (<usize>(n - 8) << 1);
  let high = v128.xor(v128.load(last), flip_i16x8);
  let low = high;
  do {
    const h = v128.xor(v128.load(row), flip_i16x8);
    high = i16x8.max_s(high, h);
    low = i16x8.min_u(low, h);
    row += 16;
  } while (row < last);
  const top = v128.bitselect(low, high, i16x8.shr_s(high, 15));
  return maxAcross_f32x4(f32x4.pmax(widen_f32x4(i32x4.extend_low_i16x8_s(top)), widen_f32x4(i32x4.extend_high_i16x8_s(top))));
}

/** The x of a row that has the largest scale·x, in every lane; NaN passed over; finite unless it is an infinity that scale makes +inf. n ≥ 1. */
function top_f32x4<T>(row: usize, n: u32, scale: f32): v128 {
  // A negative scale looks for the smallest x: every sign is flipped on the way in and out.
  const flip_i32x4 = i32x4.splat(scale < 0 ? 0x80000000 : 0);
  if (sizeof<T>() != 4 && n >= 8) return v128.xor(f32x4.pmax(f32x4.splat(-f32.MAX_VALUE), topOfHalves_f32x4(row, n, flip_i32x4)), flip_i32x4);
  const end = row + <usize>n * sizeof<T>();
  let a_f32x4 = f32x4.pmax(f32x4.splat(-f32.MAX_VALUE), v128.xor(loadTail<T>(row, n), flip_i32x4));
  if (sizeof<T>() == 4 && n >= 16) {
    let b_f32x4 = a_f32x4;
    let c_f32x4 = a_f32x4;
    let d_f32x4 = a_f32x4;
    const stop = end - 64;
    do {
      a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(v128.load(row), flip_i32x4));
      b_f32x4 = f32x4.pmax(b_f32x4, v128.xor(v128.load(row, 16), flip_i32x4));
      c_f32x4 = f32x4.pmax(c_f32x4, v128.xor(v128.load(row, 32), flip_i32x4));
      d_f32x4 = f32x4.pmax(d_f32x4, v128.xor(v128.load(row, 48), flip_i32x4));
      row += 64;
    } while (row <= stop);
    a_f32x4 = f32x4.pmax(f32x4.pmax(a_f32x4, b_f32x4), f32x4.pmax(c_f32x4, d_f32x4));
  }
  for (; row + 4 * sizeof<T>() <= end; row += 4 * sizeof<T>()) a_f32x4 = f32x4.pmax(a_f32x4, v128.xor(load4<T>(row), flip_i32x4));
  return v128.xor(maxAcross_f32x4(a_f32x4), flip_i32x4);
}

/** The largest scale·x where the sum came out NaN: NaN if there is one, else +infinity. */
function topOfNaN<T>(p: usize, count: u32, stride: usize, scale: f32): f32 {
  for (let i: u32 = 0; i < count; i++, p += stride) {
    const t = load1<T>(p) * scale;
    if (t != t) return t;
  }
  return f32.POSITIVE_INFINITY;
}

/** Adds the lanes to a sum in f64. */
// @ts-ignore: decorator
@inline
function sum_f64(v: v128): f64 {
  const pairs_f64x2 = f64x2.add(f64x2.promote_low_f32x4(v), f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 0, 1)));
  return f64x2.extract_lane(pairs_f64x2, 0) + f64x2.extract_lane(pairs_f64x2, 1);
}

/**
 * Softmax where `out` is given, (max, sum) where `max` is, else lse: one function, so that the module stays small.
 * With halves softmax takes every exponential twice: kept in `out` meanwhile, they would be rounded to halves twice.
 */
export function eachRow<T>(x: usize, rows: u32, n: u32, scale: f32, out: usize, max: usize, sum: usize, lse: usize): void {
  const lowest = held_f32x4(EXP_LOWEST);
  const log2e = held_f32x4(LOG2E);
  const magic = held_f32x4(EXP2_MAGIC);
  const ln2High = held_f32x4(EXP_LN2_HIGH);
  const ln2Low = held_f32x4(EXP_LN2_LOW);
  const one = held_f32x4(1);
  const c2 = held_f32x4(EXP_C2);
  const c3 = held_f32x4(EXP_C3);
  const c4 = held_f32x4(EXP_C4);
  const c5 = held_f32x4(EXP_C5);
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  const scale_f32x4 = f32x4.splat(scale);
  const bytes = <usize>n * sizeof<T>();
  const lanes = tailLanes(n);

  for (let row: u32 = 0; row < rows; row++) {
    let total: f64 = 0;
    let top: f64 = 0;
    if (n > 0) {
      const row_top_f32x4 = top_f32x4<T>(x, n, scale);
      top = <f64>f32x4.extract_lane(row_top_f32x4, 0) * <f64>scale;
      // Read before the loop: in place, the loop overwrites what the tail repeats.
      let tail_f32x4 = loadTail<T>(x, n);
      let p = x;
      const end = x + (bytes & ~(4 * sizeof<T>() - 1));
      while (p < end) {
        const stop = min(p + BLOCK * sizeof<T>(), end);
        let sum_f32x4 = f32x4.splat(0);
        let to = p - x + out;
        // Multiplying by 1 would cost as much as any other multiplication; asking for `out` costs nothing.
        if (sizeof<T>() == 4 && scale == 1) {
          do {
            const d_f32x4 = f32x4.sub(load4<T>(p), row_top_f32x4);
            const e_f32x4 = exp_f32x4(d_f32x4, lowest, log2e, magic, ln2High, ln2Low, one, c2, c3, c4, c5);
            if (sizeof<T>() == 4 && out) store4<T>(to, e_f32x4);
            sum_f32x4 = f32x4.add(sum_f32x4, e_f32x4);
            p += 4 * sizeof<T>();
            to += 4 * sizeof<T>();
          } while (p < stop);
        } else {
          do {
            const d_f32x4 = f32x4.mul(f32x4.sub(load4<T>(p, fields, up, down), row_top_f32x4), scale_f32x4);
            const e_f32x4 = exp_f32x4(d_f32x4, lowest, log2e, magic, ln2High, ln2Low, one, c2, c3, c4, c5);
            if (sizeof<T>() == 4 && out) store4<T>(to, e_f32x4);
            sum_f32x4 = f32x4.add(sum_f32x4, e_f32x4);
            p += 4 * sizeof<T>();
            to += 4 * sizeof<T>();
          } while (p < stop);
        }
        total += sum_f64(sum_f32x4);
      }
      if (n & 3) {
        const d_f32x4 = f32x4.mul(f32x4.sub(tail_f32x4, row_top_f32x4), scale_f32x4);
        tail_f32x4 = exp_f32x4(d_f32x4, lowest, log2e, magic, ln2High, ln2Low, one, c2, c3, c4, c5);
        total += sum_f64(v128.and(tail_f32x4, lanes));
      }
      if (out) {
        const factor: f32 = total == 0 ? 0 : <f32>(1.0 / total);
        if (sizeof<T>() == 4) {
          scaleRow(out, n, tail_f32x4, factor);
        } else {
          const factor_f32x4 = f32x4.splat(factor);
          const exponent = halves_i32x4<T>(NARROW_EXPONENT), nan = halves_i32x4<T>(NARROW_NAN);
          const least = halves_i32x4<T>(NARROW_LEAST), narrowMagic = halves_i32x4<T>(NARROW_MAGIC);
          if (x < end) {
            p = x;
            do {
              // The second four may be behind the end: then they are the first, stored twice.
              const more: usize = p + 8 < end ? 8 : 0;
              let a_f32x4 = f32x4.mul(f32x4.sub(load4<T>(p, fields, up, down), row_top_f32x4), scale_f32x4);
              a_f32x4 = exp_f32x4(a_f32x4, lowest, log2e, magic, ln2High, ln2Low, one, c2, c3, c4, c5);
              let b_f32x4 = f32x4.mul(f32x4.sub(load4<T>(p + more, fields, up, down), row_top_f32x4), scale_f32x4);
              b_f32x4 = exp_f32x4(b_f32x4, lowest, log2e, magic, ln2High, ln2Low, one, c2, c3, c4, c5);
              const weights = narrowWeights_i16x8(
                f32x4.mul(a_f32x4, factor_f32x4), f32x4.mul(b_f32x4, factor_f32x4), exponent, nan, least, narrowMagic,
              );
              const to = p - x + out;
              v128.store64_lane(to + more, weights, 1);
              v128.store64_lane(to, weights, 0);
              p += 16;
            } while (p < end);
          }
          if (n & 3) storeTail<T>(out, n, f32x4.mul(tail_f32x4, factor_f32x4));
        }
        out += bytes;
      }
      x += bytes;
    }
    if (out) continue;

    let largest = <f32>top;
    if (total == 0) largest = f32.NEGATIVE_INFINITY;
    else if (total != total) largest = topOfNaN<T>(x - bytes, n, sizeof<T>(), scale);
    if (max) {
      store<f32>(max + (<usize>row << 2), largest);
      store<f32>(sum + (<usize>row << 2), <f32>total);
    } else {
      store<f32>(lse + (<usize>row << 2), total > 0 ? <f32>(top + ln_f64(total)) : largest);
    }
  }
}

/** Multiplies a row in place, except that its tail comes in a register. */
// @ts-ignore: decorator
@inline
function scaleRow(row: usize, n: u32, tail_f32x4: v128, factor: f32): void {
  const factor_f32x4 = f32x4.splat(factor);
  let p = row;
  const end = row + (<usize>n << 2);
  for (; p + 64 <= end; p += 64) {
    v128.store(p, f32x4.mul(v128.load(p), factor_f32x4));
    v128.store(p, f32x4.mul(v128.load(p, 16), factor_f32x4), 16);
    v128.store(p, f32x4.mul(v128.load(p, 32), factor_f32x4), 32);
    v128.store(p, f32x4.mul(v128.load(p, 48), factor_f32x4), 48);
  }
  for (; p + 16 <= end; p += 16) v128.store(p, f32x4.mul(v128.load(p), factor_f32x4));
  if (n & 3) storeTail<f32>(row, n, f32x4.mul(tail_f32x4, factor_f32x4));
}

/**
 * out = softmax(scale·x) along rows.
 *
 * x, out: f32 [rows, n]; out may equal x. A row of -inf (masked) becomes 0; a NaN or +inf makes its row NaN.
 * Relative error of a weight at distance d = max − scale·x from the maximum: at most (10 + d + mean d + a)·2^-24, where
 * a ≤ 256 additions reach a term (n / 4 where that is fewer); each d counts twice where scale is no power of two (its
 * rounding comes on top of that of x − top). Weights below 2^-126.5 of the largest become 0.
 */
export function softmax_f32(x: usize, rows: u32, n: u32, scale: f32, out: usize): void {
  eachRow<f32>(x, rows, n, scale, out, 0, 0, 0);
}

/**
 * lse = ln Σ exp(scale·x) along rows, natural.
 *
 * x: f32 [rows, n]; lse: f32 [rows]. A row that is all -inf, or empty: -inf. NaN: NaN. +inf (and no NaN): +inf.
 * Error: half an ulp of lse, plus the sum's relative error, at most (7 + mean d + a)·2^-24 (d and a as for softmax_f32).
 */
export function logsumexp_f32(x: usize, rows: u32, n: u32, scale: f32, lse: usize): void {
  eachRow<f32>(x, rows, n, scale, 0, 0, 0, lse);
}

/**
 * The state of a chunk of a row: max = the largest scale·x and sum = Σ exp(scale·x − max), each rounded to f32 only at the end.
 *
 * x: f32 [rows, n]; max, sum: f32 [rows]. All -inf, or empty: (-inf, 0). +inf: (+inf, NaN). NaN: (NaN, NaN).
 */
export function softmax_state_f32(x: usize, rows: u32, n: u32, scale: f32, max: usize, sum: usize): void {
  eachRow<f32>(x, rows, n, scale, 0, max, sum, 0);
}

/** lse of up to four states of a row, -infinity where there are fewer. */
// @ts-ignore: decorator
@inline
function lses4(p: usize, count: u32, stride: usize): v128 {
  let v = v128.load_lane<f32>(p, f32x4.splat(f32.NEGATIVE_INFINITY), 0);
  if (count > 1) v = v128.load_lane<f32>(p + stride, v, 1);
  if (count > 2) v = v128.load_lane<f32>(p + 2 * stride, v, 2);
  if (count > 3) v = v128.load_lane<f32>(p + 3 * stride, v, 3);
  return v;
}

/** exp(lse − top) of up to four states of a row. */
function weights4(p: usize, count: u32, stride: usize, top_f32x4: v128): v128 {
  return expOnce_f32x4(f32x4.sub(lses4(p, count, stride), top_f32x4));
}

/** output = (fresh ? 0 : output) + weightA·a + weightB·b, over one row; b = 0 stands for no second state. */
function addPair(a: usize, weightA: f32, b: usize, weightB: f32, n: u32, fresh: bool, output: usize): void {
  // Without b, a is read twice and its second copy masked: 0 times an infinity would not be 0.
  const keep: u32 = b ? 0xffffffff : 0;
  if (!b) b = a;
  const keep_i32x4 = i32x4.splat(keep);
  const a_f32x4 = f32x4.splat(weightA);
  const b_f32x4 = f32x4.splat(weightB);
  const end = output + (<usize>n << 2);
  if (fresh) {
    for (; output + 16 <= end; output += 16, a += 16, b += 16) {
      const second_f32x4 = f32x4.mul(v128.and(v128.load(b), keep_i32x4), b_f32x4);
      v128.store(output, madd_f32x4(v128.load(a), a_f32x4, second_f32x4));
    }
  } else {
    for (; output + 16 <= end; output += 16, a += 16, b += 16) {
      const second_f32x4 = madd_f32x4(v128.and(v128.load(b), keep_i32x4), b_f32x4, v128.load(output));
      v128.store(output, madd_f32x4(v128.load(a), a_f32x4, second_f32x4));
    }
  }
  for (; output < end; output += 4, a += 4, b += 4) {
    const both = load<f32>(a) * weightA + reinterpret<f32>(load<u32>(b) & keep) * weightB;
    store<f32>(output, fresh ? both : load<f32>(output) + both);
  }
}

/** The weight of state s in the first lane, from what the same gave for s − 1; for s = 0 from weights4 of the first states. */
// @ts-ignore: decorator
@inline
function weightOf(s: u32, weight_f32x4: v128, lses: usize, states: u32, stride: usize, top_f32x4: v128, inverse_f32x4: v128): v128 {
  if (s & 3) return v128.shuffle<i32>(weight_f32x4, weight_f32x4, 1, 2, 3, 0);
  return f32x4.mul(s ? weights4(lses + <usize>s * stride, states - s, stride, top_f32x4) : weight_f32x4, inverse_f32x4);
}

/** 32 columns of a row: their sums over all states stay in registers, as halves they would be rounded at every state. `weight` is of the first four. */
function merge32<T>(
  outputs: usize, lses: usize, states: u32, stride: usize, stateBytes: usize, weight_f32x4: v128, top_f32x4: v128, inverse_f32x4: v128,
  output: usize,
): void {
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  for (let s: u32 = 0; s < states; s++) {
    weight_f32x4 = weightOf(s, weight_f32x4, lses, states, stride, top_f32x4, inverse_f32x4);
    if (f32x4.extract_lane(weight_f32x4, 0) != 0) {
      const w = v128.shuffle<i32>(weight_f32x4, weight_f32x4, 0, 0, 0, 0);
      a = madd_f32x4(load4<T>(outputs, fields, up, down), w, a);
      b = madd_f32x4(load4<T>(outputs + 8, fields, up, down), w, b);
      c = madd_f32x4(load4<T>(outputs + 16, fields, up, down), w, c);
      d = madd_f32x4(load4<T>(outputs + 24, fields, up, down), w, d);
      e = madd_f32x4(load4<T>(outputs + 32, fields, up, down), w, e);
      f = madd_f32x4(load4<T>(outputs + 40, fields, up, down), w, f);
      g = madd_f32x4(load4<T>(outputs + 48, fields, up, down), w, g);
      h = madd_f32x4(load4<T>(outputs + 56, fields, up, down), w, h);
    }
    outputs += stateBytes;
  }
  const size = halves_i32x4<T>(NARROW_SIZE), exponent = halves_i32x4<T>(NARROW_EXPONENT), top = halves_i32x4<T>(NARROW_TOP);
  const nan = halves_i32x4<T>(NARROW_NAN), least = halves_i32x4<T>(NARROW_LEAST), magic = halves_i32x4<T>(NARROW_MAGIC);
  v128.store(output, narrow_i16x8(a, b, size, exponent, top, nan, least, magic));
  v128.store(output, narrow_i16x8(c, d, size, exponent, top, nan, least, magic), 16);
  v128.store(output, narrow_i16x8(e, f, size, exponent, top, nan, least, magic), 32);
  v128.store(output, narrow_i16x8(g, h, size, exponent, top, nan, least, magic), 48);
}

/** Four columns, or fewer where the row has fewer. */
function merge4<T>(
  outputs: usize, lses: usize, states: u32, stride: usize, stateBytes: usize, weight_f32x4: v128, top_f32x4: v128, inverse_f32x4: v128,
  count: u32, output: usize,
): void {
  let sum_f32x4 = f32x4.splat(0);
  for (let s: u32 = 0; s < states; s++) {
    weight_f32x4 = weightOf(s, weight_f32x4, lses, states, stride, top_f32x4, inverse_f32x4);
    if (f32x4.extract_lane(weight_f32x4, 0) != 0) {
      const w = v128.shuffle<i32>(weight_f32x4, weight_f32x4, 0, 0, 0, 0);
      sum_f32x4 = madd_f32x4(count < 4 ? loadSome<T>(outputs, count) : load4<T>(outputs), w, sum_f32x4);
    }
    outputs += stateBytes;
  }
  storeSome<T>(output, sum_f32x4, count);
}

export function merge<T>(
  outputs: usize, lses: usize, states: u32, rows: u32, n: u32, output: usize, lse: usize,
): void {
  const stride = <usize>rows << 2;
  const bytes = <usize>n * sizeof<T>();
  const stateBytes = <usize>rows * bytes;

  for (let row: u32 = 0; row < rows; row++) {
    let top_f32x4 = f32x4.splat(-f32.MAX_VALUE);
    for (let s: u32 = 0; s < states; s++) top_f32x4 = f32x4.pmax(top_f32x4, v128.load_splat<f32>(lses + <usize>s * stride));
    const first_f32x4 = weights4(lses, states, stride, top_f32x4);
    let sum_f32x4 = first_f32x4;
    for (let s: u32 = 4; s < states; s += 4)
      sum_f32x4 = f32x4.add(sum_f32x4, weights4(lses + <usize>s * stride, states - s, stride, top_f32x4));
    const sum = sum_f64(sum_f32x4);
    const inverse_f32x4 = f32x4.splat(sum == 0 ? 0 : <f32>(1.0 / sum));

    if (sizeof<T>() == 4) {
      let waiting: usize = 0;
      let waitingWeight: f32 = 0;
      let fresh = true;
      for (let s: u32 = 0; s < states; s += 4) {
        let weight_f32x4 = s == 0 ? first_f32x4 : weights4(lses + <usize>s * stride, states - s, stride, top_f32x4);
        weight_f32x4 = f32x4.mul(weight_f32x4, inverse_f32x4);
        const stop = min<u32>(s + 4, states);
        for (let t = s; t < stop; t++) {
          const weight = f32x4.extract_lane(weight_f32x4, 0);
          weight_f32x4 = v128.shuffle<i32>(weight_f32x4, weight_f32x4, 1, 2, 3, 0);
          if (weight == 0) continue;
          const state = outputs + <usize>t * stateBytes;
          if (waiting) {
            addPair(waiting, waitingWeight, state, weight, n, fresh, output);
            fresh = false;
            waiting = 0;
          } else {
            waiting = state;
            waitingWeight = weight;
          }
        }
      }
      if (waiting) addPair(waiting, waitingWeight, 0, 0, n, fresh, output);
      else if (fresh) memory.fill(output, 0, bytes);
    } else {
      // As many columns at a time as a row has; the last again where a number of them does not divide n.
      const columns: u32 = n < 32 ? 4 : 32;
      for (let column: u32 = 0; column < n; column += columns) {
        const at = <usize>(n < 4 ? 0 : min(column, n - columns)) << 1;
        if (columns == 32) merge32<T>(outputs + at, lses, states, stride, stateBytes, first_f32x4, top_f32x4, inverse_f32x4, output + at);
        else merge4<T>(outputs + at, lses, states, stride, stateBytes, first_f32x4, top_f32x4, inverse_f32x4, min(n, 4), output + at);
      }
    }

    let result: f32 = f32.NEGATIVE_INFINITY;
    if (sum > 0) result = <f32>(<f64>f32x4.extract_lane(top_f32x4, 0) + ln_f64(sum));
    else if (sum != sum) result = topOfNaN<f32>(lses, states, stride, 1);
    store<f32>(lse, result);
    outputs += bytes;
    output += bytes;
    lses += 4;
    lse += 4;
  }
}

/**
 * Merges states computed over parts of the same rows: lse = ln Σ exp(lses[s]), output = Σ exp(lses[s] − lse)·outputs[s].
 *
 * outputs: f32 [states, rows, n]; lses: f32 [states, rows]; output: f32 [rows, n]; lse: f32 [rows].
 * A state whose weight is 0 (lse -inf: the empty state) adds nothing, whatever its output holds; all empty: output 0, lse -inf.
 * One state alone comes back as it was. A NaN lse: NaN; a +inf lse: output NaN, lse +inf.
 *
 * Weights are made four states at a time; then states of non-zero weight are added in pairs, in order.
 */
export function softmax_merge_f32(
  outputs: usize, lses: usize, states: u32, rows: u32, n: u32, output: usize, lse: usize,
): void {
  merge<f32>(outputs, lses, states, rows, n, output, lse);
}
