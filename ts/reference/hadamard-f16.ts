import { type HadamardHalfArrays, type HadamardOptions, hadamard_f16 } from '../contract/hadamard.js';
import { fromHalves } from '../half.js';
import { hadamardF64 } from './hadamard.js';
import { run } from './runtime.js';

export type { HadamardHalfArrays, HadamardOptions };

/** The Walsh–Hadamard transform of each row of halves, as halves; `out` may be x. */
export function hadamard(x: Uint16Array, options: HadamardOptions & HadamardHalfArrays): Uint16Array {
  const signs = options?.signs;
  return run(hadamard_f16, { x, signs }, options, () => ({ out: hadamardF64(fromHalves(x), signs, options) }));
}
