import {
  dequantize_integers_f16,
  type IntegerOptions,
  type QuantizedIntegers,
  type QuantizeIntegersOptions,
  quantize_integers_f16,
  type Range,
} from '../contract/integers.js';
import type { Out } from '../contract.js';
import { fromHalves } from '../half.js';
import { decoded, encoded } from './integers.js';
import { run } from './runtime.js';

export type { IntegerOptions, QuantizedIntegers, QuantizeIntegersOptions, Range };

/** Halves as integer codes, a scale (and, when affine, a minimum) for each group: those of the widened values. */
export function quantize(
  x: Uint16Array,
  options: QuantizeIntegersOptions & { range?: Range | undefined } & Out<QuantizedIntegers>,
): QuantizedIntegers {
  const range = options?.range;
  return run(quantize_integers_f16, { x, ...range }, options, (p) => encoded(fromHalves(x), p, range));
}

/** code · scale + minimum (not affine: code · scale; 1 bit symmetric: ±scale) in f32, rounded once to a half, ties to even. */
export function dequantize(quantized: QuantizedIntegers, options: IntegerOptions & Out<Uint16Array>): Uint16Array {
  return run(dequantize_integers_f16, quantized, options, (p) => ({ out: decoded(quantized, p) }));
}
