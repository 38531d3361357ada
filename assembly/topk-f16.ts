import { held_i32x4 } from './lib/held';
import { select } from './topk';

/**
 * topk_f16: topk_f32 over halves.
 *
 *   x        f16 [rows, n]  any values
 *   values   f16 [rows, k]  out: bit for bit as stored in x, best first
 *   indices  u32 [rows, k]  out: their positions in the row
 *   smallest u32            0: the largest, descending; 1: the smallest, ascending
 *   scratch  u32 [topkHalfScratchBytes / 4]: a row as f32, then that of topk_f32. Required: halves have no room for a heap
 *
 * Order: equal values keep the lower index first, -0 equals +0, NaN comes last in both directions (by index).
 * The caller guarantees 1 <= k <= n <= 2^24, multiples of 2 for x and values, of 4 for the others, and arrays that do not overlap.
 *
 * Method: topk_f32's selection over the row as f32 numbers of the same order; values then follow their positions.
 */
export function topk_f16(
  x: usize, rows: u32, n: u32, k: u32, values: usize, indices: usize, smallest: u32, scratch: usize,
): void {
  const rest = scratch + <usize>(((n + 3) & ~3) << 2);
  for (; rows; rows--) {
    ordered(x, n, scratch);
    // Values as selection gives them are not wanted: they may go over the row, which it has read by then.
    let i = select(scratch, n, k, scratch, indices, smallest << 31, rest) >> 2;
    // Fewer numbers than k: NaN in the order of their indices.
    for (let index: u32 = 0; i < k; index++) {
      if ((load<u16>(x + (<usize>index << 1)) & 0x7fff) <= 0x7c00) continue;
      store<u32>(indices + (i << 2), index);
      i++;
    }
    for (i = 0; i < k; i++, indices += 4, values += 2)
      store<u16>(values, load<u16>(x + (<usize>load<u32>(indices) << 1)));
    x += <usize>n << 1;
  }
}

/** Halves as f32 of the same order: their value times 2^-112 (infinity as one more binade), which needs no arithmetic; NaN as NaN. */
function ordered(x: usize, n: u32, to: usize): void {
  const fields_i32x4 = held_i32x4(0x8fffe000);
  const size_i32x4 = held_i32x4(0x7fff);
  const infinite_i32x4 = held_i32x4(0x7c00);
  if (n >= 4) {
    do {
      const bits_i32x4 = v128.load_ext<i16>(x);
      const nan_i32x4 = i32x4.gt_s(v128.and(bits_i32x4, size_i32x4), infinite_i32x4);
      v128.store(to, v128.or(v128.and(i32x4.shl(bits_i32x4, 13), fields_i32x4), nan_i32x4));
      x += 8;
      to += 16;
      n -= 4;
    } while (n >= 4);
  }
  for (; n; n--, x += 2, to += 4) {
    const bits: i32 = load<i16>(x);
    store<i32>(to, ((bits << 13) & 0x8fffe000) | -<i32>((bits & 0x7fff) > 0x7c00));
  }
}
