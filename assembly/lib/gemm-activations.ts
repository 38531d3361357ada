/**
 * Activations as the products of lib/gemm.ts read them: per tile of T rows (1, 2 or 4), in blocks that match the weights'.
 *
 * A block is a header, then words; words of the T rows lie next to each other. The header is three words (T = 1: padded
 * to four): the scale s of quantised values q (unused for f32); what a block's minimum is multiplied by (Σx or s·Σq);
 * and where the sum of products starts (0; symmetric codes are stored plus `half`: −half·Σ). Four inputs are
 *
 *   FLOATS  four words: x0, x1/256, x2, x3/256 (odd codes stay eight bits up)
 *   PAIRS   two words of i16: q0 and q2, q1 and q3
 *   BYTES   one word of i8: q0 to q3
 *
 * A block is filled up to a multiple of 32 inputs with zeros. NaN or infinity in a block: NaN in its header.
 */
import { MAGIC, MAGIC_BITS } from './quantize';

export const FLOATS: u32 = 0;
export const PAIRS: u32 = 1;
export const BYTES: u32 = 2;

const INFINITY_BITS: i32 = 0x7f800000;
/** Scales below are not normal: blocks that small count as zeros. */
const LEAST_SCALE: f32 = 1.1754943508222875e-38;

/** Bytes of one row's header. */
// @ts-ignore: decorator
@inline
export function headerBytes(tile: u32): u32 {
  return tile == 1 ? 16 : 12;
}

/** Words that hold four inputs. */
// @ts-ignore: decorator
@inline
function wordsOf(kind: u32): u32 {
  return 4 >> kind;
}

/** Bytes of one row of a tile. */
export function rowBytes(kind: u32, tile: u32, k: u32, block: u32): u32 {
  return (k + block - 1) / block * headerBytes(tile) + ((k + 31) & ~31) * wordsOf(kind);
}

/** Values i to i + 3 of `count`; 0 past the last. */
// @ts-ignore: decorator
@inline
function four(x: usize, i: u32, count: u32): v128 {
  if (i + 4 <= count) return v128.load(x + (i << 2));
  let v = i32x4.splat(0);
  if (i < count) v = v128.load32_lane(x + (i << 2), v, 0);
  if (i + 1 < count) v = v128.load32_lane(x + (i << 2), v, 1, 4);
  if (i + 2 < count) v = v128.load32_lane(x + (i << 2), v, 2, 8);
  return v;
}

/** One row of a tile, its first word at `to`. `highest`: the greatest |q|. */
export function prepare(x: usize, k: u32, block: u32, kind: u32, tile: u32, highest: f32, half: i32, to: usize): void {
  const step: usize = tile << 2;
  for (let from: u32 = 0; from < k; from += block) {
    const count = min(block, k - from);
    let sum = f32x4.splat(0), top = i32x4.splat(0);
    for (let i: u32 = 0; i < count; i += 4) {
      const v = four(x, i, count);
      sum = f32x4.add(sum, v);
      top = i32x4.max_s(top, v128.and(v, i32x4.splat(0x7fffffff)));
    }
    top = i32x4.max_s(top, v128.shuffle<i32>(top, top, 2, 3, 0, 1));
    top = i32x4.max_s(top, v128.shuffle<i32>(top, top, 1, 0, 3, 2));
    const largest = i32x4.extract_lane(top, 0);
    const odd: f32 = largest >= INFINITY_BITS ? NaN : 0;
    const header = to;
    to += tile * headerBytes(tile);
    const end = (count + 31) & ~31;
    if (kind == FLOATS) {
      const shifted = v128.shuffle<i32>(f32x4.splat(1), f32x4.splat(tile == 1 ? 1.0 / 256 : 1), 0, 4, 0, 4);
      for (let i: u32 = 0; i < end; i += 4) {
        const v = f32x4.mul(four(x, i, count), shifted);
        v128.store_lane<f32>(to, v, 0);
        v128.store_lane<f32>(to + step, v, 1);
        v128.store_lane<f32>(to + 2 * step, v, 2);
        v128.store_lane<f32>(to + 3 * step, v, 3);
        to += 4 * step;
      }
      sum = f32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
      const all = f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 1);
      store<f32>(header + step, all);
      store<f32>(header + 2 * step, odd - <f32>half * all);
    } else {
      let scale = reinterpret<f32>(largest) / highest;
      scale = scale < LEAST_SCALE ? 0 : scale + odd;
      // Zeros and NaN: codes 0.
      const divisor = f32x4.splat(scale > 0 ? scale : Infinity);
      const finite = i32x4.splat(scale > 0 ? -1 : 0);
      let total = i32x4.splat(0);
      for (let i: u32 = 0; i < end; i += 4) {
        const rounded = f32x4.add(f32x4.div(v128.and(four(x, i, count), finite), divisor), f32x4.splat(MAGIC));
        const q = i32x4.sub(rounded, i32x4.splat(MAGIC_BITS));
        total = i32x4.add(total, q);
        if (kind == PAIRS) {
          const pairs = v128.shuffle<i16>(q, q, 0, 4, 2, 6, 0, 4, 2, 6);
          v128.store_lane<i32>(to, pairs, 0);
          v128.store_lane<i32>(to + step, pairs, 1);
          to += 2 * step;
        } else {
          const words = i16x8.narrow_i32x4_s(q, q);
          v128.store_lane<i32>(to, i8x16.narrow_i16x8_s(words, words), 0);
          to += step;
        }
      }
      total = i32x4.add(total, v128.shuffle<i32>(total, total, 2, 3, 0, 1));
      const all = i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1);
      store<f32>(header, scale);
      store<f32>(header + step, scale * <f32>all);
      store<i32>(header + 2 * step, -half * all);
    }
    x += count << 2;
  }
}
