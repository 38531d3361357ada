import {
  dequantize_integers_f32,
  type IntegerOptions,
  type QuantizedIntegers,
  type QuantizeIntegersOptions,
  quantize_integers_f32,
  type Range,
} from '../contract/integers.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/integers.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export { type QuantileOptions, quantileRanges } from '../quantiles.js';
export type { IntegerOptions, QuantizedIntegers, QuantizeIntegersOptions, Range };
export type IntegersKernels = Instance<code.Kernels>;

const integersFamily = /* @__PURE__ */ family<code.Kernels>(code, { quantize_integers_f32, dequantize_integers_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): IntegersKernels {
  return integersFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return integersFamily.preload(options);
}

/**
 * x as integer codes of any format, with a scale (and, when affine, a minimum) for each group: searched, or made of a given
 * `range`. f16 scales are bits in a Uint16Array.
 */
export function quantize(
  x: Float32Array,
  options: QuantizeIntegersOptions & { range?: Range | undefined } & Out<QuantizedIntegers>,
): QuantizedIntegers {
  return integersFamily.run(quantize_integers_f32, { x, ...options?.range }, options);
}

/** code · scale + minimum (not affine: code · scale; 1 bit symmetric: ±scale). */
export function dequantize(quantized: QuantizedIntegers, options: IntegerOptions & Out<Float32Array>): Float32Array {
  return integersFamily.run(dequantize_integers_f32, quantized, options);
}
