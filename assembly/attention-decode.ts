import { PASS_ROWS, TILES_AT, attend, begin, factorOf, finish } from './lib/attention';

export function attention_decode_f32(
  q: usize, k: usize, v: usize, heads: u32, kvHeads: u32, keys: u32, headDim: u32, valueDim: u32,
  from: u32, to: u32, scale: f32, softcap: f32, output: usize, lse: usize, scratch: usize,
): void {
  const group = heads / kvHeads;
  const factor = factorOf(scale, softcap);
  const tiles = scratch + TILES_AT;
  const kBytes = keys * (headDim << 2), vBytes = keys * (valueDim << 2);
  for (let head: u32 = 0; head < heads; head += group, k += kBytes, v += vBytes) {
    for (let row: u32 = 0; row < group; row += PASS_ROWS) {
      const end = min(row + PASS_ROWS, group);
      begin(q, 1, keys, headDim, valueDim, factor, 0, 0, head, group, 0, row, end, tiles);
      attend(k, v, keys, headDim, valueDim, softcap, end - row, from, min(to, keys), tiles, scratch);
      finish(output, lse, 1, headDim, valueDim, head, group, 0, row, end, tiles);
    }
  }
}
