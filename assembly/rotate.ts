import { transform } from './lib/hadamard';
import { index, indexBytes, mix } from './lib/hadamard-mixed';
import { codeBytes } from './lib/quantize';
import { quantizeRows } from './quantize';
import { dequantizeRows } from './quantize-dequantize';

/** Values of the rows that all passes go over before the next are begun: 8 KB. */
const CHUNK: u32 = 2048;

/**
 * Rows rotated, and rotated rows as integer codes and back: channels permuted and scaled, random signs, Hadamard transform.
 *
 *   x            f32 [rows, n]  any values; n = order · 2^p, up to 2048
 *   order        u32            1, or a multiple of 4 up to 256
 *   scale        f32            multiplies the unnormalised transform: 1/√n makes it orthonormal
 *   permutation  u32 [n]        the column of x that each value comes from, or offset 0: none. Above n − 1: taken for n − 1
 *   factors      f32 [n]        multiply the columns of x, or offset 0: none
 *   signs        i8  [n]        ±1 for each value of a permuted row (only the sign bit is read), or offset 0: none; at any byte
 *   matrix       u32 [order, ceil(order/32)]  Hadamard matrix M, as in hadamard_mixed_f32; offset 0 where order is 1
 *   scratch      f32            rotateScratchBytes, whatever the number of rows
 *   codes, scales, minima       of groups along a row, as in quantize_f32
 *
 *   rotate_f32             out = scale·(M ⊗ H)·(signs ∘ (factors ∘ x)[permutation])
 *   rotate_f32, inverse 1  out[permutation] = signs ∘ (scale·(M ⊗ H)ᵀ·x) / factors
 *   rotate_quantize_f32    quantize_f32 of what rotate_f32 makes
 *   rotate_dequantize_f32  rotate_f32 with inverse of what dequantize_f32 makes
 *
 * Arithmetic: c = factor·scale is rounded, and x·c; on the way back d = scale / factor, and, last, value·d. In between are
 * additions alone, in the order of lib/hadamard.ts and lib/hadamard-mixed.ts. So results and codes are the same at every level
 * and the reference's, bit for bit. Forth, sums overflow only where |scale|·Σ|factor·x| does; back, where Σ|x| does.
 * NaN and infinity spread over their row: its groups get scale NaN and codes 0, as in quantize_f32.
 * The caller guarantees n, order, bounds, 4-byte alignment, arrays that do not overlap, and what quantize_f32 asks for.
 *
 * Method: Z. Su et al., "RotateKV", 2025 (channels reordered, heads rotated together, then codes); S. Ashkboos et al.,
 * "QuaRot", 2024; A. Zandieh et al., "TurboQuant", 2025. Rows go 8 KB at a time through all steps, in scratch.
 *
 * Not done: products in the first pass also for permuted rows (they are gathered in a pass of their own).
 */
export function rotate_f32(
  x: usize, rows: u32, n: u32, order: u32, scale: f32, permutation: usize, factors: usize, signs: usize, matrix: usize,
  inverse: u32, scratch: usize, out: usize,
): void {
  if (order > 1) index(matrix, order, inverse, mixing(scratch, n));
  coefficients(n, scale, permutation, factors, signs, inverse, scratch);
  const most = max(1, CHUNK / n);
  while (rows) {
    const count = min(rows, most);
    if (inverse) {
      const work = rotated(scratch, n, order);
      hadamard(x, count, n, order, 0, scratch, work);
      leave(work, count, n, permutation, scratch, out);
    } else {
      forth(x, count, n, order, permutation, scratch, out);
    }
    x += count * n << 2;
    out += count * n << 2;
    rows -= count;
  }
}

/** See rotate_f32. */
export function rotate_quantize_f32(
  x: usize, rows: u32, n: u32, order: u32, scale: f32, permutation: usize, factors: usize, signs: usize, matrix: usize,
  bits: u32, groupSize: u32, scheme: u32, scratch: usize, codes: usize, scales: usize, minima: usize,
): void {
  if (order > 1) index(matrix, order, 0, mixing(scratch, n));
  coefficients(n, scale, permutation, factors, signs, 0, scratch);
  if (groupSize == 0 || groupSize > n) groupSize = n;
  const groups = (n + groupSize - 1) / groupSize;
  const work = rotated(scratch, n, order);
  const most = max(1, CHUNK / n);
  while (rows) {
    const count = min(rows, most);
    forth(x, count, n, order, permutation, scratch, work);
    quantizeRows<f32>(work, count, n, bits, groupSize, scheme, codes, scales, minima);
    x += count * n << 2;
    codes += count * codeBytes(n, bits);
    scales += count * groups << 2;
    minima += count * groups << 2;
    rows -= count;
  }
}

/** See rotate_f32. */
export function rotate_dequantize_f32(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, order: u32, scale: f32, permutation: usize, factors: usize,
  signs: usize, matrix: usize, bits: u32, groupSize: u32, scheme: u32, scratch: usize, out: usize,
): void {
  if (order > 1) index(matrix, order, 1, mixing(scratch, n));
  coefficients(n, scale, permutation, factors, signs, 1, scratch);
  if (groupSize == 0 || groupSize > n) groupSize = n;
  const groups = (n + groupSize - 1) / groupSize;
  const work = rotated(scratch, n, order);
  const most = max(1, CHUNK / n);
  while (rows) {
    const count = min(rows, most);
    dequantizeRows<f32>(codes, scales, minima, count, n, bits, groupSize, scheme, work);
    hadamard(work, count, n, order, 0, scratch, work);
    leave(work, count, n, permutation, scratch, out);
    codes += count * codeBytes(n, bits);
    scales += count * groups << 2;
    minima += count * groups << 2;
    out += count * n << 2;
    rows -= count;
  }
}

// Scratch: coefficients [n], byte offsets of columns [n], the matrix's index and tables, rows; the first two padded to vectors.

// @ts-ignore: decorator
@inline
function padded(n: u32): u32 {
  return (n + 3 & ~3) << 2;
}
// @ts-ignore: decorator
@inline
function mixing(scratch: usize, n: u32): usize {
  return scratch + 2 * padded(n);
}
// @ts-ignore: decorator
@inline
function rotated(scratch: usize, n: u32, order: u32): usize {
  return mixing(scratch, n) + (order > 1 ? indexBytes(order) + (order << 7) : 0);
}

/** What each value of a row is multiplied by, and where its column lies. */
function coefficients(
  n: u32, scale: f32, permutation: usize, factors: usize, signs: usize, inverse: u32, to: usize,
): void {
  for (let j: u32 = 0; j < n; j++) {
    const column = permutation ? min(load<u32>(permutation + (j << 2)), n - 1) << 2 : j << 2;
    let coefficient = scale;
    if (factors) {
      const factor = load<f32>(factors + column);
      coefficient = inverse ? scale / factor : factor * scale;
    }
    if (signs) {
      const sign: i32 = load<i8>(signs + j);
      if (sign < 0) coefficient = -coefficient;
    }
    store<f32>(to, coefficient);
    store<u32>(to + padded(n), column);
    to += 4;
  }
}

/** Rows permuted and multiplied. */
function enter(x: usize, rows: u32, n: u32, permutation: usize, scratch: usize, to: usize): void {
  const columns = padded(n);
  do {
    let c = scratch;
    let at: usize = x;
    let left = n;
    if (permutation) {
      for (; left >= 4; left -= 4) {
        const p = c + columns;
        const v = v128.load32_lane(x + load<u32>(p, 12), v128.load32_lane(x + load<u32>(p, 8),
          v128.load32_lane(x + load<u32>(p, 4), v128.load32_zero(x + load<u32>(p)), 1), 2), 3);
        v128.store(to, f32x4.mul(v, v128.load(c)));
        c += 16;
        to += 16;
      }
    } else {
      for (; left >= 4; left -= 4) {
        v128.store(to, f32x4.mul(v128.load(at), v128.load(c)));
        at += 16;
        c += 16;
        to += 16;
      }
    }
    for (; left; left--) {
      store<f32>(to, load<f32>(x + load<u32>(c + columns)) * load<f32>(c));
      c += 4;
      to += 4;
    }
    x += n << 2;
  } while (--rows);
}

/** The way back: rows multiplied and put where they came from. */
function leave(from: usize, rows: u32, n: u32, permutation: usize, scratch: usize, out: usize): void {
  const columns = padded(n);
  do {
    let c = scratch;
    let left = n;
    if (permutation) {
      for (; left >= 4; left -= 4) {
        const p = c + columns;
        const v = f32x4.mul(v128.load(from), v128.load(c));
        v128.store32_lane(out + load<u32>(p), v, 0);
        v128.store32_lane(out + load<u32>(p, 4), v, 1);
        v128.store32_lane(out + load<u32>(p, 8), v, 2);
        v128.store32_lane(out + load<u32>(p, 12), v, 3);
        c += 16;
        from += 16;
      }
    } else {
      for (let to = out; left >= 4; left -= 4) {
        v128.store(to, f32x4.mul(v128.load(from), v128.load(c)));
        to += 16;
        c += 16;
        from += 16;
      }
    }
    for (; left; left--) {
      store<f32>(out + load<u32>(c + columns), load<f32>(from) * load<f32>(c));
      c += 4;
      from += 4;
    }
    out += n << 2;
  } while (--rows);
}

/** Rows permuted, multiplied and transformed; the products in the first pass where that is possible. */
function forth(x: usize, rows: u32, n: u32, order: u32, permutation: usize, scratch: usize, to: usize): void {
  if (permutation || n / order < 16) {
    enter(x, rows, n, permutation, scratch, to);
    hadamard(to, rows, n, order, 0, scratch, to);
  } else {
    hadamard(x, rows, n, order, scratch, scratch, to);
  }
}

/** (M ⊗ H)·(coefficients ∘ x), or with the index of the transpose its transpose; coefficients or 0. */
function hadamard(x: usize, rows: u32, n: u32, order: u32, coefficients: usize, scratch: usize, out: usize): void {
  const block = n / order;
  transform(x, rows * order, block, 1, 0, 0, out, coefficients, n);
  if (order > 1) mix(out, rows, block, order, mixing(scratch, n), mixing(scratch, n) + indexBytes(order));
}
