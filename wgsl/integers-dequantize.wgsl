// Values from packed integer codes of 1, 1.6, 2, 3, 4 or 8 bits.
//
// codes: u32; scales, minima: f32, or f16 two to a word; out: f32. Shapes, layout and meaning are those of
// assembly/integers-dequantize.ts; constants as in wgsl/integers.wgsl. Values may differ from the CPU's by the rounding that a
// fused multiply-add leaves out. A scale or minimum of NaN gives NaN. No scratch. An invocation makes four values.

override bits: u32;
override scheme: u32;
override axis: u32;
override scaleType: u32;

struct Params {
  rows: u32,
  n: u32,
  groupSize: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> minima: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<element>;

const WORKGROUP_SIZE: u32 = 256u;

// Codes i to i + 3 of a run, i a multiple of 4.
fn codes_of(line: u32, run: u32, i: u32) -> vec4i {
  let word = run * run_words();
  let four = vec4u(0u, 1u, 2u, 3u);
  if (is_packed()) {
    var digits = (vec4u(codes[word_at(line, word)]) >> (four * 8u)) & vec4u(255u);
    for (var k = i; k > 0u; k -= 4u) {
      digits /= vec4u(3u);
    }
    return vec4i(digits % vec4u(3u)) - vec4i(1);
  }
  var code: vec4u;
  if (bits == 3u) {
    let low = codes[word_at(line, word + i / 16u)] >> (2u * (i % 16u));
    let above = codes[word_at(line, word + 2u)] >> i;
    code = ((vec4u(low) >> (four * 2u)) & vec4u(3u)) | (((vec4u(above) >> four) & vec4u(1u)) << vec4u(2u));
  } else {
    code = (vec4u(codes[word_at(line, word)] >> (i * bits)) >> (four * bits)) & vec4u((1u << bits) - 1u);
  }
  let half = select(0u, 1u << (bits - 1u), scheme != INTEGERS_AFFINE && bits > 1u);
  return vec4i(code ^ vec4u(half)) - vec4i(i32(half));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn dequantize_integers_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let unit = (id.x + id.y * count.x) * WORKGROUP_SIZE + local;
  let fours = parts_of(line_length(), 4u);
  let line = select(unit / fours, unit % params.n, axis == 1u);
  let at = 4u * select(unit % fours, unit / params.n, axis == 1u);
  if (line >= line_count() || at >= line_length()) {
    return;
  }
  let group = group_at(line, at);
  let scale_bits = float_bits(scales[scale_word(group)], group);
  let scale = bitcast<f32>(scale_bits);
  // When not affine, the host binds scales here too.
  let minimum_bits = select(0u, float_bits(minima[scale_word(group)], group), scheme == INTEGERS_AFFINE);
  let code = codes_of(line, at / run_codes(), at % run_codes());
  var values = vec4f(code) * scale + vec4f(bitcast<f32>(minimum_bits));
  if (is_sign()) {
    values = select(vec4f(scale), vec4f(-scale), code == vec4i(1));
  }
  if (is_nan_bits(scale_bits) || is_nan_bits(minimum_bits)) {
    values = vec4f(nan_f32());
  }
  for (var i = 0u; i < min(4u, line_length() - at); i++) {
    out[value_place(line, at + i)] = element(values[i]);
  }
}
