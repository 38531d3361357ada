// topk's values where they are f16: two to a word of x and of values. Only places are kept until the end; a rank is that
// of the value there. Integers alone: a NaN keeps its bits, and no device feature is needed.

const RANK_BITS = 16u;
const RANK_SIGN = 0x8000u;
const RANK_INFINITY = 0x7c00u;
const WORST_RANK = 0xffffu;

fn stored_bits(i: u32) -> u32 {
  return (x[i / 2u] >> (i % 2u * 16u)) & 0xffffu;
}

fn keep_rank(slot: u32, rank: u32) {}

fn kept_rank(slot: u32, row: u32) -> u32 {
  return rankOf(stored_bits(row * params.n + indices[slot]));
}

fn keep_value(slot: u32, from_: u32) {}

fn gathered(slot: u32) -> u32 {
  if (slot >= params.rows * params.k) {
    return 0u;
  }
  return stored_bits(slot / params.k * params.n + indices[slot]);
}

// One word of values per invocation: a row of odd length shares one with the next.
@compute @workgroup_size(256)
fn topk_f16__gather(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = (id.x + id.y * count.x) * THREADS + thread;
  if (2u * word < params.rows * params.k) {
    values[word] = gathered(2u * word) | (gathered(2u * word + 1u) << 16u);
  }
}
