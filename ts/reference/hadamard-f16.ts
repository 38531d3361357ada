import { type HadamardOptions, hadamard_f16 } from '../contract/hadamard.js';
import { fromHalves } from '../half.js';
import { hadamardF64 } from './hadamard.js';
import { run } from './runtime.js';

export type { HadamardOptions };

export interface HadamardHalfArrays {
  /** ±1 per column. */
  signs?: Int8Array;
  /** Where the result goes; may be x. */
  out?: Uint16Array;
}

/** The Walsh–Hadamard transform of each row of halves, as halves. */
export function hadamard(x: Uint16Array, options: HadamardOptions & HadamardHalfArrays): Uint16Array {
  const signs = options?.signs;
  return run(hadamard_f16, { x, signs }, options, () => ({ out: hadamardF64(fromHalves(x), signs, options) }));
}
