// Attention scores in units of log 2: exp2 of a logit is exp of the score.
const LOG2_E = 1.4426950408889634;
const LN_2 = 0.6931471805599453;

// What a query is multiplied by beforehand, so that products with keys stay finite where scores are.
fn logit_factor(scale: f32, softcap: f32) -> f32 {
  if (softcap > 0.0) {
    return scale / softcap;
  }
  return scale * LOG2_E;
}

// The logits of such products: softcap · tanh(scale · q·k / softcap), or scale · q·k where softcap is 0.
fn logits(products: vec4f, softcap: f32) -> vec4f {
  if (softcap > 0.0) {
    return hyperbolic_tangent(products) * (softcap * LOG2_E);
  }
  return products;
}

// WGSL promises nothing for tanh near 0 and past 44. Near 0 its [5/4] Padé approximant (error 5.1e-10 at 0.6).
fn hyperbolic_tangent(x: vec4f) -> vec4f {
  let a = min(abs(x), vec4f(12));
  let z = a * a;
  let near = a * (945.0 + z * (105.0 + z)) / (945.0 + z * (420.0 + z * 15.0));
  let far = 1.0 - 2.0 / (exp2(a * (2.0 * LOG2_E)) + 1.0);
  return sign(x) * select(far, near, a < vec4f(0.6));
}

// To each component of `to`, the product of x with one of four.
fn add_products(x: vec4f, a: vec4f, b: vec4f, c: vec4f, d: vec4f, to: vec4f) -> vec4f {
  return vec4f(add_dot(x, a, to.x), add_dot(x, b, to.y), add_dot(x, c, to.z), add_dot(x, d, to.w));
}

// Four multiply-adds: dot() and a own_sum would take five operations.
fn add_dot(x: vec4f, y: vec4f, to: f32) -> f32 {
  return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, to))));
}

// A log-sum-exp in units of log 2 as a natural one. LOWEST_F32, no key: -infinity.
fn natural_lse(lse_2: f32) -> f32 {
  return select(negative_infinity_f32(), lse_2 * LN_2, lse_2 > LOWEST_F32);
}
