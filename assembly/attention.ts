import { CHUNK_KEYS, PASS_ROWS, TILES_AT, attend, begin, endKey, factorOf, finish, firstKey } from './lib/attention';
import { bytesOf } from './lib/attention-products';

/**
 * Attention with grouped heads under a block mask, a causal mask and a sliding window, or dense: output =
 * softmax(scores)·v, score = scale·q·k, or softcap·tanh(scale·q·k / softcap) when softcap > 0.
 *
 *   q        f32 [heads, queries, headDim]; query i stands at position i + keys - queries (the last query at the last
 *            key)
 *   k        f32 [kvHeads, keys, headDim]; query head h reads kv head floor(h / (heads / kvHeads))
 *   v        f32 [kvHeads, keys, valueDim]
 *   causal   1: no key after the query's position; window w > 0: that position and the w - 1 keys before it only
 *   indptr   u32 [queryBlocks + 1] (0: dense), or [heads, queryBlocks + 1] when perHead: where block rows begin and end
 *            in indices
 *   indices  u32 [indicesLength], key blocks in any order; one listed twice counts twice
 *   output   f32 [heads, queries, valueDim]
 *   lse      f32 [heads, queries], natural log-sum-exp of the row's scores
 *   scratch  attentionScratchBytes({ headDim, valueDim }) bytes, whatever the numbers of heads, queries and keys
 *   status   u32 [1] or 0: 0, or 1 + the position in indices of the first block found out of range
 *
 * A row that sees no key, or only scores of -inf, gets output 0 and lse -inf. A score of NaN or +inf makes its row's
 * output and lse NaN. Scores beyond ±2^127 / log2(e) (2.3e38) count as infinite. Weights below 2^-126 are flushed to 0.
 *
 * The caller guarantees: heads a multiple of kvHeads; dimensions of at least 1; block sizes multiples of 16 from 16 to
 * 128; v finite wherever k is read (a weight of 0 does not hide a NaN: rows that share a tile see each other's values). Where
 * headDim is no multiple of 4, k is finite too (an infinity may make NaN of a score of -inf).
 * Keys that no row of a tile sees are not read. A malformed indptr or index makes wrong rows, never a read outside the
 * arrays.
 *
 * Method: the running softmax of Milakov and Gimelshein (2018) over tiles as in FlashAttention (Dao et al., 2022),
 * queries in the lanes (lib/attention.ts): 64 rows at a time against 64 keys, 8 rows × 4 keys in registers for q·k, 8
 * rows × 4 values (6 with a multiply-add) for p·v.
 *
 * Not done, with what it gained (Zen 4, 8 heads × 1024 × 64 causal): two dimensions per step (-25 % simd, -5 % relaxed:
 * V8 loads everything first and spills); four keys' vectors loaded once and splat by shuffles (-25 %, -33 %); weights
 * in registers and outputs in memory for p·v (-13 %, -10 %, but it is what decoding takes, as it reads v in order);
 * chunks of 32 keys (-1 %). On an Intel Xeon (Granite Rapids), relaxed: five keys at a time for q·k, so that no sum waits for
 * another (0: five pointers more to keep), and two dimensions of those (-1 %).
 */
export function attention_blocksparse_f32(
  q: usize, k: usize, v: usize, heads: u32, kvHeads: u32, queries: u32, keys: u32, headDim: u32, valueDim: u32,
  scale: f32, softcap: f32, causal: u32, window: u32,
  indptr: usize, indices: usize, indicesLength: u32, blockQueries: u32, blockKeys: u32, perHead: u32,
  output: usize, lse: usize, scratch: usize, status: usize,
): void {
  blocksparse<f32>(q, k, v, heads, kvHeads, queries, keys, headDim, valueDim, scale, softcap, causal, window, indptr, indices, indicesLength, blockQueries, blockKeys, perHead, output, lse, scratch, status);
}

/** The kernel over elements of f32, or of halves (attention-f16.ts). */
// @ts-ignore: decorator
@inline
export function blocksparse<T>(
  q: usize, k: usize, v: usize, heads: u32, kvHeads: u32, queries: u32, keys: u32, headDim: u32, valueDim: u32,
  scale: f32, softcap: f32, causal: u32, window: u32,
  indptr: usize, indices: usize, indicesLength: u32, blockQueries: u32, blockKeys: u32, perHead: u32,
  output: usize, lse: usize, scratch: usize, status: usize,
): void {
  const dense: bool = indptr == 0 || blockQueries == 0 || blockKeys == 0;
  if (dense) {
    blockQueries = queries;
    perHead = 0;
  }
  const share = heads / kvHeads;
  const group: u32 = perHead ? 1 : share;
  const keyBlocks: u32 = dense ? 0 : (keys + blockKeys - 1) / blockKeys;
  const factor = factorOf(scale, softcap);
  const tiles = scratch + TILES_AT;
  const kBytes = keys * bytesOf<T>(headDim), vBytes = keys * bytesOf<T>(valueDim);
  let fault: u32 = 0;

  for (let head: u32 = 0; head < heads; head += group) {
    const kHead = k + head / share * kBytes, vHead = v + head / share * vBytes;
    let list = indptr;
    for (let query: u32 = 0; query < queries; query += blockQueries) {
      const rows = group * min<u32>(blockQueries, queries - query);
      for (let row: u32 = 0; row < rows; row += PASS_ROWS) {
        const end = min(row + PASS_ROWS, rows);
        const first = query + row / group + keys - queries, last = query + (end - 1) / group + keys - queries;
        const lo = firstKey(first, window), hi = endKey(last, keys, causal, window);
        begin<T>(q, queries, keys, headDim, valueDim, factor, causal, window, head, group, query, row, end, tiles);
        if (dense) attend<T>(kHead, vHead, headDim, valueDim, softcap, end - row, lo, hi, CHUNK_KEYS, tiles, scratch);
        else {
          const stop = min(load<u32>(list, 4), indicesLength);
          for (let at = load<u32>(list); at < stop; at++) {
            const block = load<u32>(indices + (<usize>at << 2));
            if (block < keyBlocks) {
              const key = block * blockKeys;
              const from = max(<i32>key, lo), to = min(<i32>min(key + blockKeys, keys), hi);
              attend<T>(kHead, vHead, headDim, valueDim, softcap, end - row, from, to, CHUNK_KEYS, tiles, scratch);
            } else if (!fault) fault = at + 1;
          }
        }
        finish<T>(output, lse, queries, headDim, valueDim, head, group, query, row, end, tiles);
      }
      list += 4;
    }
    if (perHead) indptr = list + 4;
  }
  if (status) store<u32>(status, fault);
}
