// out[i, j] = sum over l of x[i, l] * W[j, l], W quantised and packed.
//
// x: f32 [m, k]; packed: u32, W [n, k] as gemm_pack_u32 lays it out (assembly/gemm-pack.ts); out: f32 [m, n], rows outStride
// values apart (0: n); scratch: f32 [m, k], rounded activations (i16 and i8 only).
//
// Meaning as in assembly/gemm.ts; a GPU adds in another order, and may fuse. For i16 and i8, x is first rounded to what
// those integers stand for (`__round`), then multiplied as f32: the CPU's results within rounding, except that a
// quotient next to a tie may round to the neighbour (WGSL's division is within 2.5 ulp). Activations that are not finite
// and scales that are NaN may come out as anything (WGSL may assume finite numbers).
//
// Up to four rows: 64 invocations for each row and panel (eight outputs), four inputs at a time, met by a reduction.
// More rows: a workgroup makes 64 outputs of 32 rows from tiles of 32 inputs in workgroup memory.
//
// Not done: dot4I8Packed (a language feature; only for codes of 4 bits and i8, which would need activations as integers);
// vec4 loads of x.

override bits: u32;
override groupSize: u32;
override scheme: u32;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  outStride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> packed__vec4: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> scratch: array<f32>;

@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> minima: array<u32>;
@group(0) @binding(4) var<storage, read_write> packed__write: array<u32>;

fn whole_row() -> bool {
  return groupSize == 0u || groupSize >= params.k;
}

fn block_length() -> u32 {
  return select(groupSize, 128u, whole_row());
}

fn blocks_per_row() -> u32 {
  return (params.k + block_length() - 1u) / block_length();
}

// Words of scales and minima before a block's codes.
fn header_words() -> u32 {
  return select(16u, 8u, scheme == 1u);
}

fn block_words() -> u32 {
  return header_words() + block_length() * bits / 4u;
}

// k is filled up to a multiple of 32.
fn panel_words() -> u32 {
  return blocks_per_row() * header_words() + (params.k + 31u) / 32u * 8u * bits;
}

// What was added to codes.
fn half_range() -> f32 {
  return select(0.0, f32(1u << (bits - 1u)), scheme == 1u);
}

fn out_at(row: u32, column: u32) -> u32 {
  return row * select(params.outStride, params.n, params.outStride == 0u) + column;
}

// Four outputs' codes of one input, `shift` bits up in their words.
fn numbers(words: vec4u, shift: u32) -> vec4f {
  return vec4f((words >> vec4u(shift)) & vec4u((1u << bits) - 1u)) - vec4f(half_range());
}

// Eight outputs of one row, all 64 invocations of it having them; none where there is no such row or panel.
struct Eight {
  low: vec4f,
  high: vec4f,
}

fn panel_by_row(team: u32, lane: u32) -> Eight {
  var result = Eight(vec4f(0.0), vec4f(0.0));
  let panels = (params.n + 7u) / 8u;
  let row = team / panels;
  if (row >= params.m) {
    return result;
  }
  let panel = team % panels * panel_words();
  for (var l = lane * 4u; l < params.k; l += 256u) {
    let header = panel + l / block_length() * block_words();
    let at = (header + header_words() + l % block_length() / 4u * bits) / 4u;
    let first = packed__vec4[at];
    var second = first >> vec4u(4u);
    if (bits == 8u) {
      second = packed__vec4[at + 1u];
    }
    var low = vec4f(0.0);
    var high = vec4f(0.0);
    var sum = 0.0;
    for (var i = 0u; i < 4u && l + i < params.k; i++) {
      let value = x[row * params.k + l + i];
      low += numbers(first, 8u * i) * value;
      high += numbers(second, 8u * i) * value;
      sum += value;
    }
    result.low += low * bitcast<vec4f>(packed__vec4[header / 4u]);
    result.high += high * bitcast<vec4f>(packed__vec4[header / 4u + 1u]);
    if (scheme == 0u) {
      result.low += sum * bitcast<vec4f>(packed__vec4[header / 4u + 2u]);
      result.high += sum * bitcast<vec4f>(packed__vec4[header / 4u + 3u]);
    }
  }
  return result;
}

fn few_rows(id: u32, local: u32) {
  let team = id * 4u + local / 64u;
  let mine = panel_by_row(team, local % 64u);
  var sums: array<f32, 8>;
  for (var i = 0u; i < 4u; i++) {
    sums[i] = group_sum(mine.low[i], local, 64u);
    sums[i + 4u] = group_sum(mine.high[i], local, 64u);
  }
  let panels = (params.n + 7u) / 8u;
  let row = team / panels;
  let column = team % panels * 8u;
  if (row < params.m && local % 64u == 0u) {
    for (var i = 0u; i < min(8u, params.n - column); i++) {
      out[out_at(row, column + i)] = sums[i];
    }
  }
}

const TILE_OUTPUTS: u32 = 64u;
const TILE_ROWS: u32 = 32u;
const TILE_INPUTS: u32 = 32u;

// [inputs][outputs] and [rows][inputs].
var<workgroup> tile_weights: array<f32, TILE_INPUTS * TILE_OUTPUTS>;
var<workgroup> tile_x: array<f32, TILE_ROWS * TILE_INPUTS>;

// Outputs r and r + 4 of a panel, four inputs of each.
fn load_weights(column: u32, first_input: u32, local: u32) {
  let panel = local / 32u;
  let four = local / 4u % 8u;
  let r = local % 4u;
  let exists = column + panel * 8u < params.n;
  let header = (column / 8u + panel) * panel_words() + first_input / block_length() * block_words();
  let at = header + header_words() + (first_input % block_length() / 4u + four) * bits + r;
  for (var h = 0u; h < 2u; h++) {
    var word = 0u;
    var scale = 0.0;
    var minimum = 0.0;
    if (exists) {
      word = packed[at + h * (bits - 4u)] >> select(0u, 4u * h, bits == 4u);
      scale = bitcast<f32>(packed[header + 4u * h + r]);
      if (scheme == 0u) {
        minimum = bitcast<f32>(packed[header + 8u + 4u * h + r]);
      }
    }
    for (var i = 0u; i < 4u; i++) {
      let code = f32((word >> (8u * i)) & ((1u << bits) - 1u)) - half_range();
      tile_weights[(four * 4u + i) * TILE_OUTPUTS + panel * 8u + h * 4u + r] = code * scale + minimum;
    }
  }
}

fn load_x(row: u32, first_input: u32, local: u32) {
  for (var at = local; at < TILE_ROWS * TILE_INPUTS; at += 256u) {
    let i = row + at / TILE_INPUTS;
    let l = first_input + at % TILE_INPUTS;
    var value = 0.0;
    if (i < params.m && l < params.k) {
      value = x[i * params.k + l];
    }
    tile_x[at] = value;
  }
}

// An invocation makes eight outputs of one row.
fn many_rows(id: u32, local: u32) {
  let across = (params.n + TILE_OUTPUTS - 1u) / TILE_OUTPUTS;
  let column = id % across * TILE_OUTPUTS;
  let row = id / across * TILE_ROWS;
  let mine = local / 8u;
  let panel = local % 8u * 8u;
  var low = vec4f(0.0);
  var high = vec4f(0.0);
  for (var first_input = 0u; first_input < params.k; first_input += TILE_INPUTS) {
    workgroupBarrier();
    load_weights(column, first_input, local);
    load_x(row, first_input, local);
    workgroupBarrier();
    for (var l = 0u; l < TILE_INPUTS; l++) {
      let at = l * TILE_OUTPUTS + panel;
      let value = tile_x[mine * TILE_INPUTS + l];
      low += value * vec4f(tile_weights[at], tile_weights[at + 1u], tile_weights[at + 2u], tile_weights[at + 3u]);
      high += value * vec4f(tile_weights[at + 4u], tile_weights[at + 5u], tile_weights[at + 6u], tile_weights[at + 7u]);
    }
  }
  if (row + mine < params.m) {
    for (var i = 0u; i < 4u; i++) {
      if (column + panel + i < params.n) {
        out[out_at(row + mine, column + panel + i)] = low[i];
      }
      if (column + panel + 4u + i < params.n) {
        out[out_at(row + mine, column + panel + 4u + i)] = high[i];
      }
    }
  }
}

// A block of a row of x as multiples of its largest value / highest; 32 invocations share it.
fn round_block(id: u32, local: u32, highest: f32) {
  let team = id * 8u + local / 32u;
  let row = team / blocks_per_row();
  let first_input = team % blocks_per_row() * block_length();
  let end = select(0u, min(first_input + block_length(), params.k), row < params.m);
  var largest_bits = 0u;
  for (var l = first_input + local % 32u; l < end; l += 32u) {
    largest_bits = max(largest_bits, bitcast<u32>(x[row * params.k + l]) & 0x7fffffffu);
  }
  largest_bits = group_max_u32(largest_bits, local, 32u);
  let scale = bitcast<f32>(largest_bits) / highest;
  for (var l = first_input + local % 32u; l < end; l += 32u) {
    var value = 0.0;
    if (largest_bits >= INFINITY_BITS) {
      value = nan_f32();
    } else if (scale >= 0x1p-126f) {
      value = scale * round(x[row * params.k + l] / scale);
    }
    scratch[row * params.k + l] = value;
  }
}

@compute @workgroup_size(WORKGROUP)
fn gemm_quantized_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  few_rows(id.x + id.y * count.x, local);
}

@compute @workgroup_size(WORKGROUP)
fn gemm_quantized_f32__tile(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  many_rows(id.x + id.y * count.x, local);
}

@compute @workgroup_size(WORKGROUP)
fn gemm_quantized_i16(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  few_rows(id.x + id.y * count.x, local);
}

@compute @workgroup_size(WORKGROUP)
fn gemm_quantized_i16__tile(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  many_rows(id.x + id.y * count.x, local);
}

@compute @workgroup_size(WORKGROUP)
fn gemm_quantized_i16__round(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  round_block(id.x + id.y * count.x, local, 32767.0);
}

@compute @workgroup_size(WORKGROUP)
fn gemm_quantized_i8(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  few_rows(id.x + id.y * count.x, local);
}

@compute @workgroup_size(WORKGROUP)
fn gemm_quantized_i8__tile(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  many_rows(id.x + id.y * count.x, local);
}

@compute @workgroup_size(WORKGROUP)
fn gemm_quantized_i8__round(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  round_block(id.x + id.y * count.x, local, 127.0);
}

// A word of codes of output j from input l on; 0 past the last.
fn stored(j: u32, l: u32) -> u32 {
  let words = (params.k * bits + 31u) / 32u;
  let word = l * bits / 32u;
  if (j >= params.n || word >= words) {
    return 0u;
  }
  return codes[j * words + word] >> (l * bits % 32u);
}

// Four codes of 4 bits to the low halves of bytes.
fn spread(code: u32) -> u32 {
  let pairs = (code | (code << 8u)) & 0x00ff00ffu;
  return (pairs | (pairs << 4u)) & 0x0f0f0f0fu;
}

// A word of packed weights for each invocation: a scale, a minimum, or codes.
@compute @workgroup_size(256)
fn gemm_pack_u32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let at = (id.x + id.y * count.x) * 256u + local;
  let row = at / panel_words() * 8u;
  if (row >= params.n) {
    return;
  }
  let inside = at % panel_words();
  let this_block = inside / block_words();
  let word = inside % block_words();
  var result = 0u;
  if (word < header_words()) {
    let j = row + word % 8u;
    if (j < params.n) {
      let group = select(j * blocks_per_row() + this_block, j, whole_row());
      result = select(minima[group], scales[group], word < 8u);
    }
  } else {
    let code = word - header_words();
    let j = row + code % bits;
    let l = this_block * block_length() + code / bits * 4u;
    if (bits == 4u) {
      result = spread(stored(j, l) & 0xffffu) | (spread(stored(j + 4u, l) & 0xffffu) << 4u);
      result ^= select(0u, 0x88888888u, scheme == 1u);
    } else {
      result = stored(j, l) ^ select(0u, 0x80808080u, scheme == 1u);
    }
  }
  packed__write[at] = result;
}
