import {
  dequantize_integers_f16,
  type IntegerOptions,
  type QuantizeIntegersOptions,
  quantize_integers_f16,
} from '../contract/integers.js';
import { fromHalves, toHalves } from '../half.js';
import * as f32 from './integers.js';
import { checked } from './runtime.js';

export type { IntegerOptions, QuantizeIntegersOptions } from '../contract/integers.js';
export type { QuantizedIntegers, Range } from './integers.js';

/** Halves as integer codes, a scale (and, when affine, a minimum) for each group: those of the widened values. */
export function quantize(
  x: Uint16Array,
  options: QuantizeIntegersOptions & { range?: f32.Range },
): f32.QuantizedIntegers {
  const { codes, scales, minima } = quantize_integers_f16.lengths(quantize_integers_f16.params(options));
  const Stored = options.scaleType === 'f16' ? Uint16Array : Float32Array;
  const outputs = { codes: new Uint32Array(codes!), scales: new Stored(scales!), minima: new Stored(minima!) };
  checked(quantize_integers_f16, { x, ...outputs, ...options.range }, options);
  return f32.quantize(fromHalves(x), options);
}

/** code · scale + minimum (not affine: code · scale; 1 bit symmetric: ±scale) in f32, rounded once to a half, ties to even. */
export function dequantize(quantized: f32.QuantizedIntegers, options: IntegerOptions): Uint16Array {
  checked(dequantize_integers_f16, { ...quantized }, options);
  return toHalves(f32.dequantize(quantized, options));
}
