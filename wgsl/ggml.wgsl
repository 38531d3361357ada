// GGUF's block formats from values.
//
// x: f32 [rows, n]; blocks: bytes of the layouts in ts/reference/ggml.ts, written as words, spare bytes of the last one 0. The
// format is a number in the uniform: one pipeline serves all, and the branch is the same everywhere. No scratch.
//
// The CPU's bytes, with these exceptions. Codes of Q4, Q5 and Q8 may be one step away where x / d lies within 4 ulp of a
// rounding boundary (the product with 1/d may be fused with what rounds it); Q8_1's sum is that of the codes written. IQ4_NL's
// scale, a quotient of sums of 32 terms, may be the next f16 where it lies within 80 · 2^-24 of the boundary, Q1_0's, a sum of
// 128, where within 128 · 2^-24. Other scales are exact: divisions are made bit by bit, f16 by integers. MXFP4 and NVFP4 compare
// |number · d - x|, whose product is exact, so that nothing is lost by fusing it. Denormals may be flushed; blocks with NaN or
// infinity get whatever the GPU makes of them.
//
// One invocation writes as many neighbouring blocks as fill whole words: 4 of MXFP4, one where a block is whole words, else 2.
//
// Not done: several invocations per block, with the words put together in workgroup memory (no device here to time it).

struct Params {
  rows: u32,
  n: u32,
  // How many blocks of x an invocation writes.
  share: u32,
  format: u32,
  // Values and bytes per block.
  size: u32,
  bytes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x__vec4: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> blocks: array<u32>;

const WORKGROUP_SIZE: u32 = 64u;

const SIGN_BIT: u32 = 0x80000000u;
const ONE_BITS: u32 = 0x3f800000u;

// The word being filled, its place, and how many of its bits are there.
var<private> pending: u32;
var<private> place: u32;
var<private> filled: u32;

// The next 8, 16 or 32 bits of the invocation's bytes.
fn put(value: u32, bits: u32) {
  pending |= value << filled;
  filled += bits;
  if (filled >= 32u) {
    blocks[place] = pending;
    place += 1u;
    filled -= 32u;
    // What of the value is left: its upper `filled` bits.
    pending = select(value >> ((bits - filled) & 31u), 0u, filled == 0u);
  }
}

fn size_of(v: vec4f) -> u32 {
  let most = max(vec2f(abs(v.x), abs(v.y)), vec2f(abs(v.z), abs(v.w)));
  return bitcast<u32>(max(most.x, most.y));
}

// The largest magnitude of some vectors, as bits.
fn largest(first: u32, vectors: u32) -> u32 {
  var size = 0u;
  for (var i = 0u; i < vectors; i++) {
    size = max(size, size_of(x__vec4[first + i]));
  }
  return size;
}

// The bits of the first of 32 values that has this magnitude.
fn first_of(first: u32, size: u32) -> u32 {
  for (var i = 0u; i < 8u; i++) {
    let bits = bitcast<vec4u>(x__vec4[first + i]);
    for (var j = 0u; j < 4u; j++) {
      if ((bits[j] & ~SIGN_BIT) == size) {
        return bits[j];
      }
    }
  }
  return size;
}

// The sign bit of the first of 32 values of the largest magnitude; of a zero none.
fn sign_of_largest(first: u32, size: u32) -> u32 {
  return select(first_of(first, size) & SIGN_BIT, 0u, size == 0u);
}

// The bits of the least of 32 values; of zeros of both signs the first, which no comparison of floats tells for sure.
fn least(first: u32) -> u32 {
  var v = x__vec4[first];
  for (var i = 1u; i < 8u; i++) {
    v = min(v, x__vec4[first + i]);
  }
  let bits = bitcast<u32>(min(min(v.x, v.y), min(v.z, v.w)));
  if ((bits & ~SIGN_BIT) == 0u) {
    return first_of(first, 0u);
  }
  return bits;
}

fn greatest(first: u32) -> f32 {
  var v = x__vec4[first];
  for (var i = 1u; i < 8u; i++) {
    v = max(v, x__vec4[first + i]);
  }
  return max(max(v.x, v.y), max(v.z, v.w));
}

// 1 / d, or 0 for 0: bits of a magnitude.
fn inverse_bits(d: u32) -> u32 {
  if (d < 0x800000u) {
    return 0u;
  }
  return divided_bits(ONE_BITS, d);
}

// Four numbers' lowest bits, one per byte.
fn bytes_of(v: vec4u) -> u32 {
  return (v.x & 255u) | ((v.y & 255u) << 8u) | ((v.z & 255u) << 16u) | (v.w << 24u);
}

// Q4_0, Q4_1, Q5_0, Q5_1.
fn quantise_offset(first: u32) {
  let five = params.format >= 6u;
  let affine = (params.format & 1u) == 1u;
  let last = select(15u, 31u, five);
  var least_bits = 0u;
  var minimum = 0.0;
  var offset = 0.5;
  var d = 0u;
  var sign = 0u;
  if (affine) {
    // The minimum becomes the code 0, the maximum the last.
    least_bits = least(first);
    minimum = bitcast<f32>(least_bits);
    // Of zeros of both signs the greatest may be either, and the difference -0.
    d = divided_bits(bitcast<u32>(greatest(first) - minimum) & ~SIGN_BIT, bitcast<u32>(f32(last)));
  } else {
    // The value of largest magnitude becomes the code 0.
    let size = largest(first, 8u);
    sign = sign_of_largest(first, size) ^ SIGN_BIT;
    d = bitcast<u32>(bitcast<f32>(size) * select(0.125, 0.0625, five));
    offset += f32((last + 1u) / 2u);
  }
  let inverse = bitcast<f32>(inverse_bits(d) | sign);
  put(half_bits_of(d | sign), 16u);
  if (affine) {
    put(half_bits_of(least_bits), 16u);
  }
  var words = vec4u();
  var fifth = 0u;
  for (var i = 0u; i < 4u; i++) {
    let low = min(vec4u((x__vec4[first + i] - minimum) * inverse + offset), vec4u(last));
    let high = min(vec4u((x__vec4[first + i + 4u] - minimum) * inverse + offset), vec4u(last));
    words[i] = bytes_of((low & vec4u(15u)) | ((high & vec4u(15u)) << vec4u(4u)));
    let bits = (low >> vec4u(4u)) | ((high >> vec4u(4u)) << vec4u(16u));
    fifth |= (bits.x | (bits.y << 1u) | (bits.z << 2u) | (bits.w << 3u)) << (4u * i);
  }
  if (five) {
    put(fifth, 32u);
  }
  for (var i = 0u; i < 4u; i++) {
    put(words[i], 32u);
  }
}

// Half away from zero.
fn rounded(v: vec4f) -> vec4i {
  let size = abs(v);
  let whole = trunc(size);
  let up = vec4i(whole) + select(vec4i(0), vec4i(1), size - whole >= vec4f(0.5));
  return select(up, -up, v < vec4f(0.0));
}

// Q8_0, and Q8_1 with the sum of its codes times d.
fn quantise_bytes(first: u32) {
  let d = divided_bits(largest(first, 8u), bitcast<u32>(127.0f));
  let inverse = bitcast<f32>(inverse_bits(d));
  put(half_bits_of(d), 16u);
  if (params.format == 9u) {
    var sum = vec4i();
    for (var i = 0u; i < 8u; i++) {
      sum += rounded(x__vec4[first + i] * inverse);
    }
    put(half_bits_of(bitcast<u32>(f32(sum.x + sum.y + sum.z + sum.w) * bitcast<f32>(d))), 16u);
  }
  for (var i = 0u; i < 8u; i++) {
    put(bytes_of(bitcast<vec4u>(rounded(x__vec4[first + i] * inverse))), 32u);
  }
}

// The nearest IQ4 code, the upper of two: how many middles are not above.
fn nearest_iq4(v: f32) -> u32 {
  let a = vec4f(v) >= vec4f(-115.5, -93.5, -74.0, -57.0);
  let b = vec4f(v) >= vec4f(-42.0, -28.5, -16.0, -4.5);
  let c = vec4f(v) >= vec4f(7.0, 19.0, 31.5, 45.5);
  let d = vec4f(v) >= vec4f(61.0, 79.0, 101.0, 1000.0);
  let counts = vec4u(a) + vec4u(b) + vec4u(c) + vec4u(d);
  return counts.x + counts.y + counts.z + counts.w;
}

// xq / qq as an f16. Sums of large values overflow, which their bits tell: NaN is 0xfe00, as on the CPU.
fn refitted_half(xq: u32, qq: u32) -> u32 {
  let size = xq & ~SIGN_BIT;
  if (qq >= INFINITY_BITS || size > INFINITY_BITS) {
    return 0xfe00u;
  }
  return half_bits_of(select(divided_bits(size, qq), size, size == INFINITY_BITS) | (xq & SIGN_BIT));
}

// The largest magnitude becomes -127; then d is refitted to the codes by least squares weighted with x².
fn quantise_iq4(first: u32) {
  let size = largest(first, 8u);
  var words = vec4u();
  var scale = 0u;
  if (bitcast<f32>(size) >= 1e-15) {
    let d = divided_bits(size, bitcast<u32>(127.0f));
    let inverse = bitcast<f32>(inverse_bits(d) | (sign_of_largest(first, size) ^ SIGN_BIT));
    var xq = 0.0;
    var qq = 0.0;
    for (var i = 0u; i < 32u; i++) {
      let v = x__vec4[first + i / 4u][i % 4u];
      let code = nearest_iq4(v * inverse);
      let q = iq4(vec4u(code)).x;
      let wq = v * v * q;
      xq += wq * v;
      qq += wq * q;
      words[i / 4u % 4u] |= code << (i % 4u * 8u + i / 16u * 4u);
    }
    scale = refitted_half(bitcast<u32>(xq), bitcast<u32>(qq));
  }
  put(scale, 16u);
  for (var i = 0u; i < 4u; i++) {
    put(words[i], 32u);
  }
}

// The E2M1 codes nearest to v / d (d is half a scale) among the first `count`, of two at the same distance the one nearer to 0.
fn nearest_fp4(v: vec4f, d: f32, count: u32) -> vec4u {
  let size = abs(v);
  var best = size;
  var code = vec4u();
  for (var k = 1u; k < count; k++) {
    let distance = abs(vec4f(fp4(vec4u(k))) * d - size);
    code = select(code, vec4u(k), distance < best);
    best = min(best, distance);
  }
  return select(code, code | vec4u(8u), (v < vec4f(0.0)) & (code > vec4u(0u)));
}

// floor(log2(x)) as ggml has it: log2 is rounded to f32, which takes what is just below 2^e up to it. x = 2^e (1 - k · 2^-24) has
// the log2 e - k · 2^-24 / ln 2, and half the spacing of floats there is 2^-24 times the largest power of two in |e|: half of that
// where e is one itself and the floats below it lie closer.
fn floor_log2(bits: u32) -> i32 {
  let exponent = i32(bits >> 23u) - 127;
  let below = 0x800000u - (bits & 0x7fffffu);
  let next = exponent + 1;
  let size = u32(abs(next));
  if (size == 0u) {
    return exponent;
  }
  var spacing = f32(1u << firstLeadingBit(size));
  if (next > 0 && (size & (size - 1u)) == 0u) {
    spacing *= 0.5;
  }
  return exponent + i32(f32(below) <= spacing * 0.6931472);
}

fn quantise_mxfp4(first: u32) {
  let size = largest(first, 8u);
  var byte = 0u;
  if (size > 0u) {
    byte = u32(max(floor_log2(size) + 125, 0));
  }
  put(byte, 8u);
  let d = bitcast<f32>(scaled_bits(1u, i32(byte) - 128));
  // 8 · 2^125 and 12 · 2^125 are beyond f32: further than any value.
  let count = select(8u, 6u, byte == 253u);
  for (var i = 0u; i < 4u; i++) {
    let low = nearest_fp4(x__vec4[first + i], d, count);
    put(bytes_of(low | (nearest_fp4(x__vec4[first + i + 4u], d, count) << vec4u(4u))), 32u);
  }
}

// An unsigned E4M3 number: half up; from 256 on the largest, 448. Below 2^-6 a multiple of 2^-9, at most seven of them.
fn e4m3_of(bits: u32) -> u32 {
  if (bits >= 0x43780000u) {
    return 0x7eu;
  }
  if (bits < 0x3c800000u) {
    return min(u32(bitcast<f32>(bits) * 512.0 + 0.5), 7u);
  }
  return ((bits + 0x80000u) >> 20u) - 960u;
}

fn quantise_nvfp4(first: u32) {
  var scales = vec4u();
  for (var s = 0u; s < 4u; s++) {
    scales[s] = e4m3_of(divided_bits(largest(first + 4u * s, 4u), bitcast<u32>(6.0f)));
  }
  put(bytes_of(scales), 32u);
  for (var s = 0u; s < 4u; s++) {
    let d = half_e4m3(scales[s]);
    for (var i = 4u * s; i < 4u * s + 2u; i++) {
      let low = nearest_fp4(x__vec4[first + i], d, 8u);
      put(bytes_of(low | (nearest_fp4(x__vec4[first + i + 2u], d, 8u) << vec4u(4u))), 32u);
    }
  }
}

// 0, 1 or 2 by the nearest of -d, 0 and d, halves away from 0: comparisons, so that nothing is lost by fusing.
fn ternary(vector: u32, inverse: f32) -> vec4u {
  let v = x__vec4[vector] * inverse;
  return select(select(vec4u(1u), vec4u(2u), v >= vec4f(0.5)), vec4u(0u), v <= vec4f(-0.5));
}

// A byte of each of four vectors' ternary codes, `stride` vectors apart, as bit pairs.
fn pairs_of(vector: u32, stride: u32, inverse: f32) -> u32 {
  var pairs = vec4u();
  for (var k = 0u; k < 4u; k++) {
    pairs |= ternary(vector + k * stride, inverse) << vec4u(2u * k);
  }
  return bytes_of(pairs);
}

// The same as `digits` digits in base 3 of a fraction in 1/256, rounded up.
fn digits_of(vector: u32, stride: u32, digits: u32, inverse: f32) -> u32 {
  var number = vec4u();
  for (var k = 0u; k < digits; k++) {
    number = number * 3u + ternary(vector + k * stride, inverse);
  }
  if (digits == 4u) {
    number *= 3u;
  }
  return bytes_of((number * 256u + 242u) / 243u);
}

// TQ1_0, TQ2_0.
fn quantise_ternary(first: u32) {
  let d = largest(first, 64u);
  let inverse = bitcast<f32>(inverse_bits(d));
  if (params.format == 35u) {
    for (var i = 0u; i < 16u; i++) {
      put(pairs_of(first + i / 8u * 32u + i % 8u, 8u, inverse), 32u);
    }
  } else {
    for (var i = 0u; i < 8u; i++) {
      put(digits_of(first + i, 8u, 5u, inverse), 32u);
    }
    for (var i = 0u; i < 4u; i++) {
      put(digits_of(first + 40u + i, 4u, 5u, inverse), 32u);
    }
    put(digits_of(first + 60u, 1u, 4u, inverse), 32u);
  }
  put(half_bits_of(d), 16u);
}

// Q2_0: a vector's four codes are a byte.
fn quantise_quads(first: u32) {
  let d = largest(first, 16u);
  let inverse = bitcast<f32>(inverse_bits(d));
  put(half_bits_of(d), 16u);
  for (var i = 0u; i < 16u; i++) {
    let code = ternary(first + i, inverse);
    put(code.x | (code.y << 2u) | (code.z << 4u) | (code.w << 6u), 8u);
  }
}

// Q1_0: the mean magnitude, summed in order, and the signs; -0 counts as positive.
fn quantise_signs(first: u32) {
  var sum = 0.0;
  var words = vec4u();
  for (var i = 0u; i < 32u; i++) {
    let v = x__vec4[first + i];
    let size = abs(v);
    sum = sum + size.x + size.y + size.z + size.w;
    let up = select(vec4u(0u), vec4u(1u, 2u, 4u, 8u), bitcast<vec4u>(v) <= vec4u(SIGN_BIT));
    words[i / 8u] |= (up.x | up.y | up.z | up.w) << (i % 8u * 4u);
  }
  put(half_bits_of(bitcast<u32>(sum * 0.0078125)), 16u);
  for (var i = 0u; i < 4u; i++) {
    put(words[i], 32u);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn ggml_quantize_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let start = ((id.x + id.y * count.x) * WORKGROUP_SIZE + local) * params.share;
  place = start * params.bytes / 4u;
  let end = min(start + params.share, params.rows * (params.n / params.size));
  for (var i = start; i < end; i++) {
    let first = i * params.size / 4u;
    switch params.format {
      case 2u, 3u, 6u, 7u: {
        quantise_offset(first);
      }
      case 8u, 9u: {
        quantise_bytes(first);
      }
      case 20u: {
        quantise_iq4(first);
      }
      case 34u, 35u: {
        quantise_ternary(first);
      }
      case 39u: {
        quantise_mxfp4(first);
      }
      case 41u: {
        quantise_signs(first);
      }
      case 42u: {
        quantise_quads(first);
      }
      default: {
        quantise_nvfp4(first);
      }
    }
  }
  if (filled > 0u) {
    blocks[place] = pending;
  }
}
