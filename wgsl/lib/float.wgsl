// Floats at the edges. WGSL may assume finite numbers and forbids constants that are not, so NaN and infinity are
// recognised by their bits, and made from bits that no compiler can fold.

// Identities of reductions: the lowest and the highest finite f32.
const LOWEST_F32: f32 = -0x1.fffffep+127f;
const HIGHEST_F32: f32 = 0x1.fffffep+127f;

const INFINITY_BITS: u32 = 0x7f800000u;

fn is_nan_bits(bits: u32) -> bool {
  return (bits & 0x7fffffffu) > INFINITY_BITS;
}

// A function variable is no constant expression.
fn infinity_f32() -> f32 {
  var bits = INFINITY_BITS;
  return bitcast<f32>(bits);
}

fn negative_infinity_f32() -> f32 {
  var bits = INFINITY_BITS | 0x80000000u;
  return bitcast<f32>(bits);
}

fn nan_f32() -> f32 {
  var bits = 0x7fc00000u;
  return bitcast<f32>(bits);
}

// Bits of an f32 as a key that u32 comparison orders: -infinity < ... < -0 = +0 < ... < +infinity, and NaN (0) below them all.
fn sortable_key(bits: u32) -> u32 {
  if (is_nan_bits(bits)) {
    return 0u;
  }
  if (bits >= 0x80000000u) {
    return ~bits + u32(bits == 0x80000000u);
  }
  return bits | 0x80000000u;
}

// The same with the order turned round (+infinity lowest), NaN below all the same.
fn sortable_key_reversed(bits: u32) -> u32 {
  let key = sortable_key(bits);
  return select(~key, 0u, key == 0u);
}

// steps · 2^exponent as the bits of an f32: exact, or infinity. steps < 2^23, exponent >= -149.
fn scaled_bits(steps: u32, exponent: i32) -> u32 {
  if (steps == 0u) {
    return 0u;
  }
  let field = i32(bitcast<u32>(f32(steps)) >> 23u) + exponent;
  if (field >= 255) {
    return INFINITY_BITS;
  }
  if (field <= 0) {
    return steps << u32(exponent + 149);
  }
  return bitcast<u32>(f32(steps)) + (u32(exponent) << 23u);
}
