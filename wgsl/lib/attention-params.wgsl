// The uniform of attention_blocksparse_f32.
struct AttentionParams {
  heads: u32,
  kvHeads: u32,
  queries: u32,
  keys: u32,
  scale: f32,
  softcap: f32,
  causal: u32,
  window: u32,
  indicesLength: u32,
  blockQueries: u32,
  blockKeys: u32,
  perHead: u32,
}
