// Rows rotated, and rotated rows as integer codes and back. Arrays and meaning are those of assembly/rotate.ts.
//
//   x, out        f32 [rows, n]   any finite values; n = params.order · 2^p, up to 2048
//   permutation   u32 [n]         read where params.permuted is 1; above n − 1: taken for n − 1
//   factors       f32 [n]         read where params.scaled is 1
//   signs         i8  [n]         read where params.signed is 1; four to a word
//   matrix        u32 [order, ceil(order/32)]  read where params.order is not 1
//   codes, scales, minima         groups along a row, as in quantize.wgsl: bits, groupSize, scheme are override constants
//
//   rotate_f32            params.inverse 0 or 1
//   rotate_quantize_f32, rotate_quantize_f32__symmetric (without minima)
//   rotate_dequantize_f32
//
// Additions are the CPU's in the same order, and so are the products by coefficients: scales and minima are the CPU's, codes
// are, or one step away where the exact quotient lies within 4 ulp of a rounding boundary (as in quantize.wgsl, also for NaN,
// infinity and denormals), as far as a device does not reorder sums; no product is added to anything before it has been in
// workgroup memory. Values on the way back may differ in the last bits: division is within 2.5 ulp, code · scale + minimum
// may be fused.
//
// Method: a workgroup takes params.team whole rows (up to 2048 values) into workgroup memory, permuted and multiplied; then two
// stages at a time, with four values in registers, and a barrier; then params.lanes invocations share a group.
// Workgroups: ceil(rows / team). No scratch.
//
// Not done: up to four stages at a time, with sixteen values as in hadamard.wgsl (2 or 3 barriers for 7 to 11 stages, not 4 to
// 6). Least times against one stage at a time: 1.3 to 1.5 times as fast on lavapipe (two at a time: 1.0 to 1.3), and on
// SwiftShader 0.6 to 0.9 (1.0 to 1.1); no real GPU to measure it on.

override bits: u32 = 4u;
override groupSize: u32 = 0u;
override scheme: u32 = 0u;

struct RotateParams {
  rows: u32,
  n: u32,
  order: u32,
  scale: f32,
  inverse: u32,
  permuted: u32,
  scaled: u32,
  signed: u32,
  team: u32,
  lanes: u32,
}

@group(0) @binding(0) var<uniform> params: RotateParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> permutation: array<u32>;
@group(0) @binding(3) var<storage, read> factors: array<f32>;
@group(0) @binding(4) var<storage, read> signs: array<u32>;
@group(0) @binding(5) var<storage, read> matrix: array<u32>;
@group(0) @binding(6) var<storage, read_write> codes: array<u32>;
@group(0) @binding(7) var<storage, read_write> scales: array<f32>;
@group(0) @binding(8) var<storage, read_write> minima: array<f32>;
@group(0) @binding(9) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> codes__read: array<u32>;
@group(0) @binding(7) var<storage, read> scales__read: array<f32>;
@group(0) @binding(8) var<storage, read> minima__read: array<f32>;

var<workgroup> held: array<f32, 2048>;
var<workgroup> lows: array<f32, 256>;
var<workgroup> highs: array<f32, 256>;
var<workgroup> odds: array<u32, 256>;

/// The column of x that value j of a row comes from.
fn column_of(j: u32) -> u32 {
  if (params.permuted == 1u) {
    return min(permutation[j], params.n - 1u);
  }
  return j;
}

/// What value j of a row is multiplied by, on the way in or on the way back.
fn coefficient(j: u32, back: bool) -> f32 {
  var c = params.scale;
  if (params.scaled == 1u) {
    let factor = factors[column_of(j)];
    if (back) {
      c = params.scale / factor;
    } else {
      c = factor * params.scale;
    }
  }
  if (params.signed == 1u) {
    if (((signs[j >> 2u] >> (8u * (j & 3u))) & 128u) != 0u) {
      c = -c;
    }
  }
  return c;
}

/// How far apart the values of a stage lie, as a power of two: the order of assembly/lib/hadamard.ts.
fn distance_of(stage: u32, stages: u32) -> u32 {
  if (stages < 3u) {
    return stages - 1u - stage;
  }
  if (stages == 3u) {
    return (0x120u >> (4u * (2u - stage))) & 15u;
  }
  if (stage < 4u) {
    return (0x1320u >> (4u * (3u - stage))) & 15u;
  }
  let lead = (stages - 4u) % 3u;
  let place = stage - 4u;
  if (place < lead) {
    return 3u + lead - place;
  }
  let three = (place - lead) / 3u;
  return 4u + lead + 3u * three + 2u - (place - lead) % 3u;
}

fn held_four(at: u32, stride: u32) -> vec4f {
  return vec4f(held[at], held[at + stride], held[at + 2u * stride], held[at + 3u * stride]);
}

/// Item i of those whose bit `distance` is zero.
fn without(i: u32, distance: u32) -> u32 {
  return 2u * i - (i & (distance - 1u));
}

/// The held rows transformed; barriers stand on both sides.
fn rotate_held(local: u32, inverse: u32) {
  let values = params.team * params.n;
  let block = params.n / params.order;
  let stages = firstTrailingBit(block);
  workgroupBarrier();
  // Where their number is odd, the first is alone.
  if ((stages & 1u) == 1u) {
    let distance = 1u << distance_of(0u, stages);
    for (var pair = local; pair < values / 2u; pair += 256u) {
      let i = without(pair, distance);
      let a = held[i];
      let b = held[i + distance];
      held[i] = a + b;
      held[i + distance] = a - b;
    }
    workgroupBarrier();
  }
  for (var stage = stages & 1u; stage < stages; stage += 2u) {
    let first = 1u << distance_of(stage, stages);
    let second = 1u << distance_of(stage + 1u, stages);
    for (var four = local; four < values / 4u; four += 256u) {
      let i = without(without(four, min(first, second)), max(first, second));
      let v = walsh_halves(walsh_pairs(vec4f(held[i], held[i + first], held[i + second], held[i + first + second])));
      held[i] = v.x;
      held[i + first] = v.y;
      held[i + second] = v.z;
      held[i + first + second] = v.w;
    }
    workgroupBarrier();
  }
  if (params.order > 1u) {
    var sums: array<f32, 8>;
    for (var e = 0u; e < 8u; e++) {
      let i = local + 256u * e;
      if (i < values) {
        let k = i % params.n / block;
        let first = i - k * block;
        var sum = signed_sum(held_four(first, block), matrix_four(k, 0u, params.order, inverse));
        for (var g = 4u; g < params.order; g += 4u) {
          sum += signed_sum(held_four(first + g * block, block), matrix_four(k, g, params.order, inverse));
        }
        sums[e] = sum;
      }
    }
    workgroupBarrier();
    for (var e = 0u; e < 8u; e++) {
      let i = local + 256u * e;
      if (i < values) {
        held[i] = sums[e];
      }
    }
    workgroupBarrier();
  }
}

/// The rows of this workgroup, permuted and multiplied.
fn load(first: u32, local: u32) {
  for (var i = local; i < params.team * params.n; i += 256u) {
    let row = first + i / params.n;
    let j = i % params.n;
    if (row < params.rows) {
      held[i] = x[row * params.n + column_of(j)] * coefficient(j, false);
    }
  }
}

/// The held rows multiplied and put where they came from.
fn store_back(first: u32, local: u32) {
  for (var i = local; i < params.team * params.n; i += 256u) {
    let row = first + i / params.n;
    let j = i % params.n;
    if (row < params.rows) {
      out[row * params.n + column_of(j)] = held[i] * coefficient(j, true);
    }
  }
}

@compute @workgroup_size(256)
fn rotate_f32(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = (id.x + id.y * count.x) * params.team;
  if (params.inverse == 1u) {
    for (var i = local; i < params.team * params.n; i += 256u) {
      if (first + i / params.n < params.rows) {
        held[i] = x[first * params.n + i];
      }
    }
  } else {
    load(first, local);
  }
  rotate_held(local, params.inverse);
  if (params.inverse == 1u) {
    store_back(first, local);
  } else {
    for (var i = local; i < params.team * params.n; i += 256u) {
      if (first + i / params.n < params.rows) {
        out[first * params.n + i] = held[i];
      }
    }
  }
}

fn per_word() -> u32 {
  return 32u / bits;
}

fn group_length() -> u32 {
  return select(min(groupSize, params.n), params.n, groupSize == 0u);
}

/// What an invocation works on: `count` held values from `first`. Past the last group: none.
struct HeldGroup {
  index: u32,
  first: u32,
  count: u32,
  word: u32,
  lane: u32,
}

fn group_of(first_row: u32, local: u32) -> HeldGroup {
  let groups = (params.n + group_length() - 1u) / group_length();
  let place = local / params.lanes;
  let inside = place / groups;
  let row = first_row + inside;
  let start = place % groups * group_length();
  let lane = local % params.lanes;
  if (inside >= params.team || row >= params.rows) {
    return HeldGroup(0u, 0u, 0u, 0u, lane);
  }
  let words = (params.n + per_word() - 1u) / per_word();
  let count = min(group_length(), params.n - start);
  return HeldGroup(row * groups + place % groups, inside * params.n + start, count, row * words + start / per_word(), lane);
}

/// Values i to i + 3 of a group; past its end the last one again.
fn group_four(group: HeldGroup, i: u32) -> vec4f {
  let at = group.first + min(vec4u(i) + vec4u(0u, 1u, 2u, 3u), vec4u(group.count - 1u));
  return vec4f(held[at.x], held[at.y], held[at.z], held[at.w]);
}

/// The group's format, from the extremes of its lanes. All invocations must call.
fn format_for(group: HeldGroup, local: u32) -> CodeFormat {
  var e = NO_EXTREMES;
  for (var i = 4u * group.lane; i < group.count; i += 4u * params.lanes) {
    e = widened_extremes(e, group_four(group, i));
  }
  lows[local] = e.low;
  highs[local] = e.high;
  odds[local] = e.odd;
  for (var half = params.lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (group.lane < half) {
      lows[local] = min(lows[local], lows[local + half]);
      highs[local] = max(highs[local], highs[local + half]);
      odds[local] |= odds[local + half];
    }
  }
  workgroupBarrier();
  let meeting = local - group.lane;
  return code_format_of(GroupExtremes(lows[meeting], highs[meeting], odds[meeting]));
}

fn write_codes(group: HeldGroup, format: CodeFormat) {
  for (var word = group.lane; word * per_word() < group.count; word += params.lanes) {
    var result = 0u;
    for (var i = 0u; i < per_word() && word * per_word() + i < group.count; i += 4u) {
      let at = word * per_word() + i;
      result |= packed_codes(group_four(group, at), format, group.count - at) << (i * bits);
    }
    codes[group.word + word] = result;
  }
}

@compute @workgroup_size(256)
fn rotate_quantize_f32(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = (id.x + id.y * count.x) * params.team;
  load(first, local);
  rotate_held(local, 0u);
  let group = group_of(first, local);
  let format = format_for(group, local);
  write_codes(group, format);
  if (group.count > 0u && group.lane == 0u) {
    scales[group.index] = format.scale;
    minima[group.index] = format.minimum;
  }
}

@compute @workgroup_size(256)
fn rotate_quantize_f32__symmetric(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = (id.x + id.y * count.x) * params.team;
  load(first, local);
  rotate_held(local, 0u);
  let group = group_of(first, local);
  let format = format_for(group, local);
  write_codes(group, format);
  if (group.count > 0u && group.lane == 0u) {
    scales[group.index] = format.scale;
  }
}

@compute @workgroup_size(256)
fn rotate_dequantize_f32(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = (id.x + id.y * count.x) * params.team;
  let fours = (params.n + 3u) / 4u;
  let words = (params.n + per_word() - 1u) / per_word();
  let groups = (params.n + group_length() - 1u) / group_length();
  for (var i = local; i < params.team * fours; i += 256u) {
    let row = first + i / fours;
    if (row < params.rows) {
      let j = i % fours * 4u;
      let group = row * groups + j / group_length();
      let word = codes__read[row * words + j / per_word()] >> (j % per_word() * bits);
      // When symmetric, the host binds scales in the place of minima.
      let values = restored_codes(word, scales__read[group], select(minima__read[group], 0.0, scheme == 1u));
      for (var k = 0u; k < min(4u, params.n - j); k++) {
        held[i / fours * params.n + j + k] = values[k];
      }
    }
  }
  rotate_held(local, 1u);
  store_back(first, local);
}
