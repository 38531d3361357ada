// hadamard_mixed_f32: the Walsh–Hadamard transform of n = order · 2^p values, along rows or across them.
//
//   x       f32 [rows, n, inner]  any finite values; 2^p up to 32768
//   matrix  u32 [order, ceil(order/32)]  ±1, a bit per entry, 1 for −1, low bits first; order is a multiple of 4 up to 256
//   signs   i8  [n]               ±1, four to a word; only the sign bit is read
//   out     f32 [rows, n, inner]  scale·(M ⊗ H)·(signs ∘ x); params.inverse 1: signs ∘ (scale·(M ⊗ H)ᵀ·x)
//
//   hadamard_mixed_f32__blocks        x to out: the scale, and the stages inside spans of params.span values (1: none)
//   hadamard_mixed_f32__blocks_signs  the same with signs before it
//   hadamard_mixed_f32__stages        out to out: up to four stages, the first over values params.distance apart, params.radix values
//   hadamard_mixed_f32                out to out: the matrix, over blocks of params.stride values
//   hadamard_mixed_f32__signs         out to out: the signs of the inverse
//
// NaN and infinity spread over what they are transformed with, as far as the device keeps them. No scratch.
// Workgroups: ceil(all values / 4096); ceil(all values / radix / 256); ceil(rows · stride / columns); ceil(all values / 256).
//
// Method: QuaRot's M ⊗ H. Blocks as in hadamard_f32, at each level. For the matrix a workgroup takes params.columns columns of `order` values
// into workgroup memory; an output adds fours, (±v0 ± v1) + (±v2 ± v3), in the CPU's order.
//
// Not done: blocks and matrix in one dispatch where a row fits in workgroup memory.

struct MixedParams {
  rows: u32,
  n: u32,
  order: u32,
  inner: u32,
  scale: f32,
  inverse: u32,
  span: u32,
  distance: u32,
  radix: u32,
  stride: u32,
  columns: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read> signs: array<u32>;
@group(0) @binding(3) var<storage, read> matrix: array<u32>;
@group(0) @binding(4) var<uniform> params: MixedParams;

var<workgroup> columns: array<f32, 4096>;

fn total() -> u32 {
  return params.rows * params.n * params.inner;
}

/// ±1 for value i.
fn sign_at(i: u32) -> f32 {
  let column = (i / params.inner) % params.n;
  return select(1.0, -1.0, ((signs[column >> 2u] >> (8u * (column & 3u))) & 128u) != 0u);
}

@compute @workgroup_size(256)
fn hadamard_mixed_f32__blocks(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let after = walsh_apart_after(apart, params.span);
  let start = (id.x + id.y * count.x) * 4096u;
  let v = walsh_load(start + walsh_first(local, apart), apart);
  walsh_store(start + walsh_first(local, after), after, walsh_transform(v, local, apart, params.span));
}

@compute @workgroup_size(256)
fn hadamard_mixed_f32__blocks_signs(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let after = walsh_apart_after(apart, params.span);
  let start = (id.x + id.y * count.x) * 4096u;
  let here = start + walsh_first(local, apart);
  let v = walsh_signed(walsh_load(here, apart), here, apart);
  walsh_store(start + walsh_first(local, after), after, walsh_transform(v, local, apart, params.span));
}

fn lane(i: u32, k: u32) -> f32 {
  if (k < params.radix) {
    return out[i + k * params.distance];
  }
  return 0.0;
}

fn store_lane(i: u32, k: u32, value: f32) {
  if (k < params.radix) {
    out[i + k * params.distance] = value;
  }
}

fn store_lanes(i: u32, k: u32, v: vec4f) {
  store_lane(i, k, v.x);
  store_lane(i, k + 1u, v.y);
  store_lane(i, k + 2u, v.z);
  store_lane(i, k + 3u, v.w);
}

fn lanes(i: u32, k: u32) -> vec4f {
  return vec4f(lane(i, k), lane(i, k + 1u), lane(i, k + 2u), lane(i, k + 3u));
}

@compute @workgroup_size(256)
fn hadamard_mixed_f32__stages(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let item = (id.x + id.y * count.x) * 256u + local;
  if (item >= total() / params.radix) {
    return;
  }
  let inside = item % params.distance;
  let i = (item - inside) * params.radix + inside;
  let v = walsh_stages(array(lanes(i, 0u), lanes(i, 4u), lanes(i, 8u), lanes(i, 12u)), 1u, params.radix - 1u);
  store_lanes(i, 0u, v[0]);
  store_lanes(i, 4u, v[1]);
  store_lanes(i, 8u, v[2]);
  store_lanes(i, 12u, v[3]);
}

/// Where value k of a column of all rows' columns lies.
fn place_of(column: u32, k: u32) -> u32 {
  return (column / params.stride) * params.n * params.inner + k * params.stride + column % params.stride;
}

@compute @workgroup_size(256)
fn hadamard_mixed_f32(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = (id.x + id.y * count.x) * params.columns;
  let all = params.rows * params.stride;
  let held = params.order * params.columns;
  for (var i = local; i < held; i += 256u) {
    let column = first + i % params.columns;
    if (column < all) {
      columns[i] = out[place_of(column, i / params.columns)];
    }
  }
  workgroupBarrier();
  for (var i = local; i < held; i += 256u) {
    let inside = i % params.columns;
    let k = i / params.columns;
    if (first + inside < all) {
      var sum = 0.0;
      for (var g = 0u; g < params.order; g += 4u) {
        let at = g * params.columns + inside;
        let four = vec4f(columns[at], columns[at + params.columns], columns[at + 2u * params.columns], columns[at + 3u * params.columns]);
        sum += signed_sum(four, matrix_four(k, g, params.order, params.inverse));
      }
      out[place_of(first + inside, k)] = sum;
    }
  }
}

@compute @workgroup_size(256)
fn hadamard_mixed_f32__signs(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (id.x + id.y * count.x) * 256u + local;
  if (i < total()) {
    out[i] *= sign_at(i);
  }
}
