import { transform } from './lib/hadamard';

/**
 * hadamard_f32: the Walsh–Hadamard transform of each row in natural (Sylvester) order, with random signs if wanted.
 *
 *   x        f32 [rows, n]  any values; n is a power of two, 1 to 32768
 *   scale    f32            multiplies the unnormalised transform: 1/√n makes it orthonormal, and its own inverse
 *   signs    i8  [n]        ±1 per column (only the sign bit is read), or offset 0: none; at any byte
 *   inverse  u32            0: out = scale·H·(signs ∘ x); 1: out = signs ∘ (scale·H·x)
 *   out      f32 [rows, n]  out: x itself, or an array that does not overlap x
 *
 * H[i][j] = (−1)^popcount(i AND j). A NaN or an infinity spreads over its row, as it does in the formula, and to no
 * other. x is multiplied by the scale before (or while) anything is added: sums overflow only where |scale|·Σ|x| does.
 * Products below 2^-126 lose low bits.
 * The caller guarantees n, bounds and 4-byte alignment of x and out. Scratch: none, passes go through out.
 *
 * Method: the log2(n) stages of the fast transform (B. Fino, V. Algazi, "Unified matrix treatment of the fast
 * Walsh–Hadamard transform", 1976) commute. The first pass goes from x to out: signs, scale, the two stages inside a
 * vector and two across four vectors, where needed a third. Of the two inside, one reads each half of a vector into both
 * halves of a register (no shuffle, and the scale rides along), the other is a shuffle and a multiply-add by ±1. The other
 * passes take three stages each in place (radix 8; once radix 4), the last one with the signs of the inverse. All of them go
 * over one small chunk before the next is begun, so that reading ahead and arithmetic overlap; longer rows are eight such
 * chunks and a radix-8 pass over them, and so on up. Beyond 1 MiB chunks are 1 KB, so that a first pass begins to read while the
 * last one of the chunk before is still at work (rows of 64 and 128 on an Intel Xeon: 1.15 to 1.2 times as fast; from the
 * second-level cache calls of so little would take a tenth longer). At the relaxed level most differences go to the multipliers, which
 * are idle otherwise; a·1 rounds nothing: of that level's results only the scale's rounding differs.
 *
 * Not done, in ns per 8 vectors in the first-level cache, Node 24, relaxed (first pass 4.1, radix 4 1.4, radix 8 1.9; before
 * shuffles and additions were moved to loads and multipliers 4.7, 1.7, 2.3): differences of the first stage of radix 8 by
 * multiply-add too: 2.0 (copies); two vectors of each stride at a time: the same for 300 bytes; signs in the same loop as
 * none: 10 % slower. Chunks of 4 or 16 KB: within 2 %. Two or four far streams in turn: no more than small chunks. Earlier, on Zen 4: chunks as long as the first-level cache: 512 x 4096 10 % slower; touching
 * memory ahead of the first pass: 5 to 20 % slower; eight vectors in the first pass spill; in-lane stages of the simd
 * level by pairs of vectors (3 shuffles, 2 additions): 5 % slower; a source beside the destination in radix 8: 30 % slower.
 */
export function hadamard_f32(x: usize, rows: u32, n: u32, scale: f32, signs: usize, inverse: u32, out: usize): void {
  transform(x, rows, n, scale, inverse ? 0 : signs, inverse ? signs : 0, out);
}
