// IEEE binary16 by its bits: what pack2x16float rounds to is each implementation's choice.

// The nearest half of an f32's bits, ties to even; overflow gives infinity, NaN 0x7e00.
fn half_bits_of(bits: u32) -> u32 {
  let magnitude = bits & 0x7fffffffu;
  let sign = (bits >> 16u) & 0x8000u;
  if (magnitude > 0x7f800000u) {
    return sign | 0x7e00u;
  }
  if (magnitude >= 0x477ff000u) {
    return sign | 0x7c00u;
  }
  if (magnitude >= 0x38800000u) {
    return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);
  }
  // Subnormal: a multiple of 2^-24.
  let exponent = magnitude >> 23u;
  if (exponent < 102u) {
    return sign;
  }
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  let shift = 126u - exponent;
  let kept = mantissa >> shift;
  let lost = mantissa & ((1u << shift) - 1u);
  let middle = 1u << (shift - 1u);
  return sign | (kept + u32(lost > middle || (lost == middle && (kept & 1u) == 1u)));
}

// The f32 bits of a half.
fn float_bits_of_half(half: u32) -> u32 {
  let magnitude = half & 0x7fffu;
  let sign = (half & 0x8000u) << 16u;
  if (magnitude >= 0x7c00u) {
    return sign | 0x7f800000u | (magnitude << 13u);
  }
  if (magnitude >= 0x400u) {
    return sign | ((magnitude << 13u) + 0x38000000u);
  }
  return sign | bitcast<u32>(f32(magnitude) * 0x1p-24f);
}
