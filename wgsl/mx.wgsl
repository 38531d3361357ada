// Elements of a few bits that share a scale byte per block along the row: OCP microscaling, block floating point, NVFP4.
//
// x, out: f32 [rows, n]; codes, scales: bytes, shapes, layout and meaning those of assembly/mx.ts. What a format is comes
// in numbers (ts/gpu/mx.ts): one pipeline serves all. Spare bytes of the last word are written as 0. No scratch.
//
// The CPU's bytes and values bit for bit, denormals, infinity and NaN included: floats are taken apart and made as
// integers, and a division into bits by hand. Alone with a tensorScale other than 1, codes of nvfp4 may be one step away
// where the exact quotient lies within 4 ulp of a rounding boundary: values are compared with boundary · scale, a product
// that is exact without it.
//
// quantize: first the scales, eight invocations per block and a word of scales per four blocks, then a word of codes per
// invocation. dequantize: four values per invocation; where n is a multiple of 4, in one 16-byte write (`vec4`).
//
// Not done: codes in the first pass, from the values it has read (words of codes span rows and blocks where n is odd).

struct Params {
  rows: u32,
  n: u32,
  blockSize: u32,
  // Bits of a code in memory, and of an element, sign included.
  width: u32,
  elementBits: u32,
  mantissa: u32,
  minExponent: i32,
  maxExponent: i32,
  maxCode: u32,
  // Two's complement.
  isInteger: u32,
  rounding: u32,
  // What is added to a magnitude's bits before its exponent becomes the scale.
  scaleRound: u32,
  // nvfp4: the scale's exponent bias and NaN; nan 0: E8M0.
  bias: u32,
  nan: u32,
  tensorScale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x__bits: array<u32>;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;
@group(0) @binding(3) var<storage, read_write> scales: array<u32>;

@group(0) @binding(1) var<storage, read> codes__read: array<u32>;
@group(0) @binding(2) var<storage, read> scales__read: array<u32>;
@group(0) @binding(3) var<storage, read_write> out__bits: array<u32>;
@group(0) @binding(3) var<storage, read_write> out__vec4: array<vec4u>;

const WORKGROUP_SIZE: u32 = 256u;
const LANES: u32 = 8u;
const BLOCKS: u32 = WORKGROUP_SIZE / LANES;

const NAN_BITS: u32 = 0x7fc00000u;
const SIGN_BIT: u32 = 0x80000000u;
const E8M0_NAN: u32 = 255u;

var<workgroup> meeting: array<u32, WORKGROUP_SIZE>;

fn divided_up(a: u32, b: u32) -> u32 {
  return a / b + u32(a % b != 0u);
}

fn blocks_per_row() -> u32 {
  return divided_up(params.n, params.blockSize);
}

fn row_bytes() -> u32 {
  return params.n / 8u * params.width + divided_up(params.n % 8u * params.width, 8u);
}

fn scale_byte(magnitude: u32) -> u32 {
  if (params.nan == 0u) {
    if (magnitude >= INFINITY_BITS) {
      return E8M0_NAN;
    }
    let exponent = i32((magnitude + params.scaleRound) >> 23u) - params.maxExponent;
    return u32(clamp(exponent, 0, 254));
  }
  if (magnitude >= INFINITY_BITS) {
    return params.nan;
  }
  let offset = (127u - params.bias) << 23u;
  let sixth = divided(magnitude, bitcast<u32>(6.0f));
  let quotient = divided(sixth, bitcast<u32>(params.tensorScale));
  let scale = clamp(quotient, offset + 0x800000u, offset + ((params.nan - 1u) << 20u));
  return ((scale + 0x7ffffu + ((scale >> 20u) & 1u)) >> 20u) - (offset >> 20u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mx_quantize_f32__scales(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let blocks = blocks_per_row() * params.rows;
  let first = (id.x + id.y * count.x) * BLOCKS;
  let block = first + local / LANES;
  var magnitude = 0u;
  if (block < blocks) {
    let row = block / blocks_per_row();
    let share = params.blockSize / LANES;
    let start = block % blocks_per_row() * params.blockSize + local % LANES * share;
    for (var i = start; i < min(start + share, params.n); i++) {
      magnitude = max(magnitude, x__bits[row * params.n + i] & 0x7fffffffu);
    }
  }
  meeting[local] = magnitude;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local % LANES < half) {
      meeting[local] = max(meeting[local], meeting[local + half]);
    }
  }
  workgroupBarrier();
  let word = first / 4u + local;
  if (local < BLOCKS / 4u && word * 4u < blocks) {
    var bytes = 0u;
    for (var i = 0u; i < 4u; i++) {
      if (word * 4u + i < blocks) {
        bytes |= scale_byte(meeting[(local * 4u + i) * LANES]) << (8u * i);
      }
    }
    scales[word] = bytes;
  }
}

// What an nvfp4 scale byte that is not NaN and the tensor's scale stand for together.
fn nv_scale(byte: u32) -> f32 {
  let magnitude = byte & params.nan;
  var scale = bitcast<f32>((magnitude << 20u) + ((127u - params.bias) << 23u));
  if (magnitude < 8u) {
    scale = f32(magnitude) * bitcast<f32>((125u - params.bias) << 23u);
  }
  return select(scale, -scale, magnitude != byte) * params.tensorScale;
}

// The code of a magnitude whose scale is a power of two.
fn power_code(magnitude: u32, byte: u32) -> u32 {
  var exponent = i32(magnitude >> 23u);
  var significand = (magnitude & 0x7fffffu) | 0x800000u;
  if (exponent == 0) {
    if (magnitude == 0u) {
      return 0u;
    }
    let up = 23u - firstLeadingBit(magnitude);
    significand = magnitude << up;
    exponent = 1 - i32(up);
  }
  exponent -= i32(byte);
  let grid = max(exponent, params.minExponent);
  // More than 25 places leave less than half a step.
  let shift = u32(min(grid - exponent + 23 - i32(params.mantissa), 26));
  let steps = significand >> shift;
  let lost = significand & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  var up = u32(lost > half || (lost == half && (steps & 1u) == 1u));
  if (params.rounding == 1u) {
    up = u32(lost >= half);
  }
  if (params.rounding == 2u) {
    up = 0u;
  }
  return min(steps + up + (u32(grid - params.minExponent) << params.mantissa), params.maxCode);
}

// E2M1: how many boundaries lie below the value. On one, an odd code gives way to the even one above.
fn nv_code(magnitude: u32, scale: f32) -> u32 {
  let value = bitcast<f32>(magnitude);
  if (params.rounding == 2u) {
    return u32(value >= 0.5 * scale) + u32(value >= scale) + u32(value >= 1.5 * scale) + u32(value >= 2.0 * scale)
      + u32(value >= 3.0 * scale) + u32(value >= 4.0 * scale) + u32(value >= 6.0 * scale);
  }
  let code = u32(value > 0.25 * scale) + u32(value >= 0.75 * scale) + u32(value > 1.25 * scale)
    + u32(value >= 1.75 * scale) + u32(value > 2.5 * scale) + u32(value >= 3.5 * scale) + u32(value > 5.0 * scale);
  let tie = value == 0.25 * scale || value == 1.25 * scale || value == 2.5 * scale || value == 5.0 * scale;
  return code + u32(params.rounding == 1u && tie);
}

// The i-th code of a row, in the lowest bits; past its end 0.
fn code_at(row: u32, i: u32, byte: u32, scale: f32) -> u32 {
  if (i >= params.n) {
    return 0u;
  }
  let bits = x__bits[row * params.n + i];
  let magnitude = bits & 0x7fffffffu;
  var code = 0u;
  if (params.nan == 0u) {
    code = power_code(magnitude, byte);
  } else {
    code = nv_code(magnitude, scale);
  }
  if ((bits & SIGN_BIT) != 0u) {
    code = select(code | (1u << (params.elementBits - 1u)), 0u - code, params.isInteger == 1u);
  }
  return code & ((1u << params.width) - 1u);
}

// One byte of a row's codes. No byte holds parts of two blocks.
fn byte_of(row: u32, at: u32) -> u32 {
  let first = at * 8u / params.width;
  let block = row * blocks_per_row() + first / params.blockSize;
  let byte = (scales[block / 4u] >> (block % 4u * 8u)) & 255u;
  if (byte == select(params.nan, E8M0_NAN, params.nan == 0u)) {
    return 0u;
  }
  var scale = 1.0;
  if (params.nan != 0u) {
    scale = nv_scale(byte);
  }
  let skipped = at * 8u - first * params.width;
  var result = code_at(row, first, byte, scale) >> skipped;
  let held = params.width - skipped;
  if (held < 8u) {
    result |= code_at(row, first + 1u, byte, scale) << held;
  }
  return result & 255u;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mx_quantize_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let word = (id.x + id.y * count.x) * WORKGROUP_SIZE + local;
  let length = row_bytes();
  var row = word * 4u / length;
  if (row >= params.rows) {
    return;
  }
  var at = word * 4u - row * length;
  var result = 0u;
  for (var i = 0u; i < 4u; i++) {
    if (row < params.rows) {
      result |= byte_of(row, at) << (8u * i);
    }
    at += 1u;
    if (at == length) {
      at = 0u;
      row += 1u;
    }
  }
  codes[word] = result;
}

// An element times 2^exponent.
fn element_bits(code: u32, exponent: i32) -> u32 {
  if (params.isInteger == 1u) {
    let up = 32u - params.width;
    let value = bitcast<i32>(code << up) >> up;
    return scaled_bits(u32(abs(value)), exponent - i32(params.mantissa)) | (bitcast<u32>(value) & SIGN_BIT);
  }
  let sign = ((code >> (params.elementBits - 1u)) & 1u) << 31u;
  let magnitude = code & ((1u << (params.elementBits - 1u)) - 1u);
  if (magnitude > params.maxCode) {
    return select(NAN_BITS, sign | INFINITY_BITS, params.mantissa == 2u && magnitude == 0x7cu);
  }
  let field = magnitude >> params.mantissa;
  let fraction = magnitude & ((1u << params.mantissa) - 1u);
  let steps = select(fraction | (1u << params.mantissa), fraction, field == 0u);
  return sign | scaled_bits(steps, exponent + params.minExponent - i32(params.mantissa) + max(i32(field), 1) - 1);
}

// Four codes of a row from the i-th, which is a multiple of 4: they begin a byte.
fn four_codes(row: u32, i: u32) -> vec4u {
  let at = row * row_bytes() + i / 4u * params.width / 2u;
  let word = at / 4u;
  let shift = at % 4u * 8u;
  var bits = codes__read[word] >> shift;
  if (shift > 0u) {
    bits |= codes__read[min(word + 1u, arrayLength(&codes__read) - 1u)] << (32u - shift);
  }
  return (vec4u(bits) >> (vec4u(0u, 1u, 2u, 3u) * params.width)) & vec4u((1u << params.width) - 1u);
}

fn four_values(row: u32, i: u32) -> vec4u {
  let block = row * blocks_per_row() + i / params.blockSize;
  let byte = (scales__read[block / 4u] >> (block % 4u * 8u)) & 255u;
  let code = four_codes(row, i);
  if (params.nan == 0u) {
    if (byte == E8M0_NAN) {
      return vec4u(NAN_BITS);
    }
    let exponent = i32(byte) - 127;
    return vec4u(
      element_bits(code.x, exponent),
      element_bits(code.y, exponent),
      element_bits(code.z, exponent),
      element_bits(code.w, exponent),
    );
  }
  if ((byte & params.nan) == params.nan) {
    return vec4u(NAN_BITS);
  }
  let elements = vec4u(
    element_bits(code.x, 0),
    element_bits(code.y, 0),
    element_bits(code.z, 0),
    element_bits(code.w, 0),
  );
  return bitcast<vec4u>(bitcast<vec4f>(elements) * nv_scale(byte));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mx_dequantize_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let unit = (id.x + id.y * count.x) * WORKGROUP_SIZE + local;
  let units = divided_up(params.n, 4u);
  let row = unit / units;
  let i = unit % units * 4u;
  if (row < params.rows) {
    let values = four_values(row, i);
    for (var j = 0u; j < min(4u, params.n - i); j++) {
      out__bits[row * params.n + i + j] = values[j];
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mx_dequantize_f32__vec4(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let unit = (id.x + id.y * count.x) * WORKGROUP_SIZE + local;
  let units = params.n / 4u;
  let row = unit / units;
  if (row < params.rows) {
    out__vec4[unit] = four_values(row, unit % units * 4u);
  }
}
