import { PASS_ROWS, TILES_AT, attend, begin, endKey, factorOf, finish, firstKey } from './lib/attention';

export function attention_blocksparse_f32(
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
  const kBytes = keys * (headDim << 2), vBytes = keys * (valueDim << 2);
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
        begin(q, queries, keys, headDim, valueDim, factor, causal, window, head, group, query, row, end, tiles);
        if (dense) attend(kHead, vHead, keys, headDim, valueDim, softcap, end - row, lo, hi, tiles, scratch);
        else {
          const stop = min(load<u32>(list, 4), indicesLength);
          for (let at = load<u32>(list); at < stop; at++) {
            const block = load<u32>(indices + (<usize>at << 2));
            if (block < keyBlocks) {
              const key = block * blockKeys;
              const from = max(<i32>key, lo), to = min(<i32>min(key + blockKeys, keys), hi);
              attend(kHead, vHead, keys, headDim, valueDim, softcap, end - row, from, to, tiles, scratch);
            } else if (!fault) fault = at + 1;
          }
        }
        finish(output, lse, queries, headDim, valueDim, head, group, query, row, end, tiles);
      }
      list += 4;
    }
    if (perHead) indptr = list + 4;
  }
  if (status) store<u32>(status, fault);
}
