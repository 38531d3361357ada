import { WIDEN_DOWN, WIDEN_FIELDS, WIDEN_UP, halves_i32x4, load4 as loadValues, loadUpTo4, narrow_i32x4 } from './half';
import {
  AFFINE, code_i32x4, divisor_f32x4, fromHalves_f32x4, highestOf, isPacked, isSign, mixed, nearest_i32x4, runCodes, runWords, storeScales, usesMean,
} from './integers';
import { load4, store4 } from './part';
import { MAGIC, MAGIC_BITS } from './quantize';
import { held_f32x4, held_i32x4 } from './held';

/** Groups down columns, four columns in the lanes. */

/** Columns' means of |x|, in the order of quantize_integers_f32. */
function mean_f32x4<T>(x: usize, stride: usize, length: u32, lanes: u32): v128 {
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  const zero = i32x4.splat(0);
  let total = zero;
  for (let left = length; left; ) {
    let a = zero;
    let b = zero;
    let c = zero;
    let d = zero;
    const block = min(left, 256);
    left -= block;
    for (let i: u32 = 0; i < block; i += 4) {
      a = f32x4.add(a, f32x4.abs(loadUpTo4<T>(x, lanes, fields, up, down)));
      if (i + 1 < block) b = f32x4.add(b, f32x4.abs(loadUpTo4<T>(x + stride, lanes, fields, up, down)));
      if (i + 2 < block) c = f32x4.add(c, f32x4.abs(loadUpTo4<T>(x + 2 * stride, lanes, fields, up, down)));
      if (i + 3 < block) d = f32x4.add(d, f32x4.abs(loadUpTo4<T>(x + 3 * stride, lanes, fields, up, down)));
      x += 4 * stride;
    }
    total = f32x4.add(total, f32x4.add(f32x4.add(a, c), f32x4.add(b, d)));
  }
  return f32x4.div(total, f32x4.splat(<f32>length));
}

/** The third bit of codes. */
// @ts-ignore: decorator
@inline
function third(code: v128, one: v128): v128 {
  return v128.and(i32x4.shr_u(code, 2), one);
}

/** `v` into the first or further bits of words. */
// @ts-ignore: decorator
@inline
function put(at: usize, v: v128, fresh: bool, lanes: u32): void {
  store4(at, fresh ? v : i32x4.add(v, load4(at, lanes)), lanes);
}

export function quantizeIntegerColumns<T>(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, half: u32, lows: usize, highs: usize, seed: u32, first: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  const sign = isSign(bits, scheme);
  const packed = isPacked(bits, scheme);
  const averaged = usesMean(bits, scheme);
  const affine = scheme == AFFINE;
  const highest = highestOf(bits, scheme);
  const high = held_f32x4(highest);
  const low = held_f32x4(affine || sign ? 0 : -highest);
  const magic = held_f32x4(MAGIC);
  const magicBits = held_i32x4(MAGIC_BITS);
  const run = runCodes(bits, scheme);
  const key = mixed(seed);
  const stride: usize = n << 2;
  const xStride: usize = n * sizeof<T>();
  const scaleShift: u32 = half ? 1 : 2;
  const zero = i32x4.splat(0);
  const plain = !seed && !sign;
  /** Bits between the codes of one column that are joined. */
  const width: u32 = packed ? 8 : bits == 3 ? 2 : bits;
  const mask = held_i32x4(packed ? 3 : (1 << width) - 1);
  /** Packed codes are kept plus 1. */
  const plus = held_i32x4(packed ? 1 : 0);
  const one = held_i32x4(1);
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  for (let from: u32 = 0; from < rows; from += groupSize) {
    const length = min(groupSize, rows - from);
    const firstPlace = from % run;
    const firstWords = codes + from / run * runWords(bits) * stride;
    for (let column: u32 = 0; column < n; column += 4) {
      const lanes = min(4, n - column);
      const at: usize = column << 2;
      const values = x + column * sizeof<T>();
      let s = zero;
      let m = zero;
      if (highs) {
        if (affine) m = load4(lows + at, lanes);
        s = f32x4.div(f32x4.sub(load4(highs + at, lanes), m), averaged ? f32x4.splat(1) : high);
      } else if (averaged) {
        s = mean_f32x4<T>(values, xStride, length, lanes);
      } else {
        let odd = zero;
        m = loadUpTo4<T>(values, lanes, fields, up, down);
        s = affine ? m : zero;
        let i: u32 = 0;
        let p = values;
        if (lanes == 4)
          for (; i + 4 <= length; i += 4) {
            const a = loadValues<T>(p, fields, up, down);
            const b = loadValues<T>(p + xStride, fields, up, down);
            const c = loadValues<T>(p + 2 * xStride, fields, up, down);
            const d = loadValues<T>(p + 3 * xStride, fields, up, down);
            if (affine) {
              m = f32x4.pmin(m, f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d)));
              s = f32x4.pmax(s, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)));
              odd = v128.or(v128.or(odd, v128.or(f32x4.ne(a, a), f32x4.ne(b, b))), v128.or(f32x4.ne(c, c), f32x4.ne(d, d)));
            } else {
              s = i32x4.max_s(s, i32x4.max_s(i32x4.max_s(f32x4.abs(a), f32x4.abs(b)), i32x4.max_s(f32x4.abs(c), f32x4.abs(d))));
            }
            p += 4 * xStride;
          }
        for (; i < length; i++) {
          const v = loadUpTo4<T>(p, lanes, fields, up, down);
          if (affine) {
            m = f32x4.pmin(m, v);
            s = f32x4.pmax(s, v);
            odd = v128.or(odd, f32x4.ne(v, v));
          } else s = i32x4.max_s(s, f32x4.abs(v));
          p += xStride;
        }
        if (!affine) m = zero;
        s = v128.or(f32x4.div(f32x4.sub(s, m), high), odd);
      }
      if (half) {
        s = fromHalves_f32x4(narrow_i32x4(s));
        m = fromHalves_f32x4(narrow_i32x4(m));
      }
      const sound = v128.and(f32x4.ge(s, zero), v128.and(f32x4.lt(s, f32x4.splat(Infinity)), f32x4.eq(f32x4.sub(m, m), zero)));
      s = v128.bitselect(s, f32x4.splat(NaN), sound);
      m = v128.bitselect(m, f32x4.splat(NaN), sound);
      storeScales(scales + (column << scaleShift), s, lanes, half);
      if (affine) storeScales(minima + (column << scaleShift), m, lanes, half);

      const d = divisor_f32x4(s);
      let place = firstPlace;
      let words = firstWords + at;
      for (let i: u32 = 0; i < length; i += 4) {
        const row = from + i;
        let p = values + i * xStride;
        let index = i32x4.add(i32x4.splat(first + row * n + column), i32x4(0, 1, 2, 3));
        let joined = zero;
        let above = zero;
        if (lanes == 4 && plain && i + 4 <= length) {
          const a = i32x4.add(nearest_i32x4(loadValues<T>(p, fields, up, down), m, d, low, high, magic, magicBits), plus);
          const b = i32x4.add(nearest_i32x4(loadValues<T>(p + xStride, fields, up, down), m, d, low, high, magic, magicBits), plus);
          joined = v128.or(v128.and(a, mask), i32x4.shl(v128.and(b, mask), width));
          if (bits == 3) above = v128.or(third(a, one), i32x4.shl(third(b, one), 1));
          p += 2 * xStride;
          const c = i32x4.add(nearest_i32x4(loadValues<T>(p, fields, up, down), m, d, low, high, magic, magicBits), plus);
          const e = i32x4.add(nearest_i32x4(loadValues<T>(p + xStride, fields, up, down), m, d, low, high, magic, magicBits), plus);
          joined = v128.or(joined, i32x4.shl(v128.or(v128.and(c, mask), i32x4.shl(v128.and(e, mask), width)), 2 * width));
          if (bits == 3) above = v128.or(above, i32x4.shl(v128.or(third(c, one), i32x4.shl(third(e, one), 1)), 2));
        } else {
          for (let j: u32 = 0; j < min(4, length - i); j++) {
            const code = i32x4.add(code_i32x4(loadUpTo4<T>(p, lanes, fields, up, down), m, d, low, high, sign, seed, key, index), plus);
            joined = v128.or(joined, i32x4.shl(v128.and(code, mask), j * width));
            if (bits == 3) above = v128.or(above, i32x4.shl(third(code, one), j));
            p += xStride;
            index = i32x4.add(index, i32x4.splat(n));
          }
        }
        if (packed) {
          let power = 1;
          for (let k = place >> 2; k; k--) power *= 3;
          put(words, i32x4.mul(joined, i32x4.splat(power)), place == 0, lanes);
        } else if (bits == 3) {
          if (place == 0) store4(words + stride, zero, lanes);
          put(words + (place >> 4) * stride, i32x4.shl(joined, 2 * (place & 15)), place == 0, lanes);
          put(words + 2 * stride, i32x4.shl(above, place), place == 0, lanes);
        } else {
          put(words, i32x4.shl(joined, place * bits), place == 0, lanes);
        }
        place += 4;
        if (place == run) {
          place = 0;
          words += runWords(bits) * stride;
        }
      }
    }
    x += length * xStride;
    scales += n << scaleShift;
    minima += n << scaleShift;
    if (highs) highs += stride;
    if (lows) lows += stride;
  }
}
