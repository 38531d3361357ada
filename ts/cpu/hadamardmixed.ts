import {
  type HadamardMixedArrays,
  type HadamardMixedOptions,
  hadamard_mixed_f32,
  hadamardMixedScratchBytes,
} from '../contract/hadamardmixed.js';
import * as code from '../generated/cpu/hadamardmixed.js';
import { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder, knownMatrix } from '../hadamard-matrices.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { HadamardMixedArrays, HadamardMixedOptions };
export { HADAMARD_ORDERS, hadamardMatrix, hadamardMixedScratchBytes, hadamardOrder };
export type HadamardMixedKernels = Instance<code.Kernels>;

const mixedFamily = /* @__PURE__ */ family<code.Kernels>(code, { hadamard_mixed_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `hadamardMixedScratchBytes`. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): HadamardMixedKernels {
  return mixedFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return mixedFamily.preload(options);
}

/**
 * The Walsh–Hadamard transform of rows of n = order · 2^p values (x·(M ⊗ H)ᵀ/√n, as QuaRot has it), along rows or, with
 * `inner`, across them: x [rows, n, inner]. Orthonormal unless a scale is given; `inverse` undoes it.
 */
export function hadamardMixed(x: Float32Array, options: HadamardMixedOptions & HadamardMixedArrays): Float32Array {
  const { order } = hadamard_mixed_f32.params(options);
  const { matrix = knownMatrix(order!), signs } = options;
  return mixedFamily.run(hadamard_mixed_f32, { x, matrix, signs }, options);
}
