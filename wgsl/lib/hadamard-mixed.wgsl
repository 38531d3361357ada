// The ±1 matrix of a rotation, packed in the module's array `matrix`, four blocks at a time.

// (±v0 ± v1) + (±v2 ± v3): bit i of `bits` says that value i counts negative.
fn signed_sum(four: vec4f, bits: u32) -> f32 {
  let v = select(four, -four, ((vec4u(bits) >> vec4u(0u, 1u, 2u, 3u)) & vec4u(1u)) == vec4u(1u));
  return (v.x + v.y) + (v.z + v.w);
}

// Four entries of row k of the matrix (its transpose when inverse) from column g on, a bit each.
fn matrix_four(k: u32, g: u32, order: u32, inverse: u32) -> u32 {
  let words = (order + 31u) / 32u;
  if (inverse == 0u) {
    return (matrix[k * words + g / 32u] >> (g % 32u)) & 15u;
  }
  var bits = 0u;
  for (var i = 0u; i < 4u; i++) {
    bits |= ((matrix[(g + i) * words + k / 32u] >> (k % 32u)) & 1u) << i;
  }
  return bits;
}
