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
import { fromHalves } from '../half.js';
import { run } from './runtime.js';
import { logsumexpF64, softmaxF64, softmaxMergeF64, softmaxStateF64 } from './softmax.js';

export type { SoftmaxHalfState, SoftmaxMergeOptions, SoftmaxOptions, SoftmaxSums };

/** softmax(scale·x) of each row of halves, as halves; `out` may be x. */
export function softmax(x: Uint16Array, options: SoftmaxOptions & Out<Uint16Array>): Uint16Array {
  return run(softmax_f16, { x }, options, () => ({ out: softmaxF64(fromHalves(x), options) }));
}

/** ln Σ exp(scale·x) of each row of halves. */
export function logsumexp(x: Uint16Array, options: SoftmaxOptions & Out<Float32Array>): Float32Array {
  return run(logsumexp_f16, { x }, options, () => ({ lse: logsumexpF64(fromHalves(x), options) }));
}

/** The largest scale·x of each row of halves, and Σ exp(scale·x − max). */
export function softmaxState(x: Uint16Array, options: SoftmaxOptions & Out<SoftmaxSums>): SoftmaxSums {
  return run(softmax_state_f16, { x }, options, () => softmaxStateF64(fromHalves(x), options));
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
  return run(softmax_merge_f16, arrays, all, () =>
    softmaxMergeF64({ ...arrays, outputs: fromHalves(arrays.outputs) }, all),
  );
}
