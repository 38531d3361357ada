// Values of GGUF's block formats.
//
// blocks: bytes of the layouts in ts/reference/ggml.ts, read as words; out: f32 [rows, n], or f16 as the bits of two to a word. The format is a number in the
// uniform: one pipeline serves all, and the branch is the same everywhere. No scratch.
//
// The CPU's values exactly, but for the sign of a zero: an f16, a scale and a code have 24 bits together or fewer, so the
// products under a sum are exact and it does not matter whether it is fused; MXFP4's scales, which reach past f32 at both ends,
// are applied by integers. Where a scale is infinite or NaN, or with Q8_K's f32 the product overflows, the value is whatever the
// GPU makes of it; a denormal of Q8_K may count as 0.
//
// Four values per invocation: their codes are fields of four neighbouring bytes or of one in every format, their scale is one.

struct Params {
  rows: u32,
  n: u32,
  format: u32,
  // Values and bytes per block.
  size: u32,
  bytes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> blocks: array<u32>;
@group(0) @binding(2) var<storage, read_write> out__vec4: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> out__halves: array<vec2u>;

const WORKGROUP_SIZE: u32 = 256u;

// Four bytes from any place on; past the end anything.
fn block_word(at: u32) -> u32 {
  let word = at / 4u;
  let shift = at % 4u * 8u;
  let low = blocks[word] >> shift;
  if (shift == 0u) {
    return low;
  }
  return low | (blocks[min(word + 1u, arrayLength(&blocks) - 1u)] << (32u - shift));
}

fn byte_at(at: u32) -> u32 {
  return (blocks[at / 4u] >> (at % 4u * 8u)) & 255u;
}

fn half_at(at: u32) -> f32 {
  return bitcast<f32>(float_bits_of_half(block_word(at) & 0xffffu));
}

// `mask` bits of four bytes, from bit `shift` of each on.
fn fields(at: u32, shift: u32, mask: u32) -> vec4u {
  return (vec4u(block_word(at)) >> (vec4u(0u, 8u, 16u, 24u) + shift)) & vec4u(mask);
}

fn signed_bytes(at: u32) -> vec4f {
  return vec4f(vec4i(vec4u(block_word(at)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u));
}

// In every 2 · pair values the first have the low nibbles of `pair` bytes, the others the high ones.
fn nibbles(at: u32, i: u32, pair: u32) -> vec4u {
  return fields(at + i / (2u * pair) * pair + i % pair, i / pair % 2u * 4u, 15u);
}

// The same with bit pairs, four times 32 values in 32 bytes.
fn pairs(at: u32, i: u32) -> vec4u {
  return fields(at + i / 128u * 32u + i % 32u, i / 32u % 4u * 2u, 3u);
}

// A bit per value.
fn bits(at: u32, i: u32) -> vec4u {
  return (vec4u(byte_at(at + i / 8u)) >> (vec4u(0u, 1u, 2u, 3u) + i % 8u)) & vec4u(1u);
}

fn fifths(at: u32, i: u32) -> vec4u {
  return bits(at, i) << vec4u(4u);
}

// TQ1_0's digits: in runs of 32, 16 and 4 bytes all the first ones, then all the second ones. Three to the digit's power moves
// it to the top of its byte; what times 3 carries out of the byte is the digit.
fn digits(b: u32, i: u32) -> vec4u {
  var first = b;
  var within = i;
  var run = 32u;
  if (i >= 240u) {
    first += 48u;
    within = i - 240u;
    run = 4u;
  } else if (i >= 160u) {
    first += 32u;
    within = i - 160u;
    run = 16u;
  }
  let place = within / run;
  let power = vec4u(1u, 3u, 9u, 27u)[place & 3u] * select(1u, 81u, place == 4u);
  return (((fields(first + within % run, 0u, 255u) * power) & vec4u(255u)) * 3u) >> vec4u(8u);
}

// The i-th 6-bit scale and minimum of Q4_K and Q5_K's twelve bytes.
fn scale_and_minimum(at: u32, i: u32) -> vec2f {
  if (i < 4u) {
    return vec2f(vec2u(byte_at(at + i), byte_at(at + i + 4u)) & vec2u(63u));
  }
  let both = byte_at(at + i + 4u);
  let upper = vec2u(byte_at(at + i - 4u), byte_at(at + i)) >> vec2u(6u);
  return vec2f((vec2u(both, both >> 4u) & vec2u(15u)) | (upper << vec2u(4u)));
}

// An E2M1 code times 2^(exponent + 1), denormals and infinity too. Code 8 is +0.
fn fp4_bits(code: u32, number: u32, exponent: i32) -> u32 {
  return scaled_bits(number, exponent) | select(0u, 0x80000000u, code > 8u);
}

// Values i to i + 3 of the block whose bytes begin at b.
fn four_values(b: u32, i: u32) -> vec4u {
  var codes = vec4f();
  var d = 0.0;
  var m = 0.0;
  switch params.format {
    case 2u: { // Q4_0
      d = half_at(b);
      codes = vec4f(nibbles(b + 2u, i, 16u)) - 8.0;
    }
    case 3u: { // Q4_1
      d = half_at(b);
      m = half_at(b + 2u);
      codes = vec4f(nibbles(b + 4u, i, 16u));
    }
    case 6u: { // Q5_0
      d = half_at(b);
      codes = vec4f(nibbles(b + 6u, i, 16u) | fifths(b + 2u, i)) - 16.0;
    }
    case 7u: { // Q5_1
      d = half_at(b);
      m = half_at(b + 2u);
      codes = vec4f(nibbles(b + 8u, i, 16u) | fifths(b + 4u, i));
    }
    case 8u, 9u: { // Q8_0, Q8_1
      d = half_at(b);
      codes = signed_bytes(b + params.bytes - 32u + i);
    }
    case 10u: { // Q2_K
      let scale = byte_at(b + i / 16u);
      d = half_at(b + 80u) * f32(scale & 15u);
      m = -(half_at(b + 82u) * f32(scale >> 4u));
      codes = vec4f(pairs(b + 16u, i));
    }
    case 11u: { // Q3_K
      let s = i / 16u;
      let low = (byte_at(b + 96u + s % 8u) >> (s / 8u * 4u)) & 15u;
      let high = (byte_at(b + 104u + s % 4u) >> (s / 4u * 2u)) & 3u;
      d = half_at(b + 108u) * (f32(low | (high << 4u)) - 32.0);
      codes = vec4f(pairs(b + 32u, i) | (fields(b + i % 32u, i / 32u, 1u) << vec4u(2u))) - 4.0;
    }
    case 12u, 13u: { // Q4_K, Q5_K
      let pair = scale_and_minimum(b + 4u, i / 32u);
      d = half_at(b) * pair.x;
      m = -(half_at(b + 2u) * pair.y);
      var code = nibbles(b + params.bytes - 128u, i, 32u);
      if (params.format == 13u) {
        code |= fields(b + 16u + i % 32u, i / 32u, 1u) << vec4u(4u);
      }
      codes = vec4f(code);
    }
    case 14u: { // Q6_K
      d = half_at(b + 208u) * signed_bytes(b + 192u + i / 16u).x;
      codes = vec4f(nibbles(b, i, 64u) | (pairs(b + 128u, i) << vec4u(4u))) - 32.0;
    }
    case 20u: { // IQ4_NL
      d = half_at(b);
      codes = iq4(nibbles(b + 2u, i, 16u));
    }
    case 23u: { // IQ4_XS
      let group = i / 32u;
      let low = (byte_at(b + 4u + group / 2u) >> (group % 2u * 4u)) & 15u;
      let high = (block_word(b + 2u) >> (group * 2u)) & 3u;
      d = half_at(b) * (f32(low | (high << 4u)) - 32.0);
      codes = iq4(nibbles(b + 8u, i, 16u));
    }
    case 15u: { // Q8_K
      d = bitcast<f32>(block_word(b));
      codes = signed_bytes(b + 4u + i);
    }
    case 34u: { // TQ1_0
      d = half_at(b + 52u);
      codes = vec4f(digits(b, i)) - 1.0;
    }
    case 35u: { // TQ2_0
      d = half_at(b + 64u);
      codes = vec4f(pairs(b, i)) - 1.0;
    }
    case 41u: { // Q1_0
      d = half_at(b);
      codes = vec4f(bits(b + 2u, i)) * 2.0 - 1.0;
    }
    case 42u: { // Q2_0
      d = half_at(b);
      codes = vec4f((vec4u(byte_at(b + 2u + i / 4u)) >> vec4u(0u, 2u, 4u, 6u)) & vec4u(3u)) - 1.0;
    }
    default: { // MXFP4, NVFP4
      let four = params.format == 40u;
      let code = nibbles(b + select(1u, 4u, four), i, select(16u, 8u, four));
      let number = fp4(code);
      if (!four) {
        let exponent = i32(byte_at(b)) - 128;
        return vec4u(
          fp4_bits(code.x, number.x, exponent),
          fp4_bits(code.y, number.y, exponent),
          fp4_bits(code.z, number.z, exponent),
          fp4_bits(code.w, number.w, exponent),
        );
      }
      d = half_e4m3(byte_at(b + i / 16u));
      codes = select(vec4f(number), -vec4f(number), code > vec4u(8u));
    }
  }
  return bitcast<vec4u>(codes * d + m);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn ggml_dequantize_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let vector = (id.x + id.y * count.x) * WORKGROUP_SIZE + local;
  if (vector < params.rows * (params.n / 4u)) {
    let value = vector * 4u;
    out__vec4[vector] = four_values(value / params.size * params.bytes, value % params.size);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn ggml_dequantize_f16(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let vector = (id.x + id.y * count.x) * WORKGROUP_SIZE + local;
  if (vector < params.rows * (params.n / 4u)) {
    let value = vector * 4u;
    let bits = four_values(value / params.size * params.bytes, value % params.size);
    out__halves[vector] = vec2u(
      half_bits_of(bits.x) | (half_bits_of(bits.y) << 16u),
      half_bits_of(bits.z) | (half_bits_of(bits.w) << 16u),
    );
  }
}
