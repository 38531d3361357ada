/**
 * e^d, 2^t, tanh and ln without tables, data segments or branches. Two exponentials, of about the same cost: exp_f32x4 is
 * accurate for every f32 argument; exp2_f32x4 lets callers fold log2(e) into a scale they have anyway, exp(s·x) =
 * exp2_f32x4(x · (s·LOG2E)), and carries the rounding of that argument (1.5·|x| ulp).
 *
 * Constants come in as arguments: V8 rebuilds a v128 literal on every use, which makes a loop two to three times
 * slower. Take them once per call with `held_f32x4` (lib/held.ts: a value the optimiser cannot see through) and loop with do-while:
 *
 *   const lowest = held_f32x4(EXP2_LOWEST), magic = held_f32x4(EXP2_MAGIC), one = held_f32x4(1);
 *   const c1 = held_f32x4(EXP2_C1), c2 = held_f32x4(EXP2_C2), c3 = held_f32x4(EXP2_C3), c4 = held_f32x4(EXP2_C4), c5 = held_f32x4(EXP2_C5), c6 = held_f32x4(EXP2_C6);
 *   do { ... exp2_f32x4(t, lowest, magic, one, c1, c2, c3, c4, c5, c6) ... } while (p < end);
 *
 * Outside loops, `expOnce_f32x4(d)` and `exp2Once_f32x4(t)` spare the arguments and give the same bits.
 *
 * Not done (softmax of 1024 × 4096): constants in mutable wasm globals (no arguments, but a load per use: 15 % slower on
 * Node 20, 4 % relaxed); unrolling the loop by 2 or 4 (0 to 3 % slower: iterations overlap already). In exp2_f32x4: degree 5
 * (2.3 ulp instead of 1.08 for 8 to 10 %). In exp_f32x4: Horner's rule without madd (11 % slower), the factored polynomial with
 * madd (6 % slower), r + 1 rounded before the rest is added (2 % faster, but 2.6 ulp), a free coefficient of r (1.07 ulp of the
 * polynomial's 1.36, for a register and a multiplication); 2^n added to the exponent instead of multiplied, small lanes masked
 * instead of clamped (6 % slower, short rows 20 to 40 %).
 */

import { held_f32x4 } from './held';

export const LOG2E: f32 = 1.4426950408889634;
export const LN2: f64 = 0.6931471805599453;

/** Below t = -126.5 the result is flushed to 0; smaller t need no more range than this. */
export const EXP2_LOWEST: f32 = -127.0;
/** 1.5·2^23 + 127: adding it rounds t to an integer n (ties to even) and leaves n + 127 in the low bits. */
export const EXP2_MAGIC: f32 = 12583039.0;
// Minimax for the relative error of 2^r on [-0.5, 0.5], coefficients rounded to f32 one after the other: 3.0e-9.
export const EXP2_C1: f32 = 0.6931471824645996;
export const EXP2_C2: f32 = 0.24022647738456726;
export const EXP2_C3: f32 = 0.05550359934568405;
export const EXP2_C4: f32 = 0.009618505835533142;
export const EXP2_C5: f32 = 0.0013390806270763278;
export const EXP2_C6: f32 = 0.00015326467109844089;

/** a·b + c, in one rounding where the level has it. */
// @ts-ignore: decorator
@inline
export function madd_f32x4(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, c) : f32x4.add(f32x4.mul(a, b), c);
}

/** c − a·b, in one rounding where the level has it. */
// @ts-ignore: decorator
@inline
export function nmadd_f32x4(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_nmadd(a, b, c) : f32x4.sub(c, f32x4.mul(a, b));
}

/**
 * 2^t for t ≤ 127 (nothing is checked above), at most 1.08 ulp from exact (0.88 where madd fuses); t ≤ -126.5 (-infinity too) gives 0, NaN gives NaN.
 * t = n + r with integer n and |r| ≤ 0.5, both exact; 2^r is a polynomial, 2^n is written into the exponent
 * (n = -127 writes 0, which is the flush).
 */
// @ts-ignore: decorator
@inline
export function exp2_f32x4(
  t: v128, lowest: v128, magic: v128, one: v128,
  c1: v128, c2: v128, c3: v128, c4: v128, c5: v128, c6: v128,
): v128 {
  const clamped = f32x4.pmax(t, lowest); // pmax(NaN, lowest) is NaN
  const z = f32x4.add(clamped, magic);
  const r = f32x4.sub(clamped, f32x4.sub(z, magic));
  const p = madd_f32x4(madd_f32x4(madd_f32x4(madd_f32x4(madd_f32x4(madd_f32x4(c6, r, c5), r, c4), r, c3), r, c2), r, c1), r, one);
  return f32x4.mul(p, i32x4.shl(z, 23));
}

/** e^d is 0 below ln(2^-126.5) = -87.68; smaller d need no more range than this. */
export const EXP_LOWEST: f32 = -88.03;
/** ln 2 in two parts: the product of the first, 16 bits long, with an exponent is exact. */
export const EXP_LN2_HIGH: f32 = 0.693145751953125;
export const EXP_LN2_LOW: f32 = 1.428606765330187e-6;
// Minimax for e^r − 1 − r on ±ln 2 / 2, its error counted in ulp of e^r: 1.36. With a multiply-add these are the coefficients of
// r² to r^5; without, those of C5·r²·((r + C4)·(r² + C3) + C2), an operation less and half as deep.
export const EXP_C2: f32 = ASC_FEATURE_RELAXED_SIMD ? 0.4999929666519165 : -41.07704544067383;
export const EXP_C3: f32 = ASC_FEATURE_RELAXED_SIMD ? 0.16667239367961884 : 20.078615188598633;
export const EXP_C4: f32 = ASC_FEATURE_RELAXED_SIMD ? 0.041884128004312515 : 5.045664310455322;
export const EXP_C5: f32 = ASC_FEATURE_RELAXED_SIMD ? 0.008301534689962864 : 0.008300993591547012;

/**
 * e^d for d ≤ 88 (nothing is checked above), at most 2.4 ulp from exact down to -87.3 where it is normal (2.2 where madd fuses), e^0 = 1;
 * below -87.68 (-infinity too) 0; NaN gives NaN. d = n·ln 2 + r with integer n and |r| ≤ ln 2 / 2; 2^n as in exp2_f32x4.
 * Method: W. J. Cody, W. Waite, "Software Manual for the Elementary Functions" (1980) for r; D. Knuth's adapted coefficients without madd.
 */
// @ts-ignore: decorator
@inline
export function exp_f32x4(
  d: v128, lowest: v128, log2e: v128, magic: v128, ln2High: v128, ln2Low: v128, one: v128,
  c2: v128, c3: v128, c4: v128, c5: v128,
): v128 {
  const clamped = f32x4.pmax(d, lowest); // pmax(NaN, lowest) is NaN
  const z = madd_f32x4(clamped, log2e, magic);
  const n = f32x4.sub(z, magic);
  const r = nmadd_f32x4(n, ln2Low, nmadd_f32x4(n, ln2High, clamped));
  const p = ASC_FEATURE_RELAXED_SIMD
    ? madd_f32x4(madd_f32x4(madd_f32x4(madd_f32x4(madd_f32x4(c5, r, c4), r, c3), r, c2), r, one), r, one)
    : f32x4.add(f32x4.add(factored_f32x4(r, c2, c3, c4, c5), r), one);
  return f32x4.mul(p, i32x4.shl(z, 23));
}

// @ts-ignore: decorator
@inline
function factored_f32x4(r: v128, c2: v128, c3: v128, c4: v128, c5: v128): v128 {
  const square = f32x4.mul(r, r);
  return f32x4.mul(f32x4.mul(square, c5), f32x4.add(f32x4.mul(f32x4.add(r, c4), f32x4.add(square, c3)), c2));
}

/** exp_f32x4 with its constants built on the spot: for code outside loops. */
// @ts-ignore: decorator
@inline
export function expOnce_f32x4(d: v128): v128 {
  return exp_f32x4(
    d, f32x4.splat(EXP_LOWEST), f32x4.splat(LOG2E), f32x4.splat(EXP2_MAGIC), f32x4.splat(EXP_LN2_HIGH), f32x4.splat(EXP_LN2_LOW),
    f32x4.splat(1), f32x4.splat(EXP_C2), f32x4.splat(EXP_C3), f32x4.splat(EXP_C4), f32x4.splat(EXP_C5),
  );
}

/** exp2_f32x4 with its constants built on the spot: for code outside loops. */
// @ts-ignore: decorator
@inline
export function exp2Once_f32x4(t: v128): v128 {
  return exp2_f32x4(
    t, f32x4.splat(EXP2_LOWEST), f32x4.splat(EXP2_MAGIC), f32x4.splat(1),
    f32x4.splat(EXP2_C1), f32x4.splat(EXP2_C2), f32x4.splat(EXP2_C3), f32x4.splat(EXP2_C4), f32x4.splat(EXP2_C5), f32x4.splat(EXP2_C6),
  );
}

/** tanh is ±1 to f32 beyond: 2·log2(e)·x for x = 10.4. */
export const TANH_LIMIT: f32 = 30.0;
/** What the caller folds in: tanh(x) = tanh_f32x4(x · TANH_SCALE). */
export const TANH_SCALE: f32 = 2.8853900817779268;

/**
 * tanh(t / TANH_SCALE) for any t, at most 3.1 ulp from exact, small arguments included; ±infinity gives ±1, NaN gives NaN.
 * With e = 2^t − 1 = e^(2x) − 1, tanh(x) = e / (e + 2). e is formed without cancellation as 2^n·(2^r − 1) + (2^n − 1),
 * with exp2's constants.
 */
// @ts-ignore: decorator
@inline
export function tanh_f32x4(
  t: v128, limit: v128, magic: v128, one: v128,
  c1: v128, c2: v128, c3: v128, c4: v128, c5: v128, c6: v128,
): v128 {
  const clamped = f32x4.pmin(f32x4.pmax(t, f32x4.neg(limit)), limit);
  const z = f32x4.add(clamped, magic);
  const r = f32x4.sub(clamped, f32x4.sub(z, magic));
  const q = f32x4.mul(r, madd_f32x4(madd_f32x4(madd_f32x4(madd_f32x4(madd_f32x4(c6, r, c5), r, c4), r, c3), r, c2), r, c1));
  const power = i32x4.shl(z, 23);
  const e = madd_f32x4(q, power, f32x4.sub(power, one));
  return f32x4.div(e, f32x4.add(e, f32x4.add(one, one)));
}

/**
 * ln of a positive finite normal number, relative error below 3e-9 (1/20 of f32's rounding); for one number per row. ln(0) is not handled.
 * x = 2^e·m with m in [√½, √2); ln m = 2·atanh((m − 1) / (m + 1)) by its series.
 */
// @ts-ignore: decorator
@inline
export function ln_f64(x: f64): f64 {
  const bits = reinterpret<i64>(x);
  const e = (bits - 0x3fe6a09e667f3bcd) >> 52;
  const m = reinterpret<f64>(bits - (e << 52));
  const s = (m - 1.0) / (m + 1.0);
  const w = s * s;
  const series =
    1.0 + w * (1.0 / 3.0 + w * (1.0 / 5.0 + w * (1.0 / 7.0 + w * (1.0 / 9.0))));
  return <f64>e * LN2 + 2.0 * s * series;
}
