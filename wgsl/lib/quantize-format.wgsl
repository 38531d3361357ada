// From a group's values to its codes: what quantize and rotate share. The module declares `bits` and `scheme` (override).

struct GroupExtremes {
  low: f32,
  high: f32,
  // 1 where a value was NaN or infinite.
  odd: u32,
}

const NO_EXTREMES = GroupExtremes(HIGHEST_F32, LOWEST_F32, 0u);

fn widened_extremes(e: GroupExtremes, values: vec4f) -> GroupExtremes {
  let magnitudes = bitcast<vec4u>(values) & vec4u(0x7fffffffu);
  if (any(magnitudes >= vec4u(INFINITY_BITS))) {
    return GroupExtremes(e.low, e.high, 1u);
  }
  var v = values;
  if (scheme == 1u) {
    v = bitcast<vec4f>(magnitudes);
  }
  let low = min(min(v.x, v.y), min(v.z, v.w));
  let high = max(max(v.x, v.y), max(v.z, v.w));
  return GroupExtremes(min(e.low, low), max(e.high, high), e.odd);
}

// range / (2^b - 1), correctly rounded; 0 where that would be denormal. With the mantissa m < 2^24, (m << b) / (2^b - 1) has
// 24 or 25 bits, and an odd divisor leaves no ties at 24.
fn divided_by_levels(range: f32, b: u32) -> f32 {
  let range_bits = bitcast<u32>(range);
  let exponent = range_bits >> 23u;
  let levels = (1u << b) - 1u;
  let dividend = ((range_bits & 0x7fffffu) | 0x800000u) << b;
  var quotient = dividend / levels;
  let rest = dividend % levels;
  var up = 2u * rest > levels;
  var result = i32(exponent) - i32(b);
  if (quotient >= 0x1000000u) {
    up = (quotient & 1u) == 1u && (rest > 0u || (quotient & 2u) == 2u);
    quotient >>= 1u;
    result += 1;
  }
  if (result <= 0) {
    return 0.0;
  }
  return bitcast<f32>((u32(result) << 23u) + (quotient - 0x800000u) + u32(up));
}

// How a group's values become codes. `factor` keeps divisors where WGSL bounds the error of a division (up to 2^126).
struct CodeFormat {
  scale: f32,
  minimum: f32,
  factor: f32,
  divisor: f32,
  // All bits of a code, or none: a scale of 0, or NaN.
  mask: u32,
}

fn code_format_of(e: GroupExtremes) -> CodeFormat {
  let minimum = select(e.low, 0.0, scheme == 1u);
  // Would high - low overflow? Their halves cannot.
  if (e.odd == 1u || e.high * 0.5 - minimum * 0.5 > HIGHEST_F32 * 0.5) {
    return CodeFormat(nan_f32(), nan_f32(), 1.0, 1.0, 0u);
  }
  let scale = divided_by_levels(e.high - minimum, bits - scheme);
  if (scale == 0.0) {
    return CodeFormat(0.0, minimum, 1.0, 1.0, 0u);
  }
  let factor = select(1.0, 0x1p-20f, scale > 0x1p+100f);
  return CodeFormat(scale, minimum, factor, scale * factor, (1u << bits) - 1u);
}

// Four codes, the first in the lowest bits; `count` of them count.
fn packed_codes(values: vec4f, format: CodeFormat, count: u32) -> u32 {
  if (format.mask == 0u) {
    return 0u;
  }
  let largest = f32((1u << (bits - scheme)) - 1u);
  let smallest = select(0.0, -largest, scheme == 1u);
  let quotients = (values - vec4f(format.minimum)) * format.factor / vec4f(format.divisor);
  let code = bitcast<vec4u>(vec4i(clamp(round(quotients), vec4f(smallest), vec4f(largest)))) & vec4u(format.mask);
  let places = vec4u(0u, 1u, 2u, 3u);
  let kept = select(vec4u(0u), code << (places * bits), places < vec4u(count));
  return (kept.x | kept.y) | (kept.z | kept.w);
}

// The four codes in the lowest bits of a word, as numbers, times scale plus minimum.
fn restored_codes(word: u32, scale: f32, minimum: f32) -> vec4f {
  let unsigned = (vec4u(word) >> (vec4u(0u, 1u, 2u, 3u) * bits)) & vec4u((1u << bits) - 1u);
  let half = scheme << (bits - 1u);
  let code = vec4f(vec4i(unsigned ^ vec4u(half)) - vec4i(i32(half)));
  if (is_nan_bits(bitcast<u32>(scale))) {
    return vec4f(nan_f32());
  }
  return code * scale + vec4f(minimum);
}
