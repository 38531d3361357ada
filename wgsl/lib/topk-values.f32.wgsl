// topk's values where they are f32. Ranks are kept in the place of the values until these are known.

const RANK_BITS = 32u;
const RANK_SIGN = 0x80000000u;
const RANK_INFINITY = 0x7f800000u;
const WORST_RANK = 0xffffffffu;

fn stored_bits(i: u32) -> u32 {
  return x[i];
}

fn keep_rank(slot: u32, rank: u32) {
  values[slot] = rank;
}

fn kept_rank(slot: u32, row: u32) -> u32 {
  return values[slot];
}

fn keep_value(slot: u32, from_: u32) {
  values[slot] = x[from_];
}
