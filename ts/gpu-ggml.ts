/** What the GPU's kernels of ggml's blocks share, to f32 and to f16. */
import { GGML_TYPES, type GgmlDequantizeOptions, ggmlTypeOf } from './contract/ggml.js';
import type { Contract, Params } from './contract.js';
import { shader } from './generated/gpu/ggml-dequantize.js';
import { type GpuKernelFactory, gpuKernel } from './gpu/runtime.js';

// As in wgsl/ggml-dequantize.wgsl.
const VALUES = 4 * 256;

/** The format in numbers. */
export function formatOf({ type }: Params) {
  const { id, block, bytes } = GGML_TYPES[ggmlTypeOf(type!)!];
  return { format: id, size: block, bytes };
}

/** The kernel of a contract's dtype. */
export const dequantizeOf = (
  contract: Contract<GgmlDequantizeOptions>,
): GpuKernelFactory<GgmlDequantizeOptions, never> =>
  gpuKernel({
    contract,
    shader,
    dynamic: { rows: {} },
    steps: ({ params }) => [
      {
        entry: contract.kernel,
        workgroups: Math.ceil((params.rows! * params.n!) / VALUES),
        params: formatOf(params),
      },
    ],
  });
