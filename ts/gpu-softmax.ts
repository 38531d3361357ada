/** What the GPU's softmax kernels of f32 and of f16 share: each makes a kernel of its dtype's contract and shader. */
import type { SoftmaxMergeOptions, SoftmaxOptions } from './contract/softmax.js';
import type { Contract, Params } from './contract.js';
import { type GpuKernelFactory, gpuKernel, type Shader } from './gpu/runtime.js';

const WORKGROUP = 256;

/** How many invocations share a row of n values: four values each while that leaves fewer than a workgroup. */
function widthFor(n: number): number {
  let width = 1;
  while (width < WORKGROUP && 4 * width < n) width *= 2;
  return width;
}

/** The width chosen for rows of n serves shorter ones. */
const ROWS = { rows: {}, n: {}, scale: {} };

function rowStep(entry: string, { rows, n }: Params) {
  const width = widthFor(n!);
  return [{ entry, workgroups: Math.ceil(rows! / (WORKGROUP / width)), params: { width } }];
}

export const softmaxOf = (
  contract: Contract<SoftmaxOptions>,
  shader: Shader,
): GpuKernelFactory<SoftmaxOptions, never> =>
  gpuKernel({
    contract,
    shader,
    dynamic: ROWS,
    steps: ({ params, same }) => rowStep(`${contract.kernel}${same('x', 'out') ? '__inplace' : ''}`, params),
  });

export const rowStateOf = (
  contract: Contract<SoftmaxOptions>,
  shader: Shader,
): GpuKernelFactory<SoftmaxOptions, never> =>
  gpuKernel({ contract, shader, dynamic: ROWS, steps: ({ params }) => rowStep(contract.kernel, params) });

export const softmaxMergeOf = (
  contract: Contract<SoftmaxMergeOptions>,
  shader: Shader,
): GpuKernelFactory<SoftmaxMergeOptions, never> =>
  gpuKernel({
    contract,
    shader,
    dynamic: { states: {}, rows: {} },
    steps: ({ params: { rows, n } }) => [
      { entry: contract.kernel, workgroups: Math.ceil((rows! * Math.max(n!, 1)) / WORKGROUP) },
    ],
  });
