/** Softmax over f16 values, computed in f32; lse, max and sum are f32. Needs a device with `shader-f16`. */
import {
  logsumexp_f16,
  type SoftmaxMergeOptions,
  type SoftmaxOptions,
  softmax_f16,
  softmax_merge_f16,
  softmax_state_f16,
} from '../contract/softmax.js';
import { shader } from '../generated/gpu/softmax-f16.js';
import { rowStateOf, softmaxMergeOf, softmaxOf } from '../gpu-softmax.js';
import type { GpuKernelFactory } from './runtime.js';

export type { SoftmaxMergeOptions, SoftmaxOptions };

/** softmax(scale·x) of each row: `{ x, out }`, which may be the same buffer. */
export const softmax: GpuKernelFactory<SoftmaxOptions, never> = /* @__PURE__ */ softmaxOf(softmax_f16, shader);

/** ln Σ exp(scale·x) of each row: `{ x, lse }`. */
export const logsumexp: GpuKernelFactory<SoftmaxOptions, never> = /* @__PURE__ */ rowStateOf(logsumexp_f16, shader);

/** The largest scale·x of each row and Σ exp(scale·x − max): `{ x, max, sum }`. */
export const softmaxState: GpuKernelFactory<SoftmaxOptions, never> = /* @__PURE__ */ rowStateOf(
  softmax_state_f16,
  shader,
);

/** States stacked as `{ outputs, lses }` merged into `{ output, lse }`. */
export const softmaxMerge: GpuKernelFactory<SoftmaxMergeOptions, never> = /* @__PURE__ */ softmaxMergeOf(
  softmax_merge_f16,
  shader,
);
