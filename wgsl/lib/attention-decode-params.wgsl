// The uniform of attention_decode_f32.
struct DecodeParams {
  heads: u32,
  kvHeads: u32,
  keys: u32,
  fromKey: u32, // `from` and `to` (the former is reserved in WGSL)
  toKey: u32,
  splits: u32,
  scale: f32,
  softcap: f32,
}
