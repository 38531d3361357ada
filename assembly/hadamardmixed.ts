import { radix8, transform } from './lib/hadamard';
import { index, indexBytes, mix } from './lib/hadamard-mixed';

/** Bytes of rows that all passes go over before the next are begun. */
const CHUNK: u32 = 8192;

/**
 * hadamard_mixed_f32: the Walsh–Hadamard transform of rows whose length is no power of two, along rows or across them.
 *
 *   x        f32 [rows, n, inner]  any values; n = order · 2^p, 2^p up to 32768
 *   order    u32                   1, or a multiple of 4 up to 256
 *   inner    u32                   values that lie between two that are transformed together; 1: along rows
 *   scale    f32                   multiplies the unnormalised transform: 1/√n makes it orthonormal
 *   matrix   u32 [order, ceil(order/32)]  a Hadamard matrix M, a bit per entry, 1 for −1, low bits first; offset 0 where order is 1
 *   signs    i8  [n]               ±1 (only the sign bit is read), or offset 0: none; at any byte
 *   inverse  u32                   0: out = scale·(M ⊗ H)·(signs ∘ x); 1: out = signs ∘ (scale·(M ⊗ H)ᵀ·x)
 *   scratch  f32 [hadamardMixedScratchBytes]   none where order is 1
 *   out      f32 [rows, n, inner]  out: does not overlap x
 *
 * H is Sylvester's matrix of order 2^p, as in hadamard_f32. NaN and infinity spread over what they are transformed with, to
 * nothing else. x is multiplied by the scale before anything is added: sums overflow only where |scale|·Σ|x| does. Any ±1
 * matrix is taken as it is. The caller guarantees n, order, bounds and 4-byte alignment.
 *
 * Method: S. Ashkboos et al., "QuaRot", 2024: M ⊗ H for n = order · 2^p. The blocks of 2^p go through hadamard's passes (with
 * inner, the same stages over whole vectors); then lib/hadamard-mixed.ts adds blocks up.
 *
 * Not done: the stages of a block and the product in one pass.
 */
export function hadamard_mixed_f32(
  x: usize, rows: u32, n: u32, order: u32, inner: u32, scale: f32, matrix: usize, signs: usize, inverse: u32, scratch: usize,
  out: usize,
): void {
  const tables = scratch + indexBytes(order);
  if (order > 1) index(matrix, order, inverse, scratch);
  const block = n / order;
  const rowBytes = n * inner << 2;
  const before = inverse ? <usize>0 : signs;
  const most = max(1, CHUNK / rowBytes);
  while (rows) {
    const count = min(rows, most);
    const bytes = count * rowBytes;
    if (inner == 1 && !before) {
      transform(x, count * order, block, scale, 0, 0, out);
    } else {
      scaled(x, count, n, inner, scale, before, out);
      if (inner == 1) transform(out, count * order, block, 1, 0, 0, out);
      else across(out, bytes, block, inner);
    }
    if (order > 1) mix(out, count, block * inner, order, scratch, tables);
    if (inverse && signs) scaled(out, count, n, inner, 1, signs, out);
    x += bytes;
    out += bytes;
    rows -= count;
  }
}

/** out = scale · signs ∘ x. */
function scaled(x: usize, rows: u32, n: u32, inner: u32, scale: f32, signs: usize, out: usize): void {
  do {
    for (let j: u32 = 0; j < n; j++) {
      const sign: i32 = signs ? load<i8>(signs + j) : 1;
      const factor = sign < 0 ? -scale : scale;
      const factor_f32x4 = f32x4.splat(factor);
      let left = inner;
      for (; left >= 4; left -= 4) {
        v128.store(out, f32x4.mul(v128.load(x), factor_f32x4));
        x += 16;
        out += 16;
      }
      for (; left; left--) {
        store<f32>(out, load<f32>(x) * factor);
        x += 4;
        out += 4;
      }
    }
  } while (--rows);
}

/** The stages of blocks whose values lie `inner` apart, in place. */
function across(p: usize, bytes: u32, block: u32, inner: u32): void {
  let strideBytes = inner << 2;
  const span = block * strideBytes;
  while (strideBytes < span) {
    if (!(strideBytes & 15) && strideBytes << 3 <= span) {
      radix8(p, bytes, strideBytes);
      strideBytes <<= 3;
    } else {
      radix2(p, bytes, strideBytes);
      strideBytes <<= 1;
    }
  }
}

function radix2(p: usize, bytes: u32, strideBytes: u32): void {
  const end = p + bytes;
  do {
    const stop = p + strideBytes;
    let q = stop;
    for (; p + 16 <= stop; p += 16, q += 16) {
      const a = v128.load(p), b = v128.load(q);
      v128.store(p, f32x4.add(a, b));
      v128.store(q, f32x4.sub(a, b));
    }
    for (; p < stop; p += 4, q += 4) {
      const a = load<f32>(p), b = load<f32>(q);
      store<f32>(p, a + b);
      store<f32>(q, a - b);
    }
    p = q;
  } while (p < end);
}
