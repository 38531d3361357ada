/** Integer codes of f16 values, and back; scales and minima are f32. Needs a device with `shader-f16`. */
import { dequantize_f16, type QuantizeOptions, quantize_f16 } from '../contract/quantize.js';
import { shader } from '../generated/gpu/quantize-f16.js';
import { type Constants, dequantizeOf, quantizeOf } from '../gpu-quantize.js';
import type { GpuKernelFactory } from './runtime.js';

export type { QuantizeOptions };

/** Codes, scales and (affine) minima of x: `{ x, codes, scales, minima }`. */
export const quantize: GpuKernelFactory<QuantizeOptions, Constants> = /* @__PURE__ */ quantizeOf(quantize_f16, shader);

/** Values from codes, scales and (affine) minima: `{ codes, scales, minima, out }`. */
export const dequantize: GpuKernelFactory<QuantizeOptions, Constants> = /* @__PURE__ */ dequantizeOf(
  dequantize_f16,
  shader,
);
