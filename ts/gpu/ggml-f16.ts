import { type GgmlDequantizeOptions, ggml_dequantize_f16 } from '../contract/ggml.js';
import { dequantizeOf } from '../gpu-ggml.js';
import type { GpuKernelFactory } from './runtime.js';

export { GGML_TYPES, type GgmlDequantizeOptions, type GgmlType, ggmlTypeOf } from '../contract/ggml.js';

/** Values of blocks as halves: `{ blocks, out }`. They are rounded by integers: no device feature is needed. */
export const ggmlDequantize: GpuKernelFactory<GgmlDequantizeOptions, never> =
  /* @__PURE__ */ dequantizeOf(ggml_dequantize_f16);
