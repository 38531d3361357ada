import type { Contract, Float, Params, TypedArray } from '../contract.js';
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

function softmaxOf(dtype: Float): Contract<SoftmaxOptions> {
  const kernel = `softmax_${dtype}`;
  return {
    kernel,
    arrays: {
      x: { dtype, role: 'in' },
      out: { dtype, role: 'out', inPlace: 'x' },
    },
    params: (given) => params(kernel, given),
    lengths(given) {
      const { values } = check(kernel, given);
      return { x: values, out: values };
    },
  };
}

export const softmax_f32: Contract<SoftmaxOptions> = softmaxOf('f32');
export const softmax_f16: Contract<SoftmaxOptions> = softmaxOf('f16');

function logsumexpOf(dtype: Float): Contract<SoftmaxOptions> {
  const kernel = `logsumexp_${dtype}`;
  return {
    kernel,
    arrays: {
      x: { dtype, role: 'in' },
      lse: { dtype: 'f32', role: 'out' },
    },
    params: (given) => params(kernel, given),
    lengths(given) {
      const { values, rows } = check(kernel, given);
      return { x: values, lse: rows };
    },
  };
}

export const logsumexp_f32: Contract<SoftmaxOptions> = logsumexpOf('f32');
export const logsumexp_f16: Contract<SoftmaxOptions> = logsumexpOf('f16');

function softmaxStateOf(dtype: Float): Contract<SoftmaxOptions> {
  const kernel = `softmax_state_${dtype}`;
  return {
    kernel,
    arrays: {
      x: { dtype, role: 'in' },
      max: { dtype: 'f32', role: 'out' },
      sum: { dtype: 'f32', role: 'out' },
    },
    params: (given) => params(kernel, given),
    lengths(given) {
      const { values, rows } = check(kernel, given);
      return { x: values, max: rows, sum: rows };
    },
  };
}

export const softmax_state_f32: Contract<SoftmaxOptions> = softmaxStateOf('f32');
export const softmax_state_f16: Contract<SoftmaxOptions> = softmaxStateOf('f16');

function softmaxMergeOf(dtype: Float): Contract<SoftmaxMergeOptions> {
  const kernel = `softmax_merge_${dtype}`;
  return {
    kernel,
    arrays: {
      outputs: { dtype, role: 'in' },
      lses: { dtype: 'f32', role: 'in' },
      output: { dtype, role: 'out' },
      lse: { dtype: 'f32', role: 'out' },
    },
    params(given) {
      const { rows, n, states } = options(kernel, given);
      return { states, rows, n };
    },
    lengths({ states, rows, n }) {
      integer(kernel, 'states', states, 1);
      integer(kernel, 'rows', rows, 0);
      integer(kernel, 'n', n, 0);
      return {
        outputs: elements(kernel, 'outputs', states!, rows!, n!),
        lses: elements(kernel, 'lses', states!, rows!),
        output: elements(kernel, 'output', rows!, n!),
        lse: rows!,
      };
    },
  };
}

export const softmax_merge_f32: Contract<SoftmaxMergeOptions> = softmaxMergeOf('f32');
export const softmax_merge_f16: Contract<SoftmaxMergeOptions> = softmaxMergeOf('f16');

/** A softmax over some keys: what attention over them gives, and the log-sum-exp of its scores. */
export interface SoftmaxState {
  /** f32 [rows, n]. */
  output: Float32Array;
  /** f32 [rows]. */
  lse: Float32Array;
}

/** The same with its output in halves. */
export interface SoftmaxHalfState {
  /** f16 [rows, n]. */
  output: Uint16Array;
  /** f32 [rows]. */
  lse: Float32Array;
}

/** A softmax before it is divided. */
export interface SoftmaxSums {
  /** f32 [rows]: the largest scale·x. */
  max: Float32Array;
  /** f32 [rows]: Σ exp(scale·x − max). */
  sum: Float32Array;
}

type Values = typeof Float32Array | typeof Uint16Array;

/** The states of a list one after the other, as softmax_merge takes them. */
export function stacked<T extends Values>(
  contract: Contract<SoftmaxMergeOptions>,
  type: T,
  list: readonly { output: TypedArray; lse: Float32Array }[],
  given: Omit<SoftmaxMergeOptions, 'states'>,
) {
  const { kernel } = contract;
  if (!Array.isArray(list)) throw new TypeError(message(kernel, 'states', 'array of { output, lse }', list));
  const all = { ...options(kernel, given), states: list.length };
  const { output: values, lse: rows } = contract.lengths(contract.params(all));
  const outputs = new type(list.length * values!) as InstanceType<T>;
  const lses = new Float32Array(list.length * rows!);
  list.forEach((state: { output: TypedArray; lse: Float32Array }, i) => {
    outputs.set(part(kernel, `states[${i}].output`, state?.output, type, values!), i * values!);
    lses.set(part(kernel, `states[${i}].lse`, state?.lse, Float32Array, rows!), i * rows!);
  });
  return { arrays: { outputs, lses }, options: all };
}

function part(kernel: string, name: string, array: unknown, type: Values, length: number): Float32Array | Uint16Array {
  const expected = `${type.name} of length ${length}`;
  if (!(array instanceof type)) throw new TypeError(message(kernel, name, expected, array));
  if (array.length !== length) throw new RangeError(message(kernel, name, expected, array));
  return array;
}
