// (±v0 ± v1) + (±v2 ± v3): bit i of `bits` says that value i counts negative.
fn signed_sum(four: vec4f, bits: u32) -> f32 {
  let v = select(four, -four, ((vec4u(bits) >> vec4u(0u, 1u, 2u, 3u)) & vec4u(1u)) == vec4u(1u));
  return (v.x + v.y) + (v.z + v.w);
}
