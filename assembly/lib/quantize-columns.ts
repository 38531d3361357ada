import { WIDEN_DOWN, WIDEN_FIELDS, WIDEN_UP, halves_i32x4, load4, loadNthFinite4 } from './half';
import { MAGIC, MAGIC_BITS, SAFE_SCALE, code_f32x4, codeBytes, group, halfOf, scale } from './quantize';
import { held_f32x4, held_i32x4 } from './held';

/** Groups down columns: four rows at a time, four columns in the lanes. */

// @ts-ignore: decorator
@inline
function least_f32x4(low: v128, a: v128, b: v128, c: v128, d: v128): v128 {
  return f32x4.pmin(low, f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d)));
}

/** NaN where any is NaN or infinite, or their sum overflows; `high` comes first in pmax, which then keeps it. */
// @ts-ignore: decorator
@inline
function greatest_f32x4(high: v128, a: v128, b: v128, c: v128, d: v128): v128 {
  const sum = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
  return f32x4.add(f32x4.pmax(high, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d))), f32x4.sub(sum, sum));
}

// @ts-ignore: decorator
@inline
function magnitude_f32x4(high: v128, a: v128, b: v128, c: v128, d: v128, absolute: v128): v128 {
  const ab = i32x4.max_s(v128.and(a, absolute), v128.and(b, absolute));
  return i32x4.max_s(high, i32x4.max_s(ab, i32x4.max_s(v128.and(c, absolute), v128.and(d, absolute))));
}

/** Bytes of x that hold as many values as `at` bytes of f32. */
// @ts-ignore: decorator
@inline
function bytes<T>(at: usize): usize {
  return sizeof<T>() == 4 ? at : at >> 1;
}

/** Extremes so far, which are f32, or values of x. */
// @ts-ignore: decorator
@inline
function extreme<T>(p: usize, first: u32, at: usize, fields: v128, up: v128, down: v128): v128 {
  if (sizeof<T>() == 4) return v128.load(p + at);
  return first ? load4<T>(p + bytes<T>(at), fields, up, down) : v128.load(p + at);
}

/** Folds four rows into the extremes of their columns. */
function foldRows<T>(
  x: usize, x1: usize, x2: usize, x3: usize, vectors: u32, first: u32, symmetric: u32,
  scales: usize, minima: usize,
): void {
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  const absolute = held_i32x4(0x7fffffff);
  // The first rows of a group meet themselves instead of what lies in the outputs.
  const high = first ? x : scales;
  const low = first ? x : minima;
  let at: usize = 0;
  if (symmetric) {
    do {
      const h = v128.and(extreme<T>(high, first, at, fields, up, down), absolute);
      const a = load4<T>(x + bytes<T>(at), fields, up, down);
      const b = load4<T>(x1 + bytes<T>(at), fields, up, down);
      const c = load4<T>(x2 + bytes<T>(at), fields, up, down);
      const d = load4<T>(x3 + bytes<T>(at), fields, up, down);
      v128.store(scales + at, magnitude_f32x4(h, a, b, c, d, absolute));
      at += 16;
    } while (--vectors);
  } else {
    do {
      const h = extreme<T>(high, first, at, fields, up, down);
      const l = extreme<T>(low, first, at, fields, up, down);
      const a = load4<T>(x + bytes<T>(at), fields, up, down);
      const b = load4<T>(x1 + bytes<T>(at), fields, up, down);
      const c = load4<T>(x2 + bytes<T>(at), fields, up, down);
      const d = load4<T>(x3 + bytes<T>(at), fields, up, down);
      v128.store(minima + at, least_f32x4(l, a, b, c, d));
      v128.store(scales + at, greatest_f32x4(h, a, b, c, d));
      at += 16;
    } while (--vectors);
  }
}

/** The codes of up to four rows into bits [shift, shift + rows·bits) of their columns' words; those above become 0. */
function packRows<T>(
  x: usize, x1: usize, x2: usize, x3: usize, rows: u32, vectors: u32, bits: u32, symmetric: u32, shift: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP);
  const half = halfOf(bits, symmetric);
  const ones = 1 + (1 << bits) + (1 << (2 * bits)) + (1 << (3 * bits));
  const magic = held_f32x4(MAGIC + <f32>half);
  const base = held_i32x4(1 << bits);
  const magicBits = held_i32x4(MAGIC_BITS * ones);
  const flip = held_i32x4(half * ones);
  const mask = held_i32x4(<i32>((<u64>1 << (rows * bits)) - 1));
  const zero = held_i32x4(0);
  const keep = held_i32x4(shift ? -1 : 0);
  const used = held_i32x4(symmetric - 1);
  if (symmetric) minima = scales; // anything readable: `used` makes it 0
  let at: usize = 0;
  do {
    const s = v128.load(scales + at);
    const minimum = v128.and(v128.load(minima + at), used);
    let word = code_f32x4(loadNthFinite4<T>(x3 + bytes<T>(at), 0, fields, up), minimum, s, magic);
    word = i32x4.add(i32x4.mul(word, base), code_f32x4(loadNthFinite4<T>(x2 + bytes<T>(at), 0, fields, up), minimum, s, magic));
    word = i32x4.add(i32x4.mul(word, base), code_f32x4(loadNthFinite4<T>(x1 + bytes<T>(at), 0, fields, up), minimum, s, magic));
    word = i32x4.add(i32x4.mul(word, base), code_f32x4(loadNthFinite4<T>(x + bytes<T>(at), 0, fields, up), minimum, s, magic));
    word = v128.and(v128.xor(i32x4.sub(word, magicBits), flip), v128.and(mask, f32x4.gt(s, zero)));
    v128.store(codes + at, v128.or(i32x4.shl(word, shift), v128.and(v128.load(codes + at), keep)));
    at += 16;
  } while (--vectors);
}

export function quantizeColumns<T>(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, symmetric: u32, codes: usize, scales: usize, minima: usize,
): void {
  const stride = n << 2;
  const xStride = n * sizeof<T>();
  const vectors = n >> 2;
  while (rows) {
    const length = min(rows, groupSize);
    if (vectors) {
      // Four long streams, which hardware prefetchers follow, instead of four rows side by side.
      const parts = length + 3 >> 2;
      const far = parts * xStride, last = x + (length - 1) * xStride;
      for (let row: u32 = 0; row < parts; row++) {
        const p = x + row * xStride;
        foldRows<T>(p, min(p + far, last), min(p + 2 * far, last), min(p + 3 * far, last), vectors, u32(row == 0), symmetric, scales, minima);
      }
      scale(n & ~3, bits, symmetric, scales, minima);
      for (let row: u32 = 0; row < length; row += 4) {
        const p = x + row * xStride;
        const last = min(3, length - row - 1) * xStride;
        packRows<T>(
          p, p + min(xStride, last), p + min(2 * xStride, last), p + last, min(4, length - row), vectors, bits, symmetric,
          row * bits & 31, codes + (row * bits >> 5) * stride, scales, minima,
        );
      }
    }
    // Columns past the last whole vector, and those that are not plain: NaN, denormal.
    for (let column: u32 = 0; column < n; column++) {
      const at = column << 2;
      if (column < (n & ~3)) {
        const s = load<f32>(scales + at);
        if (s == 0 || s >= SAFE_SCALE) continue;
      }
      group<T>(x + bytes<T>(at), xStride, length, bits, symmetric, codes + at, stride, scales + at, minima + at);
    }
    x += length * xStride;
    codes += (codeBytes(length, bits) >> 2) * stride;
    scales += stride;
    minima += stride;
    rows -= length;
  }
}
