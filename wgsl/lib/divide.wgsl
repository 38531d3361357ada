// Division whose result no implementation rounds another way: WGSL's own is within 2.5 ulp.

// a / b of two positive floats as their bits, correctly rounded. Denormals count as 0; what would be one is 0.
fn divided(a: u32, b: u32) -> u32 {
  var rest = (a & 0x7fffffu) | 0x800000u;
  let divisor = (b & 0x7fffffu) | 0x800000u;
  var exponent = i32(a >> 23u) - i32(b >> 23u) + 127;
  if (rest < divisor) {
    rest <<= 1u;
    exponent -= 1;
  }
  var quotient = 0u;
  for (var i = 0; i < 25; i++) {
    quotient <<= 1u;
    if (rest >= divisor) {
      rest -= divisor;
      quotient |= 1u;
    }
    rest <<= 1u;
  }
  if (a < 0x800000u || exponent <= 0) {
    return 0u;
  }
  if (exponent >= 255) {
    return INFINITY_BITS;
  }
  let up = (quotient & 1u) & (u32(rest != 0u) | (quotient >> 1u));
  return (u32(exponent) << 23u) + ((quotient >> 1u) & 0x7fffffu) + up;
}
