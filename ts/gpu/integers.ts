import {
  dequantize_integers_f32,
  type IntegerOptions,
  type QuantizeIntegersOptions,
  quantize_integers_f32,
} from '../contract/integers.js';
import { shader } from '../generated/gpu/integers.js';
import { shader as back } from '../generated/gpu/integers-dequantize.js';
import { type Constants, dequantizeOf, quantizeOf } from '../gpu-integers.js';
import type { GpuKernelFactory } from './runtime.js';

export type { IntegerOptions, QuantizeIntegersOptions };

/** Codes, scales and (affine) minima of x: `{ x, codes, scales, minima }`, and ranges `{ lows, highs }` where they are given. */
export const quantize: GpuKernelFactory<QuantizeIntegersOptions, Constants> = /* @__PURE__ */ quantizeOf(
  quantize_integers_f32,
  shader,
);

/** Values from codes, scales and (affine) minima: `{ codes, scales, minima, out }`. */
export const dequantize: GpuKernelFactory<IntegerOptions, Constants> = /* @__PURE__ */ dequantizeOf(
  dequantize_integers_f32,
  back,
);
