import { endKey, factorOf, firstKey } from './lib/attention';
import { PASS_ROWS, attendStored, beginPass, endPass } from './lib/qattention';
import { fill, kSide, prepare, vSide } from './lib/qattention-side';

/**
 * Attention of one query per head over stored keys [from, to) and all recent ones: what dequantising, then
 * attention_decode_f32 over both, gives. Codes are never expanded but for 64 keys at a time, as bytes in scratch.
 *
 *   q                   f32 [heads, headDim]; head h reads kv head floor(h / (heads / kvHeads))
 *   kCodes, vCodes      u32, as quantize_f32 lays out [capacity, n] (n: headDim, valueDim), for each kv head. 3 bits: runs of 32
 *                       codes in three words, low two bits of 16 codes, of the other 16, then the third bits
 *   kScales, kMinima    f32, as quantize_f32, or with kScaleType f16; minima: affine (scheme 0) only. vScales, vMinima alike
 *   kExponents          u8 [kvHeads, capacity, ceil(headDim / 32)], E8M0: mxfp4 (scheme 2) only. vExponents alike
 *   kTable              f32 [16]: codebook (scheme 3) only. vTable alike
 *   kRecent, vRecent    f32 [kvHeads, recentCapacity, headDim or valueDim] or 0, of which recentKeys rows are in use
 *   output, lse         f32 [heads, valueDim], [heads], natural; no key: output 0, lse -inf
 *   scratch             quantizedAttentionScratchBytes({ headDim, valueDim }) bytes
 *
 * A NaN scale makes NaN of what it scales, as dequantising would. NaN or infinity in a query makes its row NaN. Infinite
 * scales or minima: NaN or anything. Dimensions are multiples of 8 from 16 to 256.
 *
 * Method: queries (times K's scales where those are per channel) and weights times V's scales are rounded to 16 bits of
 * their largest, sums over codes are exact integers: i16 pairs at the simd level and for 8 bits, two planes of signed
 * bytes against codes below 128 at the relaxed one (exact on every host). A codebook is two planes of 7 bits of its
 * values; they take i16 pairs at the relaxed level too where the host has no dot product of bytes (1.55 times as fast).
 * Codes of 8 bits along rows are read where they lie, others pass through 64 keys of bytes in scratch once for all
 * heads of a group. Scales of groups along a key are applied to products of bytes while lanes are keys (0.9 of the time that it
 * takes a key at a time, groups of 32, Zen 5). Recent keys go on in f32 (lib/attention.ts). Liu et al., KIVI (2024).
 *
 * Not done: weights of 8-bit values splat from memory instead of shuffled (4 % slower); 8 bits as signed bytes by queries and
 * weights of 14 bits in two planes of 7 (a Zen 5 with VNNI: 10 % slower, off by 2.3e-4 of the largest value on real layers);
 * chunks of 128 keys (nothing); three vectors of codes at a time, twelve sums instead of eight (an Intel Xeon: 2 to 4 % slower,
 * the products themselves as fast); scales before lanes are added up for products of 16 bits too (1 %, 1.6 KB). By count of
 * instructions, not built: four products of 7 and 1 bits for 8; K of 8 bits down columns straight from its words (the
 * transposition, 9 % of the time, would go into as many splats); queries of several runs rounded at once (no less work); K of
 * 3 bits down columns straight from its words (third bits lie otherwise); tiles of one and two rows.
 */
export function attention_decode_quantized_f32(
  q: usize, kCodes: usize, kScales: usize, kMinima: usize, kExponents: usize, kTable: usize,
  vCodes: usize, vScales: usize, vMinima: usize, vExponents: usize, vTable: usize, kRecent: usize, vRecent: usize,
  heads: u32, kvHeads: u32, keys: u32, capacity: u32, recentKeys: u32, recentCapacity: u32, headDim: u32, valueDim: u32,
  kScheme: u32, kBits: u32, kAxis: u32, kGroupSize: u32, kScaleType: u32, vScheme: u32, vBits: u32, vAxis: u32, vGroupSize: u32, vScaleType: u32,
  from: u32, to: u32, scale: f32, softcap: f32, output: usize, lse: usize, scratch: usize,
): void {
  const group = heads / kvHeads;
  const factor = factorOf(scale, softcap);
  const all = keys + recentKeys;
  prepare(scratch);
  const k = kSide(scratch), v = vSide(scratch);
  fill(scratch, changetype<usize>(k), kCodes, kScales, kMinima, kExponents, kTable, headDim, capacity, kScheme, kBits, kAxis, kGroupSize, kScaleType);
  fill(scratch, changetype<usize>(v), vCodes, vScales, vMinima, vExponents, vTable, valueDim, capacity, vScheme, vBits, vAxis, vGroupSize, vScaleType);
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

/**
 * Many queries under a block mask over stored keys, a causal mask and a window: arrays as in
 * attention_decode_quantized_f32, q f32 [heads, queries, headDim], output and lse alike; indptr, indices, status and masks
 * as in attention_blocksparse_f32. Query i stands at position i + keys + recentKeys - queries; recent keys are in no list.
 */
export function attention_blocksparse_quantized_f32(
  q: usize, kCodes: usize, kScales: usize, kMinima: usize, kExponents: usize, kTable: usize,
  vCodes: usize, vScales: usize, vMinima: usize, vExponents: usize, vTable: usize, kRecent: usize, vRecent: usize,
  heads: u32, kvHeads: u32, queries: u32, keys: u32, capacity: u32, recentKeys: u32, recentCapacity: u32, headDim: u32, valueDim: u32,
  kScheme: u32, kBits: u32, kAxis: u32, kGroupSize: u32, kScaleType: u32, vScheme: u32, vBits: u32, vAxis: u32, vGroupSize: u32, vScaleType: u32,
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
  fill(scratch, changetype<usize>(k), kCodes, kScales, kMinima, kExponents, kTable, headDim, capacity, kScheme, kBits, kAxis, kGroupSize, kScaleType);
  fill(scratch, changetype<usize>(v), vCodes, vScales, vMinima, vExponents, vTable, valueDim, capacity, vScheme, vBits, vAxis, vGroupSize, vScaleType);
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
