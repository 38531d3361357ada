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
import type { Out, Params } from '../contract.js';
import { checked, run } from './runtime.js';

export type { SoftmaxMergeOptions, SoftmaxOptions, SoftmaxState, SoftmaxSums };

/** softmax(scale·x) of each row; `out` may be x. */
export function softmax(x: Float32Array, options: SoftmaxOptions & Out<Float32Array>): Float32Array {
  return run(softmax_f32, { x }, options, () => ({ out: softmaxF64(x, options) }));
}

/** ln Σ exp(scale·x) of each row. */
export function logsumexp(x: Float32Array, options: SoftmaxOptions & Out<Float32Array>): Float32Array {
  return run(logsumexp_f32, { x }, options, () => ({ lse: logsumexpF64(x, options) }));
}

/** The largest scale·x of each row, and Σ exp(scale·x − max). */
export function softmaxState(x: Float32Array, options: SoftmaxOptions & Out<SoftmaxSums>): SoftmaxSums {
  return run(softmax_state_f32, { x }, options, () => softmaxStateF64(x, options));
}

/** States of the same rows over different keys become the state over all of them. `out` may be one of them. */
export function softmaxMerge(
  states: readonly SoftmaxState[],
  options: Omit<SoftmaxMergeOptions, 'states'> & Out<SoftmaxState>,
): SoftmaxState {
  const { arrays, options: all } = stacked(softmax_merge_f32, Float32Array, states, options);
  return run(softmax_merge_f32, arrays, all, () => softmaxMergeF64(arrays, all));
}

/** softmax before its results are rounded to f32. */
export function softmaxF64(x: Float32Array, options: SoftmaxOptions): Float64Array {
  const p = checked(softmax_f32, { x }, options);
  const weights = new Float64Array(x.length);
  eachRow(x, p, (row, scores) => {
    const { max, sum } = stateOf(scores);
    // A row without a score above -infinity has no weights.
    if (sum !== 0)
      weights.set(
        scores.map((s) => Math.exp(s - max) / sum),
        row * p.n!,
      );
  });
  return weights;
}

/** logsumexp before its results are rounded to f32. */
export function logsumexpF64(x: Float32Array, options: SoftmaxOptions): Float64Array {
  const p = checked(logsumexp_f32, { x }, options);
  const lse = new Float64Array(p.rows!);
  eachRow(x, p, (row, scores) => {
    lse[row] = logSumExp(scores);
  });
  return lse;
}

/** softmaxState before its results are rounded to f32. */
export function softmaxStateF64(x: Float32Array, options: SoftmaxOptions): { max: Float64Array; sum: Float64Array } {
  const p = checked(softmax_state_f32, { x }, options);
  const max = new Float64Array(p.rows!);
  const sum = new Float64Array(p.rows!);
  eachRow(x, p, (row, scores) => {
    const state = stateOf(scores);
    max[row] = state.max;
    sum[row] = state.sum;
  });
  return { max, sum };
}

/** softmaxMerge of stacked states, before its results are rounded to f32. */
export function softmaxMergeF64(
  { outputs, lses }: { outputs: Float32Array; lses: Float32Array },
  options: SoftmaxMergeOptions,
): { output: Float64Array; lse: Float64Array } {
  const { states, rows, n } = checked(softmax_merge_f32, { outputs, lses }, options) as Record<string, number>;
  const output = new Float64Array(rows! * n!);
  const lse = new Float64Array(rows!);
  for (let row = 0; row < rows!; row++) {
    const parts = Float64Array.from({ length: states! }, (_, s) => lses[s * rows! + row]!);
    const { max, sum } = stateOf(parts);
    lse[row] = logSumExp(parts);
    parts.forEach((part, s) => {
      if (part === -Infinity) return; // empty, whatever its output holds
      const weight = Math.exp(part - max) / sum;
      for (let i = 0; i < n!; i++) output[row * n! + i]! += weight * outputs[(s * rows! + row) * n! + i]!;
    });
  }
  return { output, lse };
}

/** The scores scale·x of each row; scale as kernels get it, in f32. */
function eachRow(
  x: Float32Array,
  { rows, n, scale }: Params,
  visit: (row: number, scores: Float64Array) => void,
): void {
  const factor = Math.fround(scale!);
  for (let row = 0; row < rows!; row++)
    visit(
      row,
      Float64Array.from(x.subarray(row * n!, (row + 1) * n!), (value) => value * factor),
    );
}

function stateOf(scores: Float64Array): { max: number; sum: number } {
  const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  // -infinity − -infinity is NaN; nothing has been added yet in such a row.
  const sum = max === -Infinity ? 0 : scores.reduce((total, score) => total + Math.exp(score - max), 0);
  return { max, sum };
}

function logSumExp(scores: Float64Array): number {
  const { max, sum } = stateOf(scores);
  // +infinity wins over the NaN that infinity − infinity makes of its sum.
  return Math.abs(max) === Infinity ? max : max + Math.log(sum);
}
