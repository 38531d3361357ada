// attention_blocksparse_quantized_f32: attention_blocksparse_f32 on a quantised cache, with the newest keys in full precision.
//
//   q          f32 [heads, queries, headDim]
//   kCodes     u32, kScales f32 (or kExponents u8), kMinima (or kTable) f32   for each kv head as quantize_f32 lays out
//   vCodes     and so on                                                      [capacity, n]: lib/stored.wgsl
//   kRecent    f32 [kvHeads, recentCapacity, headDim]    vRecent alike
//   indptr, indices, status                              as in attention.wgsl; blocks of stored keys
//   output     f32 [heads, queries, valueDim]   0 where a query sees no key
//   lse        f32 [heads, queries]             natural; -inf where a query sees no key
//   scratch    u32 [states, heads, queries, valueDim], [states, heads, queries], then indptr and indices
//
// Finite numbers, order of sums, workgroups and method as in attention.wgsl: codes take the place of its loads. Query i stands
// at position i + keys + recentKeys - queries.
//
// A stage binds eight arrays: the lists go through scratch (`__lists`), and stored and recent keys each give a state there,
// recent ones by a dispatch of their own with their rows bound in the codes' place (`recent`). Entry points: dense; `__blocks`
// under the mask; `__finish` merges the states into output and lse, `__empty` answers where there is none; `__status` and
// `__clear` as in attention.wgsl.

struct QuantizedAttentionParams {
  heads: u32,
  kvHeads: u32,
  queries: u32,
  keys: u32, // of this dispatch: stored or recent
  scale: f32,
  softcap: f32,
  causal: u32,
  window: u32,
  indicesLength: u32,
  blockQueries: u32,
  blockKeys: u32,
  perHead: u32,
  capacity: u32,
  recent: u32,
  firstPosition: i32,
  state: u32,
  states: u32,
  indptrLength: u32,
}

override headDim: u32;
override valueDim: u32;

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> scratch: array<u32>;
@group(0) @binding(8) var<storage, read> indptr: array<u32>;
@group(0) @binding(9) var<storage, read> indices: array<u32>;
@group(0) @binding(10) var<storage, read_write> output: array<f32>;
@group(0) @binding(11) var<storage, read_write> lse: array<f32>;
@group(0) @binding(12) var<storage, read_write> status: u32;
@group(0) @binding(13) var<uniform> params: QuantizedAttentionParams;

fn load_q(row: u32, vector: u32) -> vec4f {
  return select(q[row * (headDim / 4u) + min(vector, headDim / 4u - 1u)], vec4f(0), vector * 4u >= headDim);
}

fn rows() -> u32 {
  return params.heads * params.queries;
}

fn value_at(state: u32, row: u32) -> u32 {
  return (state * rows() + row) * valueDim;
}

fn lse_at(state: u32, row: u32) -> u32 {
  return params.states * rows() * valueDim + state * rows() + row;
}

fn lists_at() -> u32 {
  return params.states * rows() * (valueDim + 1u);
}

fn store_output(row: u32, vector: u32, x: vec4f) {
  if (vector * 4u < valueDim) {
    let at = value_at(params.state, row) + vector * 4u;
    let bits = bitcast<vec4u>(x);
    scratch[at] = bits.x;
    scratch[at + 1u] = bits.y;
    scratch[at + 2u] = bits.z;
    scratch[at + 3u] = bits.w;
  }
}

fn store_lse(row: u32, lse_2: f32) {
  scratch[lse_at(params.state, row)] = bitcast<u32>(lse_2);
}

fn key_row(kv_head: u32) -> u32 {
  return kv_head * params.capacity;
}

fn first_position() -> i32 {
  return params.firstPosition;
}

fn load_indptr(i: u32) -> u32 {
  return scratch[lists_at() + i];
}

fn load_index(i: u32) -> u32 {
  return scratch[lists_at() + params.indptrLength + i];
}

// Scratch is written too: what lies there is not uniform by itself.
var<workgroup> listed: u32;

fn uniform_indptr(i: u32) -> u32 {
  if (own_row == 0u && own_column == 0u) {
    listed = load_indptr(i);
  }
  return workgroupUniformLoad(&listed);
}

fn uniform_index(i: u32) -> u32 {
  if (own_row == 0u && own_column == 0u) {
    listed = load_index(i);
  }
  return workgroupUniformLoad(&listed);
}

@compute @workgroup_size(64)
fn attention_blocksparse_quantized_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  attend_densely(id, count, local);
}

@compute @workgroup_size(64)
fn attention_blocksparse_quantized_f32__blocks(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  attend_by_lists(id, count, local);
}

@compute @workgroup_size(64)
fn attention_blocksparse_quantized_f32__lists(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let i = (id.x + id.y * count.x) * 64u + local;
  if (i < params.indptrLength) {
    scratch[lists_at() + i] = indptr[i];
  } else if (i - params.indptrLength < params.indicesLength) {
    scratch[lists_at() + i] = indices[i - params.indptrLength];
  }
}

@compute @workgroup_size(64)
fn attention_blocksparse_quantized_f32__status(@builtin(local_invocation_index) local: u32) {
  let fault = first_fault(local);
  if (local == 0u) {
    status = fault;
  }
}

@compute @workgroup_size(1)
fn attention_blocksparse_quantized_f32__clear() {
  status = params.indicesLength; // 0: nothing is listed
}

// A workgroup merges the states of a row: two, or one twice.
@compute @workgroup_size(64)
fn attention_blocksparse_quantized_f32__finish(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let row = id.x + id.y * count.x;
  if (row >= rows()) {
    return;
  }
  let other = params.states - 1u;
  let lse_0 = bitcast<f32>(scratch[lse_at(0u, row)]);
  let lse_1 = select(LOWEST_F32, bitcast<f32>(scratch[lse_at(other, row)]), other != 0u);
  let most = max(lse_0, lse_1);
  let weight_0 = select(0.0, exp2(lse_0 - most), lse_0 > LOWEST_F32);
  let weight_1 = select(0.0, exp2(lse_1 - most), lse_1 > LOWEST_F32);
  let sum = weight_0 + weight_1;
  for (var c = local; c < valueDim; c += 64u) {
    let value_0 = bitcast<f32>(scratch[value_at(0u, row) + c]);
    let value_1 = bitcast<f32>(scratch[value_at(other, row) + c]);
    let value = (weight_0 * value_0 + weight_1 * value_1) / max(sum, 1.0);
    output[row * valueDim + c] = value;
  }
  if (local == 0u) {
    lse[row] = natural_lse(select(LOWEST_F32, most + log2(max(sum, 1.0)), sum > 0.0));
  }
}

@compute @workgroup_size(64)
fn attention_blocksparse_quantized_f32__empty(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let row = id.x + id.y * count.x;
  if (row >= rows()) {
    return;
  }
  for (var c = local; c < valueDim; c += 64u) {
    output[row * valueDim + c] = 0.0;
  }
  if (local == 0u) {
    lse[row] = negative_infinity_f32();
  }
}
