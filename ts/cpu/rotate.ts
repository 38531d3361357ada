import {
  type RotateOptions,
  type RotateQuantizeOptions,
  rotate_dequantize_f32,
  rotate_f32,
  rotate_quantize_f32,
  rotateScratchBytes,
} from '../contract/rotate.js';
import * as code from '../generated/cpu/rotate.js';
import { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder } from '../hadamard-matrices.js';
import { type Quantized, type Rotation, rotationOf } from '../reference/rotate.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { Quantized, RotateOptions, RotateQuantizeOptions, Rotation };
export { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder, rotateScratchBytes };
export type RotateKernels = Instance<code.Kernels>;

const rotateFamily = family<code.Kernels>(code, { rotate_f32, rotate_quantize_f32, rotate_dequantize_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `rotateScratchBytes`. */
export const instantiate: (memory: WebAssembly.Memory, options?: InstantiateOptions) => RotateKernels =
  rotateFamily.instantiate;

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export const preload = rotateFamily.preload;

/**
 * Each row permuted, scaled, with random signs and Hadamard-transformed: what queries go through whose keys are stored by
 * `rotateQuantize` (with reciprocal factors, so that products stay what they are). `inverse` undoes it.
 */
export function rotate(x: Float32Array, options: RotateOptions & Rotation & { out?: Float32Array }): Float32Array {
  const rotation = rotationOf(options, rotate_f32.params(options));
  return rotateFamily.run(rotate_f32, { x, ...rotation, out: options.out }, options).out as Float32Array;
}

/** Rotated rows as integer codes, with a scale (and, when affine, a minimum) for each group along a row. */
export function rotateQuantize(
  x: Float32Array,
  options: RotateQuantizeOptions & Rotation & { out?: Partial<Quantized> },
): Quantized {
  const params = rotate_quantize_f32.params(options);
  const lengths = rotate_quantize_f32.lengths(params);
  const { out } = options;
  const codes = new Uint32Array(out?.codes ? 0 : lengths.codes!);
  const scales = new Float32Array(out?.scales ? 0 : lengths.scales!);
  const minima = options.scheme === 'affine' && !out?.minima ? { minima: new Float32Array(lengths.minima!) } : {};
  const arrays = { x, ...rotationOf(options, params), codes, scales, ...minima, ...out };
  return rotateFamily.run(rotate_quantize_f32, arrays, options) as unknown as Quantized;
}

/** The values of codes, rotated back. */
export function rotateDequantize(
  quantized: Quantized,
  options: RotateQuantizeOptions & Rotation & { out?: Float32Array },
): Float32Array {
  const rotation = rotationOf(options, rotate_dequantize_f32.params(options));
  const arrays = { ...quantized, ...rotation, out: options.out };
  return rotateFamily.run(rotate_dequantize_f32, arrays, options).out as Float32Array;
}
