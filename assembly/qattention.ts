import { endKey, factorOf, firstKey } from './lib/attention';
import { PASS_ROWS, attendStored, beginPass, endPass, fill, kSide, prepare, vSide } from './lib/qattention';

/** PLACEHOLDER HEADER */
export function attention_decode_quantized_f32(
  q: usize, kCodes: usize, kScales: usize, kMinima: usize, kExponents: usize, kTable: usize,
  vCodes: usize, vScales: usize, vMinima: usize, vExponents: usize, vTable: usize, kRecent: usize, vRecent: usize,
  heads: u32, kvHeads: u32, keys: u32, capacity: u32, recentKeys: u32, recentCapacity: u32, headDim: u32, valueDim: u32,
  kScheme: u32, kBits: u32, kAxis: u32, kGroupSize: u32, vScheme: u32, vBits: u32, vAxis: u32, vGroupSize: u32,
  from: u32, to: u32, scale: f32, softcap: f32, output: usize, lse: usize, scratch: usize,
): void {
  const group = heads / kvHeads;
  const factor = factorOf(scale, softcap);
  const all = keys + recentKeys;
  prepare(scratch);
  const k = kSide(scratch), v = vSide(scratch);
  fill(scratch, changetype<usize>(k), kCodes, kScales, kMinima, kExponents, kTable, headDim, capacity, kScheme, kBits, kAxis, kGroupSize);
  fill(scratch, changetype<usize>(v), vCodes, vScales, vMinima, vExponents, vTable, valueDim, capacity, vScheme, vBits, vAxis, vGroupSize);
  kRecent -= keys * (headDim << 2);
  vRecent -= keys * (valueDim << 2);
  for (let head: u32 = 0; head < heads; head += group) {
    for (let row: u32 = 0; row < group; row += PASS_ROWS) {
      const end = min(row + PASS_ROWS, group);
      beginPass(scratch, q, 1, all, headDim, valueDim, factor, 0, 0, head, group, 0, row, end);
      attendStored(scratch, from, min(to, keys), end - row, headDim, valueDim, softcap);
      endPass(scratch, kRecent, vRecent, keys, all, softcap, output, lse, 1, headDim, valueDim, head, group, 0, row, end);
    }
    k.next();
    v.next();
    kRecent += recentCapacity * (headDim << 2);
    vRecent += recentCapacity * (valueDim << 2);
  }
}

/** PLACEHOLDER HEADER */
export function attention_blocksparse_quantized_f32(
  q: usize, kCodes: usize, kScales: usize, kMinima: usize, kExponents: usize, kTable: usize,
  vCodes: usize, vScales: usize, vMinima: usize, vExponents: usize, vTable: usize, kRecent: usize, vRecent: usize,
  heads: u32, kvHeads: u32, queries: u32, keys: u32, capacity: u32, recentKeys: u32, recentCapacity: u32, headDim: u32, valueDim: u32,
  kScheme: u32, kBits: u32, kAxis: u32, kGroupSize: u32, vScheme: u32, vBits: u32, vAxis: u32, vGroupSize: u32,
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
  const all = keys + recentKeys;
  let fault: u32 = 0;
  prepare(scratch);
  const k = kSide(scratch), v = vSide(scratch);
  fill(scratch, changetype<usize>(k), kCodes, kScales, kMinima, kExponents, kTable, headDim, capacity, kScheme, kBits, kAxis, kGroupSize);
  fill(scratch, changetype<usize>(v), vCodes, vScales, vMinima, vExponents, vTable, valueDim, capacity, vScheme, vBits, vAxis, vGroupSize);
  kRecent -= keys * (headDim << 2);
  vRecent -= keys * (valueDim << 2);

  for (let head: u32 = 0; head < heads; head += group) {
    let list = indptr;
    for (let query: u32 = 0; query < queries; query += blockQueries) {
      const rows = group * min<u32>(blockQueries, queries - query);
      for (let row: u32 = 0; row < rows; row += PASS_ROWS) {
        const end = min(row + PASS_ROWS, rows);
        const first = query + row / group + all - queries, last = query + (end - 1) / group + all - queries;
        const lo = firstKey(first, window), hi = min<i32>(endKey(last, all, causal, window), keys);
        beginPass(scratch, q, queries, all, headDim, valueDim, factor, causal, window, head, group, query, row, end);
        if (dense) {
          if (lo < hi) attendStored(scratch, lo, hi, end - row, headDim, valueDim, softcap);
        } else {
          const stop = min(load<u32>(list, 4), indicesLength);
          for (let at = load<u32>(list); at < stop; at++) {
            const block = load<u32>(indices + (<usize>at << 2));
            if (block < keyBlocks) {
              const key = block * blockKeys;
              const from = max(<i32>key, lo), to = min(<i32>min(key + blockKeys, keys), hi);
              if (from < to) attendStored(scratch, from, to, end - row, headDim, valueDim, softcap);
            } else if (!fault) fault = at + 1;
          }
        }
        endPass(scratch, kRecent, vRecent, keys, all, softcap, output, lse, queries, headDim, valueDim, head, group, query, row, end);
      }
      list += 4;
    }
    if (perHead) indptr = list + 4;
    if ((head + group) % share == 0) {
      k.next();
      v.next();
      kRecent += recentCapacity * (headDim << 2);
      vRecent += recentCapacity * (valueDim << 2);
    }
  }
  if (status) store<u32>(status, fault);
}
