import { dequantize_f32, type QuantizeOptions, quantize_f32 } from '../contract/quantize.js';
import { shader } from '../generated/gpu/quantize.js';
import { type Constants, dequantizeOf, quantizeOf } from '../gpu-quantize.js';
import type { GpuKernelFactory } from './runtime.js';

export type { QuantizeOptions };

/** Codes, scales and (affine) minima of x: `{ x, codes, scales, minima }`. */
export const quantize: GpuKernelFactory<QuantizeOptions, Constants> = /* @__PURE__ */ quantizeOf(quantize_f32, shader);

/** Values from codes, scales and (affine) minima: `{ codes, scales, minima, out }`. */
export const dequantize: GpuKernelFactory<QuantizeOptions, Constants> = /* @__PURE__ */ dequantizeOf(
  dequantize_f32,
  shader,
);
