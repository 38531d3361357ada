import { dotsSaturate } from './lib/dot';
import { BYTES, FLOATS, PAIRS, prepare, rowBytes } from './lib/gemm-activations';
import { expand, expanded, expandedBytes, one, several } from './lib/gemm';

/** Rows of x worked off in one pass over the weights, and inputs of a block when a group is the whole row (ts/contract/gemm.ts). */
const PASS_ROWS: u32 = 64;
const WHOLE: u32 = 128;
/** A tile's results before they are copied to `out`; activations follow. */
const RESULT_BYTES: usize = 128;

// Widths of codes for generic functions: types, unlike numbers, are known when asc compiles. Two loops that differ in
// nothing but a number are one loop with tests inside when binaryen is through with them.
type FourBits = u16;
type EightBits = u8;

/** Up to eight values (memory.copy would cost as much as a block). */
// @ts-ignore: decorator
@inline
function copy(from: usize, bytes: usize, to: usize): void {
  if (bytes == 32) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  } else {
    for (let i: usize = 0; i < bytes; i += 4) store<f32>(to + i, load<f32>(from + i));
  }
}

/** Inputs of one panel before the other's turn: 1 to 3 KB. */
const TURN: u32 = 256;

/** From so many rows on, blocks of codes are expanded in scratch, which every four rows read (ts/contract/gemm.ts). Bytes never are. */
// @ts-ignore: decorator
@inline
function expandedRows<T>(): u32 {
  return isFloat<T>() ? 8 : 4;
}

/** Rows worked off together when so many are left. With pairs, four are no faster than two, but for blocks that are expanded. */
// @ts-ignore: decorator
@inline
function tileOf<T>(left: u32, expands: bool): u32 {
  return (sizeof<T>() != 2 || expands) && left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/** Bytes of the results of a panel, of as many rows as stay in scratch together. */
// @ts-ignore: decorator
@inline
function resultBytes<T>(m: u32): usize {
  return sizeof<T>() == 1 || m < expandedRows<T>() ? RESULT_BYTES : (min(m, PASS_ROWS) & ~3) << 5;
}

/** A panel by many rows, four at a time, `tileBytes` apart: block by block, each expanded in `codes` first. Eight results of each row to `out`. */
function panel<T>(
  bits: u32, a: usize, w: usize, rows: u32, tileBytes: u32, k: u32, block: u32, affine: u32, out: usize, codes: usize,
): void {
  memory.fill(out, 0, rows << 5);
  const end = out + (rows << 5);
  do {
    const count = min(block, k);
    const header = w;
    w += affine ? 64 : 32;
    expand<T>(bits, w, count, codes);
    w += ((count + 31) & ~31) * bits;
    let tile = a;
    for (let to = out; to < end; to += 128) {
      expanded<T>(tile, codes, count, header, affine, to);
      tile += tileBytes;
    }
    a += rowBytes(isFloat<T>() ? FLOATS : PAIRS, 4, count, block) << 2;
    k -= count;
  } while (k);
}

/** All rows of x: activations of a pass, then every panel by every tile. `highest`: the greatest |q|. */
// @ts-ignore: decorator
@inline
function multiply<T, W>(
  kind: u32, highest: f32, x: usize, packed: usize, m: u32, n: u32, k: u32, groupSize: u32, scheme: u32,
  out: usize, scratch: usize, outStride: u32,
): void {
  const bits: u32 = sizeof<W>() == 1 ? 8 : 4;
  const block = groupSize == 0 || groupSize >= k ? WHOLE : groupSize;
  const offset: i32 = scheme ? 1 << (bits - 1) : 0;
  const blocks = (k + block - 1) / block;
  const panelBytes: usize = blocks * (scheme ? 32 : 64) + ((k + 31) & ~31) * bits;
  const oneBytes = rowBytes(kind, 1, k, block);
  const rowsBytes = rowBytes(kind, 4, k, block);
  const stride: usize = (outStride ? outStride : n) << 2;
  const activations = scratch + resultBytes<T>(m) + (sizeof<T>() > 1 && m >= expandedRows<T>() ? expandedBytes<T>(block) : 0);
  while (m) {
    const rows = min(m, PASS_ROWS);
    const expands = sizeof<T>() > 1 && rows >= expandedRows<T>();
    let a = activations;
    for (let row: u32 = 0; row < rows; ) {
      const tile = tileOf<T>(rows - row, expands);
      for (let i: u32 = 0; i < tile; i++)
        prepare(x + ((row + i) * k << 2), k, block, kind, tile, highest, offset, a + (i << 2));
      a += tile == 1 ? oneBytes : tile * rowsBytes;
      row += tile;
    }
    let w = packed;
    let column: u32 = 0;
    if (rows == 1) {
      // Two panels at a time, each the next of its half.
      const half = n >> 4 << 3;
      const far = (half >> 3) * panelBytes, turn = TURN / block * block;
      for (; column < half; column += 8) {
        one<T, W>(activations, w, far, 2, k, block, turn, scheme ^ 1, scratch);
        copy(scratch, 32, out + (column << 2));
        copy(scratch + 32, 32, out + ((half + column) << 2));
        w += panelBytes;
      }
      column = 2 * half;
      w = packed + 2 * far;
    }
    for (; column < n; column += 8) {
      const width: usize = min(8, n - column) << 2;
      let y = out + (column << 2);
      a = activations;
      let row: u32 = 0;
      if (expands) {
        row = rows & ~3;
        panel<T>(bits, a, w, row, rowsBytes << 2, k, block, scheme ^ 1, scratch, scratch + resultBytes<T>(rows));
        for (let i: u32 = 0; i < row; i++) {
          copy(scratch + (i << 5), width, y);
          y += stride;
        }
        a += row * rowsBytes;
      }
      while (row < rows) {
        const tile = tileOf<T>(rows - row, false);
        if (sizeof<T>() != 2 && tile == 4) several<T, W, u32>(a, w, k, block, scheme ^ 1, scratch);
        else if (tile == 2) several<T, W, u16>(a, w, k, block, scheme ^ 1, scratch);
        else one<T, W>(a, w, 0, 1, k, block, k, scheme ^ 1, scratch);
        a += tile == 1 ? oneBytes : tile * rowsBytes;
        for (let i: u32 = 0; i < tile; i++) {
          copy(scratch + (i << 5), width, y);
          y += stride;
        }
        row += tile;
      }
      w += panelBytes;
    }
    x += rows * k << 2;
    out += rows * stride;
    m -= rows;
  }
}

/** Integers of 16 bits in pairs: gemm_quantized_i16, and gemm_quantized_i8 where bytes have no dot product. */
function multiplyPairs(
  highest: f32, x: usize, packed: usize, m: u32, n: u32, k: u32, bits: u32, groupSize: u32, scheme: u32,
  out: usize, scratch: usize, outStride: u32,
): void {
  if (bits == 4) multiply<i16, FourBits>(PAIRS, highest, x, packed, m, n, k, groupSize, scheme, out, scratch, outStride);
  else multiply<i16, EightBits>(PAIRS, highest, x, packed, m, n, k, groupSize, scheme, out, scratch, outStride);
}

/**
 * out[i, j] = Σ x[i, l] · W[j, l]: matrix times quantised matrix, for few rows of x (tokens).
 *
 *   x       f32 [m, k]
 *   packed  u32        W [n, k] of `bits` 4 or 8, as gemm_pack_u32 made it from what quantize_f32 made (axis 0)
 *   out     f32 [m, n], rows outStride values apart (0: n)
 *   scratch            gemmScratchBytes({ m, k, ... }) bytes: activations in the order of the products, results of a panel, a block
 *
 * groupSize 0 or at least k: one group a row; otherwise a multiple of 32 from 32 to 256. scheme 0: affine, 1: symmetric.
 * Rows of x beyond 64 take further passes over W. Parts of W that begin at a panel (8 outputs) may be worked off apart.
 *
 * In a block (a group, or 128 inputs of a whole row) products and sums are those of x and the codes as f32; block sums
 * are multiplied by scales, minima by Σx. |error| ≤ (block + blocks + 8) · 2^-24 · Σ |x| · (scale · (code + half) +
 * |minimum|); half = 2^(bits−1) when symmetric (codes are stored plus half), else 0.
 * NaN or infinity in a row of x: the whole row of out is NaN. A scale that is NaN: that output is NaN. Sums that overflow
 * f32 before the scale is applied are not caught.
 * The caller guarantees arrays that do not overlap. Misaligned packed or scratch (not 16 bytes) costs time only.
 *
 * Method: eight rows of W interleaved, so that a vector holds four outputs and nothing is reduced across lanes, and all of
 * W are streams with their scales; two or four rows of x share what expanding codes costs. For one row two panels far apart are
 * worked off in turn, 256 inputs at a time: two streams. Four, block by block, take 0.7 of the time from a Zen 3's memory, but three
 * times as long from a Zen 5's caches.
 * Masks do not shift: a code that is 16 or 256 times too large meets an activation, or a sum, made that much smaller.
 * From eight rows on (i16: four) a block of a panel is expanded once, in scratch, and stays in the first-level cache while all rows
 * pass, four at a time: 1.1 to 1.2 times as fast from 16 rows on (i16: 1.3; one Intel Xeon core), the same bits.
 *
 * Not done (4096 × 4096, 4 bits, groups of 32, m = 1, one Zen 5 core, relaxed): shifting codes down, 1.09 ms instead of
 * 0.95; broadcasting activations by shuffles instead of loads, 1.20; an integer product of x in two halves of 16 bits
 * (20 operations instead of 25, but not f32's meaning where a row holds large and small values).
 */
export function gemm_quantized_f32(
  x: usize, packed: usize, m: u32, n: u32, k: u32, bits: u32, groupSize: u32, scheme: u32,
  out: usize, scratch: usize, outStride: u32,
): void {
  if (bits == 4) multiply<f32, FourBits>(FLOATS, 1, x, packed, m, n, k, groupSize, scheme, out, scratch, outStride);
  else multiply<f32, EightBits>(FLOATS, 1, x, packed, m, n, k, groupSize, scheme, out, scratch, outStride);
}

/**
 * gemm_quantized_f32 with activations rounded to integers of 16 bits: arrays, layout, NaN and guarantees as there.
 *
 * Each block of a row of x (as long as a block of W) gets the scale s = max|x| / 32767, one correctly rounded division;
 * q = round(x / s), ties to even; s below the smallest normal number: 0. Σ q · code is exact (i32); then f32 operations
 * in one order, none of them fused: the same bits at every level, and for a row alone or among others.
 * |error| ≤ Σ |W| · max|x| / 65534 over blocks for the rounding of x (relative error about 1e-5 for normal data), and
 * (blocks + 8) · 2^-24 · Σ |s·q| · (scale · (code + half) + |minimum|).
 *
 * Method: i32x4.dot_i16x8_s on codes masked where they lie; the high halves of bytes are the sum of whole bytes less that
 * of low halves, divided by 16 exactly.
 *
 * Not done (as above): masking both halves, 0.57 ms instead of 0.50; four rows together without expanding, 0.48 ms a row instead of 0.46.
 */
export function gemm_quantized_i16(
  x: usize, packed: usize, m: u32, n: u32, k: u32, bits: u32, groupSize: u32, scheme: u32,
  out: usize, scratch: usize, outStride: u32,
): void {
  multiplyPairs(32767, x, packed, m, n, k, bits, groupSize, scheme, out, scratch, outStride);
}

/**
 * gemm_quantized_i16 with activations of 8 bits: s = max|x| / 127, |error| ≤ Σ |W| · max|x| / 254 over blocks (relative
 * error about 3e-3 for normal data in groups of 32). All else as there.
 *
 * Method: where the level has it, i32x4.relaxed_dot_i8x16_i7x16_add_s on codes of 4 bits, which are its 7-bit operand, so
 * that its result is exact and the same everywhere. Hosts without an instruction for that (x86 without VNNI) take
 * i16x8.relaxed_dot_i8x16_i7x16_s and sums of 16 bits over 32 inputs: 1.1 to 1.4 times as fast for one row, 1.4 for eight
 * (one Zen 3 core), the same bits. Codes of 8 bits, and the level without it, take the 16-bit product.
 *
 * Not done: codes of 8 bits as two halves of 4, as many operations as widening to 16 bits; one loop for both sums (lib/gemm.ts,
 * `one`): four of 16 bits to be added instead of one, 5 to 8 % slower, 170 bytes more; blocks of bytes expanded in scratch (5 %
 * slower at 16 rows, one Intel Xeon core: groups of 32 are as much work at their ends as in their products).
 */
export function gemm_quantized_i8(
  x: usize, packed: usize, m: u32, n: u32, k: u32, bits: u32, groupSize: u32, scheme: u32,
  out: usize, scratch: usize, outStride: u32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD && bits == 4) {
    if (dotsSaturate()) multiply<u8, FourBits>(BYTES, 127, x, packed, m, n, k, groupSize, scheme, out, scratch, outStride);
    else multiply<i8, FourBits>(BYTES, 127, x, packed, m, n, k, groupSize, scheme, out, scratch, outStride);
  } else multiplyPairs(127, x, packed, m, n, k, bits, groupSize, scheme, out, scratch, outStride);
}
