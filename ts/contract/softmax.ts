import type { Contract, Params } from '../contract.js';
import { message } from '../errors.js';
import { elements, finite, integer, options } from '../validate.js';

export interface SoftmaxOptions {
  /** Independent rows. */
  rows: number;
  /** Values per row; 0 gives the empty state. */
  n: number;
  /** Multiplies x first; any finite f32. Default 1. */
  scale?: number;
}

export interface SoftmaxMergeOptions {
  /** Independent rows. */
  rows: number;
  /** Values per output row. */
  n: number;
  /** How many states are merged per row, at least 1. */
  states: number;
}

function params(kernel: string, given: SoftmaxOptions): Params {
  const { rows, n, scale = 1 } = options(kernel, given);
  return { rows, n, scale };
}

function check(kernel: string, { rows, n, scale }: Params): { values: number; rows: number } {
  integer(kernel, 'rows', rows, 0);
  integer(kernel, 'n', n, 0);
  finite(kernel, 'scale', scale);
  // Kernels take it as an f32.
  finite(kernel, 'scale', Math.fround(scale!));
  return { values: elements(kernel, 'x', rows!, n!), rows: rows! };
}

export const softmax_f32: Contract<SoftmaxOptions> = {
  kernel: 'softmax_f32',
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    out: { dtype: 'f32', role: 'out', inPlace: 'x' },
  },
  params: (given) => params('softmax_f32', given),
  lengths(given) {
    const { values } = check('softmax_f32', given);
    return { x: values, out: values };
  },
};

export const logsumexp_f32: Contract<SoftmaxOptions> = {
  kernel: 'logsumexp_f32',
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    lse: { dtype: 'f32', role: 'out' },
  },
  params: (given) => params('logsumexp_f32', given),
  lengths(given) {
    const { values, rows } = check('logsumexp_f32', given);
    return { x: values, lse: rows };
  },
};

export const softmax_state_f32: Contract<SoftmaxOptions> = {
  kernel: 'softmax_state_f32',
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    max: { dtype: 'f32', role: 'out' },
    sum: { dtype: 'f32', role: 'out' },
  },
  params: (given) => params('softmax_state_f32', given),
  lengths(given) {
    const { values, rows } = check('softmax_state_f32', given);
    return { x: values, max: rows, sum: rows };
  },
};

export const softmax_merge_f32: Contract<SoftmaxMergeOptions> = {
  kernel: 'softmax_merge_f32',
  arrays: {
    outputs: { dtype: 'f32', role: 'in' },
    lses: { dtype: 'f32', role: 'in' },
    output: { dtype: 'f32', role: 'out' },
    lse: { dtype: 'f32', role: 'out' },
  },
  params(given) {
    const { rows, n, states } = options('softmax_merge_f32', given);
    return { states, rows, n };
  },
  lengths({ states, rows, n }) {
    integer('softmax_merge_f32', 'states', states, 1);
    integer('softmax_merge_f32', 'rows', rows, 0);
    integer('softmax_merge_f32', 'n', n, 0);
    return {
      outputs: elements('softmax_merge_f32', 'outputs', states!, rows!, n!),
      lses: elements('softmax_merge_f32', 'lses', states!, rows!),
      output: elements('softmax_merge_f32', 'output', rows!, n!),
      lse: rows!,
    };
  },
};

/** A softmax over some keys: what attention over them gives, and the log-sum-exp of its scores. */
export interface SoftmaxState {
  /** f32 [rows, n]. */
  output: Float32Array;
  /** f32 [rows]. */
  lse: Float32Array;
}

/** The states of a list one after the other, as softmax_merge_f32 takes them. */
export function stacked(list: readonly SoftmaxState[], given: Omit<SoftmaxMergeOptions, 'states'>) {
  const kernel = 'softmax_merge_f32';
  if (!Array.isArray(list)) throw new TypeError(message(kernel, 'states', 'array of { output, lse }', list));
  const all = { ...options(kernel, given), states: list.length };
  const { output: values, lse: rows } = softmax_merge_f32.lengths(softmax_merge_f32.params(all));
  const outputs = new Float32Array(list.length * values!);
  const lses = new Float32Array(list.length * rows!);
  list.forEach((state: SoftmaxState, i) => {
    outputs.set(part(kernel, `states[${i}].output`, state?.output, values!), i * values!);
    lses.set(part(kernel, `states[${i}].lse`, state?.lse, rows!), i * rows!);
  });
  return { arrays: { outputs, lses }, options: all };
}

function part(kernel: string, name: string, array: unknown, length: number): Float32Array {
  if (!(array instanceof Float32Array))
    throw new TypeError(message(kernel, name, `Float32Array of length ${length}`, array));
  if (array.length !== length) throw new RangeError(message(kernel, name, `Float32Array of length ${length}`, array));
  return array;
}
