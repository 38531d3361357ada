import {
  logsumexp_f16,
  type SoftmaxHalfState,
  type SoftmaxMergeOptions,
  type SoftmaxOptions,
  softmax_f16,
  softmax_merge_f16,
  softmax_state_f16,
  stacked,
} from '../contract/softmax.js';
import { fromHalves, toHalves } from '../half.js';
import { checked } from './runtime.js';
import { logsumexpF64, softmaxF64, softmaxMergeF64, softmaxStateF64 } from './softmax.js';

export type { SoftmaxHalfState, SoftmaxMergeOptions, SoftmaxOptions };

/** softmax(scale·x) of each row of halves, as halves; `out` may be x. */
export function softmax(x: Uint16Array, options: SoftmaxOptions & { out?: Uint16Array }): Uint16Array {
  checked(softmax_f16, { x, out: options?.out }, options);
  const weights = toHalves(softmaxF64(fromHalves(x), options));
  if (!options.out) return weights;
  options.out.set(weights);
  return options.out;
}

/** ln Σ exp(scale·x) of each row of halves. */
export function logsumexp(x: Uint16Array, options: SoftmaxOptions): Float32Array {
  checked(logsumexp_f16, { x }, options);
  return Float32Array.from(logsumexpF64(fromHalves(x), options));
}

/** The largest scale·x of each row of halves, and Σ exp(scale·x − max). */
export function softmaxState(x: Uint16Array, options: SoftmaxOptions): { max: Float32Array; sum: Float32Array } {
  checked(softmax_state_f16, { x }, options);
  const { max, sum } = softmaxStateF64(fromHalves(x), options);
  return { max: Float32Array.from(max), sum: Float32Array.from(sum) };
}

/** States of the same rows over different keys become the state over all of them; outputs are halves, lse f32. */
export function softmaxMerge(
  states: readonly SoftmaxHalfState[],
  options: Omit<SoftmaxMergeOptions, 'states'>,
): SoftmaxHalfState {
  const { arrays, options: all } = stacked(softmax_merge_f16, Uint16Array, states, options);
  const { output, lse } = softmaxMergeF64({ ...arrays, outputs: fromHalves(arrays.outputs) }, all);
  return { output: toHalves(output), lse: Float32Array.from(lse) };
}
