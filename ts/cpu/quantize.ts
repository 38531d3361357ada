import { dequantize_f32, type Quantized, type QuantizeOptions, quantize_f32 } from '../contract/quantize.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/quantize.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { Quantized, QuantizeOptions };
export type QuantizeKernels = Instance<code.Kernels>;

const quantizeFamily = /* @__PURE__ */ family<code.Kernels>(code, { quantize_f32, dequantize_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): QuantizeKernels {
  return quantizeFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return quantizeFamily.preload(options);
}

/** x as integer codes of `bits` bits, a scale (and, when affine, a minimum) for each group. */
export function quantize(x: Float32Array, options: QuantizeOptions & Out<Quantized>): Quantized {
  return quantizeFamily.run(quantize_f32, { x }, options);
}

/** code · scale + minimum (symmetric: code · scale). */
export function dequantize(quantized: Quantized, options: QuantizeOptions & Out<Float32Array>): Float32Array {
  return quantizeFamily.run(dequantize_f32, quantized, options);
}
