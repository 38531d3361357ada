// Codes of 1 to 8 bits into tables of any values, one scale for each group of a row's values; and back.
//
// x, out: f32 [rows, n]; thresholds, table: f32; order, codes: u8; scales: f32. Shapes, layout and meaning are those of
// assembly/codebook.ts, so that what one side wrote the other reads. scale 0: largest magnitude; 1: root of the mean square;
// 2: none. tables 1: one for each column. nibbles 1: the first of two 4-bit codes in the high nibble. No scratch. Bytes after
// the last code in its word are written as 0.
//
// Largest magnitudes are the CPU's bit for bit; roots of mean squares are summed in f32, to within some ulp. Codes are the
// CPU's, or the neighbour's where the exact quotient lies within 4 ulp of the threshold between the two (as many more as the
// scale is off): WGSL's division is within 2.5 ulp. Unscaled codes and values that come back are the CPU's.
// Everything is compared as sortable integers: NaN exceeds nothing. Denormals may be taken for 0 where values are scaled.
//
// quantize: `lanes` invocations (a power of two, chosen by the host) share a group and find its scale; then an invocation
// makes one word of codes (3 bits: a run of 32 codes), by binary search. dequantize: an invocation makes four values.
//
// Not done: both steps in one for short groups (the second reads the values from cache).

override bits: u32;
override groupSize: u32;
override scale: u32;
override tables: u32;
override nibbles: u32;

struct Params {
  rows: u32,
  n: u32,
  lanes: u32,
  // 1: ranks are not codes, order says which is whose.
  ordered: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> thresholds: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> codes: array<u32>;
@group(0) @binding(5) var<storage, read_write> scales: array<u32>;
@group(0) @binding(5) var<storage, read> scales__read: array<u32>;

@group(0) @binding(1) var<storage, read> codes__read: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<u32>;

const SIZE: u32 = 256u;
// The smallest normal number.
const LEAST_BITS: u32 = 0x00800000u;
// 2^126: from here on an inverse would be denormal.
const LARGE_BITS: u32 = 0x7e800000u;

// Of one table: thresholds as sortable keys, or values.
var<workgroup> shared_table: array<u32, SIZE>;

fn group_length() -> u32 {
  return select(min(groupSize, params.n), params.n, groupSize == 0u);
}

fn divided_up(a: u32, b: u32) -> u32 {
  return a / b + u32(a % b != 0u);
}

fn row_bytes() -> u32 {
  if (bits == 3u) {
    return 12u * divided_up(params.n, 32u);
  }
  return select(divided_up(params.n, 8u / min(bits, 4u)), params.n, bits > 4u);
}

// The root of the mean square of what `lanes` invocations each have a part of, as bits. `largest` are the bits of the largest
// magnitude: values are brought near 1 by a power of two, so that squares neither overflow nor vanish.
fn root_mean_square(first: u32, count: u32, lane: u32, largest: u32, local: u32) -> u32 {
  let exponent = clamp(254u - min(largest >> 23u, 253u), 1u, 253u);
  let factor = bitcast<f32>(exponent << 23u);
  var sum = 0.0;
  for (var i = lane; i < count; i += params.lanes) {
    let value = bitcast<f32>(x[first + i]) * factor;
    sum += value * value;
  }
  let mean = group_sum(sum, local, params.lanes) / f32(max(count, 1u));
  return bitcast<u32>(sqrt(mean) * bitcast<f32>((254u - exponent) << 23u));
}

@compute @workgroup_size(SIZE)
fn codebook_quantize_f32__scales(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let group = (id.x + id.y * count.x) * (SIZE / params.lanes) + local / params.lanes;
  let lane = local % params.lanes;
  let groups = divided_up(params.n, group_length());
  let start = group % groups * group_length();
  let length = select(0u, min(group_length(), params.n - start), group / groups < params.rows);
  let first = group / groups * params.n + start;
  var largest = 0u;
  for (var i = lane; i < length; i += params.lanes) {
    largest = max(largest, x[first + i] & 0x7fffffffu);
  }
  largest = group_max_u32(largest, local, params.lanes);
  var result = largest;
  if (scale == 1u) {
    result = root_mean_square(first, select(0u, length, largest < INFINITY_BITS), lane, largest, local);
  }
  if (length > 0u && lane == 0u) {
    scales[group] = select(0x7fc00000u, result, largest < INFINITY_BITS);
  }
}

fn threshold_key(rank: u32, column: u32) -> u32 {
  if (tables == 0u) {
    return shared_table[rank];
  }
  return sortable_key(thresholds[rank * params.n + column]);
}

// The key of a value divided by its group's scale.
fn scaled_key(value: u32, scale_bits: u32) -> u32 {
  if (scale == 2u) {
    return sortable_key(value);
  }
  if (scale_bits < LEAST_BITS) {
    return sortable_key(0u);
  }
  let factor = select(1.0, 0x1p-20f, scale_bits > LARGE_BITS);
  let inverse = 1.0 / (bitcast<f32>(scale_bits) * factor);
  return sortable_key(bitcast<u32>(bitcast<f32>(value) * factor * inverse));
}

fn code_of(row: u32, column: u32) -> u32 {
  var scale_bits = 0u;
  if (scale != 2u) {
    scale_bits = scales__read[row * divided_up(params.n, group_length()) + column / group_length()];
    if (scale_bits >= INFINITY_BITS) {
      return 0u;
    }
  }
  let key = scaled_key(x[row * params.n + column], scale_bits);
  var rank = 0u;
  for (var half = (1u << bits) / 2u; half > 0u; half /= 2u) {
    rank += select(0u, half, key > threshold_key(rank + half - 1u, column));
  }
  if (params.ordered == 0u) {
    return rank;
  }
  let at = select(rank, (column << bits) + rank, tables == 1u);
  return (order[at / 4u] >> (at % 4u * 8u)) & 255u;
}

// A byte of a row's codes.
fn byte_of(row: u32, byte: u32) -> u32 {
  if (bits > 4u) {
    return code_of(row, byte);
  }
  let together = 8u / bits;
  var result = 0u;
  for (var place = 0u; place < together; place++) {
    let column = byte * together + place;
    if (column < params.n) {
      let shift = select(place * bits, 4u - place * 4u, bits == 4u && nibbles == 1u);
      result |= code_of(row, column) << shift;
    }
  }
  return result;
}

// A run of 32 codes of 3 bits in three words.
fn write_run(run: u32) {
  let runs = divided_up(params.n, 32u);
  let row = run / runs;
  if (row >= params.rows) {
    return;
  }
  var words = vec3u(0u);
  for (var i = 0u; i < 32u; i++) {
    let column = run % runs * 32u + i;
    if (column < params.n) {
      let code = code_of(row, column);
      let low = (code & 3u) << (i % 16u * 2u);
      words |= vec3u(select(0u, low, i < 16u), select(low, 0u, i < 16u), (code >> 2u) << i);
    }
  }
  codes[run * 3u] = words.x;
  codes[run * 3u + 1u] = words.y;
  codes[run * 3u + 2u] = words.z;
}

fn write_word(word: u32) {
  let total = params.rows * row_bytes();
  if (word * 4u >= total) {
    return;
  }
  var result = 0u;
  for (var i = 0u; i < min(4u, total - word * 4u); i++) {
    let byte = word * 4u + i;
    result |= byte_of(byte / row_bytes(), byte % row_bytes()) << (i * 8u);
  }
  codes[word] = result;
}

@compute @workgroup_size(SIZE)
fn codebook_quantize_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  if (tables == 0u && local < (1u << bits)) {
    shared_table[local] = sortable_key(thresholds[local]);
  }
  workgroupBarrier();
  let unit = (id.x + id.y * count.x) * SIZE + local;
  if (bits == 3u) {
    write_run(unit);
  } else {
    write_word(unit);
  }
}

fn stored_byte(byte: u32) -> u32 {
  return (codes__read[byte / 4u] >> (byte % 4u * 8u)) & 255u;
}

fn stored_code(row: u32, column: u32) -> u32 {
  let first = row * row_bytes();
  let mask = (1u << bits) - 1u;
  if (bits == 3u) {
    let run = first / 4u + column / 32u * 3u;
    let place = column % 32u;
    let low = (codes__read[run + place / 16u] >> (place % 16u * 2u)) & 3u;
    return low | (((codes__read[run + 2u] >> place) & 1u) << 2u);
  }
  if (bits > 4u) {
    return stored_byte(first + column) & mask;
  }
  let together = 8u / bits;
  let place = column % together;
  let shift = select(place * bits, 4u - place * 4u, bits == 4u && nibbles == 1u);
  return (stored_byte(first + column / together) >> shift) & mask;
}

fn value_of(row: u32, column: u32) -> u32 {
  let code = stored_code(row, column);
  var value = 0u;
  if (tables == 0u) {
    value = shared_table[code];
  } else {
    value = table[(column << bits) + code];
  }
  if (scale == 2u) {
    return value;
  }
  let scale_bits = scales__read[row * divided_up(params.n, group_length()) + column / group_length()];
  if (is_nan_bits(scale_bits)) {
    return 0x7fc00000u;
  }
  return bitcast<u32>(bitcast<f32>(value) * bitcast<f32>(scale_bits));
}

@compute @workgroup_size(SIZE)
fn codebook_dequantize_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  if (tables == 0u && local < (1u << bits)) {
    shared_table[local] = table[local];
  }
  workgroupBarrier();
  let first = (id.x + id.y * count.x) * SIZE * 4u + local;
  for (var i = 0u; i < 4u; i++) {
    let at = first + i * SIZE;
    if (at < params.rows * params.n) {
      out[at] = value_of(at / params.n, at % params.n);
    }
  }
}
