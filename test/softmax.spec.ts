import {
  logsumexp_f32,
  type SoftmaxMergeOptions,
  type SoftmaxOptions,
  softmax_f32,
  softmax_merge_f32,
  softmax_state_f32,
} from '../ts/contract/softmax.js';
import type { Params } from '../ts/contract.js';
import { logsumexpF64, softmaxF64, softmaxMergeF64, softmaxStateF64 } from '../ts/reference/softmax.js';
import type { Random } from './lib/random.js';
import type { Arrays, Case, FamilySpec } from './lib/spec.js';
import { exact, relativeTo, type Tolerance } from './lib/tolerance.js';

// Bounds by rounding error analysis, in units of u = 2^-24 (half an ulp). With a = scale·x − max:
// CPU: e^d is within 2.5 ulp of its argument d = (x − top)·scale, 5u; d carries the rounding of the difference and, unless
// scale is a power of two, that of the product, u·|a| each in the result.
// GPU: WGSL's exp is within 3 + 2|a| ulp, its argument carries two roundings: 6 + 6|a|; division 2.5 ulp.
// A sum of weights carries their mean error and the additions that reach one term.
const U = 2 ** -24;
/** Below this a weight may be flushed to 0. */
const FLUSHED = 2 ** -126;

type Bound = { exp: number; perUnit(scale: number): number; additions(n: number): number; rest: number };
const CPU: Bound = {
  exp: 5,
  perUnit: (scale) => (Number.isInteger(Math.log2(Math.abs(scale))) ? 1 : 2),
  additions: (n) => Math.min(256, Math.ceil(n / 4)) + 3,
  rest: 3,
};
// Its running sum is rescaled wherever a larger maximum comes: an exp and two roundings more per step of up to 1024 values.
const GPU: Bound = { exp: 6, perUnit: () => 6, additions: (n) => 9 * Math.ceil(n / 1024) + 50, rest: 8 };

/** Of one row of scores: its largest, the weights, and in u the errors of their exponentials and of the sum of these. */
function analysed(scores: Float64Array, bound: Bound, scale = 1) {
  const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const errors = scores.map((s) => bound.exp + bound.perUnit(scale) * (s === -Infinity ? 0 : max - s));
  const exponentials = scores.map((s) => Math.exp(s - max) || 0);
  const sum = exponentials.reduce((a, b) => a + b, 0);
  const weights = exponentials.map((e) => e / sum || 0);
  const sumError = weights.reduce((total, w, i) => total + w * errors[i]!, 0) + bound.additions(scores.length);
  return { max, sum, errors, weights, sumError };
}

function rowsOf({ x }: Arrays, { rows, n, scale }: Params) {
  const factor = Math.fround(scale!);
  return Array.from({ length: rows! }, (_, row) =>
    Float64Array.from(x!.subarray(row * n!, (row + 1) * n!), (v) => v * factor),
  );
}

/** Each value within its own bound, given in u. */
const within = (bounds: (inputs: Arrays, params: Params) => Float64Array, reason: string): Tolerance => ({
  ...relativeTo((inputs, params) => bounds(inputs, params).map((bound) => bound * U), 1, reason),
  unit: 'of its bound',
});

const weightError = (bound: Bound) =>
  within(
    (inputs, params) =>
      Float64Array.from(
        rowsOf(inputs, params).flatMap((scores) => {
          const { errors, weights, sumError } = analysed(scores, bound, params.scale);
          return Array.from(weights, (w, i) => w * (errors[i]! + sumError + bound.rest) + FLUSHED / U);
        }),
      ),
    '2.5 ulp of e^d, roundings of its argument, of the sum and of the quotient',
  );

const lseError = (bound: Bound) =>
  within(
    (inputs, params) =>
      Float64Array.from(rowsOf(inputs, params), (scores) => {
        const { max, sum, sumError } = analysed(scores, bound, params.scale);
        // One rounding of the result on the CPU; on the GPU also of the maximum and, by WGSL, 2^-21 or 3 ulp of the logarithm.
        const rest = bound === GPU ? 2 * Math.abs(max) + 8 + 6 * Math.log(sum) : 0;
        return sumError + Math.abs(max + Math.log(sum)) + rest;
      }),
    "the sum's error becomes absolute, and the result is rounded",
  );

const sumError = (bound: Bound) =>
  within(
    (inputs, params) =>
      Float64Array.from(rowsOf(inputs, params), (scores) => {
        const { sum, sumError } = analysed(scores, bound, params.scale);
        return sum * (sumError + bound.rest);
      }),
    '2.5 ulp of e^d, roundings of its argument and of the sum',
  );

function statesOf({ lses }: Arrays, { states, rows }: Params, row: number): Float64Array {
  return Float64Array.from({ length: states! }, (_, s) => lses![s * rows! + row]!);
}

const mergedError = (bound: Bound) =>
  within((inputs, params) => {
    const { states, rows, n } = params as Record<string, number>;
    const sizes = new Float64Array(rows! * n!);
    for (let row = 0; row < rows!; row++) {
      const { errors, weights, sumError } = analysed(statesOf(inputs, params, row), bound);
      for (let i = 0; i < n!; i++)
        weights.forEach((w, s) => {
          if (inputs.lses![s * rows! + row] === -Infinity) return;
          const term = Math.abs(inputs.outputs![(s * rows! + row) * n! + i]!);
          sizes[row * n! + i]! += term * (w * (errors[s]! + sumError + bound.rest + states!) + FLUSHED / U);
        });
    }
    return sizes;
  }, "errors of the weights, and of one sum of as many terms as states, relative to the sum of the terms' sizes");

const mergedLseError = (bound: Bound) =>
  within(
    (inputs, params) =>
      Float64Array.from({ length: params.rows! }, (_, row) => {
        const { max, sum, sumError } = analysed(statesOf(inputs, params, row), bound);
        return (
          sumError + Math.abs(max + Math.log(sum)) + (bound === GPU ? 2 * Math.abs(max) + 8 + 6 * Math.log(sum) : 0)
        );
      }),
    "the sum's error becomes absolute, and the result is rounded",
  );

const both = (tolerance: (bound: Bound) => Tolerance) => ({ cpu: tolerance(CPU), gpu: tolerance(GPU) });

type Rows = Case<SoftmaxOptions>;

function normal(rows: number, n: number, scale?: number, size = 3): Rows {
  return {
    title: `${rows} × ${n}${scale === undefined ? '' : `, scale ${scale}`}${size === 3 ? '' : `, values about ${size}`}`,
    options: { rows, n, ...(scale === undefined ? {} : { scale }) },
    inputs: (random) => ({ x: random.normals(rows * n, size) }),
  };
}

function made(
  title: string,
  rows: number,
  n: number,
  value: (row: number, column: number, random: Random) => number,
  scale?: number,
  cpuOnly?: string,
): Rows {
  return {
    title: `${title}, ${rows} × ${n}`,
    options: { rows, n, ...(scale === undefined ? {} : { scale }) },
    inputs: (random) => ({ x: random.floats(rows * n, (i) => value(Math.floor(i / n), i % n, random)) }),
    ...(cpuOnly ? { cpuOnly } : {}),
  };
}

const INF = Infinity;

/** Shared by the kernels that read rows. */
const rowCases: Rows[] = [
  ...[1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 19, 20, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257].map((n) =>
    normal(5, n),
  ),
  ...[511, 512, 513, 1023, 1024, 1025, 1031, 2048, 4096, 4099].map((n) => normal(2, n)),
  normal(1, 70_001),
  normal(300, 3),
  normal(1000, 33),
  { title: 'no rows', options: { rows: 0, n: 7 }, inputs: () => ({ x: new Float32Array(0) }) },
  { title: 'empty rows', options: { rows: 5, n: 0 }, inputs: () => ({ x: new Float32Array(0) }) },
  ...[0.125, -0.7, 0, 25].map((scale) => normal(3, 37, scale)),
  normal(3, 130, 1, 40),
  normal(3, 66, 1e-3, 1e4),
  made('all equal', 3, 1030, () => 2.5),
  made('one large value', 6, 33, (row, column) => (column === row * 6 ? 90 : -3)),
  made('a common offset of 1e6', 3, 65, (_, __, random) => 1e6 + random.int(0, 40) / 16),
  made('huge values', 4, 34, (row, column, random) => (column % 3 ? -3e38 : 3e38) * (row % 2 ? 1 : random.uniform())),
  made('lowest finite values', 2, 9, (row, column) => (row && column === 4 ? -1e38 : -3.4028234663852886e38)),
  made('negative scale and huge values', 2, 21, (_, column) => (column === 5 ? -3e38 : 3e38), -0.5),
  made('largest scale', 3, 18, (_, column) => (column % 5) * 1e-3, 3e38),
  made('tiny scale', 2, 18, (_, column) => (column % 5) * 1e30, 1e-31),
  made('zeros of both signs', 2, 11, (_, column) => (column % 2 ? -0 : 0)),
  made('denormals', 2, 23, (_, column) => column * 1e-41, 1, 'a GPU may flush denormals'),
  made('far below the maximum', 2, 53, (_, column) => -2 * column),
  made('masked: rows of -inf, of one value, of two', 8, 19, (row, column) =>
    row % 4 && column >= 19 - (row % 4) ? column / 7 : -INF,
  ),
  made('masked long rows', 3, 1040, (row, column) => (row === 1 ? -INF : column % 3 ? -INF : column / 500)),
  made('masked short rows', 4, 3, (row, column) => (row === column ? 1 : -INF)),
  made('+inf', 4, 20, (row, column) => (row === 1 && column === 19 ? INF : row === 2 ? INF : column / 9)),
  made('NaN', 5, 22, (row, column) =>
    row === 1 && column === 21 ? NaN : row === 2 && column === 0 ? NaN : row === 3 ? NaN : column / 9,
  ),
  made('NaN among -inf and among +inf', 4, 21, (row, column) =>
    row % 2 && column === 7 ? NaN : row < 2 ? -INF : column % 2 ? INF : 1,
  ),
  made(
    'negative scale: -inf becomes +inf and +inf the mask',
    3,
    17,
    (row, column) => (row === 0 ? INF : column === 3 ? (row === 1 ? INF : -INF) : column / 5),
    -2,
  ),
  // Zero times infinity: the row is NaN.
  made('scale 0 and an infinity', 3, 13, (row, column) => (column === 4 && row ? (row === 1 ? INF : -INF) : 1), 0),
];

type Merge = Case<SoftmaxMergeOptions>;

function merge(
  states: number,
  rows: number,
  n: number,
  title = '',
  lse: (state: number, row: number, random: Random) => number = (_, __, random) => 3 * random.normal(),
): Merge {
  return {
    title: `${title}${title && ', '}${states} × ${rows} × ${n}`,
    options: { states, rows, n },
    inputs: (random) => ({
      outputs: random.normals(states * rows * n),
      lses: random.floats(states * rows, (i) => lse(Math.floor(i / rows), i % rows, random)),
    }),
  };
}

const mergeCases: Merge[] = [
  ...[1, 2, 3, 4, 5, 7, 8, 9, 16, 17].map((states) => merge(states, 3, 64)),
  ...[0, 1, 2, 3, 4, 5, 7, 8, 63, 65, 127, 128, 129, 256, 300].map((n) => merge(2, 5, n)),
  merge(3, 700, 7),
  merge(33, 2, 5),
  merge(2, 0, 8, 'no rows'),
  merge(2, 4, 10, 'all empty', () => -INF),
  merge(5, 6, 10, 'some empty', (state, row) => ((state + row) % 3 ? -INF : row + state / 2)),
  merge(9, 4, 6, 'one left', (state, row) => (state === 2 * row ? -7 + row : -INF)),
  merge(3, 4, 9, 'far apart', (state) => state * 70),
  merge(3, 4, 9, 'large', (state, row) => 1e6 + state + row / 8),
  merge(2, 4, 9, 'huge', (state, row) => (state ? 3e38 : -3e38) * (row % 2 ? 1 : -1)),
  merge(6, 4, 12, 'NaN and +inf', (state, row) =>
    row === 1 && state === 5
      ? NaN
      : row === 2 && state === 1
        ? INF
        : row === 3 && state < 2
          ? [INF, NaN][state]!
          : state,
  ),
  {
    title: 'an empty state whose output is NaN adds nothing',
    options: { states: 3, rows: 2, n: 6 },
    inputs: (random) => ({
      outputs: random.floats(36, (i) => (i >= 12 && i < 24 ? NaN : random.normal())),
      lses: Float32Array.of(1, -INF, -INF, -INF, 2, 3),
    }),
  },
];

const axes = {
  rows: 'independent rows, 0 or more',
  n: 'values per row, 0 or more',
  scale: 'multiplies x; any finite f32, default 1',
};
const source = 'M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018';
const x = { shape: '[rows, n]', meaning: 'scores before scale' };

const spec: FamilySpec = {
  softmax_f32: {
    contract: softmax_f32,
    summary: 'Softmax of scaled rows; rows of -infinity give 0',
    source,
    axes,
    arrays: { x, out: { shape: '[rows, n]', meaning: 'weights; may be x' } },
    reference: ({ x }, options: SoftmaxOptions) => ({ out: softmaxF64(x as Float32Array, options) }),
    cases: rowCases,
    tolerance: { out: both(weightError) },
    cost: ({ rows, n }) => ({ bytesRead: 4 * rows! * n!, bytesWritten: 4 * rows! * n! }),
  },
  logsumexp_f32: {
    contract: logsumexp_f32,
    summary: 'Natural log of the sum of exponentials of scaled rows',
    source,
    axes,
    arrays: { x, lse: { shape: '[rows]', meaning: 'natural log-sum-exp; -infinity for an empty or masked row' } },
    reference: ({ x }, options: SoftmaxOptions) => ({ lse: logsumexpF64(x as Float32Array, options) }),
    cases: rowCases,
    tolerance: { lse: both(lseError) },
    cost: ({ rows, n }) => ({ bytesRead: 4 * rows! * n!, bytesWritten: 4 * rows! }),
  },
  softmax_state_f32: {
    contract: softmax_state_f32,
    summary: 'Maximum and sum of exponentials of a chunk of scaled rows',
    source,
    axes,
    arrays: {
      x,
      max: { shape: '[rows]', meaning: 'the largest scale·x; -infinity for an empty or masked row' },
      sum: { shape: '[rows]', meaning: 'Σ exp(scale·x − max); 0 for an empty or masked row' },
    },
    reference: ({ x }, options: SoftmaxOptions) => ({ ...softmaxStateF64(x as Float32Array, options) }),
    cases: rowCases,
    tolerance: { max: exact, sum: both(sumError) },
    cost: ({ rows, n }) => ({ bytesRead: 4 * rows! * n!, bytesWritten: 8 * rows! }),
  },
  softmax_merge_f32: {
    contract: softmax_merge_f32,
    summary: 'Merges softmax states (output, lse) of the same rows over different keys',
    source: 'T. Dao et al., "Flash-Decoding for long-context inference", 2023; Z. Ye et al., "FlashInfer", 2025',
    axes: { states: 'states per row, 1 or more', rows: axes.rows, n: 'values per output row, 0 or more' },
    arrays: {
      outputs: { shape: '[states, rows, n]', meaning: 'what attention over each part of the keys gave' },
      lses: { shape: '[states, rows]', meaning: 'natural log-sum-exp of each part; -infinity: empty' },
      output: { shape: '[rows, n]', meaning: 'Σ exp(lses − lse)·outputs; 0 where every part is empty' },
      lse: { shape: '[rows]', meaning: 'ln Σ exp(lses)' },
    },
    reference: ({ outputs, lses }, options: SoftmaxMergeOptions) => ({
      ...softmaxMergeF64({ outputs: outputs as Float32Array, lses: lses as Float32Array }, options),
    }),
    cases: mergeCases,
    tolerance: { output: both(mergedError), lse: both(mergedLseError) },
    cost: ({ states, rows, n }) => ({
      bytesRead: 4 * states! * rows! * (n! + 1),
      bytesWritten: 4 * rows! * (n! + 1),
      operations: 2 * states! * rows! * n!,
    }),
  },
};

export default spec;
