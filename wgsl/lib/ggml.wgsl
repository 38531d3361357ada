// Numbers of ggml's 4-bit codes and scales.

// Codes of IQ4_NL and IQ4_XS: a table of bytes that 127 has been added to.
fn iq4(code: vec4u) -> vec4f {
  let table = vec4u(0x3e2c1700u, 0x75695c4eu, 0xa5988c80u, 0xf0d8c4b4u);
  let four = code >> vec4u(2u);
  let words = vec4u(table[four.x], table[four.y], table[four.z], table[four.w]);
  return vec4f((words >> ((code & vec4u(3u)) * 8u)) & vec4u(255u)) - 127.0;
}

// Magnitudes of E2M1 codes, doubled: 0, 1, 2, 3, 4, 6, 8, 12.
fn fp4(code: vec4u) -> vec4u {
  return (vec4u(0xc8643210u) >> ((code & vec4u(7u)) * 4u)) & vec4u(15u);
}

// Half of an unsigned E4M3 number: bit 7 is ignored, 127 is 0.
fn half_e4m3(byte: u32) -> f32 {
  let exponent = (byte >> 3u) & 15u;
  if (byte == 127u) {
    return 0.0;
  }
  if (exponent == 0u) {
    return f32(byte & 7u) * 0x1p-10f;
  }
  return bitcast<f32>(((exponent + 119u) << 23u) | ((byte & 7u) << 20u));
}
