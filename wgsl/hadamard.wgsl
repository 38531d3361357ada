// hadamard_f32: the Walsh–Hadamard transform of each row in natural (Sylvester) order, with random signs if wanted.
//
//   x      element [rows, n]  any finite values; n is a power of two, 1 to 32768
//   signs  i8      [n]        ±1 per column, four to a word; only the sign bit is read
//   out    element [rows, n]  scale·H·(signs ∘ x), or signs ∘ (scale·H·x) when params.inverse is 1
//
//   hadamard_f32                  x to out, signs left out
//   hadamard_f32__signs           x to out
//   hadamard_f32__inplace         out to out, signs left out
//   hadamard_f32__inplace_signs   out to out
//   hadamard_f32__outer           out to out: the stages that are left of rows longer than 4096, after one of the above
//   hadamard_f32__outer_signs     the same with the signs of the inverse
//   hadamard_f32__long, __long_signs, __long_inplace, __long_inplace_signs
//                                 rows longer than 4096 at once, for f16: out cannot hold what is between two dispatches
//
// params.n: values per row; params.span: stages of the first four span this many values, min(n, 4096); params.share: tiles of
// 4096 values that a workgroup of the long ones makes, n/4096 in place, where no other may read the row, else 1.
// A NaN or an infinity spreads over its row and to no other, as far as the device keeps them.
// Workgroups: ceil(rows·n / 4096), for the outer ones ceil(rows·4096 / 256), for the long ones rows·n / (4096·share); 16 KiB of workgroup memory; no scratch.
//
// Method: a workgroup transforms 4096 consecutive values, several short rows or one, sixteen in the registers of each of 256
// invocations, which do the four stages over these. In between they take others, through workgroup memory. Level base: values
// 256 apart, then side by side, then 16 apart: two barriers. Level subgroups: values as far apart as a subgroup of S invocations
// has lanes, whose own log2(S) stages are shuffles; rows longer than 16·S then go through workgroup memory, once where S is 16 or
// more, with a barrier each time (three more at the start make sure of S). No bank of 32 is met twice; x and out are read and
// written by neighbours side by side, 16 at least or S.
//
// Not done: sizes as drivers report them, or lanes unchecked (spares two to three barriers, 15 to 20% on SwiftShader; a wrong
// size or order gives wrong sums). Entry points without workgroup memory for rows of 64 and less: four more, for the memory's
// clearing. Four values read at once: a binding need not hold a multiple of four. Least times against every stage in workgroup
// memory, rows of 2 to 4096: base 1.05 to 1.7 times as fast on SwiftShader, 1.1 to 2.6 on lavapipe; subgroups 0.9 to 1.2 on
// SwiftShader (lanes of 4), 1.2 to 2 on lavapipe (8); no real GPU to measure it on.

struct HadamardParams {
  rows: u32,
  n: u32,
  scale: f32,
  inverse: u32,
  span: u32,
  share: u32,
}

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;
@group(0) @binding(2) var<storage, read> signs: array<u32>;
@group(0) @binding(3) var<uniform> params: HadamardParams;

/// Where this workgroup's values begin.
fn first(id: vec3u, count: vec3u) -> u32 {
  return (id.x + id.y * count.x) * 4096u;
}

fn total() -> u32 {
  return params.rows * params.n;
}

/// ±1 for value i.
fn sign_at(i: u32) -> f32 {
  let column = i & (params.n - 1u);
  return select(1.0, -1.0, ((signs[column >> 2u] >> (8u * (column & 3u))) & 128u) != 0u);
}

fn out_at(i: u32) -> f32 {
  if (i < total()) {
    return f32(out[i]);
  }
  return 0.0;
}

fn out_four(i: u32, apart: u32) -> vec4f {
  return params.scale * vec4f(out_at(i), out_at(i + apart), out_at(i + 2u * apart), out_at(i + 3u * apart));
}

/// As walsh_load, from out.
fn load_inplace(i: u32, apart: u32) -> array<vec4f, 4> {
  return array(out_four(i, apart), out_four(i + 4u * apart, apart), out_four(i + 8u * apart, apart), out_four(i + 12u * apart, apart));
}

/// The values with their signs when it is the signs' turn: before the transform, or after it for the inverse.
fn flipped(v: array<vec4f, 4>, i: u32, apart: u32, inverse: u32) -> array<vec4f, 4> {
  if (params.inverse != inverse) {
    return v;
  }
  return walsh_signed(v, i, apart);
}

@compute @workgroup_size(256)
fn hadamard_f32(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let after = walsh_apart_after(apart, params.span);
  let at = first(id, count);
  let v = walsh_load(at + walsh_first(local, apart), apart);
  walsh_store(at + walsh_first(local, after), after, walsh_transform(v, local, apart, params.span));
}

@compute @workgroup_size(256)
fn hadamard_f32__signs(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let after = walsh_apart_after(apart, params.span);
  let here = first(id, count) + walsh_first(local, apart);
  let there = first(id, count) + walsh_first(local, after);
  let v = walsh_transform(flipped(walsh_load(here, apart), here, apart, 0u), local, apart, params.span);
  walsh_store(there, after, flipped(v, there, after, 1u));
}

@compute @workgroup_size(256)
fn hadamard_f32__inplace(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let after = walsh_apart_after(apart, params.span);
  let at = first(id, count);
  let v = load_inplace(at + walsh_first(local, apart), apart);
  walsh_store(at + walsh_first(local, after), after, walsh_transform(v, local, apart, params.span));
}

@compute @workgroup_size(256)
fn hadamard_f32__inplace_signs(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let after = walsh_apart_after(apart, params.span);
  let here = first(id, count) + walsh_first(local, apart);
  let there = first(id, count) + walsh_first(local, after);
  let v = walsh_transform(flipped(load_inplace(here, apart), here, apart, 0u), local, apart, params.span);
  walsh_store(there, after, flipped(v, there, after, 1u));
}

/// Up to eight values 4096 apart; rows of 8192 and 16384 have two and four.
struct Eight {
  low: vec4f,
  high: vec4f,
}

fn x_lane(i: u32, k: u32) -> element {
  if (k * 4096u < params.n) {
    return x[i + k * 4096u];
  }
  return element(0.0);
}

fn out_lane(i: u32, k: u32) -> element {
  if (k * 4096u < params.n) {
    return out[i + k * 4096u];
  }
  return element(0.0);
}

fn outer_stages(low: vec4f, high: vec4f) -> Eight {
  var r = Eight(walsh_pairs(low), walsh_pairs(high));
  if (params.n > 8192u) {
    r = Eight(walsh_halves(r.low), walsh_halves(r.high));
  }
  if (params.n > 16384u) {
    r = Eight(r.low + r.high, r.low - r.high);
  }
  return r;
}

fn outer(i: u32) -> Eight {
  return outer_stages(
    vec4f(f32(out_lane(i, 0u)), f32(out_lane(i, 1u)), f32(out_lane(i, 2u)), f32(out_lane(i, 3u))),
    vec4f(f32(out_lane(i, 4u)), f32(out_lane(i, 5u)), f32(out_lane(i, 6u)), f32(out_lane(i, 7u))),
  );
}

fn store_lane(i: u32, k: u32, value: f32) {
  if (k * 4096u < params.n) {
    out[i + k * 4096u] = element(value);
  }
}

fn store_outer(i: u32, v: Eight) {
  store_lane(i, 0u, v.low.x);
  store_lane(i, 1u, v.low.y);
  store_lane(i, 2u, v.low.z);
  store_lane(i, 3u, v.low.w);
  store_lane(i, 4u, v.high.x);
  store_lane(i, 5u, v.high.y);
  store_lane(i, 6u, v.high.z);
  store_lane(i, 7u, v.high.w);
}

fn outer_signs(i: u32) -> vec4f {
  return walsh_four_signs(i, 4096u);
}

@compute @workgroup_size(256)
fn hadamard_f32__outer(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let column = (id.x + id.y * count.x) * 256u + local;
  let row = column >> 12u;
  if (row < params.rows) {
    let i = row * params.n + (column & 4095u);
    store_outer(i, outer(i));
  }
}

@compute @workgroup_size(256)
fn hadamard_f32__outer_signs(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let column = (id.x + id.y * count.x) * 256u + local;
  let row = column >> 12u;
  if (row < params.rows) {
    let i = row * params.n + (column & 4095u);
    let v = outer(i);
    store_outer(i, Eight(v.low * outer_signs(i), v.high * outer_signs(i + 16384u)));
  }
}

/// Of a long row, what an invocation takes of each tile of it: eight of a column, 4096 apart, in two vectors.
var<private> kept: array<vec4<element>, 32>;

/// Where the row of this workgroup begins, and the first tile of it that is the workgroup's.
fn long_row(id: vec3u, count: vec3u) -> vec2u {
  let at = (id.x + id.y * count.x) * params.share * 4096u;
  return vec2u(at & ~(params.n - 1u), (at & (params.n - 1u)) >> 12u);
}

fn keep(i: u32, apart: u32) {
  for (var j = 0u; j < 16u; j++) {
    let k = i + apart * j;
    kept[2u * j] = vec4<element>(x_lane(k, 0u), x_lane(k, 1u), x_lane(k, 2u), x_lane(k, 3u));
    kept[2u * j + 1u] = vec4<element>(x_lane(k, 4u), x_lane(k, 5u), x_lane(k, 6u), x_lane(k, 7u));
  }
}

fn keep_inplace(i: u32, apart: u32) {
  for (var j = 0u; j < 16u; j++) {
    let k = i + apart * j;
    kept[2u * j] = vec4<element>(out_lane(k, 0u), out_lane(k, 1u), out_lane(k, 2u), out_lane(k, 3u));
    kept[2u * j + 1u] = vec4<element>(out_lane(k, 4u), out_lane(k, 5u), out_lane(k, 6u), out_lane(k, 7u));
  }
}

fn keep_signs(i: u32, apart: u32) {
  if (params.inverse == 0u) {
    for (var j = 0u; j < 16u; j++) {
      let k = i + apart * j;
      kept[2u * j] *= vec4<element>(outer_signs(k));
      kept[2u * j + 1u] *= vec4<element>(outer_signs(k + 16384u));
    }
  }
}

/// Value j of what an invocation has of a tile: the stages over tiles again for each, as there is no place for all of their results.
fn long_value(j: u32, tile: u32) -> f32 {
  let v = outer_stages(params.scale * vec4f(kept[2u * j]), params.scale * vec4f(kept[2u * j + 1u]));
  return select(v.low, v.high, tile > 3u)[tile & 3u];
}

fn long_four(j: u32, tile: u32) -> vec4f {
  return vec4f(long_value(j, tile), long_value(j + 1u, tile), long_value(j + 2u, tile), long_value(j + 3u, tile));
}

fn long_tile(local: u32, apart: u32, tile: u32) -> array<vec4f, 4> {
  let v = array(long_four(0u, tile), long_four(4u, tile), long_four(8u, tile), long_four(12u, tile));
  workgroupBarrier();
  return walsh_transform(v, local, apart, 4096u);
}

// In place, a workgroup takes all tiles of a row, and has read them all before it writes one.
fn long_tiles(local: u32, apart: u32, at: vec2u) {
  let after = walsh_apart_after(apart, 4096u);
  for (var tile = at.y; tile < at.y + params.share; tile++) {
    walsh_store(at.x + tile * 4096u + walsh_first(local, after), after, long_tile(local, apart, tile));
  }
}

fn long_tiles_signs(local: u32, apart: u32, at: vec2u) {
  let after = walsh_apart_after(apart, 4096u);
  for (var tile = at.y; tile < at.y + params.share; tile++) {
    let there = at.x + tile * 4096u + walsh_first(local, after);
    walsh_store(there, after, flipped(long_tile(local, apart, tile), there, after, 1u));
  }
}

@compute @workgroup_size(256)
fn hadamard_f32__long(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let here = walsh_first(local, apart);
  let at = long_row(id, count);
  if (at.x < total()) {
    keep(at.x + here, apart);
    long_tiles(local, apart, at);
  }
}

@compute @workgroup_size(256)
fn hadamard_f32__long_signs(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let here = walsh_first(local, apart);
  let at = long_row(id, count);
  if (at.x < total()) {
    keep(at.x + here, apart);
    keep_signs(here, apart);
    long_tiles_signs(local, apart, at);
  }
}

@compute @workgroup_size(256)
fn hadamard_f32__long_inplace(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let here = walsh_first(local, apart);
  let at = long_row(id, count);
  if (at.x < total()) {
    keep_inplace(at.x + here, apart);
    storageBarrier();
    long_tiles(local, apart, at);
  }
}

@compute @workgroup_size(256)
fn hadamard_f32__long_inplace_signs(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let apart = walsh_apart(local);
  let here = walsh_first(local, apart);
  let at = long_row(id, count);
  if (at.x < total()) {
    keep_inplace(at.x + here, apart);
    storageBarrier();
    keep_signs(here, apart);
    long_tiles_signs(local, apart, at);
  }
}
