// The Walsh–Hadamard transform of a tile of 4096 values in 256 invocations, span by span (a power of two up to 4096, uniform).
// All invocations must call, in uniform control flow; between two calls of walsh_transform stands a barrier.
// This level: every stage in registers, and workgroup memory twice, whatever the span is. In all three places neighbours in
// memory lie in neighbouring invocations, or in one.

/// How far apart an invocation's values lie before walsh_transform.
fn walsh_apart(local: u32) -> u32 {
  return 256u;
}

/// How far apart they lie after it.
fn walsh_apart_after(apart: u32, span: u32) -> u32 {
  return 16u;
}

fn walsh_transform(values: array<vec4f, 4>, local: u32, apart: u32, span: u32) -> array<vec4f, 4> {
  let todo = span - 1u;
  var v = walsh_stages(values, 256u, todo);
  v = walsh_stages(walsh_move(v, local, 256u, 1u), 1u, todo);
  return walsh_stages(walsh_move(v, local, 1u, 16u), 16u, todo);
}
