import type { Quantized } from '../contract/quantize.js';
import {
  type RotateOptions,
  type RotateQuantizeOptions,
  type Rotation,
  rotate_dequantize_f32,
  rotate_f32,
  rotate_quantize_f32,
  rotateScratchBytes,
  rotationOf,
} from '../contract/rotate.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/rotate.js';
import { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder } from '../hadamard-matrices.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { Quantized, RotateOptions, RotateQuantizeOptions, Rotation };
export { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder, rotateScratchBytes };
export type RotateKernels = Instance<code.Kernels>;

const rotateFamily = /* @__PURE__ */ family<code.Kernels>(code, {
  rotate_f32,
  rotate_quantize_f32,
  rotate_dequantize_f32,
});

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `rotateScratchBytes`. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): RotateKernels {
  return rotateFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return rotateFamily.preload(options);
}

/**
 * Each row permuted, scaled, with random signs and Hadamard-transformed: what queries go through whose keys are stored by
 * `rotateQuantize` (with reciprocal factors, so that products stay what they are). `inverse` undoes it.
 */
export function rotate(x: Float32Array, options: RotateOptions & Rotation & Out<Float32Array>): Float32Array {
  const rotation = rotationOf(options, rotate_f32.params(options));
  return rotateFamily.run(rotate_f32, { x, ...rotation }, options);
}

/** Rotated rows as integer codes, with a scale (and, when affine, a minimum) for each group along a row. */
export function rotateQuantize(x: Float32Array, options: RotateQuantizeOptions & Rotation & Out<Quantized>): Quantized {
  const rotation = rotationOf(options, rotate_quantize_f32.params(options));
  return rotateFamily.run(rotate_quantize_f32, { x, ...rotation }, options);
}

/** The values of codes, rotated back. */
export function rotateDequantize(
  quantized: Quantized,
  options: RotateQuantizeOptions & Rotation & Out<Float32Array>,
): Float32Array {
  const rotation = rotationOf(options, rotate_dequantize_f32.params(options));
  return rotateFamily.run(rotate_dequantize_f32, { ...quantized, ...rotation }, options);
}
