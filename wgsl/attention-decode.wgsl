// attention_decode_f32: softmax(scale · q·kᵀ) · v of one query per head over keys [from, to), with log-sum-exp.
//
//   q       f32 [heads, headDim]
//   k       f32 [kvHeads, keys, headDim]   query head h reads kv head floor(h / (heads / kvHeads))
//   v       f32 [kvHeads, keys, valueDim]
//   output  f32 [heads, valueDim]          0 when the range is empty
//   lse     f32 [heads]                    natural; -inf when the range is empty
//   scratch f32 [splits, heads, valueDim + 1], when splits > 1: states, first their values, then their log-sum-exps
//
// headDim and valueDim, 1 to 256, are fixed at pipeline creation. The caller guarantees array lengths and from <= to <= keys.
// Numbers: finite inputs (WGSL may assume them); exp2 and log2 as exact as the device's. Every sum has a fixed order: the
// same bits for the same number of splits.
//
// Entry points: one split; `__split` writes states to scratch, `__merge` makes the answer of them; `__empty` answers where
// there is no key. Workgroups: splits × kvHeads × ceil(heads / kvHeads / 4); `__merge`, `__empty`: heads. At most 256 splits.
// This file takes any dimension; attention-decode-vec4.wgsl loads 16 bytes at a time and wants multiples of 4.
// Method: lib/attention-split.wgsl.

override headDim: u32;
override valueDim: u32;

@group(0) @binding(0) var<storage, read> q: array<element>;
@group(0) @binding(1) var<storage, read> k: array<element>;
@group(0) @binding(2) var<storage, read> v: array<element>;
@group(0) @binding(3) var<storage, read_write> output: array<element>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(6) var<uniform> params: DecodeParams;

fn load_q(row: u32, vector: u32) -> vec4f {
  let c = vector * 4u + vec4u(0u, 1u, 2u, 3u);
  let i = row * headDim + min(c, vec4u(headDim - 1u));
  return select(vec4f(0), vec4f(f32(q[i.x]), f32(q[i.y]), f32(q[i.z]), f32(q[i.w])), c < vec4u(headDim));
}

fn load_k(row: u32, vector: u32) -> vec4f {
  let c = vector * 4u + vec4u(0u, 1u, 2u, 3u);
  let i = row * headDim + min(c, vec4u(headDim - 1u));
  return select(vec4f(0), vec4f(f32(k[i.x]), f32(k[i.y]), f32(k[i.z]), f32(k[i.w])), c < vec4u(headDim));
}

fn load_v(row: u32, vector: u32) -> vec4f {
  let c = vector * 4u + vec4u(0u, 1u, 2u, 3u);
  let i = row * valueDim + min(c, vec4u(valueDim - 1u));
  return select(vec4f(0), vec4f(f32(v[i.x]), f32(v[i.y]), f32(v[i.z]), f32(v[i.w])), c < vec4u(valueDim));
}

@compute @workgroup_size(128)
fn attention_decode_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let share = decode_share(id, count);
  if (share.head >= share.to_head) {
    return;
  }
  decode(share, local);
  let sums = decode_gather(local);
  for (var i = local; i < (share.to_head - share.head) * valueDim; i += DECODE_WORKGROUP) {
    let head = i / valueDim;
    let c = i % valueDim;
    output[share.head * valueDim + i] = element(decode_value(head, c, sums[head]));
    if (c == 0u) {
      lse[share.head + head] = natural_lse(decode_lse(head, sums[head]));
    }
  }
}

@compute @workgroup_size(128)
fn attention_decode_f32__split(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  decode_states(id, count, local, 0u, params.splits);
}

@compute @workgroup_size(256)
fn attention_decode_f32__merge(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  merge_heads(id, count, local);
}

@compute @workgroup_size(256)
fn attention_decode_f32__empty(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  empty_heads(id, count, local);
}
