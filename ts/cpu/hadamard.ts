import { type HadamardOptions, hadamard_f32 } from '../contract/hadamard.js';
import * as code from '../generated/cpu/hadamard.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { HadamardOptions };
export type HadamardKernels = Instance<code.Kernels>;

export interface HadamardArrays {
  /** ±1 per column: multiply the input, or with `inverse` the output. */
  signs?: Int8Array;
  /** Where the result goes; may be x. Without it a new array is made. */
  out?: Float32Array;
}

const hadamardFamily = family<code.Kernels>(code, { hadamard_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export const instantiate: (memory: WebAssembly.Memory, options?: InstantiateOptions) => HadamardKernels =
  hadamardFamily.instantiate;

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export const preload = hadamardFamily.preload;

/** The Walsh–Hadamard transform of each row in natural order: orthonormal unless a scale is given. */
export function hadamard(x: Float32Array, options: HadamardOptions & HadamardArrays): Float32Array {
  return hadamardFamily.run(hadamard_f32, { x, signs: options?.signs }, options);
}
