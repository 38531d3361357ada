import {
  GGML_TYPES,
  type GgmlDequantizeOptions,
  type GgmlQuantizeOptions,
  ggml_dequantize_f32,
  ggml_quantize_f32,
  ggmlTypeOf,
} from '../contract/ggml.js';
import type { Contract, Params } from '../contract.js';
import { shader } from '../generated/gpu/ggml.js';
import { shader as dequantizeShader } from '../generated/gpu/ggml-dequantize.js';
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

// As in wgsl/ggml-dequantize.wgsl and wgsl/ggml.wgsl.
const VALUES = 4 * 256;
const INVOCATIONS = 64;

/** The format in numbers. */
function formatOf({ rows, n, type }: Params) {
  const { id, block, bytes } = GGML_TYPES[ggmlTypeOf(type!)!];
  return { format: id, size: block, bytes, values: rows! * n! };
}

/** ggml-f16.ts makes the same kernel of its own contract. */
export const dequantizeOf = (
  contract: Contract<GgmlDequantizeOptions>,
): GpuKernelFactory<GgmlDequantizeOptions, never> =>
  gpuKernel({
    contract,
    shader: dequantizeShader,
    steps({ params }) {
      const { values, ...format } = formatOf(params);
      return [
        {
          entry: contract.kernel,
          workgroups: Math.ceil(values / VALUES),
          params: { ...format, vectors: values / 4 },
        },
      ];
    },
  });

/** Values of blocks: `{ blocks, out }`. One compiled kernel serves all types. */
export const ggmlDequantize: GpuKernelFactory<GgmlDequantizeOptions, never> =
  /* @__PURE__ */ dequantizeOf(ggml_dequantize_f32);

/** Blocks of values: `{ x, blocks }`. One compiled kernel serves all types; the last word of blocks is written whole. */
export const ggmlQuantize: GpuKernelFactory<GgmlQuantizeOptions, never> = /* @__PURE__ */ gpuKernel({
  contract: ggml_quantize_f32,
  shader,
  steps({ params }) {
    const { values, ...format } = formatOf(params);
    const count = values / format.size;
    // Neighbouring blocks that fill whole words.
    const share = format.bytes % 4 ? (format.bytes % 2 ? 4 : 2) : 1;
    return [
      {
        entry: 'ggml_quantize_f32',
        workgroups: Math.ceil(count / share / INVOCATIONS),
        params: { ...format, count, share },
      },
    ];
  },
});
