/**
 * The product of a ±1 matrix with the blocks of a row: what is left of (matrix ⊗ H)·x once each block is transformed.
 *
 * A sum of four values with any signs is one of sixteen. They are made once for each four blocks, and every output adds up
 * those its row of the matrix points to: a quarter of the additions ("four Russians", V. Arlazarov et al., 1970).
 * Output k is ((t0 + t1) + t2) + ..., with tg = (±v0 ± v1) + (±v2 ± v3) over blocks 4g to 4g + 3, at every level.
 */

/** Bytes from one of the sixteen sums to the next: two vectors. */
const SUM: u32 = 32;
const SUMS: u32 = 16 * SUM;

/** Bytes of scratch that index() fills, in whole vectors; the tables follow. */
// @ts-ignore: decorator
@inline
export function indexBytes(order: u32): u32 {
  return (order * order >> 2) + 15 & ~15;
}

/** The matrix (or its transpose) as bytes: four entries of row k, a bit each, 1 for −1. [order, order/4] */
export function index(matrix: usize, order: u32, transposed: u32, to: usize): void {
  const rowBytes = (order + 31) >> 5 << 2;
  for (let k: u32 = 0; k < order; k++)
    for (let j: u32 = 0; j < order; j += 4) {
      let bits: u32 = 0;
      for (let i: u32 = 0; i < 4; i++) {
        const row = transposed ? j + i : k;
        const column = transposed ? k : j + i;
        bits |= ((<u32>load<u8>(matrix + row * rowBytes + (column >> 3)) >> (column & 7)) & 1) << i;
      }
      store<u8>(to++, <u8>bits);
    }
}

/** The sixteen sums of four vectors. */
// @ts-ignore: decorator
@inline
function sums(v0: v128, v1: v128, v2: v128, v3: v128, to: usize): void {
  const a0 = f32x4.add(v0, v1), a1 = f32x4.sub(v1, v0), a2 = f32x4.sub(v0, v1), a3 = f32x4.neg(a0);
  let b = f32x4.add(v2, v3);
  for (let i: u32 = 0; i < 4; i++) {
    v128.store(to, f32x4.add(a0, b)); v128.store(to, f32x4.add(a1, b), 32);
    v128.store(to, f32x4.add(a2, b), 64); v128.store(to, f32x4.add(a3, b), 96);
    to += 4 * SUM;
    b = i == 0 ? f32x4.sub(v3, v2) : i == 1 ? f32x4.sub(v2, v3) : f32x4.neg(f32x4.add(v2, v3));
  }
}

/** Rows of `order` blocks of `stride` values, in place. `entries`: from index(). `tables`: 128·order bytes. */
export function mix(p: usize, rows: u32, stride: u32, order: u32, entries: usize, tables: usize): void {
  const strideBytes = stride << 2;
  const rowBytes = order * strideBytes;
  if (!(stride & 7)) {
    do {
      const end = p + strideBytes;
      do {
        mix8(p, strideBytes, order, entries, tables);
        p += 32;
      } while (p < end);
      p += rowBytes - strideBytes;
    } while (--rows);
    return;
  }
  // Four columns from wherever they lie; what is too much repeats the last.
  const columns = rows * stride;
  for (let c: u32 = 0; c < columns; c += 4) {
    const c1 = min(c + 1, columns - 1), c2 = min(c + 2, columns - 1), c3 = min(c + 3, columns - 1);
    mix4(
      p + c / stride * rowBytes + (c % stride << 2), p + c1 / stride * rowBytes + (c1 % stride << 2),
      p + c2 / stride * rowBytes + (c2 % stride << 2), p + c3 / stride * rowBytes + (c3 % stride << 2),
      strideBytes, order, entries, tables,
    );
  }
}

/** Eight columns next to each other. */
function mix8(p: usize, strideBytes: u32, order: u32, entries: usize, tables: usize): void {
  const groups = order >> 2;
  const end = p + order * strideBytes;
  let from = p, to = tables;
  do {
    const from1 = from + strideBytes, from2 = from1 + strideBytes, from3 = from2 + strideBytes;
    sums(v128.load(from), v128.load(from1), v128.load(from2), v128.load(from3), to);
    sums(v128.load(from, 16), v128.load(from1, 16), v128.load(from2, 16), v128.load(from3, 16), to + 16);
    from = from3 + strideBytes;
    to += SUMS;
  } while (from < end);
  do {
    let at = tables + (<u32>load<u8>(entries) << 5), at1 = tables + (<u32>load<u8>(entries + groups) << 5);
    let a = v128.load(at), b = v128.load(at, 16), a1 = v128.load(at1), b1 = v128.load(at1, 16);
    let table = tables + SUMS;
    const stop = entries + groups;
    while (++entries < stop) {
      at = table + (<u32>load<u8>(entries) << 5);
      at1 = table + (<u32>load<u8>(entries + groups) << 5);
      a = f32x4.add(a, v128.load(at)); b = f32x4.add(b, v128.load(at, 16));
      a1 = f32x4.add(a1, v128.load(at1)); b1 = f32x4.add(b1, v128.load(at1, 16));
      table += SUMS;
    }
    entries += groups;
    v128.store(p, a); v128.store(p, b, 16);
    v128.store(p + strideBytes, a1); v128.store(p + strideBytes, b1, 16);
    p += 2 * strideBytes;
  } while (p < end);
}

// @ts-ignore: decorator
@inline
function gathered(p0: usize, p1: usize, p2: usize, p3: usize): v128 {
  return v128.load32_lane(p3, v128.load32_lane(p2, v128.load32_lane(p1, v128.load32_zero(p0), 1), 2), 3);
}

/** Four columns anywhere. */
function mix4(p0: usize, p1: usize, p2: usize, p3: usize, strideBytes: u32, order: u32, entries: usize, tables: usize): void {
  const groups = order >> 2;
  let at: usize = 0;
  for (let g: u32 = 0; g < groups; g++) {
    const v0 = gathered(p0 + at, p1 + at, p2 + at, p3 + at);
    at += strideBytes;
    const v1 = gathered(p0 + at, p1 + at, p2 + at, p3 + at);
    at += strideBytes;
    const v2 = gathered(p0 + at, p1 + at, p2 + at, p3 + at);
    at += strideBytes;
    const v3 = gathered(p0 + at, p1 + at, p2 + at, p3 + at);
    at += strideBytes;
    sums(v0, v1, v2, v3, tables + g * SUMS);
  }
  at = 0;
  do {
    let table = tables;
    let sum_f32x4 = v128.load(table + (<u32>load<u8>(entries) << 5));
    const stop = entries + groups;
    while (++entries < stop) {
      table += SUMS;
      sum_f32x4 = f32x4.add(sum_f32x4, v128.load(table + (<u32>load<u8>(entries) << 5)));
    }
    v128.store32_lane(p0 + at, sum_f32x4, 0);
    v128.store32_lane(p1 + at, sum_f32x4, 1);
    v128.store32_lane(p2 + at, sum_f32x4, 2);
    v128.store32_lane(p3 + at, sum_f32x4, 3);
    at += strideBytes;
  } while (--order);
}
