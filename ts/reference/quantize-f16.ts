import { dequantize_f16, type Quantized, type QuantizeOptions, quantize_f16 } from '../contract/quantize.js';
import type { Out } from '../contract.js';
import { fromHalves } from '../half.js';
import { decoded, encoded } from './quantize.js';
import { run } from './runtime.js';

export type { Quantized, QuantizeOptions };

/** Halves as integer codes, a scale (and, when affine, a minimum) for each group, in f32: those of the widened values. */
export function quantize(x: Uint16Array, options: QuantizeOptions & Out<Quantized>): Quantized {
  return run(quantize_f16, { x }, options, (p) => encoded(fromHalves(x), p));
}

/** code · scale + minimum (symmetric: code · scale) in f32, rounded once to a half, ties to even. */
export function dequantize(quantized: Quantized, options: QuantizeOptions & Out<Uint16Array>): Uint16Array {
  return run(dequantize_f16, quantized, options, (p) => ({ out: decoded(quantized, p) }));
}
