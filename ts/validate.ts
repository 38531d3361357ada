import type { Arrays } from './contract.js';
import { message } from './errors.js';

/** The largest size of an axis: what fits a u32 argument. */
export const MAX_U32 = 0xffff_ffff;

/** An integer in [min, max], or a TypeError / RangeError that names the argument. */
export function integer(kernel: string, name: string, value: unknown, min: number, max: number = MAX_U32): number {
  if (typeof value !== 'number') throw new TypeError(message(kernel, name, `integer in [${min}, ${max}]`, value));
  if (!Number.isInteger(value) || value < min || value > max)
    throw new RangeError(message(kernel, name, `integer in [${min}, ${max}]`, value));
  return value;
}

/** A finite number. */
export function finite(kernel: string, name: string, value: unknown): number {
  if (typeof value !== 'number') throw new TypeError(message(kernel, name, 'finite number', value));
  if (!Number.isFinite(value)) throw new RangeError(message(kernel, name, 'finite number', value));
  return value;
}

/** A number that is finite as the f32 a kernel takes, and at least `min`. */
export function finiteF32(kernel: string, name: string, value: unknown, min = -Infinity): number {
  const rounded = finite(kernel, name, Math.fround(finite(kernel, name, value)));
  if (rounded < min) throw new RangeError(message(kernel, name, `number of at least ${min}`, value));
  return rounded;
}

/** A boolean, as the 0 or 1 a kernel takes. */
export function flag(kernel: string, name: string, value: unknown): number {
  if (typeof value !== 'boolean') throw new TypeError(message(kernel, name, 'boolean', value));
  return value ? 1 : 0;
}

/** One of the given words, as its position in the list. */
export function word(kernel: string, name: string, value: unknown, words: readonly string[]): number {
  const at = words.indexOf(value as string);
  if (at >= 0) return at;
  const Kind = typeof value === 'string' ? RangeError : TypeError;
  throw new Kind(message(kernel, name, words.map((w) => `"${w}"`).join(' or '), value));
}

/** Signs, where there are any: each 1 or -1. */
export function signs(kernel: string, given: Arrays['signs']): void {
  const at = given?.findIndex((sign) => sign !== 1 && sign !== -1) ?? -1;
  if (at >= 0) throw new RangeError(message(kernel, `signs[${at}]`, '1 or -1', given![at]));
}

/** Consecutive values that share a scale, along an axis of `length`: 16 to 256, or all of them. */
export function checkGroupSize(kernel: string, name: string, size: unknown, length: number): void {
  const given = integer(kernel, name, size, 0);
  if (given === 0 || given >= length || (given % 16 === 0 && given <= 256)) return;
  const expected = `multiple of 16 in [16, 256], or the whole axis (0, or at least ${length})`;
  throw new RangeError(message(kernel, name, expected, size));
}

/** A product of axes that must stay addressable; `name` is the array it sizes. */
export function elements(kernel: string, name: string, ...axes: number[]): number {
  const product = axes.reduce((a, b) => a * b, 1);
  if (product > MAX_U32) throw new RangeError(message(kernel, name, `at most ${MAX_U32} elements`, product));
  return product;
}

/** An object of named values. */
export function options<O>(kernel: string, value: O, name = 'options'): O {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError(message(kernel, name, 'object', value));
  return value;
}
