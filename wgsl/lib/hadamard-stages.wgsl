// Stages of the Walsh–Hadamard transform over values in registers.

/// The stage over neighbours of a vector.
fn walsh_pairs(v: vec4f) -> vec4f {
  return v.xxzz + vec4f(v.y, -v.y, v.w, -v.w);
}

/// The stage over its halves.
fn walsh_halves(v: vec4f) -> vec4f {
  return v.xyxy + vec4f(v.zw, -v.zw);
}

/// Those of the four stages over sixteen values `apart` from one another whose distance is a bit of `todo`.
fn walsh_stages(values: array<vec4f, 4>, apart: u32, todo: u32) -> array<vec4f, 4> {
  var v = values;
  if ((todo & apart) != 0u) {
    v = array(walsh_pairs(v[0]), walsh_pairs(v[1]), walsh_pairs(v[2]), walsh_pairs(v[3]));
  }
  if ((todo & (2u * apart)) != 0u) {
    v = array(walsh_halves(v[0]), walsh_halves(v[1]), walsh_halves(v[2]), walsh_halves(v[3]));
  }
  if ((todo & (4u * apart)) != 0u) {
    v = array(v[0] + v[1], v[0] - v[1], v[2] + v[3], v[2] - v[3]);
  }
  if ((todo & (8u * apart)) != 0u) {
    v = array(v[0] + v[2], v[1] + v[3], v[0] - v[2], v[1] - v[3]);
  }
  return v;
}
