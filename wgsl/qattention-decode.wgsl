// attention_decode_quantized_f32: attention_decode_f32 on a quantised cache, with the newest keys in full precision.
//
//   q          f32 [heads, headDim]
//   kCodes     u32, kScales f32 (or kExponents u8), kMinima (or kTable) f32   for each kv head as quantize_f32 lays out
//   vCodes     and so on                                                      [capacity, n]: lib/stored.wgsl
//   kRecent    f32 [kvHeads, recentCapacity, headDim]    vRecent alike
//   output     f32 [heads, valueDim]   0 when there is no key
//   lse        f32 [heads]             natural; -inf when there is no key
//   scratch    f32 [states, heads, valueDim + 1]: states, first their values, then their log-sum-exps
//
// Finite numbers, order of sums, workgroups and method as in attention-decode.wgsl: codes take the place of its loads, and
// are read once for four heads of a kv head. Each dispatch of the first entry point writes the states of its splits from
// `firstState` on; recent keys are a dispatch of their own, their rows bound in the codes' place (`recent`). `__merge` makes
// the answer of all states, `__empty` where there is none. At most 256 states.

struct QuantizedDecodeParams {
  heads: u32,
  kvHeads: u32,
  keys: u32, // rows from one kv head to the next
  fromKey: u32,
  toKey: u32,
  splits: u32,
  scale: f32,
  softcap: f32,
  capacity: u32,
  recent: u32,
  firstState: u32,
  states: u32,
}

override headDim: u32;
override valueDim: u32;

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(8) var<storage, read_write> output: array<f32>;
@group(0) @binding(9) var<storage, read_write> lse: array<f32>;
@group(0) @binding(10) var<uniform> params: QuantizedDecodeParams;

fn load_q(row: u32, vector: u32) -> vec4f {
  return q[row * (headDim / 4u) + vector];
}

@compute @workgroup_size(128)
fn attention_decode_quantized_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  decode_states(id, count, local, params.firstState, params.states);
}

@compute @workgroup_size(256)
fn attention_decode_quantized_f32__merge(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  merge_heads(id, count, local);
}

@compute @workgroup_size(256)
fn attention_decode_quantized_f32__empty(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  empty_heads(id, count, local);
}
