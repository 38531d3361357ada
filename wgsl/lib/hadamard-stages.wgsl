// Stages of the Walsh–Hadamard transform over four values in registers.

/// The stage over neighbours of a vector.
fn walsh_pairs(v: vec4f) -> vec4f {
  return v.xxzz + vec4f(v.y, -v.y, v.w, -v.w);
}

/// The stage over its halves.
fn walsh_halves(v: vec4f) -> vec4f {
  return v.xyxy + vec4f(v.zw, -v.zw);
}
