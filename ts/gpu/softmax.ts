import {
  logsumexp_f32,
  type SoftmaxMergeOptions,
  type SoftmaxOptions,
  softmax_f32,
  softmax_merge_f32,
  softmax_state_f32,
} from '../contract/softmax.js';
import type { Contract, Params } from '../contract.js';
import { shader } from '../generated/gpu/softmax.js';
import { type GpuKernelFactory, gpuKernel, type Shader } from './runtime.js';

export type { SoftmaxMergeOptions, SoftmaxOptions };

const WORKGROUP = 256;

/** How many invocations share a row of n values: four values each while that leaves fewer than a workgroup. */
function widthFor(n: number): number {
  let width = 1;
  while (width < WORKGROUP && 4 * width < n) width *= 2;
  return width;
}

/** The width chosen for rows of n serves shorter ones. */
const ROWS = { rows: { field: 'rows' }, n: { field: 'n' }, scale: { field: 'scale' } };

function rowStep(entry: string, { rows, n }: Params) {
  const width = widthFor(n!);
  return [{ entry, workgroups: Math.ceil(rows! / (WORKGROUP / width)), params: { width } }];
}

/** softmax-f16.ts makes the same kernels of its own contracts and shader. */
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
    steps: ({ params: { rows, n } }) => [
      { entry: contract.kernel, workgroups: Math.ceil((rows! * Math.max(n!, 1)) / WORKGROUP) },
    ],
  });

/** softmax(scale·x) of each row: `{ x, out }`, which may be the same buffer. */
export const softmax: GpuKernelFactory<SoftmaxOptions, never> = /* @__PURE__ */ softmaxOf(softmax_f32, shader);

/** ln Σ exp(scale·x) of each row: `{ x, lse }`. */
export const logsumexp: GpuKernelFactory<SoftmaxOptions, never> = /* @__PURE__ */ rowStateOf(logsumexp_f32, shader);

/** The largest scale·x of each row and Σ exp(scale·x − max): `{ x, max, sum }`. */
export const softmaxState: GpuKernelFactory<SoftmaxOptions, never> = /* @__PURE__ */ rowStateOf(
  softmax_state_f32,
  shader,
);

/** States stacked as `{ outputs, lses }` merged into `{ output, lse }`. */
export const softmaxMerge: GpuKernelFactory<SoftmaxMergeOptions, never> = /* @__PURE__ */ softmaxMergeOf(
  softmax_merge_f32,
  shader,
);
