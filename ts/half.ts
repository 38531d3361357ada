/**
 * IEEE 754 binary16 in JavaScript numbers. Arrays of dtype f16 are `Uint16Array`s of these bits: `Float16Array`, where a
 * host has it, shares its buffer with one.
 */

import { message } from './errors.js';

const bits = new Float32Array(1);
const word = new Uint32Array(bits.buffer);

/** The value of 16 bits. NaN stays NaN. */
export function fromHalf(half: number): number {
  const magnitude = half & 0x7fff;
  if (magnitude > 0x7c00) return NaN;
  // The same exponent and fraction as an f32 are 2^112 times less, subnormals too.
  word[0] = magnitude << 13;
  const value = magnitude === 0x7c00 ? Infinity : bits[0]! * 2 ** 112;
  return half & 0x8000 ? -value : value;
}

/**
 * The 16 bits nearest to an f32 value (ties to even): overflow gives infinity, NaN the quiet NaN 0x7e00 with its sign.
 * A float64 is rounded to f32 first, as every kernel has it.
 */
export function toHalf(value: number): number {
  bits[0] = value;
  const x = word[0]!;
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  // 65520 and above lie nearer to 2^16 than to the largest half, 65504.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal: a multiple of 2^-24. Adding 1.5·2^-1 rounds there, half to even, for its ulp is 2^-24.
    bits[0] = Math.abs(bits[0]!) + 0.5;
    return sign | (word[0]! - 0x3f000000);
  }
  // 13 bits fall away: add just under a half, and one more where the kept part is odd.
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** The length of an array, or of what looks like one. */
function lengthOf(caller: string, name: string, array: ArrayLike<number>): number {
  if (typeof array === 'object' && typeof array?.length === 'number') return array.length;
  throw new TypeError(message(caller, name, 'array of numbers', array));
}

/** The values of an f16 array. */
export function fromHalves(halves: ArrayLike<number>): Float32Array {
  const values = new Float32Array(lengthOf('fromHalves', 'halves', halves));
  for (let i = 0; i < values.length; i++) values[i] = fromHalf(halves[i]!);
  return values;
}

/** Values as an f16 array, each rounded to nearest, ties to even. */
export function toHalves(values: ArrayLike<number>): Uint16Array {
  const halves = new Uint16Array(lengthOf('toHalves', 'values', values));
  for (let i = 0; i < halves.length; i++) halves[i] = toHalf(values[i]!);
  return halves;
}
