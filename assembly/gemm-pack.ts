/** Four codes of 4 bits in the low half of each lane: to the low half of each byte. */
// @ts-ignore: decorator
@inline
function spread(v: v128): v128 {
  v = v128.and(v, i32x4.splat(0xffff));
  v = v128.and(v128.or(v, i32x4.shl(v, 8)), i32x4.splat(0x00ff00ff));
  return v128.and(v128.or(v, i32x4.shl(v, 4)), i32x4.splat(0x0f0f0f0f));
}

/** A word from each of four rows; 0 from those past the `count` that exist. */
// @ts-ignore: decorator
@inline
function column(at: usize, stride: usize, count: i32): v128 {
  let v = i32x4.splat(0);
  if (count > 0) v = v128.load32_lane(at, v, 0);
  if (count > 1) v = v128.load32_lane(at + stride, v, 1);
  if (count > 2) v = v128.load32_lane(at + 2 * stride, v, 2);
  if (count > 3) v = v128.load32_lane(at + 3 * stride, v, 3);
  return v;
}

/** The same from eight rows. */
// @ts-ignore: decorator
@inline
function columns(at: usize, stride: usize, count: i32, to: usize): void {
  v128.store(to, column(at, stride, count));
  v128.store(to, column(at + 4 * stride, stride, count - 4), 16);
}

/**
 * Quantised weights in the order in which the other kernels read them: once per model.
 *
 *   codes, scales, minima  what quantize_f32 made of W f32 [n, k] with axis 0: u32 [n, ceil(k·bits/32)], f32 [n, groups];
 *                          no minima (offset 0) when symmetric
 *   packed u32             one panel after another for eight outputs each: in each, one block after another
 *
 * A block is a group; when a group is the whole row (groupSize 0 or at least k), 128 inputs, each with the group's scale.
 * It holds eight scales, eight minima when affine, then codes, four inputs at a time: 4 bits, 16 bytes: byte 4·r + i has
 * input i of output r in its low half and of output r + 4 in its high half; 8 bits, 32 bytes: byte 4·r + i has input i of
 * output r. Symmetric codes are stored plus 2^(bits−1). The last block ends at a multiple of 32 inputs. Outputs and inputs
 * that do not exist have the code 0 (plus 2^(bits−1)), scale and minimum 0.
 *
 * Bits of the last word of a row past k must be what quantize_f32 leaves, 0. NaN goes through. No scratch.
 * Method: words of eight rows in the lanes of two vectors.
 *
 * Not done: nothing was tried; it runs at a third of the speed of a copy, once.
 */
export function gemm_pack_u32(
  codes: usize, scales: usize, minima: usize, n: u32, k: u32, bits: u32, groupSize: u32, scheme: u32, packed: usize,
): void {
  const whole = groupSize == 0 || groupSize >= k;
  const block: u32 = whole ? 128 : groupSize;
  const groups: usize = whole ? 4 : (k + groupSize - 1) / groupSize << 2;
  const words = (k * bits + 31) >> 5;
  const stride: usize = words << 2;
  const flip = i32x4.splat(scheme ? (bits == 4 ? 0x88888888 : 0x80808080) : 0);
  for (let row: u32 = 0; row < n; row += 8) {
    const rows: i32 = min(8, n - row);
    let word: u32 = 0;
    for (let from: u32 = 0; from < k; from += block) {
      const group: usize = whole ? 0 : from / block << 2;
      columns(scales + group, groups, rows, packed);
      packed += 32;
      if (!scheme) {
        columns(minima + group, groups, rows, packed);
        packed += 32;
      }
      for (let left = ((min(block, k - from) + 31) & ~31) * bits >> 5; left; left--) {
        const there = word < words ? rows : 0;
        const at = codes + (word << 2);
        const a = v128.xor(column(at, stride, there), flip);
        const b = v128.xor(column(at + 4 * stride, stride, there - 4), flip);
        if (bits == 4) {
          v128.store(packed, v128.or(spread(a), i32x4.shl(spread(b), 4)));
          v128.store(packed, v128.or(spread(i32x4.shr_u(a, 16)), i32x4.shl(spread(i32x4.shr_u(b, 16)), 4)), 16);
        } else {
          v128.store(packed, a);
          v128.store(packed, b, 16);
        }
        packed += 32;
        word++;
      }
    }
    codes += 8 * stride;
    scales += 8 * groups;
    minima += 8 * groups;
  }
}
