/** What the GPU's kernels of ggml's blocks share, to f32 and to f16. */
import { GGML_TYPES, type GgmlDequantizeOptions, ggmlTypeOf } from './contract/ggml.js';
import type { Contract, Params } from './contract.js';
import { shader } from './generated/gpu/ggml-dequantize.js';
import { type GpuKernelFactory, gpuKernel } from './gpu/runtime.js';

// As in wgsl/ggml-dequantize.wgsl.
const VALUES = 4 * 256;

/** The format in numbers. */
export function formatOf({ rows, n, type }: Params) {
  const { id, block, bytes } = GGML_TYPES[ggmlTypeOf(type!)!];
  return { format: id, size: block, bytes, values: rows! * n! };
}

/** The kernel of a contract's dtype. */
export const dequantizeOf = (
  contract: Contract<GgmlDequantizeOptions>,
): GpuKernelFactory<GgmlDequantizeOptions, never> =>
  gpuKernel({
    contract,
    shader,
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
