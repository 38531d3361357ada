import {
  type RotateOptions,
  type RotateQuantizeOptions,
  rotate_dequantize_f32,
  rotate_f32,
  rotate_quantize_f32,
  rotateScratchBytes,
} from '../contract/rotate.js';
import * as code from '../generated/cpu/rotate.js';
import { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder, knownMatrix } from '../hadamard-matrices.js';
import type { Quantized, Rotation } from '../reference/rotate.js';
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

/** The arrays of a rotation apart from the options; the matrix of a known order need not be given. */
function taken<O extends Rotation>({ permutation, factors, signs, matrix, ...options }: O, order: number) {
  return { rotation: { permutation, factors, signs, matrix: matrix ?? knownMatrix(order) }, options };
}

/**
 * Each row permuted, scaled, with random signs and Hadamard-transformed: what queries go through whose keys are stored by
 * `rotateQuantize` (with reciprocal factors, so that products stay what they are). `inverse` undoes it.
 */
export function rotate(
  x: Float32Array,
  { out, ...given }: RotateOptions & Rotation & { out?: Float32Array },
): Float32Array {
  const { rotation, options } = taken(given, rotate_f32.params(given).order!);
  return rotateFamily.run(rotate_f32, { x, ...rotation, out }, options).out as Float32Array;
}

/** Rotated rows as integer codes, with a scale (and, when affine, a minimum) for each group along a row. */
export function rotateQuantize(
  x: Float32Array,
  { out, ...given }: RotateQuantizeOptions & Rotation & { out?: Partial<Quantized> },
): Quantized {
  const params = rotate_quantize_f32.params(given);
  const lengths = rotate_quantize_f32.lengths(params);
  const codes = new Uint32Array(out?.codes ? 0 : lengths.codes!);
  const scales = new Float32Array(out?.scales ? 0 : lengths.scales!);
  const minima = given.scheme === 'affine' && !out?.minima ? { minima: new Float32Array(lengths.minima!) } : {};
  const { rotation, options } = taken(given, params.order!);
  const arrays = { x, ...rotation, codes, scales, ...minima, ...out };
  return rotateFamily.run(rotate_quantize_f32, arrays, options) as unknown as Quantized;
}

/** The values of codes, rotated back. */
export function rotateDequantize(
  { codes, scales, minima }: Quantized,
  { out, ...given }: RotateQuantizeOptions & Rotation & { out?: Float32Array },
): Float32Array {
  const { rotation, options } = taken(given, rotate_dequantize_f32.params(given).order!);
  const arrays = { codes, scales, minima, ...rotation, out };
  return rotateFamily.run(rotate_dequantize_f32, arrays, options).out as Float32Array;
}
