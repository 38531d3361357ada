import {
  type GgmlDequantizeOptions,
  type GgmlQuantizeOptions,
  ggml_dequantize_f32,
  ggml_quantize_f32,
} from '../contract/ggml.js';
import { shader } from '../generated/gpu/ggml.js';
import { dequantizeOf, formatOf } from '../gpu-ggml.js';
import { type GpuKernelFactory, gpuKernel } from './runtime.js';

export {
  GGML_TYPES,
  GGML_WRITABLE,
  type GgmlDequantizeOptions,
  type GgmlFormat,
  type GgmlQuantizeOptions,
  type GgmlType,
  type GgmlWritableType,
  ggmlTypeOf,
} from '../contract/ggml.js';

// As in wgsl/ggml.wgsl.
const INVOCATIONS = 64;

/** Values of blocks: `{ blocks, out }`. One compiled kernel serves all types. */
export const ggmlDequantize: GpuKernelFactory<GgmlDequantizeOptions, never> =
  /* @__PURE__ */ dequantizeOf(ggml_dequantize_f32);

/** Blocks of values: `{ x, blocks }`. One compiled kernel serves all types; the last word of blocks is written whole. */
export const ggmlQuantize: GpuKernelFactory<GgmlQuantizeOptions, never> = /* @__PURE__ */ gpuKernel({
  contract: ggml_quantize_f32,
  shader,
  dynamic: { rows: {} },
  steps({ params }) {
    const format = formatOf(params);
    const count = (params.rows! * params.n!) / format.size;
    // Neighbouring blocks that fill whole words.
    const share = format.bytes % 4 ? (format.bytes % 2 ? 4 : 2) : 1;
    return [
      {
        entry: 'ggml_quantize_f32',
        workgroups: Math.ceil(count / share / INVOCATIONS),
        params: { ...format, share },
      },
    ];
  },
});
