// attention_decode_f32 where headDim and valueDim are multiples of 4: attention-decode.wgsl with loads of 16 bytes.

override headDim: u32;
override valueDim: u32;

@group(0) @binding(0) var<storage, read> q: array<vec4<element>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<element>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<element>>;
@group(0) @binding(3) var<storage, read_write> output: array<element>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(6) var<uniform> params: DecodeParams;

fn load_q(row: u32, vector: u32) -> vec4f {
  return vec4f(q[row * (headDim / 4u) + vector]);
}

fn load_k(row: u32, vector: u32) -> vec4f {
  return vec4f(k[row * (headDim / 4u) + vector]);
}

fn load_v(row: u32, vector: u32) -> vec4f {
  return vec4f(v[row * (valueDim / 4u) + vector]);
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
