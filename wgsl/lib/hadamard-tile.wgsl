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

/// Values that lay `apart` now lie `next` apart. All invocations must call; from where one move ended the next may start, with
/// no barrier between: an invocation writes the places that it alone has read.
fn walsh_move(values: array<vec4f, 4>, local: u32, apart: u32, next: u32) -> array<vec4f, 4> {
  let here = walsh_first(local, apart);
  for (var q = 0u; q < 4u; q++) {
    let i = here + 4u * q * apart;
    walsh_tile[walsh_place(i)] = values[q].x;
    walsh_tile[walsh_place(i + apart)] = values[q].y;
    walsh_tile[walsh_place(i + 2u * apart)] = values[q].z;
    walsh_tile[walsh_place(i + 3u * apart)] = values[q].w;
  }
  workgroupBarrier();
  let there = walsh_first(local, next);
  var moved: array<vec4f, 4>;
  for (var q = 0u; q < 4u; q++) {
    let i = there + 4u * q * next;
    moved[q] = vec4f(
      walsh_tile[walsh_place(i)],
      walsh_tile[walsh_place(i + next)],
      walsh_tile[walsh_place(i + 2u * next)],
      walsh_tile[walsh_place(i + 3u * next)],
    );
  }
  return moved;
}
