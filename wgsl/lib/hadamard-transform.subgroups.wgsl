enable subgroups;

// The Walsh–Hadamard transform of a tile of 4096 values in 256 invocations, span by span (a power of two up to 4096, uniform).
// All invocations must call, in uniform control flow; between two calls of walsh_transform stands a barrier.
// This level: the lowest stages over the lanes of a subgroup, the next four in registers, and only those above by workgroup
// memory: none of it for rows of up to 16 times the subgroup's size. Stages come in ascending order whatever that size is.

/// How far apart an invocation's values lie before walsh_transform: as many as a subgroup has lanes. It is 1, and lanes are
/// left alone, where subgroups differ in size or one does not hold consecutive invocations. The size is counted, not asked: the
/// subgroup_size some drivers report is not the one they run; all agree on it, so that barriers may hang on it.
fn walsh_apart(local: u32) -> u32 {
  let size = subgroupAdd(1u);
  let lane = subgroupExclusiveAdd(1u);
  let lowest = subgroupMin(local);
  var right = subgroupAll(local == lowest + lane && lane == local % size);
  walsh_tile[local] = select(0.0, f32(size), right);
  workgroupBarrier();
  // The first subgroup asks one invocation in `size`: if these are all right, each is in a subgroup of its own and no other is left.
  for (var i = local * size; i < 256u; i += size * size) {
    right = right && walsh_tile[i] == f32(size);
  }
  right = subgroupAll(right);
  if (local == 0u) {
    walsh_tile[256] = select(1.0, f32(size), right);
  }
  return u32(workgroupUniformLoad(&walsh_tile[256]));
}

/// How far apart they lie after it.
fn walsh_apart_after(apart: u32, span: u32) -> u32 {
  var last = apart;
  for (var done = 16u * apart; done < span; done *= 16u) {
    last = min(done, 256u);
  }
  return last;
}

fn walsh_transform(values: array<vec4f, 4>, local: u32, apart: u32, span: u32) -> array<vec4f, 4> {
  var v = values;
  for (var lane = 1u; lane < min(apart, span); lane <<= 1u) {
    let side = select(1.0, -1.0, (local & lane) != 0u);
    v = array(
      subgroupShuffleXor(v[0], lane) + side * v[0],
      subgroupShuffleXor(v[1], lane) + side * v[1],
      subgroupShuffleXor(v[2], lane) + side * v[2],
      subgroupShuffleXor(v[3], lane) + side * v[3],
    );
  }
  v = walsh_stages(v, apart, span - 1u);
  var last = apart;
  for (var done = 16u * apart; done < span; done *= 16u) {
    let next = min(done, 256u);
    v = walsh_stages(walsh_move(v, local, last, next), next, (span - 1u) & ~(done - 1u));
    last = next;
  }
  return v;
}
