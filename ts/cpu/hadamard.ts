import { type HadamardArrays, type HadamardOptions, hadamard_f32 } from '../contract/hadamard.js';
import * as code from '../generated/cpu/hadamard.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { HadamardArrays, HadamardOptions };
export type HadamardKernels = Instance<code.Kernels>;

const hadamardFamily = /* @__PURE__ */ family<code.Kernels>(code, { hadamard_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): HadamardKernels {
  return hadamardFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return hadamardFamily.preload(options);
}

/** The Walsh–Hadamard transform of each row in natural order: orthonormal unless a scale is given; `out` may be x. */
export function hadamard(x: Float32Array, options: HadamardOptions & HadamardArrays): Float32Array {
  return hadamardFamily.run(hadamard_f32, { x, signs: options?.signs }, options);
}
