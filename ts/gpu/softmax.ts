import {
  logsumexp_f32,
  type SoftmaxMergeOptions,
  type SoftmaxOptions,
  softmax_f32,
  softmax_merge_f32,
  softmax_state_f32,
} from '../contract/softmax.js';
import type { Params } from '../contract.js';
import { shader } from '../generated/gpu/softmax.js';
import { type GpuKernelFactory, gpuKernel } from './runtime.js';

export type { SoftmaxMergeOptions, SoftmaxOptions };

const WORKGROUP = 256;

/** How many invocations share a row of n values: four values each while that leaves fewer than a workgroup. */
function widthFor(n: number): number {
  let width = 1;
  while (width < WORKGROUP && 4 * width < n) width *= 2;
  return width;
}

function rowStep(entry: string, { rows, n }: Params) {
  const width = widthFor(n!);
  return [{ entry, workgroups: Math.ceil(rows! / (WORKGROUP / width)), params: { width } }];
}

/** softmax(scale·x) of each row: `{ x, out }`, which may be the same buffer. */
export const softmax: GpuKernelFactory<SoftmaxOptions, never> = gpuKernel({
  contract: softmax_f32,
  shader,
  steps: ({ params, same }) => rowStep(same('x', 'out') ? 'softmax_f32__inplace' : 'softmax_f32', params),
});

/** ln Σ exp(scale·x) of each row: `{ x, lse }`. */
export const logsumexp: GpuKernelFactory<SoftmaxOptions, never> = gpuKernel({
  contract: logsumexp_f32,
  shader,
  steps: ({ params }) => rowStep('logsumexp_f32', params),
});

/** The largest scale·x of each row and Σ exp(scale·x − max): `{ x, max, sum }`. */
export const softmaxState: GpuKernelFactory<SoftmaxOptions, never> = gpuKernel({
  contract: softmax_state_f32,
  shader,
  steps: ({ params }) => rowStep('softmax_state_f32', params),
});

/** States stacked as `{ outputs, lses }` merged into `{ output, lse }`. */
export const softmaxMerge: GpuKernelFactory<SoftmaxMergeOptions, never> = gpuKernel({
  contract: softmax_merge_f32,
  shader,
  steps: ({ params: { rows, n } }) => [
    { entry: 'softmax_merge_f32', workgroups: Math.ceil((rows! * Math.max(n!, 1)) / WORKGROUP) },
  ],
});
