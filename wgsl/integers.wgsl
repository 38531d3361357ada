// Integer codes of 1, 1.6, 2, 3, 4 or 8 bits with one scale (and, when affine, one minimum) per group of values.
//
// x: f32; lows, highs: f32; codes: u32; scales, minima: f32, or f16 two to a word. Shapes, layout and meaning are those of
// assembly/integers.ts and ts/contract/integers.ts. axis 0: groups along rows; 1: down columns. scheme 0: affine;
// 1: symmetric; 2: ternary, where bits 1 means five codes to a byte. scaleType 1: f16. seed 0: to nearest. No scratch.
//
// Scales and minima are the CPU's bit for bit: divisions by integers, and rounding to f16, are done in integers, and means sum
// in the CPU's order (WGSL lets a compiler reassociate; none that is tested does). Codes are the CPU's, or one step away
// where the exact quotient lies within 4 ulp of a rounding boundary: WGSL's division is within 2.5 ulp.
// NaN and infinity are recognised by bits, and arithmetic sees finite numbers only. Denormals may be taken for 0.
//
// quantize is two dispatches. `search` (or `range`, where ranges are given) writes scales and minima: `lanes` invocations (a
// power of two up to 128, chosen by the host) share a group and meet in workgroup memory; neighbours write one word of two
// halves. `codes` then reads them back: one invocation for each run of codes that share words, wherever groups end.
//
// Not done: both in one dispatch, which words that two groups share would forbid.

override bits: u32;
override scheme: u32;
override axis: u32;
override scaleType: u32;

struct Params {
  rows: u32,
  n: u32,
  groupSize: u32,
  lanes: u32,
  seed: u32,
  first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<element>;
@group(0) @binding(2) var<storage, read_write> scales: array<u32>;
@group(0) @binding(3) var<storage, read_write> minima: array<u32>;
@group(0) @binding(4) var<storage, read> lows: array<f32>;
@group(0) @binding(5) var<storage, read> highs: array<f32>;

@group(0) @binding(2) var<storage, read> scales__read: array<u32>;
@group(0) @binding(3) var<storage, read> minima__read: array<u32>;
@group(0) @binding(4) var<storage, read_write> codes: array<u32>;

const WORKGROUP_SIZE: u32 = 256u;

var<workgroup> met_lows: array<f32, WORKGROUP_SIZE>;
var<workgroup> met_highs: array<f32, WORKGROUP_SIZE>;
var<workgroup> met_odds: array<u32, WORKGROUP_SIZE>;
var<workgroup> met_scales: array<u32, WORKGROUP_SIZE>;
var<workgroup> met_minima: array<u32, WORKGROUP_SIZE>;

// ---- Scales and minima

// What an invocation works on: `count` values of `line` from `start`. Past the last group: none.
struct Group {
  index: u32,
  line: u32,
  start: u32,
  count: u32,
  lane: u32,
  // Where the group stands among those of its workgroup, and where its lanes meet: `meeting` + lane · `apart`.
  place: u32,
  meeting: u32,
  apart: u32,
}

fn group_of(team: u32, local: u32) -> Group {
  let together = WORKGROUP_SIZE / params.lanes;
  var g = Group(0u, 0u, 0u, 0u, local % params.lanes, local / params.lanes, 0u, 1u);
  g.meeting = g.place * params.lanes;
  if (axis == 1u) {
    g.lane = local / together;
    g.place = local % together;
    g.meeting = g.place;
    g.apart = together;
  }
  g.index = team * together + g.place;
  let groups = parts_of(line_length(), group_span());
  if (g.index < groups * line_count()) {
    g.line = select(g.index / groups, g.index % params.n, axis == 1u);
    g.start = select(g.index % groups, g.index / params.n, axis == 1u) * group_span();
    g.count = min(group_span(), line_length() - g.start);
  }
  return g;
}

// A group's least and greatest value; symmetric: the greatest magnitude in `high`; of means: their sum there.
struct Range {
  low: f32,
  high: f32,
  // 1 where a value was NaN or infinite.
  odd: u32,
}

fn is_odd(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) >= INFINITY_BITS;
}

// All invocations must call.
fn extremes(g: Group, local: u32) -> Range {
  var low = HIGHEST_F32;
  var high = LOWEST_F32;
  var odd = 0u;
  for (var i = g.lane; i < g.count; i += params.lanes) {
    let value = f32(x[value_place(g.line, g.start + i)]);
    if (is_odd(value)) {
      odd = 1u;
    } else {
      low = min(low, value);
      high = max(high, select(abs(value), value, scheme == INTEGERS_AFFINE));
    }
  }
  met_lows[local] = low;
  met_highs[local] = high;
  met_odds[local] = odd;
  for (var half = params.lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (g.lane < half) {
      let other = local + half * g.apart;
      met_lows[local] = min(met_lows[local], met_lows[other]);
      met_highs[local] = max(met_highs[local], met_highs[other]);
      met_odds[local] |= met_odds[other];
    }
  }
  workgroupBarrier();
  return Range(select(0.0, met_lows[g.meeting], scheme == INTEGERS_AFFINE), met_highs[g.meeting], met_odds[g.meeting]);
}

// The sum of |x| of values [begin, end) of a group: value i joins sum i mod 4.
fn block_sum(g: Group, begin: u32, end: u32, odd: ptr<function, u32>) -> f32 {
  var sums = vec4f(0.0);
  for (var i = begin; i < end; i += 4u) {
    var v = vec4f(0.0);
    for (var j = 0u; j < min(4u, end - i); j++) {
      v[j] = f32(x[value_place(g.line, g.start + i + j)]);
    }
    let magnitudes = bitcast<vec4u>(v) & vec4u(0x7fffffffu);
    if (any(magnitudes >= vec4u(INFINITY_BITS))) {
      *odd = 1u;
    } else {
      sums += bitcast<vec4f>(magnitudes);
    }
  }
  return (sums.x + sums.z) + (sums.y + sums.w);
}

// Every lane sums a block of 256 values; the first adds the blocks in their order. All invocations must call.
fn magnitudes(g: Group, local: u32) -> Range {
  var total = 0.0;
  var odd = 0u;
  for (var base = 0u; base < group_span(); base += 256u * params.lanes) {
    let begin = min(base + 256u * g.lane, g.count);
    met_highs[local] = block_sum(g, begin, min(begin + 256u, g.count), &odd);
    met_odds[local] = odd;
    workgroupBarrier();
    for (var lane = 0u; lane < params.lanes; lane++) {
      total += met_highs[g.meeting + lane * g.apart];
      odd |= met_odds[g.meeting + lane * g.apart];
    }
    workgroupBarrier();
  }
  return Range(0.0, total, odd | u32(is_odd(total)));
}

// value / divisor, correctly rounded, of a value not below 0 and an integer below 2^31; 0 where that would be denormal. The
// mantissa is divided in integers, bit by bit until the quotient has 25 bits: 24 and one to round by.
fn divided(value: f32, divisor: u32) -> f32 {
  let value_bits = bitcast<u32>(value) & 0x7fffffffu;
  if (value_bits < 0x800000u) {
    return 0.0;
  }
  let mantissa = (value_bits & 0x7fffffu) | 0x800000u;
  var exponent = i32(value_bits >> 23u) + 1;
  var quotient = mantissa / divisor;
  var rest = mantissa % divisor;
  while (quotient < 0x1000000u) {
    rest *= 2u;
    let bit = u32(rest >= divisor);
    rest -= bit * divisor;
    quotient = 2u * quotient + bit;
    exponent -= 1;
  }
  if (exponent <= 0) {
    return 0.0;
  }
  let kept = quotient >> 1u;
  let up = (quotient & 1u) == 1u && (rest > 0u || (kept & 1u) == 1u);
  return bitcast<f32>((u32(exponent) << 23u) + (kept - 0x800000u) + u32(up));
}

// Scale and minimum as they are stored: bits of f32 or f16.
fn stored_format(range: Range, divisor: u32) -> vec2u {
  var scale_bits = 0x7fc00000u;
  var minimum_bits = 0x7fc00000u;
  // Would high - low overflow? Their halves cannot.
  if (range.odd == 0u && range.high >= range.low && range.high * 0.5 - range.low * 0.5 <= HIGHEST_F32 * 0.5) {
    scale_bits = bitcast<u32>(divided(range.high - range.low, divisor));
    minimum_bits = bitcast<u32>(range.low);
  }
  if (scaleType == 0u) {
    return vec2u(scale_bits, minimum_bits);
  }
  let halves = vec2u(half_bits_of(scale_bits), half_bits_of(minimum_bits));
  return select(halves, vec2u(0x7e00u), any((halves & vec2u(0x7fffu)) >= vec2u(0x7c00u)));
}

// A group's word at `index`, or the word of two halves. All invocations must call.
struct Placed {
  index: u32,
  scale: u32,
  minimum: u32,
  // Whether this invocation writes.
  writes: bool,
}

fn placed(g: Group, format: vec2u) -> Placed {
  let counts = g.lane == 0u && g.count > 0u;
  if (scaleType == 0u) {
    return Placed(g.index, format.x, format.y, counts);
  }
  if (g.lane == 0u) {
    met_scales[g.place] = select(0u, format.x, g.count > 0u);
    met_minima[g.place] = select(0u, format.y, g.count > 0u);
  }
  workgroupBarrier();
  let other = min(g.place + 1u, WORKGROUP_SIZE - 1u);
  return Placed(
    g.index / 2u,
    format.x | (met_scales[other] << 16u),
    format.y | (met_minima[other] << 16u),
    counts && g.place % 2u == 0u,
  );
}

fn searched(g: Group, local: u32) -> Placed {
  if (uses_mean()) {
    return placed(g, stored_format(magnitudes(g, local), max(g.count, 1u)));
  }
  return placed(g, stored_format(extremes(g, local), highest_code()));
}

fn given_range(g: Group, low: f32) -> Placed {
  var range = Range(0.0, 0.0, 0u);
  if (g.count > 0u) {
    let high = highs[g.index];
    range = Range(low, high, u32(is_odd(low) || is_odd(high)));
  }
  return placed(g, stored_format(range, select(highest_code(), 1u, uses_mean())));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_integers_f32__search(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let p = searched(group_of(id.x + id.y * count.x, local), local);
  if (p.writes) {
    scales[p.index] = p.scale;
    minima[p.index] = p.minimum;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_integers_f32__search_scales(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let p = searched(group_of(id.x + id.y * count.x, local), local);
  if (p.writes) {
    scales[p.index] = p.scale;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_integers_f32__range(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let g = group_of(id.x + id.y * count.x, local);
  var low = 0.0;
  if (g.count > 0u) {
    low = lows[g.index];
  }
  let p = given_range(g, low);
  if (p.writes) {
    scales[p.index] = p.scale;
    minima[p.index] = p.minimum;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_integers_f32__range_scales(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let p = given_range(group_of(id.x + id.y * count.x, local), 0.0);
  if (p.writes) {
    scales[p.index] = p.scale;
  }
}

// ---- Codes

fn mixed_bits(value: u32) -> u32 {
  var v = value;
  v = (v ^ (v >> 16u)) * 0x7feb352du;
  v = (v ^ (v >> 15u)) * 0x846ca68bu;
  return v ^ (v >> 16u);
}

// The code of value `at` of a line, whose group has this scale and minimum.
fn code_of(at: u32, scale: f32, minimum: f32) -> i32 {
  let value_bits = bitcast<u32>(f32(x[at]));
  let magnitude = value_bits & 0x7fffffffu;
  let scale_bits = bitcast<u32>(scale);
  if (magnitude > INFINITY_BITS || scale_bits == 0u || scale_bits >= INFINITY_BITS) {
    return 0;
  }
  if (is_sign() && params.seed == 0u) {
    return i32(value_bits > 0x80000000u);
  }
  // Infinity saturates, and so does this.
  let value = bitcast<f32>(select(value_bits, (value_bits & 0x80000000u) | 0x7e800000u, magnitude == INFINITY_BITS));
  // Divisors stay where WGSL bounds the error of a division (up to 2^126).
  let factor = select(1.0, 0x1p-20f, scale > 0x1p+100f);
  var place = (value - minimum) * factor / (scale * factor);
  var lowest = 0.0;
  let highest = f32(highest_code());
  if (is_sign()) {
    place = 0.5 - 0.5 * place;
  } else if (scheme != INTEGERS_AFFINE) {
    lowest = -highest;
  }
  place = clamp(place, lowest, highest);
  if (params.seed == 0u) {
    return i32(round(place));
  }
  let below = floor(place);
  let u = f32(mixed_bits((at + params.first) * 0x9e3779b9u + mixed_bits(params.seed)) >> 8u) * 0x1p-24f;
  return i32(below) + i32(u < place - below);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize_integers_f32__codes(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let unit = (id.x + id.y * count.x) * WORKGROUP_SIZE + local;
  let runs = parts_of(line_length(), run_codes());
  let line = select(unit / runs, unit % params.n, axis == 1u);
  let run = select(unit % runs, unit / params.n, axis == 1u);
  if (line >= line_count() || run >= runs) {
    return;
  }
  var words = vec3u(0u);
  let start = run * run_codes();
  var power = 1u;
  for (var i = 0u; i < run_codes() && start + i < line_length(); i += 4u) {
    // Four values have one group.
    let group = group_at(line, start + i);
    let scale = bitcast<f32>(float_bits(scales__read[scale_word(group)], group));
    var minimum = 0.0;
    if (scheme == INTEGERS_AFFINE) {
      minimum = bitcast<f32>(float_bits(minima__read[scale_word(group)], group));
    }
    for (var j = 0u; j < min(4u, line_length() - start - i); j++) {
      let code = u32(code_of(value_place(line, start + i + j), scale, minimum));
      let k = i + j;
      if (is_packed()) {
        words.x += ((code + 1u) * power) << (8u * j);
      } else if (bits == 3u) {
        let low = (code & 3u) << (2u * (k % 16u));
        words |= select(vec3u(low, 0u, 0u), vec3u(0u, low, 0u), k >= 16u);
        words.z |= ((code >> 2u) & 1u) << k;
      } else {
        words.x |= (code & ((1u << bits) - 1u)) << (k * bits);
      }
    }
    power *= 3u;
  }
  let word = run * run_words();
  codes[word_at(line, word)] = words.x;
  if (bits == 3u) {
    codes[word_at(line, word + 1u)] = words.y;
    codes[word_at(line, word + 2u)] = words.z;
  }
}
