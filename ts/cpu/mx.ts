import { type MxFormat, type MxOptions, type MxQuantized, mx_dequantize_f32, mx_quantize_f32 } from '../contract/mx.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/mx.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { MxFormat, MxOptions, MxQuantized };
export type MxKernels = Instance<code.Kernels>;

const mxFamily = /* @__PURE__ */ family<code.Kernels>(code, { mx_quantize_f32, mx_dequantize_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): MxKernels {
  return mxFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return mxFamily.preload(options);
}

/**
 * x f32 `[rows, n]` as elements of a few bits and a scale byte for each block along its rows (OCP Microscaling Formats
 * v1.0; NVFP4; block floating point). Elements round to nearest, ties to even, and saturate. A block of zeros has the
 * least scale; one with NaN or infinity has the scale NaN and codes 0. TypeError, RangeError before anything is written.
 */
export function mxQuantize(x: Float32Array, options: MxOptions & Out<MxQuantized>): MxQuantized {
  return mxFamily.run(mx_quantize_f32, { x }, options);
}

/**
 * f32 `[rows, n]` from elements and scales: element · scale, exact but for overflow (infinity); nvfp4: element ·
 * f32(scale · tensorScale), one rounding each. Any bytes are taken as they are: a scale of NaN makes its block NaN.
 */
export function mxDequantize(quantized: MxQuantized, options: MxOptions & Out<Float32Array>): Float32Array {
  return mxFamily.run(mx_dequantize_f32, quantized, options);
}
