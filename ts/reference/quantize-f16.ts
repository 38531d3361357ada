import { dequantize_f16, type QuantizeOptions, quantize_f16 } from '../contract/quantize.js';
import { fromHalves, toHalves } from '../half.js';
import * as f32 from './quantize.js';
import { checked } from './runtime.js';

export type { QuantizeOptions } from '../contract/quantize.js';
export type { Quantized } from './quantize.js';

/** Halves as integer codes, a scale (and, when affine, a minimum) for each group, in f32: those of the widened values. */
export function quantize(x: Uint16Array, options: QuantizeOptions): f32.Quantized {
  const { codes, scales, minima } = quantize_f16.lengths(quantize_f16.params(options));
  const outputs = {
    codes: new Uint32Array(codes!),
    scales: new Float32Array(scales!),
    minima: new Float32Array(minima!),
  };
  checked(quantize_f16, { x, ...outputs }, options);
  return f32.quantize(fromHalves(x), options);
}

/** code · scale + minimum (symmetric: code · scale) in f32, rounded once to a half, ties to even. */
export function dequantize(quantized: f32.Quantized, options: QuantizeOptions): Uint16Array {
  checked(dequantize_f16, { ...quantized }, options);
  return toHalves(f32.dequantize(quantized, options));
}
