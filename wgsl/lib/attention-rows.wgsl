// Where attention.wgsl and attention-vec4.wgsl have their rows and block lists: what lib/attention-tile.wgsl asks for.

fn store_lse(row: u32, lse_2: f32) {
  lse[row] = natural_lse(lse_2);
}

fn key_row(kv_head: u32) -> u32 {
  return kv_head * params.keys;
}

fn first_position() -> i32 {
  return i32(params.keys) - i32(params.queries);
}

fn load_indptr(i: u32) -> u32 {
  return indptr[i];
}

fn load_index(i: u32) -> u32 {
  return indices[i];
}

fn uniform_indptr(i: u32) -> u32 {
  return indptr[i];
}

fn uniform_index(i: u32) -> u32 {
  return indices[i];
}
