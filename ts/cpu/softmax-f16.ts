import {
  logsumexp_f16,
  type SoftmaxHalfState,
  type SoftmaxMergeOptions,
  type SoftmaxOptions,
  type SoftmaxSums,
  softmax_f16,
  softmax_merge_f16,
  softmax_state_f16,
  stacked,
} from '../contract/softmax.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/softmax-f16.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { SoftmaxHalfState, SoftmaxMergeOptions, SoftmaxOptions, SoftmaxSums };
export type SoftmaxHalfKernels = Instance<code.Kernels>;

const softmaxFamily = /* @__PURE__ */ family<code.Kernels>(code, {
  softmax_f16,
  logsumexp_f16,
  softmax_state_f16,
  softmax_merge_f16,
});

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): SoftmaxHalfKernels {
  return softmaxFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return softmaxFamily.preload(options);
}

/** softmax(scale·x) of each row of halves, as halves; `out` may be x. */
export function softmax(x: Uint16Array, options: SoftmaxOptions & Out<Uint16Array>): Uint16Array {
  return softmaxFamily.run(softmax_f16, { x }, options);
}

/** ln Σ exp(scale·x) of each row of halves. */
export function logsumexp(x: Uint16Array, options: SoftmaxOptions & Out<Float32Array>): Float32Array {
  return softmaxFamily.run(logsumexp_f16, { x }, options);
}

/** The largest scale·x of each row of halves, and Σ exp(scale·x − max). */
export function softmaxState(x: Uint16Array, options: SoftmaxOptions & Out<SoftmaxSums>): SoftmaxSums {
  return softmaxFamily.run(softmax_state_f16, { x }, options);
}

/**
 * States of the same rows over different keys become the state over all of them; outputs are halves, lse f32. `out` may be
 * one of them.
 */
export function softmaxMerge(
  states: readonly SoftmaxHalfState[],
  options: Omit<SoftmaxMergeOptions, 'states'> & Out<SoftmaxHalfState>,
): SoftmaxHalfState {
  const { arrays, options: all } = stacked(softmax_merge_f16, Uint16Array, states, options);
  return softmaxFamily.run(softmax_merge_f16, arrays, all);
}
