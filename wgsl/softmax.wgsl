// Softmax, log-sum-exp, and the states that let both be computed in pieces.
//
// x, out: element [rows, n] (f32; f16 in the kernels so named, computed in f32); lse, max, sum: f32 [rows]. `width` invocations (a power of two up to 256, chosen by the host from
// n) share a row, so a workgroup holds 256 / width rows. Each walks its part once with a running maximum and sum, four
// values at a time; softmax reads the row a second time (from cache, as a rule) and writes. No scratch.
//
// Ties have no meaning here. -infinity is a masked score: weight 0; a row without any other score gives out 0, lse
// -infinity, state (-infinity, 0). A NaN gives a row of NaN and lse NaN, state (NaN, NaN); +infinity a row of NaN, lse
// +infinity, state (+infinity, NaN). They are recognised by their bits, and arithmetic sees finite numbers only.
// exp is WGSL's (3 + 2·|x| ulp, where x is the distance from the maximum); results below 2^-126 may be 0.
//
// Method: M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018.
//
// Not done: splitting one row over workgroups (needs scratch: use softmax_state_f32 on chunks).

struct Params {
  rows: u32,
  n: u32,
  scale: f32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<element>;
@group(0) @binding(2) var<storage, read_write> out: array<element>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
// `max` and `sum` are their names outside; in here max is a function.
@group(0) @binding(4) var<storage, read_write> max__rows: array<f32>;
@group(0) @binding(5) var<storage, read_write> sum__rows: array<f32>;

const MASKED: u32 = 0xff800000u;
const NAN_BITS: u32 = 0x7fc00000u;
const NAN_KEY: u32 = 0xffffffffu;
const INFINITY_KEY: u32 = 0xff800000u;

// Where an invocation stands: its row's first element, its first column; a row past the end has no columns.
struct Place {
  row: u32,
  start: u32,
  column: u32,
  n: u32,
}

fn place(group: vec3u, groups: vec3u, local: u32) -> Place {
  let row = (group.x + group.y * groups.x) * (WORKGROUP / params.width) + local / params.width;
  return Place(row, row * params.n, local % params.width, select(0u, params.n, row < params.rows));
}

// Of the values seen: the largest finite, the sum of exponentials relative to it, and the worst of the others as a key.
struct State {
  top: f32,
  sum: f32,
  special: u32,
}

const EMPTY = State(LOWEST_F32, 0.0, 0u);

// In a value's bits, turns its sign where scale is negative: a larger score becomes a larger number.
fn turn() -> u32 {
  return bitcast<u32>(params.scale) & 0x80000000u;
}

fn is_finite_bits(bits: vec4u) -> vec4<bool> {
  return (bits & vec4u(INFINITY_BITS)) < vec4u(INFINITY_BITS);
}

// exp of a score's distance from the maximum; the clamp keeps what overflows finite, and exp(-200) is 0.
fn weight(value: f32, top: f32) -> f32 {
  return exp(max((value - top) * abs(params.scale), -200.0));
}

fn weight4(value: vec4f, top: f32) -> vec4f {
  return exp(max((value - top) * abs(params.scale), vec4f(-200.0)));
}

fn special_key(bits: u32) -> u32 {
  if ((bits & INFINITY_BITS) < INFINITY_BITS || bits == MASKED) {
    return 0u;
  }
  return select(NAN_KEY, INFINITY_KEY, bits == INFINITY_BITS);
}

// The running state with four more values, given as bits.
fn joined(state: State, bits: vec4u) -> State {
  let finite = is_finite_bits(bits);
  let values = bitcast<vec4f>(select(vec4u(bitcast<u32>(LOWEST_F32)), bits, finite));
  let top = max(max(state.top, max(values.x, values.y)), max(values.z, values.w));
  let weights = select(vec4f(0.0), weight4(values, top), finite);
  var special = state.special;
  if (!all(finite)) {
    special = max(max(special, max(special_key(bits.x), special_key(bits.y))), max(special_key(bits.z), special_key(bits.w)));
  }
  let sum = state.sum * weight(state.top, top) + ((weights.x + weights.y) + (weights.z + weights.w));
  return State(top, sum, special);
}

// The row's state from those of the invocations that share it.
fn shared_state(mine: State, local: u32) -> State {
  let key = max(sortable_key(bitcast<u32>(mine.top)), mine.special);
  let largest = group_max_u32(key, local, params.width);
  var top = mine.top;
  if (largest < INFINITY_KEY) {
    top = bitcast<f32>(select(~largest, largest ^ 0x80000000u, largest >= 0x80000000u));
  }
  let sum = group_sum(mine.sum * weight(mine.top, top), local, params.width);
  return State(top, sum, select(0u, largest, largest >= INFINITY_KEY));
}

// Four columns of a row, a width apart, from column i; past the end the last one again, which `loaded` then masks.
fn positions(at: Place, i: u32) -> vec4u {
  return at.start + min(vec4u(i) + params.width * vec4u(0u, 1u, 2u, 3u), vec4u(at.n - 1u));
}

fn loaded(values: vec4f, at: Place, i: u32) -> vec4u {
  var bits = bitcast<vec4u>(values) ^ vec4u(turn());
  if (params.scale == 0.0) {
    // Zero times infinity.
    bits = select(vec4u(NAN_BITS), bits, is_finite_bits(bits));
  }
  return select(vec4u(MASKED), bits, vec4u(i) + params.width * vec4u(0u, 1u, 2u, 3u) < vec4u(at.n));
}

fn row_state(at: Place, local: u32) -> State {
  var state = EMPTY;
  for (var i = at.column; i < at.n; i += 4u * params.width) {
    let p = positions(at, i);
    state = joined(state, loaded(vec4f(vec4<element>(x[p.x], x[p.y], x[p.z], x[p.w])), at, i));
  }
  return shared_state(state, local);
}

// A value's weight in its row.
fn normalised(value: f32, state: State, inverse: f32) -> f32 {
  if (state.special != 0u) {
    return nan_f32();
  }
  let bits = bitcast<u32>(value) ^ turn();
  return select(weight(bitcast<f32>(bits), state.top) * inverse, 0.0, bits == MASKED);
}

@compute @workgroup_size(WORKGROUP)
fn softmax_f32(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let at = place(group, groups, local);
  let state = row_state(at, local);
  let inverse = 1.0 / max(state.sum, 1.0);
  for (var i = at.column; i < at.n; i += params.width) {
    out[at.start + i] = element(normalised(f32(x[at.start + i]), state, inverse));
  }
}

// out holds x.
@compute @workgroup_size(WORKGROUP)
fn softmax_f32__inplace(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let at = place(group, groups, local);
  var state = EMPTY;
  for (var i = at.column; i < at.n; i += 4u * params.width) {
    let p = positions(at, i);
    state = joined(state, loaded(vec4f(vec4<element>(out[p.x], out[p.y], out[p.z], out[p.w])), at, i));
  }
  // Its barriers lie between every read of the row above and every write below.
  state = shared_state(state, local);
  let inverse = 1.0 / max(state.sum, 1.0);
  for (var i = at.column; i < at.n; i += params.width) {
    out[at.start + i] = element(normalised(f32(out[at.start + i]), state, inverse));
  }
}

@compute @workgroup_size(WORKGROUP)
fn logsumexp_f32(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let at = place(group, groups, local);
  let state = row_state(at, local);
  if (at.column == 0u && at.row < params.rows) {
    if (state.special != 0u) {
      lse[at.row] = edge(state.special);
    } else if (state.sum == 0.0) {
      lse[at.row] = negative_infinity_f32();
    } else {
      lse[at.row] = state.top * abs(params.scale) + log(state.sum);
    }
  }
}

@compute @workgroup_size(WORKGROUP)
fn softmax_state_f32(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let at = place(group, groups, local);
  let state = row_state(at, local);
  if (at.column == 0u && at.row < params.rows) {
    if (state.special != 0u) {
      max__rows[at.row] = edge(state.special);
      sum__rows[at.row] = nan_f32();
    } else if (state.sum == 0.0) {
      max__rows[at.row] = negative_infinity_f32();
      sum__rows[at.row] = 0.0;
    } else {
      max__rows[at.row] = state.top * abs(params.scale);
      sum__rows[at.row] = state.sum;
    }
  }
}

// +infinity or NaN.
fn edge(key: u32) -> f32 {
  if (key == NAN_KEY) {
    return nan_f32();
  }
  return infinity_f32();
}

// Merging states: outputs element [states, rows, n], lses f32 [states, rows], output element [rows, n], lse f32 [rows]. One
// invocation per value of output. A state with lse -infinity is empty and its output is not read; all empty: output 0,
// lse -infinity. A NaN lse gives NaN; +infinity gives output NaN, lse +infinity.

struct MergeParams {
  states: u32,
  rows: u32,
  n: u32,
}

@group(0) @binding(6) var<uniform> merge: MergeParams;
@group(0) @binding(7) var<storage, read> outputs: array<element>;
@group(0) @binding(8) var<storage, read> lses: array<f32>;
@group(0) @binding(9) var<storage, read_write> output: array<element>;

@compute @workgroup_size(WORKGROUP)
fn softmax_merge_f32(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let columns = max(merge.n, 1u);
  let index = (group.x + group.y * groups.x) * WORKGROUP + local;
  let row = index / columns;
  let column = index % columns;
  if (row >= merge.rows) {
    return;
  }

  var top = LOWEST_F32;
  var special = 0u;
  for (var s = 0u; s < merge.states; s++) {
    let bits = bitcast<u32>(lses[s * merge.rows + row]);
    if ((bits & INFINITY_BITS) < INFINITY_BITS) {
      top = max(top, bitcast<f32>(bits));
    }
    special = max(special, special_key(bits));
  }

  var sum = 0.0;
  var merged = 0.0;
  for (var s = 0u; s < merge.states; s++) {
    let part = lses[s * merge.rows + row];
    if (bitcast<u32>(part) == MASKED || special != 0u) {
      continue;
    }
    let weight = exp(max(part - top, -200.0));
    sum += weight;
    if (column < merge.n && weight > 0.0) {
      merged += weight * f32(outputs[(s * merge.rows + row) * merge.n + column]);
    }
  }

  if (special != 0u) {
    merged = nan_f32();
  } else if (sum > 0.0) {
    merged = merged / sum;
  }
  if (column < merge.n) {
    output[index] = element(merged);
  }
  if (column == 0u) {
    if (special != 0u) {
      lse[row] = edge(special);
    } else if (sum == 0.0) {
      lse[row] = negative_infinity_f32();
    } else {
      lse[row] = top + log(sum);
    }
  }
}
