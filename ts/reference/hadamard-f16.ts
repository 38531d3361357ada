import { type HadamardOptions, hadamard_f16 } from '../contract/hadamard.js';
import { fromHalves, toHalves } from '../half.js';
import { hadamardF64 } from './hadamard.js';
import { checked } from './runtime.js';

export type { HadamardOptions };

export interface HadamardHalfArrays {
  /** ±1 per column. */
  signs?: Int8Array;
  /** Where the result goes; may be x. */
  out?: Uint16Array;
}

/** The Walsh–Hadamard transform of each row of halves, as halves. */
export function hadamard(x: Uint16Array, options: HadamardOptions & HadamardHalfArrays): Uint16Array {
  checked(hadamard_f16, { x, signs: options?.signs, out: options?.out }, options);
  const { signs, out } = options;
  const result = toHalves(hadamardF64(fromHalves(x), signs, options));
  if (!out) return result;
  out.set(result);
  return out;
}
