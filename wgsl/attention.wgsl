// attention_blocksparse_f32: softmax(scale · q·kᵀ) · v under a block mask, with log-sum-exp.
//
//   q       f32 [heads, queries, headDim]
//   k       f32 [kvHeads, keys, headDim]     query head h reads kv head floor(h / (heads / kvHeads))
//   v       f32 [kvHeads, keys, valueDim]
//   indptr  u32 [queryBlocks + 1], or [heads, queryBlocks + 1] when perHead: where a block row's list lies in `indices`
//   indices u32 [indicesLength]: key blocks in any order; one listed twice counts twice
//   output  f32 [heads, queries, valueDim]   0 where a query sees no key
//   lse     f32 [heads, queries]             natural; -inf where a query sees no key
//   status  u32: 0, or 1 + the lowest listed position that holds a block index out of range
//
// Query i stands at position i + keys - queries. headDim and valueDim, 1 to 256, are fixed at pipeline creation.
// The caller guarantees array lengths. A block index out of range is skipped; positions past indicesLength are not read.
// Numbers: finite inputs (WGSL may assume them); exp2 and log2 as exact as the device's. Every sum has a fixed order: the
// same bits every time. Scratch: none.
//
// Entry points: dense; `__blocks` under the mask; `__status` checks the mask's lists, `__clear` says that there is nothing
// to check; `__empty` answers where there is no key or no listed block (arrays without elements cannot be bound).
// One workgroup for each head and tile of 32 queries of a block; `__empty` for each row. This file takes any dimension;
// attention-vec4.wgsl loads 16 bytes at a time and wants multiples of 4. Method: lib/attention-tile.wgsl.

override headDim: u32;
override valueDim: u32;

@group(0) @binding(0) var<storage, read> q: array<element>;
@group(0) @binding(1) var<storage, read> k: array<element>;
@group(0) @binding(2) var<storage, read> v: array<element>;
@group(0) @binding(3) var<storage, read> indptr: array<u32>;
@group(0) @binding(4) var<storage, read> indices: array<u32>;
@group(0) @binding(5) var<storage, read_write> output: array<element>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;
@group(0) @binding(7) var<storage, read_write> status: u32;
@group(0) @binding(8) var<uniform> params: AttentionParams;

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

fn store_output(row: u32, vector: u32, x: vec4f) {
  for (var i = 0u; i < 4u; i++) {
    if (vector * 4u + i < valueDim) {
      output[row * valueDim + vector * 4u + i] = element(x[i]);
    }
  }
}

@compute @workgroup_size(64)
fn attention_blocksparse_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  attend_densely(id, count, local);
}

@compute @workgroup_size(64)
fn attention_blocksparse_f32__blocks(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  attend_by_lists(id, count, local);
}

@compute @workgroup_size(64)
fn attention_blocksparse_f32__status(@builtin(local_invocation_index) local: u32) {
  let fault = first_fault(local);
  if (local == 0u) {
    status = fault;
  }
}

@compute @workgroup_size(1)
fn attention_blocksparse_f32__clear() {
  status = params.indicesLength; // 0: nothing is listed
}

@compute @workgroup_size(64)
fn attention_blocksparse_f32__empty(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let row = id.x + id.y * count.x;
  if (row >= params.heads * params.queries) {
    return;
  }
  store_output(row, local, vec4f(0));
  if (local == 0u) {
    lse[row] = negative_infinity_f32();
  }
}
