import { load1, narrow_i32x4, widen_f32x4 } from './half';
import { load4, storePart } from './part';
import { MAGIC, MAGIC_BITS, value_f32x4 } from './quantize';

/** What the integer formats' two directions share. Arguments are those of quantize_integers_f32. */

export const AFFINE: u32 = 0;
export const SYMMETRIC: u32 = 1;
export const TERNARY: u32 = 2;

/** Signs alone: code 1 is minus the scale. */
// @ts-ignore: decorator
@inline
export function isSign(bits: u32, scheme: u32): bool {
  return scheme == SYMMETRIC && bits == 1;
}

/** Ternary codes, five to a byte. */
// @ts-ignore: decorator
@inline
export function isPacked(bits: u32, scheme: u32): bool {
  return scheme == TERNARY && bits == 1;
}

// @ts-ignore: decorator
@inline
export function usesMean(bits: u32, scheme: u32): bool {
  return scheme == TERNARY || isSign(bits, scheme);
}

// @ts-ignore: decorator
@inline
export function highestOf(bits: u32, scheme: u32): f32 {
  return bits == 1 ? 1 : <f32>((1 << (scheme ? bits - 1 : bits)) - 1);
}

/** Codes that share words with no others. */
// @ts-ignore: decorator
@inline
export function runCodes(bits: u32, scheme: u32): u32 {
  return isPacked(bits, scheme) ? 20 : bits == 3 ? 32 : 32 / bits;
}

// @ts-ignore: decorator
@inline
export function runWords(bits: u32): u32 {
  return bits == 3 ? 3 : 1;
}

/** Bytes of a row's codes. */
// @ts-ignore: decorator
@inline
export function rowBytes(n: u32, bits: u32, scheme: u32): u32 {
  const run = runCodes(bits, scheme);
  return ((n + run - 1) / run * runWords(bits)) << 2;
}

/** The sign bit of codes in two's complement; 0 where they have none. */
// @ts-ignore: decorator
@inline
export function signBit(bits: u32, scheme: u32): i32 {
  return scheme && bits > 1 ? 1 << (bits - 1) : 0;
}

/** The values of halves in the low 16 bits of lanes. */
// @ts-ignore: decorator
@inline
export function fromHalves_f32x4(halves: v128): v128 {
  return widen_f32x4(i32x4.shr_s(i32x4.shl(halves, 16), 16));
}

function loadHalves(at: usize, count: u32): v128 {
  let v = v128.load_lane<u16>(at, i32x4.splat(0), 0);
  if (count > 1) v = v128.load_lane<u16>(at, v, 2, 2);
  if (count > 2) v = v128.load_lane<u16>(at, v, 4, 4);
  return v;
}

/** Up to four scales or minima, f32 or f16. */
// @ts-ignore: decorator
@inline
export function loadScales(at: usize, count: u32, half: u32): v128 {
  if (!half) return load4(at, count);
  return count >= 4 ? widen_f32x4(v128.load_ext<i16>(at)) : fromHalves_f32x4(loadHalves(at, count));
}

export function storeScales(at: usize, v: v128, count: u32, half: u32): void {
  if (!half) return storePart(at, v, count);
  v = narrow_i32x4(v);
  if (count > 3) v128.store_lane<u16>(at, v, 6, 6);
  if (count > 2) v128.store_lane<u16>(at, v, 4, 4);
  if (count > 1) v128.store_lane<u16>(at, v, 2, 2);
  v128.store_lane<u16>(at, v, 0);
}

/** One scale or minimum. */
// @ts-ignore: decorator
@inline
export function loadScale(at: usize, half: u32): f32 {
  return half ? load1<u16>(at) : load<f32>(at);
}

/** C. Wellons' lowbias32. */
export function mixed(x: u32): u32 {
  x = (x ^ (x >> 16)) * 0x7feb352d;
  x = (x ^ (x >> 15)) * 0x846ca68b;
  return x ^ (x >> 16);
}

/** Numbers `index` of a seed's sequence, uniform in [0, 1): SplitMix on 32 bits, counted. `key` is the mixed seed. */
export function uniform_f32x4(index: v128, key: u32): v128 {
  let x = i32x4.add(i32x4.mul(index, i32x4.splat(<i32>0x9e3779b9)), i32x4.splat(key));
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 16)), i32x4.splat(0x7feb352d));
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 15)), i32x4.splat(<i32>0x846ca68b));
  x = i32x4.shr_u(v128.xor(x, i32x4.shr_u(x, 16)), 8);
  return f32x4.mul(f32x4.convert_i32x4_s(x), f32x4.splat(5.9604644775390625e-8)); // 2^-24
}

/** The scale to divide by: NaN where there is none, so that quotients are NaN, which code 0 stands for. */
// @ts-ignore: decorator
@inline
export function divisor_f32x4(scale: v128): v128 {
  return v128.or(scale, f32x4.le(scale, f32x4.splat(0)));
}

// @ts-ignore: decorator
@inline
function clamped_f32x4(quotient: v128, low: v128, high: v128): v128 {
  const known = v128.and(quotient, f32x4.eq(quotient, quotient));
  return f32x4.pmax(f32x4.pmin(known, high), low);
}

// @ts-ignore: decorator
@inline
export function nearest_i32x4(x: v128, minimum: v128, divisor: v128, low: v128, high: v128, magic: v128, magicBits: v128): v128 {
  const quotient = f32x4.div(f32x4.sub(x, minimum), divisor);
  return i32x4.sub(f32x4.add(clamped_f32x4(quotient, low, high), magic), magicBits);
}

/** Codes of any format, rounded in any way; `index` are the values' numbers in the random sequence. */
// @ts-ignore: decorator
@inline
export function code_i32x4(x: v128, minimum: v128, divisor: v128, low: v128, high: v128, sign: bool, seed: u32, key: u32, index: v128): v128 {
  const zero = i32x4.splat(0);
  const one = f32x4.splat(1);
  if (sign && !seed) return v128.and(v128.and(f32x4.lt(x, zero), f32x4.eq(divisor, divisor)), i32x4.splat(1));
  let place = f32x4.div(f32x4.sub(x, minimum), divisor);
  if (sign) place = f32x4.sub(f32x4.splat(0.5), f32x4.mul(f32x4.splat(0.5), place));
  place = clamped_f32x4(place, low, high);
  if (seed) {
    const below = f32x4.floor(place);
    const up = f32x4.lt(uniform_f32x4(index, key), f32x4.sub(place, below));
    place = f32x4.add(below, v128.and(up, one));
  }
  return i32x4.sub(f32x4.add(place, f32x4.splat(MAGIC)), i32x4.splat(MAGIC_BITS));
}

/** The lowest digits of numbers below 256, and what is left of them: base 3. */
// @ts-ignore: decorator
@inline
export function third_i16x8(v: v128): v128 {
  return i16x8.shr_u(i16x8.mul(v, i16x8.splat(171)), 9);
}

// @ts-ignore: decorator
@inline
export function digit_i16x8(v: v128): v128 {
  const third = third_i16x8(v);
  return i16x8.sub(v, i16x8.add(third, i16x8.add(third, third)));
}

/** Values of codes, or of signs. */
// @ts-ignore: decorator
@inline
export function decoded_f32x4(code: v128, scale: v128, minimum: v128, sign: bool): v128 {
  return sign ? v128.xor(scale, i32x4.shl(code, 31)) : value_f32x4(code, scale, minimum);
}
