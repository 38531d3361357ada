import { narrow, widen } from './lib/half';
import { transform } from './lib/hadamard';

/** Values widened, transformed and narrowed at a time, and no less than a row; ts/contract/hadamard.ts gives room for them. */
const PIECE: u32 = 2048;

/**
 * hadamard_f16: hadamard_f32 over halves, computed in f32 and rounded once.
 *
 *   x        f16 [rows, n]  any values; n is a power of two, 1 to 32768
 *   scale, signs, inverse   as in hadamard_f32
 *   out      f16 [rows, n]  from 65520 on infinity; out: x itself, or an array that does not overlap x
 *   scratch  f32 [max(n, 2048)]
 *
 * The caller guarantees n, bounds, multiples of 2 for x and out, of 4 for scratch.
 *
 * Method: hadamard_f32's passes need f32 between them: whole rows are widened into scratch, transformed there by the same
 * code, and narrowed.
 *
 * Not done: halves read by the first pass itself and written by the last. 4096 x 128 takes 2.5 times as long as in f32, n = 32768
 * 1.7 times: what widening and narrowing take (lib/half.ts).
 */
export function hadamard_f16(
  x: usize, rows: u32, n: u32, scale: f32, signs: usize, inverse: u32, out: usize, scratch: usize,
): void {
  const piece = max(n, PIECE);
  for (let left = rows * n; left; ) {
    const count = min(left, piece);
    widen(x, count, scratch);
    transform(scratch, count / n, n, scale, inverse ? 0 : signs, inverse ? signs : 0, scratch);
    narrow(scratch, count, out);
    x += count << 1;
    out += count << 1;
    left -= count;
  }
}
