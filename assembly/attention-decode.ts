import { PASS_ROWS, TILES_AT, attendStreamed, begin, factorOf, finish } from './lib/attention';
import { bytesOf } from './lib/attention-products';

/**
 * Attention of one query per head over the keys [from, to): a state (output, lse) that softmax_merge_f32 merges with
 * those of other ranges. Scores as in attention_blocksparse_f32.
 *
 *   q        f32 [heads, headDim]; head h reads kv head floor(h / (heads / kvHeads))
 *   k        f32 [kvHeads, keys, headDim]
 *   v        f32 [kvHeads, keys, valueDim]
 *   output   f32 [heads, valueDim]
 *   lse      f32 [heads], natural; an empty range gives output 0 and lse -inf
 *   scratch  attentionScratchBytes({ headDim, valueDim }) bytes
 *
 * NaN, infinity and the caller's guarantees as in attention_blocksparse_f32; `to` beyond keys counts as keys.
 *
 * Method: the heads that share keys share their reading, four (in registers) or eight (in the lanes) at a time. 1024 keys
 * are read as four quarters side by side, so that memory comes in four long streams, which hardware prefetchers follow: a step
 * takes the next key of each of two quarters, of all four where a key has one head (lib/attention-products.ts).
 *
 * Not done (Zen 3, 32 heads on 8, headDim 128, 8192 keys from DRAM, against 5.1 ms; the machine reads as many bytes in 6.1 from
 * one stream, in 4.1 from four): two streams, 5.8 ms; neighbouring keys, 12.2, and with memory touched ahead of them, 10.0;
 * two streams in chunks of 64 keys, 7.2, of 128, 6.5, of 256, 5.9, of 512 or 1024, the same. Four in chunks of 512 on a Zen 5:
 * 1.03 to 1.12 times as long. What it gained (Zen 4 or 3): four heads in the lanes, keys splat (-15 %, -25 % from the cache); one
 * key per step (-25 % from the cache); eight heads as two times four (-4 %, and causal attention -25 %).
 */
export function attention_decode_f32(
  q: usize, k: usize, v: usize, heads: u32, kvHeads: u32, keys: u32, headDim: u32, valueDim: u32,
  from: u32, to: u32, scale: f32, softcap: f32, output: usize, lse: usize, scratch: usize,
): void {
  decode<f32>(q, k, v, heads, kvHeads, keys, headDim, valueDim, from, to, scale, softcap, output, lse, scratch);
}

/** The kernel over elements of f32, or of halves (attention-f16.ts). */
// @ts-ignore: decorator
@inline
export function decode<T>(
  q: usize, k: usize, v: usize, heads: u32, kvHeads: u32, keys: u32, headDim: u32, valueDim: u32,
  from: u32, to: u32, scale: f32, softcap: f32, output: usize, lse: usize, scratch: usize,
): void {
  const group = heads / kvHeads;
  const factor = factorOf(scale, softcap);
  const tiles = scratch + TILES_AT;
  const kBytes = keys * bytesOf<T>(headDim), vBytes = keys * bytesOf<T>(valueDim);
  for (let head: u32 = 0; head < heads; head += group, k += kBytes, v += vBytes) {
    for (let row: u32 = 0; row < group; row += PASS_ROWS) {
      const end = min(row + PASS_ROWS, group);
      begin<T>(q, 1, keys, headDim, valueDim, factor, 0, 0, head, group, 0, row, end, tiles);
      attendStreamed<T>(k, v, headDim, valueDim, softcap, end - row, from, min(to, keys), tiles, scratch);
      finish<T>(output, lse, 1, headDim, valueDim, head, group, 0, row, end, tiles);
    }
  }
}
