import { quantize_integers_f32 } from './integers';
import { dequantize_integers_f32 } from './integers-dequantize';
import { narrow, widen } from './lib/half';
import { rowBytes } from './lib/integers';
import { dequantizeIntegerColumns, quantizeIntegerColumns } from './lib/integers-columns';

/** Values widened or narrowed at a time: what the first-level cache likes; ts/contract/integers.ts gives room for them. */
const PIECE: u32 = 2048;
/** Columns of a group at a time, at least: half a cache line. */
const COLUMNS: u32 = 16;

/** Bytes of the scales of `groups` groups. */
// @ts-ignore: decorator
@inline
function scaleBytes(groups: u32, half: u32): u32 {
  return groups << (half ? 1 : 2);
}

/**
 * quantize_integers_f32 over halves: the codes, scales and minima of the widened values, bit for bit.
 *
 *   x        f16 [rows, n]; all else as in quantize_integers_f32, aligned to its own elements
 *   scratch  f32 [max(2048, 4·n; with axis 1 also 16·(length of a group))]
 *
 * Method: whole rows, or some columns of a group, are widened into scratch and go through that kernel's own code: 1.1 to 1.3 times
 * the time of f32 (2048 x 4096, 8192 x 128, 64 x 128, groups of 32; Intel Xeon), back 1.1 to 1.7. One group to a column takes less
 * than half the time of f32: its rows then lie together instead of a power of two apart.
 *
 * Not done: the same code generic over its loads and stores, without scratch. 4 KB more, 1.2 to 1.8 times the time of f32 and back
 * 1.4 to 2.2: values are widened twice, and constants no longer fit the registers.
 */
export function quantize_integers_f16(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  codes: usize, scales: usize, minima: usize, scaleType: u32, lows: usize, highs: usize, seed: u32, first: u32, scratch: usize,
): void {
  if (rows == 0 || n == 0) return;
  const extent = axis ? rows : n;
  if (groupSize == 0 || groupSize > extent) groupSize = extent;
  if (axis) {
    const width = max(COLUMNS, PIECE / groupSize & ~3);
    for (let from: u32 = 0; from < rows; from += groupSize) {
      const to = min(rows, from + groupSize);
      for (let column: u32 = 0; column < n; column += width) {
        const columns = min(width, n - column);
        const at = from / groupSize * n + column;
        for (let row = from; row < to; row++)
          widen(x + ((row * n + column) << 1), columns, scratch + (((row - from) * columns) << 2));
        quantizeIntegerColumns(
          scratch, columns << 2, from, to, columns, n, bits, groupSize, scheme, scaleType,
          lows + (at << 2), highs ? highs + (at << 2) : 0, seed, first + column,
          codes + (column << 2), scales + scaleBytes(at, scaleType), minima + scaleBytes(at, scaleType),
        );
      }
    }
    return;
  }
  const piece = max(1, PIECE / n);
  const groups = (n + groupSize - 1) / groupSize;
  for (let row: u32 = 0; row < rows; row += piece) {
    const count = min(piece, rows - row);
    const at = row * groups;
    widen(x + ((row * n) << 1), count * n, scratch);
    // The next piece comes near meanwhile: prefetching by hardware begins anew with every page.
    const next = x + (((row + count) * n) << 1), end = next + ((min(count, rows - row - count) * n) << 1);
    for (let at = next; at < end; at += 4096) load<u8>(at);
    quantize_integers_f32(
      scratch, count, n, bits, groupSize, scheme, 0,
      codes + row * rowBytes(n, bits, scheme), scales + scaleBytes(at, scaleType), minima + scaleBytes(at, scaleType),
      scaleType, lows + (at << 2), highs ? highs + (at << 2) : 0, seed, first + row * n,
    );
  }
}

/**
 * dequantize_integers_f32 with out f16 [rows, n]: its f32 values rounded once, ties to even; from 65520 on infinity. Scratch as above:
 * values lie there before they are narrowed.
 */
export function dequantize_integers_f16(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  out: usize, scaleType: u32, scratch: usize,
): void {
  if (rows == 0 || n == 0) return;
  const extent = axis ? rows : n;
  if (groupSize == 0 || groupSize > extent) groupSize = extent;
  const piece = max(4, PIECE / n & ~3);
  const groups = (n + groupSize - 1) / groupSize;
  for (let row: u32 = 0; row < rows; row += piece) {
    const count = min(piece, rows - row);
    if (axis) {
      dequantizeIntegerColumns(codes, scales, minima, row, row + count, n, bits, groupSize, scheme, scaleType, scratch);
    } else {
      const at = scaleBytes(row * groups, scaleType);
      dequantize_integers_f32(
        codes + row * rowBytes(n, bits, scheme), scales + at, minima + at, count, n, bits, groupSize, scheme, 0, scratch, scaleType,
      );
    }
    narrow(scratch, count * n, out + ((row * n) << 1));
  }
}
