// Sixteen values of an invocation, `apart` from one another, from x and to out: what hadamard.wgsl and hadamardmixed.wgsl share. The
// shader has the arrays, params.scale, total() values in all, and sign_at(i), the sign of value i.

/// Value i of x, and 0 beyond the last.
fn walsh_value(i: u32) -> f32 {
  if (i < total()) {
    return f32(x[i]);
  }
  return 0.0;
}

fn walsh_four(i: u32, apart: u32) -> vec4f {
  return params.scale * vec4f(walsh_value(i), walsh_value(i + apart), walsh_value(i + 2u * apart), walsh_value(i + 3u * apart));
}

/// Sixteen values times the scale, from i on.
fn walsh_load(i: u32, apart: u32) -> array<vec4f, 4> {
  return array(walsh_four(i, apart), walsh_four(i + 4u * apart, apart), walsh_four(i + 8u * apart, apart), walsh_four(i + 12u * apart, apart));
}

fn walsh_store_value(i: u32, value: f32) {
  if (i < total()) {
    out[i] = element(value);
  }
}

fn walsh_store_four(i: u32, apart: u32, v: vec4f) {
  walsh_store_value(i, v.x);
  walsh_store_value(i + apart, v.y);
  walsh_store_value(i + 2u * apart, v.z);
  walsh_store_value(i + 3u * apart, v.w);
}

fn walsh_store(i: u32, apart: u32, v: array<vec4f, 4>) {
  walsh_store_four(i, apart, v[0]);
  walsh_store_four(i + 4u * apart, apart, v[1]);
  walsh_store_four(i + 8u * apart, apart, v[2]);
  walsh_store_four(i + 12u * apart, apart, v[3]);
}

fn walsh_four_signs(i: u32, apart: u32) -> vec4f {
  return vec4f(sign_at(i), sign_at(i + apart), sign_at(i + 2u * apart), sign_at(i + 3u * apart));
}

/// The sixteen values with their signs.
fn walsh_signed(v: array<vec4f, 4>, i: u32, apart: u32) -> array<vec4f, 4> {
  return array(
    v[0] * walsh_four_signs(i, apart),
    v[1] * walsh_four_signs(i + 4u * apart, apart),
    v[2] * walsh_four_signs(i + 8u * apart, apart),
    v[3] * walsh_four_signs(i + 12u * apart, apart),
  );
}
