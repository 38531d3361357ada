import {
  logsumexp_f32,
  type SoftmaxMergeOptions,
  type SoftmaxOptions,
  type SoftmaxState,
  type SoftmaxSums,
  softmax_f32,
  softmax_merge_f32,
  softmax_state_f32,
  stacked,
} from '../contract/softmax.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/softmax.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { SoftmaxMergeOptions, SoftmaxOptions, SoftmaxState, SoftmaxSums };
export type SoftmaxKernels = Instance<code.Kernels>;

const softmaxFamily = /* @__PURE__ */ family<code.Kernels>(code, {
  softmax_f32,
  logsumexp_f32,
  softmax_state_f32,
  softmax_merge_f32,
});

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): SoftmaxKernels {
  return softmaxFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return softmaxFamily.preload(options);
}

/** softmax(scale·x) of each row; `out` may be x. */
export function softmax(x: Float32Array, options: SoftmaxOptions & Out<Float32Array>): Float32Array {
  return softmaxFamily.run(softmax_f32, { x }, options);
}

/** ln Σ exp(scale·x) of each row. */
export function logsumexp(x: Float32Array, options: SoftmaxOptions & Out<Float32Array>): Float32Array {
  return softmaxFamily.run(logsumexp_f32, { x }, options);
}

/** The largest scale·x of each row, and Σ exp(scale·x − max). */
export function softmaxState(x: Float32Array, options: SoftmaxOptions & Out<SoftmaxSums>): SoftmaxSums {
  return softmaxFamily.run(softmax_state_f32, { x }, options);
}

/** States of the same rows over different keys become the state over all of them. `out` may be one of them. */
export function softmaxMerge(
  states: readonly SoftmaxState[],
  options: Omit<SoftmaxMergeOptions, 'states'> & Out<SoftmaxState>,
): SoftmaxState {
  const { arrays, options: all } = stacked(softmax_merge_f32, Float32Array, states, options);
  return softmaxFamily.run(softmax_merge_f32, arrays, all);
}
