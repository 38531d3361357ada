// Sixteen values in each of 256 invocations, which together are a tile of 4096: see hadamard.wgsl.

var<workgroup> walsh_tile: array<f32, 4096>;

/// Which value of the tile is an invocation's first; its others follow `apart` (a power of two up to 256) from one another.
fn walsh_first(local: u32, apart: u32) -> u32 {
  let inside = local & (apart - 1u);
  return ((local - inside) << 4u) + inside;
}

/// Where workgroup memory keeps value i: no two of 32 neighbouring invocations meet in a bank, however far apart the values of one lie.
fn walsh_place(i: u32) -> u32 {
  return i ^ ((i >> 4u) & 31u);
}

fn walsh_write_four(i: u32, apart: u32, v: vec4f) {
  walsh_tile[walsh_place(i)] = v.x;
  walsh_tile[walsh_place(i + apart)] = v.y;
  walsh_tile[walsh_place(i + 2u * apart)] = v.z;
  walsh_tile[walsh_place(i + 3u * apart)] = v.w;
}

fn walsh_read_four(i: u32, apart: u32) -> vec4f {
  return vec4f(walsh_tile[walsh_place(i)], walsh_tile[walsh_place(i + apart)], walsh_tile[walsh_place(i + 2u * apart)], walsh_tile[walsh_place(i + 3u * apart)]);
}

/// Values that lay `apart` now lie `next` apart. All invocations must call; from where one move ended the next may start, with
/// no barrier between: an invocation writes the places that it alone has read.
fn walsh_move(v: array<vec4f, 4>, local: u32, apart: u32, next: u32) -> array<vec4f, 4> {
  let here = walsh_first(local, apart);
  walsh_write_four(here, apart, v[0]);
  walsh_write_four(here + 4u * apart, apart, v[1]);
  walsh_write_four(here + 8u * apart, apart, v[2]);
  walsh_write_four(here + 12u * apart, apart, v[3]);
  workgroupBarrier();
  let there = walsh_first(local, next);
  return array(
    walsh_read_four(there, next),
    walsh_read_four(there + 4u * next, next),
    walsh_read_four(there + 8u * next, next),
    walsh_read_four(there + 12u * next, next),
  );
}
