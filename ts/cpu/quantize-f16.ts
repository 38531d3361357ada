import { dequantize_f16, type Quantized, type QuantizeOptions, quantize_f16 } from '../contract/quantize.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/quantize-f16.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { Quantized, QuantizeOptions };
export type QuantizeHalfKernels = Instance<code.Kernels>;

const quantizeFamily = /* @__PURE__ */ family<code.Kernels>(code, { quantize_f16, dequantize_f16 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): QuantizeHalfKernels {
  return quantizeFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return quantizeFamily.preload(options);
}

/** Halves as integer codes of `bits` bits, a scale (and, when affine, a minimum) for each group, in f32: those of the widened values. */
export function quantize(x: Uint16Array, options: QuantizeOptions & Out<Quantized>): Quantized {
  return quantizeFamily.run(quantize_f16, { x }, options);
}

/** code · scale + minimum (symmetric: code · scale) in f32, rounded once to a half, ties to even. */
export function dequantize(quantized: Quantized, options: QuantizeOptions & Out<Uint16Array>): Uint16Array {
  return quantizeFamily.run(dequantize_f16, quantized, options);
}
