// Integer codes of 2, 4 or 8 bits with one scale (and, when affine, one minimum) per group of values.
//
// x, out: f32 [rows, n]; codes: u32; scales, minima: f32. Shapes, layout and meaning are those of assembly/quantize.ts, so
// that what one side wrote the other reads. axis 0: groups along rows; 1: down columns. scheme 0: affine; 1: symmetric,
// without minima. groupSize 0, or longer than the axis: the whole axis. No scratch.
//
// Scales and minima are the CPU's bit for bit (the division by 2^b - 1 is done in integers). Codes are the CPU's, or one
// step away where the exact quotient lies within 4 ulp of a rounding boundary: WGSL's division is within 2.5 ulp. Values
// that come back may differ by the rounding that a fused multiply-add leaves out.
// A group with NaN or infinity, or whose range overflows: scale and minimum NaN, codes 0, back as NaN; recognised by bits,
// and arithmetic sees finite numbers only. Denormals may be taken for 0: a denormal scale gives scale 0 and codes 0.
//
// quantize: `lanes` invocations (a power of two, chosen by the host) share a group, each takes every lanes-th word; the
// extremes meet in workgroup memory; the values are then read again, from cache as a rule. Lanes lie side by side along a
// row; down columns it is the columns that do. dequantize: an invocation makes four values.
// Along rows whose length is a multiple of 4, the variants `vec4` read or write 16 bytes at a time.
//
// Not done: keeping values in registers between the passes (private arrays of varying length end in memory anyway).

override bits: u32;
override groupSize: u32;
override scheme: u32;
override axis: u32;

struct Params {
  rows: u32,
  n: u32,
  lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read> x__vec4: array<vec4<element>>;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;
@group(0) @binding(3) var<storage, read_write> scales: array<f32>;
@group(0) @binding(4) var<storage, read_write> minima: array<f32>;

@group(0) @binding(1) var<storage, read> codes__read: array<u32>;
@group(0) @binding(2) var<storage, read> scales__read: array<f32>;
@group(0) @binding(3) var<storage, read> minima__read: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<element>;
@group(0) @binding(4) var<storage, read_write> out__vec4: array<vec4<element>>;

const WORKGROUP_SIZE: u32 = 256u;

var<workgroup> lows: array<f32, WORKGROUP_SIZE>;
var<workgroup> highs: array<f32, WORKGROUP_SIZE>;
var<workgroup> odds: array<u32, WORKGROUP_SIZE>;

// Values per word.
fn per_word() -> u32 {
  return 32u / bits;
}

// Length of the axis that groups lie along.
fn extent() -> u32 {
  return select(params.n, params.rows, axis == 1u);
}

fn group_length() -> u32 {
  return select(min(groupSize, extent()), extent(), groupSize == 0u);
}

fn divided_up(a: u32, b: u32) -> u32 {
  return a / b + u32(a % b != 0u);
}

// What an invocation works on: a group's values, `count` of them from `first`, and its words. Past the last group: none.
struct Group {
  index: u32,
  first: u32,
  count: u32,
  word: u32,
  lane: u32,
  // Where the lanes of this group find each other in workgroup memory.
  meeting: u32,
}

fn group_of(team: u32, local: u32) -> Group {
  let together = WORKGROUP_SIZE / params.lanes;
  var lane = local % params.lanes;
  var place = local / params.lanes;
  if (axis == 1u) {
    lane = local / together;
    place = local % together;
  }
  let groups = divided_up(extent(), group_length());
  let lines = select(params.rows, params.n, axis == 1u);
  let index = team * together + place;
  let meeting = select(place * params.lanes, place, axis == 1u);
  if (index >= groups * lines) {
    return Group(index, 0u, 0u, 0u, lane, meeting);
  }
  let line = select(index / groups, index % params.n, axis == 1u);
  let start = select(index % groups, index / params.n, axis == 1u) * group_length();
  let count = min(group_length(), extent() - start);
  let word = start / per_word();
  if (axis == 1u) {
    return Group(index, start * params.n + line, count, word * params.n + line, lane, meeting);
  }
  return Group(index, line * params.n + start, count, line * divided_up(params.n, per_word()) + word, lane, meeting);
}

// From one value of a group, or one of its words, to the next.
fn stride() -> u32 {
  return select(1u, params.n, axis == 1u);
}

// Values i to i + 3 of a group; past its end the last one again.
fn four(group: Group, i: u32) -> vec4f {
  let at = group.first + min(vec4u(i) + vec4u(0u, 1u, 2u, 3u), vec4u(group.count - 1u)) * stride();
  return vec4f(f32(x[at.x]), f32(x[at.y]), f32(x[at.z]), f32(x[at.w]));
}

fn four__vec4(group: Group, i: u32) -> vec4f {
  return vec4f(x__vec4[(group.first + i) / 4u]);
}

// The group's extremes from those of its lanes. All invocations must call.
fn met(mine: GroupExtremes, group: Group, local: u32) -> GroupExtremes {
  lows[local] = mine.low;
  highs[local] = mine.high;
  odds[local] = mine.odd;
  let apart = select(1u, WORKGROUP_SIZE / params.lanes, axis == 1u);
  for (var half = params.lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (group.lane < half) {
      let other = local + half * apart;
      lows[local] = min(lows[local], lows[other]);
      highs[local] = max(highs[local], highs[other]);
      odds[local] |= odds[other];
    }
  }
  workgroupBarrier();
  return GroupExtremes(lows[group.meeting], highs[group.meeting], odds[group.meeting]);
}

fn extremes_of(group: Group) -> GroupExtremes {
  var e = NO_EXTREMES;
  for (var word = group.lane * per_word(); word < group.count; word += params.lanes * per_word()) {
    for (var i = word; i < min(word + per_word(), group.count); i += 4u) {
      e = widened_extremes(e, four(group, i));
    }
  }
  return e;
}

fn extremes_of__vec4(group: Group) -> GroupExtremes {
  var e = NO_EXTREMES;
  for (var word = group.lane * per_word(); word < group.count; word += params.lanes * per_word()) {
    for (var i = word; i < min(word + per_word(), group.count); i += 4u) {
      e = widened_extremes(e, four__vec4(group, i));
    }
  }
  return e;
}

fn write_codes(group: Group, format: CodeFormat) {
  for (var word = group.lane; word * per_word() < group.count; word += params.lanes) {
    var result = 0u;
    for (var i = 0u; i < per_word() && word * per_word() + i < group.count; i += 4u) {
      let at = word * per_word() + i;
      result |= packed_codes(four(group, at), format, group.count - at) << (i * bits);
    }
    codes[group.word + word * stride()] = result;
  }
}

fn write_codes__vec4(group: Group, format: CodeFormat) {
  for (var word = group.lane; word * per_word() < group.count; word += params.lanes) {
    var result = 0u;
    for (var i = 0u; i < per_word() && word * per_word() + i < group.count; i += 4u) {
      result |= packed_codes(four__vec4(group, word * per_word() + i), format, 4u) << (i * bits);
    }
    codes[group.word + word] = result;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let group = group_of(id.x + id.y * count.x, local);
  let format = code_format_of(met(extremes_of(group), group, local));
  write_codes(group, format);
  if (group.count > 0u && group.lane == 0u) {
    scales[group.index] = format.scale;
    minima[group.index] = format.minimum;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_f32__symmetric(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let group = group_of(id.x + id.y * count.x, local);
  let format = code_format_of(met(extremes_of(group), group, local));
  write_codes(group, format);
  if (group.count > 0u && group.lane == 0u) {
    scales[group.index] = format.scale;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_f32__vec4(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let group = group_of(id.x + id.y * count.x, local);
  let format = code_format_of(met(extremes_of__vec4(group), group, local));
  write_codes__vec4(group, format);
  if (group.count > 0u && group.lane == 0u) {
    scales[group.index] = format.scale;
    minima[group.index] = format.minimum;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_f32__vec4_symmetric(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let group = group_of(id.x + id.y * count.x, local);
  let format = code_format_of(met(extremes_of__vec4(group), group, local));
  write_codes__vec4(group, format);
  if (group.count > 0u && group.lane == 0u) {
    scales[group.index] = format.scale;
  }
}

// Four values next to each other along the axis: `count` of them exist.
struct Unit {
  first: u32,
  count: u32,
  values: vec4f,
}

// The values of the four codes in the lowest bits of a word.
fn restored(word: u32, group: u32) -> vec4f {
  // When symmetric, the host binds scales here too.
  return restored_codes(word, scales__read[group], select(minima__read[group], 0.0, scheme == 1u));
}

fn unit_of(index: u32) -> Unit {
  if (axis == 1u) {
    let column = index % params.n;
    let row = index / params.n * 4u;
    if (row >= params.rows) {
      return Unit(0u, 0u, vec4f(0.0));
    }
    let word = codes__read[row / per_word() * params.n + column] >> (row % per_word() * bits);
    let values = restored(word, row / group_length() * params.n + column);
    return Unit(row * params.n + column, min(4u, params.rows - row), values);
  }
  let units = divided_up(params.n, 4u);
  let row = index / units;
  let column = index % units * 4u;
  if (row >= params.rows) {
    return Unit(0u, 0u, vec4f(0.0));
  }
  let word = codes__read[row * divided_up(params.n, per_word()) + column / per_word()] >> (column % per_word() * bits);
  let values = restored(word, row * divided_up(params.n, group_length()) + column / group_length());
  return Unit(row * params.n + column, min(4u, params.n - column), values);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn dequantize_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let unit = unit_of((id.x + id.y * count.x) * WORKGROUP_SIZE + local);
  for (var i = 0u; i < unit.count; i++) {
    out[unit.first + i * stride()] = element(unit.values[i]);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn dequantize_f32__vec4(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let unit = unit_of((id.x + id.y * count.x) * WORKGROUP_SIZE + local);
  if (unit.count > 0u) {
    out__vec4[unit.first / 4u] = vec4<element>(unit.values);
  }
}
