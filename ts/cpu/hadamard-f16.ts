import {
  type HadamardHalfArrays,
  type HadamardOptions,
  hadamard_f16,
  hadamardScratchBytes,
} from '../contract/hadamard.js';
import * as code from '../generated/cpu/hadamard-f16.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { HadamardHalfArrays, HadamardOptions };
export { hadamardScratchBytes };
export type HadamardHalfKernels = Instance<code.Kernels>;

const hadamardFamily = family<code.Kernels>(code, { hadamard_f16 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `hadamardScratchBytes`. */
export const instantiate: (memory: WebAssembly.Memory, options?: InstantiateOptions) => HadamardHalfKernels =
  hadamardFamily.instantiate;

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export const preload = hadamardFamily.preload;

/**
 * The Walsh–Hadamard transform of each row of halves, computed in f32 and rounded once; orthonormal unless a scale is given.
 * `out` may be x.
 */
export function hadamard(x: Uint16Array, options: HadamardOptions & HadamardHalfArrays): Uint16Array {
  return hadamardFamily.run(hadamard_f16, { x, signs: options?.signs }, options);
}
