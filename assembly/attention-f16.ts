/** Attention over f16 queries, keys and values: attention.ts's and attention-decode.ts's code, computing in f32. lse stays f32. */
import { blocksparse } from './attention';
import { decode } from './attention-decode';
import { half } from './lib/half';

/**
 * As attention_blocksparse_f32 with q f16 [heads, queries, headDim], k f16 [kvHeads, keys, headDim], v f16 [kvHeads, keys,
 * valueDim] and output f16 [heads, queries, valueDim], rounded once; lse f32. Offsets of f16 arrays are multiples of 2.
 * scratch: attentionScratchBytes of ts/cpu/attention-f16.ts. Method: as attention_decode_f16.
 */
export function attention_blocksparse_f16(
  q: usize, k: usize, v: usize, heads: u32, kvHeads: u32, queries: u32, keys: u32, headDim: u32, valueDim: u32,
  scale: f32, softcap: f32, causal: u32, window: u32,
  indptr: usize, indices: usize, indicesLength: u32, blockQueries: u32, blockKeys: u32, perHead: u32,
  output: usize, lse: usize, scratch: usize, status: usize,
): void {
  blocksparse<half>(q, k, v, heads, kvHeads, queries, keys, headDim, valueDim, scale, softcap, causal, window, indptr, indices, indicesLength, blockQueries, blockKeys, perHead, output, lse, scratch, status);
}

/**
 * As attention_decode_f32 with q, k, v and output in f16; lse f32.
 *
 * Method: keys and values that eight heads at most share become f32 in registers, others in scratch, 64 at a time, where f32's
 * products read them. In registers they are converted as if all were finite: three operations for four of them instead of seven,
 * and one and a half to check that they were; where not, the chunk is done again (Intel Xeon: up to four heads 1.8 to 2.5 times
 * as fast; eight in 0.55 to 0.85 of the time that they take widened where keys come from memory, in 1.1 where they do not).
 */
export function attention_decode_f16(
  q: usize, k: usize, v: usize, heads: u32, kvHeads: u32, keys: u32, headDim: u32, valueDim: u32,
  from: u32, to: u32, scale: f32, softcap: f32, output: usize, lse: usize, scratch: usize,
): void {
  decode<half>(q, k, v, heads, kvHeads, keys, headDim, valueDim, from, to, scale, softcap, output, lse, scratch);
}
