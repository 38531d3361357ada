// f16 in the low bits of a word, by integers: exact where unpack2x16float and pack2x16float may flush or round.

// As f32; infinity and NaN too.
fn half_value(bits: u32) -> f32 {
  let sign = (bits & 0x8000u) << 16u;
  let exponent = (bits >> 10u) & 31u;
  let fraction = bits & 0x3ffu;
  if (exponent == 0u) {
    return bitcast<f32>(bitcast<u32>(f32(fraction) * 0x1p-24f) | sign);
  }
  return bitcast<f32>(sign | (select(exponent + 112u, 255u, exponent == 31u) << 23u) | (fraction << 13u));
}

// An f32 given by its bits, to nearest, ties to even. NaN is 0x7e00.
fn half_bits(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) {
    return 0x7e00u;
  }
  if (size >= 0x47800000u) {
    return sign | 0x7c00u;
  }
  if (size >= 0x38800000u) {
    return sign | ((size + 0xfffu + ((size >> 13u) & 1u) - 0x38000000u) >> 13u);
  }
  // Below 2^-14 in steps of 2^-24; up to half a step is 0.
  if (size <= 0x33000000u) {
    return sign;
  }
  let shift = 126u - (size >> 23u);
  let significand = (size & 0x7fffffu) | 0x800000u;
  let steps = significand >> shift;
  let lost = significand & ((1u << shift) - 1u);
  let tie = 1u << (shift - 1u);
  return sign | (steps + u32(lost > tie || (lost == tie && (steps & 1u) == 1u)));
}
