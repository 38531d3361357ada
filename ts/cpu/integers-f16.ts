import {
  dequantize_integers_f16,
  type IntegerOptions,
  integersScratchBytes,
  type QuantizeIntegersOptions,
  quantize_integers_f16,
} from '../contract/integers.js';
import * as code from '../generated/cpu/integers-f16.js';
import type { QuantizedIntegers, Range } from '../reference/integers.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { IntegerOptions, QuantizedIntegers, QuantizeIntegersOptions, Range };
export { integersScratchBytes };
export type IntegersHalfKernels = Instance<code.Kernels>;

const integersFamily = family<code.Kernels>(code, { quantize_integers_f16, dequantize_integers_f16 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `integersScratchBytes`. */
export const instantiate: (memory: WebAssembly.Memory, options?: InstantiateOptions) => IntegersHalfKernels =
  integersFamily.instantiate;

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export const preload = integersFamily.preload;

/**
 * Halves as integer codes of any format, with a scale (and, when affine, a minimum) for each group: those of the widened values.
 * `range` stays f32; f16 scales are bits in a Uint16Array.
 */
export function quantize(
  x: Uint16Array,
  options: QuantizeIntegersOptions & { range?: Range; out?: Partial<QuantizedIntegers> },
): QuantizedIntegers {
  const lengths = quantize_integers_f16.lengths(quantize_integers_f16.params(options));
  const { range, out } = options;
  const minima =
    options.scheme === 'affine' && !out?.minima
      ? { minima: new (options.scaleType === 'f16' ? Uint16Array : Float32Array)(lengths.minima!) }
      : {};
  const arrays = { x, ...minima, ...out, ...range };
  return integersFamily.run(quantize_integers_f16, arrays, options) as unknown as QuantizedIntegers;
}

/** code · scale + minimum (not affine: code · scale; 1 bit symmetric: ±scale) in f32, rounded once to a half, ties to even. */
export function dequantize(quantized: QuantizedIntegers, options: IntegerOptions & { out?: Uint16Array }): Uint16Array {
  return integersFamily.run(dequantize_integers_f16, { ...quantized, out: options?.out }, options).out as Uint16Array;
}
