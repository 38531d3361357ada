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

const hadamardFamily = /* @__PURE__ */ family<code.Kernels>(code, { hadamard_f16 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `hadamardScratchBytes`. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): HadamardHalfKernels {
  return hadamardFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return hadamardFamily.preload(options);
}

/**
 * The Walsh–Hadamard transform of each row of halves, computed in f32 and rounded once; orthonormal unless a scale is given.
 * `out` may be x.
 */
export function hadamard(x: Uint16Array, options: HadamardOptions & HadamardHalfArrays): Uint16Array {
  return hadamardFamily.run(hadamard_f16, { x, signs: options?.signs }, options);
}
