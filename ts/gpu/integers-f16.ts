/** Integer codes of f16 values in any format, and back. Needs a device with `shader-f16`. */
import {
  dequantize_integers_f16,
  type IntegerOptions,
  type QuantizeIntegersOptions,
  quantize_integers_f16,
} from '../contract/integers.js';
import { shader as back } from '../generated/gpu/integers-dequantize-f16.js';
import { shader } from '../generated/gpu/integers-f16.js';
import { type Constants, dequantizeOf, quantizeOf } from '../gpu-integers.js';
import type { GpuKernelFactory } from './runtime.js';

export type { IntegerOptions, QuantizeIntegersOptions };

/** Codes, scales and (affine) minima of x: `{ x, codes, scales, minima }`, and ranges `{ lows, highs }` (f32) where they are given. */
export const quantize: GpuKernelFactory<QuantizeIntegersOptions, Constants> = /* @__PURE__ */ quantizeOf(
  quantize_integers_f16,
  shader,
);

/** Values from codes, scales and (affine) minima: `{ codes, scales, minima, out }`. */
export const dequantize: GpuKernelFactory<IntegerOptions, Constants> = /* @__PURE__ */ dequantizeOf(
  dequantize_integers_f16,
  back,
);
