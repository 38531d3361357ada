// The Walsh–Hadamard transform of 4096 values in workgroup memory, by 256 invocations: see hadamard.wgsl.

var<workgroup> walsh_tile: array<f32, 4096>;

/// Where the tile keeps value i: no two of 32 neighbouring invocations meet in a bank, whatever distance lies between the values of one.
fn walsh_place(i: u32) -> u32 {
  return i ^ ((i >> 4u) & 31u);
}

fn walsh_read_four(i: u32, distance: u32) -> vec4f {
  return vec4f(walsh_tile[walsh_place(i)], walsh_tile[walsh_place(i + distance)], walsh_tile[walsh_place(i + 2u * distance)], walsh_tile[walsh_place(i + 3u * distance)]);
}

fn walsh_write_four(i: u32, distance: u32, v: vec4f) {
  walsh_tile[walsh_place(i)] = v.x;
  walsh_tile[walsh_place(i + distance)] = v.y;
  walsh_tile[walsh_place(i + 2u * distance)] = v.z;
  walsh_tile[walsh_place(i + 3u * distance)] = v.w;
}

/// The stages inside a vector of values `distance` apart.
fn walsh_inner_stages(v: vec4f, distance: u32, span: u32) -> vec4f {
  let w = select(v, walsh_pairs(v), distance < span);
  return select(w, walsh_halves(w), 2u * distance < span);
}

/// The tile transformed, span by span (a power of two up to 4096); on both sides of it stand barriers.
fn walsh_transform(local: u32, span: u32) {
  workgroupBarrier();
  for (var distance = select(select(1u, 16u, span > 16u), 256u, span > 256u); distance > 0u; distance >>= 4u) {
    let inside = local & (distance - 1u);
    let i = ((local - inside) << 4u) + inside;
    var v: array<vec4f, 4>;
    for (var q = 0u; q < 4u; q++) {
      v[q] = walsh_inner_stages(walsh_read_four(i + 4u * q * distance, distance), distance, span);
    }
    if (4u * distance < span) {
      v = array(v[0] + v[1], v[0] - v[1], v[2] + v[3], v[2] - v[3]);
    }
    if (8u * distance < span) {
      v = array(v[0] + v[2], v[1] + v[3], v[0] - v[2], v[1] - v[3]);
    }
    for (var q = 0u; q < 4u; q++) {
      walsh_write_four(i + 4u * q * distance, distance, v[q]);
    }
    workgroupBarrier();
  }
}
