// Division whose result no implementation rounds another way: WGSL's own is within 2.5 ulp.

// a / b of two positive floats as their bits, correctly rounded. Denormals count as 0; what would be one is 0.
fn divided(a: u32, b: u32) -> u32 {
  var dividend = (a & 0x7fffffu) | 0x800000u;
  let divisor = (b & 0x7fffffu) | 0x800000u;
  var exponent = i32(a >> 23u) - i32(b >> 23u) + 127;
  if (dividend < divisor) {
    dividend <<= 1u;
    exponent -= 1;
  }
  // One bit more than a float has: first what the device says, at most 6 away, then by what is left (which 32 bits hold).
  var quotient = u32(f32(dividend) / f32(divisor) * 0x1p24f);
  var left = bitcast<i32>((dividend << 24u) - quotient * divisor);
  while (left < 0) {
    left += i32(divisor);
    quotient -= 1u;
  }
  while (left >= i32(divisor)) {
    left -= i32(divisor);
    quotient += 1u;
  }
  if (a < 0x800000u || exponent <= 0) {
    return 0u;
  }
  if (exponent >= 255) {
    return INFINITY_BITS;
  }
  let up = (quotient & 1u) & (u32(left != 0) | (quotient >> 1u));
  return (u32(exponent) << 23u) + ((quotient >> 1u) & 0x7fffffu) + up;
}
