import { fromHalves_f32x4, halves_i32x4 } from './half';
import {
  AFFINE, code_i32x4, divisor_f32x4, highestOf, isPacked, isSign, mixed, runCodes, runWords, storeScales, usesMean,
} from './integers';
import { load4, store4 } from './part';

/** Groups down columns, four columns in the lanes. */

/** Columns' means of |x|, in the order of quantize_integers_f32. */
function mean_f32x4(x: usize, stride: usize, length: u32, lanes: u32): v128 {
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
      a = f32x4.add(a, f32x4.abs(load4(x, lanes)));
      if (i + 1 < block) b = f32x4.add(b, f32x4.abs(load4(x + stride, lanes)));
      if (i + 2 < block) c = f32x4.add(c, f32x4.abs(load4(x + 2 * stride, lanes)));
      if (i + 3 < block) d = f32x4.add(d, f32x4.abs(load4(x + 3 * stride, lanes)));
      x += 4 * stride;
    }
    total = f32x4.add(total, f32x4.add(f32x4.add(a, c), f32x4.add(b, d)));
  }
  return f32x4.div(total, f32x4.splat(<f32>length));
}

/** `v` into the first or further bits of words. */
// @ts-ignore: decorator
@inline
function put(at: usize, v: v128, fresh: bool, lanes: u32): void {
  store4(at, fresh ? v : i32x4.add(v, load4(at, lanes)), lanes);
}

export function quantizeIntegerColumns(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, half: u32, lows: usize, highs: usize, seed: u32, first: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  const sign = isSign(bits, scheme);
  const packed = isPacked(bits, scheme);
  const averaged = usesMean(bits, scheme);
  const affine = scheme == AFFINE;
  const highest = highestOf(bits, scheme);
  const high = f32x4.splat(highest);
  const low = f32x4.splat(affine || sign ? 0 : -highest);
  const run = runCodes(bits, scheme);
  const key = mixed(seed);
  const stride: usize = n << 2;
  const scaleShift: u32 = half ? 1 : 2;
  const zero = i32x4.splat(0);
  /** Bits between the codes of one column that are joined. */
  const width: u32 = packed ? 8 : bits == 3 ? 2 : bits;
  const mask = i32x4.splat(packed ? 3 : (1 << width) - 1);
  for (let from: u32 = 0; from < rows; from += groupSize) {
    const length = min(groupSize, rows - from);
    for (let column: u32 = 0; column < n; column += 4) {
      const lanes = min(4, n - column);
      const at: usize = column << 2;
      let s = zero;
      let m = zero;
      if (highs) {
        if (affine) m = load4(lows + at, lanes);
        s = f32x4.div(f32x4.sub(load4(highs + at, lanes), m), averaged ? f32x4.splat(1) : high);
      } else if (averaged) {
        s = mean_f32x4(x + at, stride, length, lanes);
      } else {
        let odd = zero;
        m = load4(x + at, lanes);
        s = affine ? m : zero;
        for (let i: u32 = 0, p = x + at; i < length; i++) {
          const v = load4(p, lanes);
          if (affine) {
            m = f32x4.pmin(m, v);
            s = f32x4.pmax(s, v);
            odd = v128.or(odd, f32x4.ne(v, v));
          } else s = i32x4.max_s(s, f32x4.abs(v));
          p += stride;
        }
        if (!affine) m = zero;
        s = v128.or(f32x4.div(f32x4.sub(s, m), high), odd);
      }
      if (half) {
        s = fromHalves_f32x4(halves_i32x4(s));
        m = fromHalves_f32x4(halves_i32x4(m));
      }
      const sound = v128.and(f32x4.ge(s, zero), v128.and(f32x4.lt(s, f32x4.splat(Infinity)), f32x4.eq(f32x4.sub(m, m), zero)));
      s = v128.bitselect(s, f32x4.splat(NaN), sound);
      m = v128.bitselect(m, f32x4.splat(NaN), sound);
      storeScales(scales + (column << scaleShift), s, lanes, half);
      if (affine) storeScales(minima + (column << scaleShift), m, lanes, half);

      const d = divisor_f32x4(s);
      for (let i: u32 = 0; i < length; i += 4) {
        const row = from + i;
        let p = x + at + i * stride;
        let index = i32x4.add(i32x4.splat(first + row * n + column), i32x4(0, 1, 2, 3));
        let joined = zero;
        let above = zero;
        for (let j: u32 = 0; j < min(4, length - i); j++) {
          let code = code_i32x4(load4(p, lanes), m, d, low, high, sign, seed, key, index);
          if (packed) code = i32x4.add(code, i32x4.splat(1));
          joined = v128.or(joined, i32x4.shl(v128.and(code, mask), j * width));
          if (bits == 3) above = v128.or(above, i32x4.shl(v128.and(i32x4.shr_u(code, 2), i32x4.splat(1)), j));
          p += stride;
          index = i32x4.add(index, i32x4.splat(n));
        }
        const place = row % run;
        const words = codes + row / run * runWords(bits) * stride + at;
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
      }
    }
    x += length * stride;
    scales += n << scaleShift;
    minima += n << scaleShift;
    if (highs) highs += stride;
    if (lows) lows += stride;
  }
}
