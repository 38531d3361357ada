import { half } from './lib/half';
import { select } from './lib/topk';

/**
 * topk_f16: topk_f32 over halves.
 *
 *   x        f16 [rows, n]  any values
 *   values   f16 [rows, k]  out: bit for bit as stored in x, best first
 *   indices  u32 [rows, k]  out: their positions in the row
 *   smallest u32            0: the largest, descending; 1: the smallest, ascending
 *   scratch  u32 [topkScratchBytes / 4]. Required: halves have no room for a heap
 *
 * Order: equal values keep the lower index first, -0 equals +0, NaN comes last in both directions (by index).
 * The caller guarantees 1 <= k <= n <= 2^24, multiples of 2 for x and values, of 4 for the others, and arrays that do not overlap.
 *
 * Method: topk_f32's selection by halves' places in their order, integers of 16 bits, eight at a time; NaN has one too.
 *
 * Not done: a row widened into scratch for topk_f32's code (rows of 32768 and more took 1.6 to 3.4 times as long, 128 to 1024 the same).
 */
export function topk_f16(
  x: usize, rows: u32, n: u32, k: u32, values: usize, indices: usize, smallest: u32, scratch: usize,
): void {
  for (; rows; rows--) {
    select<half>(x, n, k, values, indices, smallest << 31, scratch);
    x += <usize>n << 1;
    values += <usize>k << 1;
    indices += <usize>k << 2;
  }
}
