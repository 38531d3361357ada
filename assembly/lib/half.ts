/**
 * Values stored as f32 or as IEEE binary16, read and written as f32: T is f32, or `half`. One source gives both kernels;
 * with f32 each of these is the plain load or store.
 *
 * A half widens exactly (subnormals, infinities; NaN stays NaN). An f32 narrows to the nearest half, ties to even: from
 * 65520 on to infinity, below 2^-14 to a multiple of 2^-24, NaN to the quiet NaN 0x7e00 with its sign, as ts/half.ts does it.
 *
 * Constants come in as arguments, as in exp.ts and for its reason: take them once per call, for half only (`halves_i32x4`),
 * and loop with do-while:
 *
 *   const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
 *   do { ... load4<T>(p, fields, up, down) ... } while (p < end);
 *
 * Left out they are literals: for code outside loops.
 *
 * Method: widening moves the exponent by a multiplication with 2^112, which also normalises subnormals (F. Giesen's
 * half_to_float); again by 2^112, infinities and NaN overflow, and all others come back by 2^-112 as they were. Narrowing adds
 * 2^13 times the power of two below a value (2^-14 at least): that sum's ulp is the half's, so the addition rounds as it
 * should, subnormals too. Integer and f32 operations only: no level has any of f16.
 *
 * Not done (2048 values in cache, ns a value on Node 20): widening with infinities found by a comparison, 0.27 to 0.32 instead
 * of 0.21. Narrowing takes 0.34: with signs by f32x4.abs and a mask of packed halves 0.40, four values at a time 0.44, exponent
 * and fraction joined by i32x4.dot_i16x8_s the same with one or two constants more; Giesen's float_to_half_fast3_rtne took 1.3
 * with literal constants and was not tried with held ones.
 */
import { held_i32x4 } from './held';
import { storePart } from './part';

export type half = u16;

/** As held_i32x4 where T is `half`; with f32 it is not used, and not made. */
// @ts-ignore: decorator
@inline
export function halves_i32x4<T>(value: i32): v128 {
  return sizeof<T>() == 4 ? i32x4.splat(0) : held_i32x4(value);
}

/** Sign, exponent and fraction of a sign-extended half shifted to their places; 2^112; 2^-112. */
export const WIDEN_FIELDS: i32 = 0x8fffe000;
export const WIDEN_UP: i32 = 0x77800000;
export const WIDEN_DOWN: i32 = 0x07800000;

/** Four finite halves from their sign-extended bits. */
// @ts-ignore: decorator
@inline
export function widenFinite_f32x4(bits: v128, fields: v128, up: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(bits, 13), fields), up);
}

/** Four halves from their sign-extended bits. */
// @ts-ignore: decorator
@inline
export function widen_f32x4(
  bits: v128, fields: v128 = i32x4.splat(WIDEN_FIELDS), up: v128 = i32x4.splat(WIDEN_UP), down: v128 = i32x4.splat(WIDEN_DOWN),
): v128 {
  const value = widenFinite_f32x4(bits, fields, up);
  // What had the largest exponent is infinite there: with its own fraction, infinity or NaN.
  return v128.or(value, f32x4.mul(f32x4.mul(value, up), down));
}

/** All but f32's sign; its exponent; 2^16, infinity as a half; 1.5·2^16, NaN as one; 2^-14, the least normal half. */
export const NARROW_SIZE: i32 = 0x7fffffff;
export const NARROW_EXPONENT: i32 = 0x7f800000;
export const NARROW_TOP: i32 = 0x47800000;
export const NARROW_NAN: i32 = 0x47c00000;
export const NARROW_LEAST: i32 = 0x38800000;
/** 2^13 as a factor, and what is missing where the sum's exponent, 13 bits lower, is added to its low bits. */
export const NARROW_MAGIC: i32 = 0x06800800;

/** Values from 0 to 2^16, or 1.5·2^16: their bits as halves in the low 16 of a lane, anything above. */
// @ts-ignore: decorator
@inline
function rounded_i32x4(size: v128, exponent: v128, least: v128, magic: v128): v128 {
  const sum = f32x4.add(size, i32x4.add(i32x4.max_s(v128.and(size, exponent), least), magic));
  return i32x4.add(sum, i32x4.shr_u(sum, 13));
}

// @ts-ignore: decorator
@inline
function lowHalves_i16x8(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}

/** The bits of eight halves. */
// @ts-ignore: decorator
@inline
export function narrow_i16x8(a: v128, b: v128, size: v128, exponent: v128, top: v128, nan: v128, least: v128, magic: v128): v128 {
  const sizeA = v128.and(a, size);
  const sizeB = v128.and(b, size);
  // pmin(NaN, top) is NaN, pmin(nan, NaN) is nan.
  const sizes = lowHalves_i16x8(
    rounded_i32x4(f32x4.pmin(nan, f32x4.pmin(sizeA, top)), exponent, least, magic),
    rounded_i32x4(f32x4.pmin(nan, f32x4.pmin(sizeB, top)), exponent, least, magic),
  );
  return v128.or(sizes, i16x8.narrow_i32x4_s(v128.xor(a, sizeA), v128.xor(b, sizeB)));
}

/** The same of values from 0 to 65504, or NaN. */
// @ts-ignore: decorator
@inline
export function narrowWeights_i16x8(a: v128, b: v128, exponent: v128, nan: v128, least: v128, magic: v128): v128 {
  return lowHalves_i16x8(
    rounded_i32x4(f32x4.pmin(nan, a), exponent, least, magic), rounded_i32x4(f32x4.pmin(nan, b), exponent, least, magic),
  );
}

/** The bits of four halves, each in the low 16 of a lane. For code outside loops. */
// @ts-ignore: decorator
@inline
export function narrow_i32x4(v: v128): v128 {
  const size = v128.and(v, i32x4.splat(NARROW_SIZE));
  const finite = f32x4.pmin(i32x4.splat(NARROW_NAN), f32x4.pmin(size, i32x4.splat(NARROW_TOP)));
  const bits = rounded_i32x4(finite, i32x4.splat(NARROW_EXPONENT), i32x4.splat(NARROW_LEAST), i32x4.splat(NARROW_MAGIC));
  return v128.or(v128.and(bits, i32x4.splat(0x7fff)), i32x4.shr_u(v128.xor(v, size), 16));
}

/** Four values. In a loop over halves give it constants held outside: literals are rebuilt at every use, which takes up to twice as long. */
// @ts-ignore: decorator
@inline
export function load4<T>(
  p: usize, fields: v128 = i32x4.splat(WIDEN_FIELDS), up: v128 = i32x4.splat(WIDEN_UP), down: v128 = i32x4.splat(WIDEN_DOWN),
): v128 {
  return sizeof<T>() == 4 ? v128.load(p) : widen_f32x4(v128.load_ext<i16>(p), fields, up, down);
}

/** The first `count` (1 to 3) values; the other lanes repeat the first. */
// @ts-ignore: decorator
@inline
export function loadSome<T>(p: usize, count: u32): v128 {
  if (sizeof<T>() == 4) {
    let v = v128.load32_splat(p);
    if (count > 1) v = v128.load_lane<f32>(p, v, 1, 4);
    if (count > 2) v = v128.load_lane<f32>(p, v, 2, 8);
    return v;
  }
  let bits = v128.load16_splat(p);
  if (count > 1) bits = v128.load_lane<u16>(p, bits, 1, 2);
  if (count > 2) bits = v128.load_lane<u16>(p, bits, 2, 4);
  return widen_f32x4(i32x4.extend_low_i16x8_s(bits));
}

// @ts-ignore: decorator
@inline
export function store4<T>(p: usize, v: v128): void {
  if (sizeof<T>() == 4) v128.store(p, v);
  else storeHalves(p, v);
}

// @ts-ignore: decorator
@inline
export function load1<T>(p: usize): f32 {
  return sizeof<T>() == 4 ? load<f32>(p) : loadHalf(p);
}

// @ts-ignore: decorator
@inline
export function store1<T>(p: usize, value: f32): void {
  if (sizeof<T>() == 4) store<f32>(p, value);
  else storeHalf(p, value);
}

// Not inlined: what handles single values is not worth its size.
function loadHalf(p: usize): f32 {
  return f32x4.extract_lane(widen_f32x4(i32x4.splat(load<i16>(p))), 0);
}

function storeHalf(p: usize, value: f32): void {
  store<u16>(p, <u16>i32x4.extract_lane(narrow_i32x4(f32x4.splat(value)), 0));
}

function storeHalves(p: usize, v: v128): void {
  const bits = narrow_i32x4(v);
  v128.store64_lane(p, i16x8.narrow_i32x4_u(bits, bits), 0);
}

/** The first of four values, all there are from four on. */
// @ts-ignore: decorator
@inline
export function storeSome<T>(p: usize, v: v128, count: i32): void {
  if (sizeof<T>() == 4) storePart(p, v, count);
  else storeSomeHalves(p, v, count);
}

function storeSomeHalves(p: usize, v: v128, count: i32): void {
  const bits = narrow_i32x4(v);
  if (count >= 4) v128.store64_lane(p, i16x8.narrow_i32x4_u(bits, bits), 0);
  else {
    if (count > 2) v128.store16_lane(p, bits, 4, 4);
    if (count > 1) v128.store16_lane(p, bits, 2, 2);
    v128.store16_lane(p, bits, 0);
  }
}

/** The sign-extended bits of the i-th four halves from p: i is a literal, and an immediate offset. */
// @ts-ignore: decorator
@inline
function loadNthBits(p: usize, i: u32): v128 {
  return i == 0 ? v128.load_ext<i16>(p) : i == 1 ? v128.load_ext<i16>(p, 8) : i == 2 ? v128.load_ext<i16>(p, 16) : v128.load_ext<i16>(p, 24);
}

/** The i-th four from p: i is a literal, and an immediate offset. */
// @ts-ignore: decorator
@inline
export function loadNth4<T>(
  p: usize, i: u32, fields: v128 = i32x4.splat(WIDEN_FIELDS), up: v128 = i32x4.splat(WIDEN_UP), down: v128 = i32x4.splat(WIDEN_DOWN),
): v128 {
  if (sizeof<T>() == 4) return i == 0 ? v128.load(p) : i == 1 ? v128.load(p, 16) : i == 2 ? v128.load(p, 32) : v128.load(p, 48);
  return widen_f32x4(loadNthBits(p, i), fields, up, down);
}

/** The same, where what an infinity or a NaN becomes does not matter: three operations less. */
// @ts-ignore: decorator
@inline
export function loadNthFinite4<T>(p: usize, i: u32, fields: v128, up: v128): v128 {
  if (sizeof<T>() == 4) return loadNth4<T>(p, i);
  return widenFinite_f32x4(loadNthBits(p, i), fields, up);
}

/** The i-th vector from p: i is a literal, and an immediate offset. */
// @ts-ignore: decorator
@inline
export function storeNth(p: usize, v: v128, i: u32): void {
  if (i == 0) v128.store(p, v);
  else if (i == 1) v128.store(p, v, 16);
  else if (i == 2) v128.store(p, v, 32);
  else v128.store(p, v, 48);
}

/** One value in all lanes. */
// @ts-ignore: decorator
@inline
export function splat1<T>(p: usize): v128 {
  return sizeof<T>() == 4 ? v128.load32_splat(p) : f32x4.splat(loadHalf(p));
}

/** `count` halves from x as f32. */
export function widen(x: usize, count: u32, to: usize): void {
  const fields = held_i32x4(WIDEN_FIELDS), up = held_i32x4(WIDEN_UP), down = held_i32x4(WIDEN_DOWN);
  if (count >= 8) {
    do {
      v128.store(to, loadNth4<half>(x, 0, fields, up, down));
      v128.store(to, loadNth4<half>(x, 1, fields, up, down), 16);
      x += 16;
      to += 32;
      count -= 8;
    } while (count >= 8);
  }
  for (; count; count--) {
    store<f32>(to, loadHalf(x));
    x += 2;
    to += 4;
  }
}

/** `count` f32 from x as halves. */
export function narrow(x: usize, count: u32, to: usize): void {
  const size = held_i32x4(NARROW_SIZE), exponent = held_i32x4(NARROW_EXPONENT), top = held_i32x4(NARROW_TOP);
  const nan = held_i32x4(NARROW_NAN), least = held_i32x4(NARROW_LEAST), magic = held_i32x4(NARROW_MAGIC);
  if (count >= 8) {
    do {
      v128.store(to, narrow_i16x8(v128.load(x), v128.load(x, 16), size, exponent, top, nan, least, magic));
      x += 32;
      to += 16;
      count -= 8;
    } while (count >= 8);
  }
  for (; count; count--) {
    storeHalf(to, load<f32>(x));
    x += 4;
    to += 2;
  }
}
