import {
  dequantize_integers_f16,
  type IntegerOptions,
  integersScratchBytes,
  type QuantizedIntegers,
  type QuantizeIntegersOptions,
  quantize_integers_f16,
  type Range,
} from '../contract/integers.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/integers-f16.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { IntegerOptions, QuantizedIntegers, QuantizeIntegersOptions, Range };
export { integersScratchBytes };
export type IntegersHalfKernels = Instance<code.Kernels>;

const integersFamily = /* @__PURE__ */ family<code.Kernels>(code, { quantize_integers_f16, dequantize_integers_f16 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `integersScratchBytes`. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): IntegersHalfKernels {
  return integersFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return integersFamily.preload(options);
}

/**
 * Halves as integer codes of any format, with a scale (and, when affine, a minimum) for each group: those of the widened values.
 * `range` stays f32; f16 scales are bits in a Uint16Array.
 */
export function quantize(
  x: Uint16Array,
  options: QuantizeIntegersOptions & { range?: Range | undefined } & Out<QuantizedIntegers>,
): QuantizedIntegers {
  return integersFamily.run(quantize_integers_f16, { x, ...options?.range }, options);
}

/** code · scale + minimum (not affine: code · scale; 1 bit symmetric: ±scale) in f32, rounded once to a half, ties to even. */
export function dequantize(quantized: QuantizedIntegers, options: IntegerOptions & Out<Uint16Array>): Uint16Array {
  return integersFamily.run(dequantize_integers_f16, quantized, options);
}
