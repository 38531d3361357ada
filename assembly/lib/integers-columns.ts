import { narrow_i32x4 } from './half';
import {
  AFFINE, code_i32x4, decoded_f32x4, digit_i16x8, divisor_f32x4, fromHalves_f32x4, highestOf, isPacked, isSign, loadScales, mixed, nearest_i32x4,
  runCodes, runWords, signBit, storeScales, third_i16x8, usesMean,
} from './integers';
import { load4, store4 } from './part';
import { MAGIC, MAGIC_BITS } from './quantize';
import { held_f32x4, held_i32x4 } from './held';

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

/**
 * Rows `from`, where a group begins, to `rows` of `columns` columns; n is all there are. x, whose rows are `xStride` bytes apart, scales,
 * minima, lows and highs begin with the first of these rows, codes with row 0.
 */
export function quantizeIntegerColumns(
  x: usize, xStride: usize, from: u32, rows: u32, columns: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, half: u32, lows: usize, highs: usize, seed: u32, first: u32,
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
  const scaleShift: u32 = half ? 1 : 2;
  const zero = i32x4.splat(0);
  const plain = !seed && !sign;
  /** Bits between the codes of one column that are joined. */
  const width: u32 = packed ? 8 : bits == 3 ? 2 : bits;
  const mask = held_i32x4(packed ? 3 : (1 << width) - 1);
  /** Packed codes are kept plus 1. */
  const plus = held_i32x4(packed ? 1 : 0);
  const one = held_i32x4(1);
  for (; from < rows; from += groupSize) {
    const length = min(groupSize, rows - from);
    const firstPlace = from % run;
    const firstWords = codes + from / run * runWords(bits) * stride;
    for (let column: u32 = 0; column < columns; column += 4) {
      const lanes = min(4, columns - column);
      const at: usize = column << 2;
      let s = zero;
      let m = zero;
      if (highs) {
        if (affine) m = load4(lows + at, lanes);
        s = f32x4.div(f32x4.sub(load4(highs + at, lanes), m), averaged ? f32x4.splat(1) : high);
      } else if (averaged) {
        s = mean_f32x4(x + at, xStride, length, lanes);
      } else {
        let odd = zero;
        m = load4(x + at, lanes);
        s = affine ? m : zero;
        let i: u32 = 0;
        let p = x + at;
        if (lanes == 4)
          for (; i + 4 <= length; i += 4) {
            const a = v128.load(p);
            const b = v128.load(p + xStride);
            const c = v128.load(p + 2 * xStride);
            const d = v128.load(p + 3 * xStride);
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
          const v = load4(p, lanes);
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
        let p = x + at + i * xStride;
        let index = i32x4.add(i32x4.splat(first + row * n + column), i32x4(0, 1, 2, 3));
        let joined = zero;
        let above = zero;
        if (lanes == 4 && plain && i + 4 <= length) {
          const a = i32x4.add(nearest_i32x4(v128.load(p), m, d, low, high, magic, magicBits), plus);
          const b = i32x4.add(nearest_i32x4(v128.load(p + xStride), m, d, low, high, magic, magicBits), plus);
          joined = v128.or(v128.and(a, mask), i32x4.shl(v128.and(b, mask), width));
          if (bits == 3) above = v128.or(third(a, one), i32x4.shl(third(b, one), 1));
          p += 2 * xStride;
          const c = i32x4.add(nearest_i32x4(v128.load(p), m, d, low, high, magic, magicBits), plus);
          const e = i32x4.add(nearest_i32x4(v128.load(p + xStride), m, d, low, high, magic, magicBits), plus);
          joined = v128.or(joined, i32x4.shl(v128.or(v128.and(c, mask), i32x4.shl(v128.and(e, mask), width)), 2 * width));
          if (bits == 3) above = v128.or(above, i32x4.shl(v128.or(third(c, one), i32x4.shl(third(e, one), 1)), 2));
        } else {
          for (let j: u32 = 0; j < min(4, length - i); j++) {
            const code = i32x4.add(code_i32x4(load4(p, lanes), m, d, low, high, sign, seed, key, index), plus);
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

/** Rows `row`, a multiple of 4, to `rows` of a matrix; `out` is where the first of them goes. */
export function dequantizeIntegerColumns(
  codes: usize, scales: usize, minima: usize, row: u32, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, half: u32, out: usize,
): void {
  const sign = isSign(bits, scheme);
  const packed = isPacked(bits, scheme);
  const run = runCodes(bits, scheme);
  const stride: usize = n << 2;
  const scaleShift: u32 = half ? 1 : 2;
  const zero = i32x4.splat(0);
  const mask = held_i32x4(packed ? 255 : bits == 3 ? 3 : (1 << bits) - 1);
  const width: u32 = packed ? 8 : bits == 3 ? 2 : bits;
  const top = held_i32x4(signBit(bits, scheme));
  const four = held_i32x4(4);
  for (; row < rows; row += 4) {
    const group = row / groupSize * n << scaleShift;
    const place = row % run;
    const first = codes + row / run * runWords(bits) * stride;
    const left = min(4, rows - row);
    for (let column: u32 = 0; column < n; column += 4) {
      const lanes = min(4, n - column);
      const at: usize = column << 2;
      const words = first + at;
      const s = loadScales(scales + group + (column << scaleShift), lanes, half);
      const m = scheme == AFFINE ? loadScales(minima + group + (column << scaleShift), lanes, half) : zero;
      let p = out + at;
      let word: v128;
      let above = zero;
      if (bits == 3) {
        word = i32x4.shr_u(load4(words + (place >> 4) * stride, lanes), 2 * (place & 15));
        above = i32x4.shr_u(load4(words + 2 * stride, lanes), place);
      } else {
        word = load4(words, lanes);
        if (!packed) word = i32x4.shr_u(word, place * bits);
      }
      if (lanes == 4 && !packed && left == 4) {
        // Third bits in the place of codes' own.
        const a = v128.or(v128.and(word, mask), v128.and(i32x4.shl(above, 2), four));
        const b = v128.or(v128.and(i32x4.shr_u(word, width), mask), v128.and(i32x4.shl(above, 1), four));
        const c = v128.or(v128.and(i32x4.shr_u(word, 2 * width), mask), v128.and(above, four));
        const d = v128.or(v128.and(i32x4.shr_u(word, 3 * width), mask), v128.and(i32x4.shr_u(above, 1), four));
        v128.store(p, decoded_f32x4(i32x4.sub(v128.xor(a, top), top), s, m, sign));
        v128.store(p + stride, decoded_f32x4(i32x4.sub(v128.xor(b, top), top), s, m, sign));
        p += 2 * stride;
        v128.store(p, decoded_f32x4(i32x4.sub(v128.xor(c, top), top), s, m, sign));
        v128.store(p + stride, decoded_f32x4(i32x4.sub(v128.xor(d, top), top), s, m, sign));
        continue;
      }
      for (let j: u32 = 0; j < left; j++) {
        let code = v128.and(word, mask);
        if (packed) {
          for (let k = place >> 2; k; k--) code = third_i16x8(code);
          code = i32x4.sub(digit_i16x8(code), i32x4.splat(1));
        } else {
          code = v128.or(code, v128.and(i32x4.shl(above, 2), four));
          code = i32x4.sub(v128.xor(code, top), top);
        }
        store4(p, decoded_f32x4(code, s, m, sign), lanes);
        word = i32x4.shr_u(word, width);
        above = i32x4.shr_u(above, 1);
        p += stride;
      }
    }
    out += 4 * stride;
  }
}
