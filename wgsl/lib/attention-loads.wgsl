// Four of a row's values from arrays of single elements, 0 beyond its end: for a stem's q, k, v, headDim and valueDim.

fn load_q(row: u32, vector: u32) -> vec4f {
  let c = vector * 4u + vec4u(0u, 1u, 2u, 3u);
  let i = row * headDim + min(c, vec4u(headDim - 1u));
  return select(vec4f(0), vec4f(f32(q[i.x]), f32(q[i.y]), f32(q[i.z]), f32(q[i.w])), c < vec4u(headDim));
}

fn load_k(row: u32, vector: u32) -> vec4f {
  let c = vector * 4u + vec4u(0u, 1u, 2u, 3u);
  let i = row * headDim + min(c, vec4u(headDim - 1u));
  return select(vec4f(0), vec4f(f32(k[i.x]), f32(k[i.y]), f32(k[i.z]), f32(k[i.w])), c < vec4u(headDim));
}

fn load_v(row: u32, vector: u32) -> vec4f {
  let c = vector * 4u + vec4u(0u, 1u, 2u, 3u);
  let i = row * valueDim + min(c, vec4u(valueDim - 1u));
  return select(vec4f(0), vec4f(f32(v[i.x]), f32(v[i.y]), f32(v[i.z]), f32(v[i.w])), c < vec4u(valueDim));
}
