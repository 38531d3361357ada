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
 * vector (shuffle, then one multiply-add by ±1) and two across four vectors, where needed a third. The other passes
 * take three stages each in place (radix 8; once radix 4), the last one with the signs of the inverse. All of them go
 * over one small chunk before the next is begun, so that reading ahead and arithmetic overlap; longer rows are eight
 * such chunks and a radix-8 pass over them, and so on up. Radix 8 gives the differences of its last stage to the
 * multipliers, which are idle otherwise; a·1 rounds nothing: of the relaxed level's results only the scale's rounding differs.
 *
 * Not done, with cycles per 8 vectors on Zen 4, Node 24, relaxed (first pass 19.5, radix 4 8.4, radix 8 10.7; simd 25, 8.4, 12.4):
 * chunks as long as the first-level cache: 512 x 4096 10 % slower; touching memory ahead of the first pass: 5 to 20 % slower;
 * eight vectors in the first pass: 22.5 for one stage more, but it spills, and with a second more it is 27.9, first and
 * radix 4 together; in-lane stages of the simd level by pairs of vectors (3 shuffles, 2 additions): 26.2; loading
 * the halves of a vector twice for its first shuffle: 18.2, but 20.5 with signs in the same loop, and unscaled sums overflow;
 * a source beside the destination in radix 8: 14.1; signs in the same radix-8 loop: 11.4; all differences by multiply-add: 12.9 (copies).
 */
export function hadamard_f32(x: usize, rows: u32, n: u32, scale: f32, signs: usize, inverse: u32, out: usize): void {
  transform(x, rows, n, scale, inverse ? 0 : signs, inverse ? signs : 0, out);
}
