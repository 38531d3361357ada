import type { Arrays } from '../test/lib/spec.js';
import type { SoftmaxMergeOptions, SoftmaxOptions } from '../ts/contract/softmax.js';
import type { FamilyBench, Layer, Size } from './lib/bench.js';

const HEAD_DIM = 64;
const KEYS = 1024;

/** q·k of the last `queries` positions of one head, -infinity where the key comes after the query. */
function causalScores({ q, k }: Layer, queries: number): Float32Array {
  const scores = new Float32Array(queries * KEYS).fill(-Infinity);
  for (let row = 0; row < queries; row++) {
    const position = KEYS - queries + row;
    for (let key = 0; key <= position; key++) {
      let dot = 0;
      for (let d = 0; d < HEAD_DIM; d++) dot += q[position * HEAD_DIM + d]! * k[key * HEAD_DIM + d]!;
      scores[row * KEYS + key] = dot;
    }
  }
  return scores;
}

/** Attention of the last `queries` positions to each of `states` equal parts of the keys. */
function partialAttention(layer: Layer, queries: number, states: number): Arrays {
  const scores = causalScores(layer, queries);
  const outputs = new Float32Array(states * queries * HEAD_DIM);
  const lses = new Float32Array(states * queries);
  const part = KEYS / states;
  for (let s = 0; s < states; s++)
    for (let row = 0; row < queries; row++) {
      const own = scores.subarray(row * KEYS + s * part, row * KEYS + (s + 1) * part).map((score) => score / 8);
      const max = Math.max(...own);
      const sum = own.reduce((total, score) => total + (score > -Infinity ? Math.exp(score - max) : 0), 0);
      lses[s * queries + row] = max + Math.log(sum);
      own.forEach((score, key) => {
        const weight = score > -Infinity ? Math.exp(score - max) / sum : 0;
        for (let d = 0; d < HEAD_DIM; d++)
          outputs[(s * queries + row) * HEAD_DIM + d]! += weight * layer.v[(s * part + key) * HEAD_DIM + d]!;
      });
    }
  return { outputs, lses };
}

const generated = (rows: number, n: number, when: Pick<Size, 'quick' | 'device'> = {}): Size<SoftmaxOptions> => ({
  title: `${rows} x ${n}`,
  options: { rows, n },
  inputs: (random) => ({ x: random.normals(rows * n, 3) }),
  ...when,
});

const rowSizes: Size<SoftmaxOptions>[] = [
  generated(1024, 4096),
  generated(1000, 4097),
  generated(4, 131072),
  generated(8192, 128, { quick: true }),
  generated(16384, 33),
  generated(4096, 4096, { device: true }),
  {
    title: 'real causal scores, layer 4, 512 x 1024',
    options: { rows: 512, n: KEYS, scale: 0.125 },
    inputs: (_, { layer4 }) => ({ x: causalScores(layer4, 512) }),
    quick: true,
  },
];

const merge = (states: number, rows: number, n: number, quick?: true): Size<SoftmaxMergeOptions> => ({
  title: `${states} states, ${rows} x ${n}`,
  options: { states, rows, n },
  inputs: (random) => ({ outputs: random.normals(states * rows * n), lses: random.normals(states * rows, 3) }),
  ...(quick ? { quick } : {}),
});

/** Calls `finish` with each row's largest score and sum of exponentials, which `keep` gets one by one. */
function eachRow(
  x: Float32Array,
  { rows, n, scale = 1 }: SoftmaxOptions,
  keep: Float32Array | undefined,
  finish: (row: number, max: number, sum: number) => void,
) {
  for (let row = 0; row < rows; row++) {
    const start = row * n;
    let max = -Infinity;
    for (let i = start; i < start + n; i++) {
      const score = x[i]! * scale;
      if (score > max) max = score;
    }
    let sum = 0;
    if (keep) {
      for (let i = start; i < start + n; i++) {
        const e = Math.exp(x[i]! * scale - max);
        keep[i] = e;
        sum += e;
      }
    } else {
      for (let i = start; i < start + n; i++) sum += Math.exp(x[i]! * scale - max);
    }
    finish(row, max, sum);
  }
}

const bench: FamilyBench = {
  softmax_f32: {
    sizes: rowSizes,
    javascript({ x }, options: SoftmaxOptions) {
      const { n } = options;
      const out = new Float32Array(x!.length);
      return () =>
        eachRow(x as Float32Array, options, out, (row, _, sum) => {
          const inverse = 1 / sum;
          for (let i = row * n; i < (row + 1) * n; i++) out[i]! *= inverse;
        });
    },
  },
  logsumexp_f32: {
    sizes: rowSizes,
    javascript({ x }, options: SoftmaxOptions) {
      const lse = new Float32Array(options.rows);
      return () =>
        eachRow(x as Float32Array, options, undefined, (row, max, sum) => {
          lse[row] = max + Math.log(sum);
        });
    },
  },
  softmax_state_f32: {
    sizes: rowSizes,
    javascript({ x }, options: SoftmaxOptions) {
      const maxima = new Float32Array(options.rows);
      const sums = new Float32Array(options.rows);
      return () =>
        eachRow(x as Float32Array, options, undefined, (row, max, sum) => {
          maxima[row] = max;
          sums[row] = sum;
        });
    },
  },
  softmax_merge_f32: {
    sizes: [
      merge(2, 4096, 128),
      merge(2, 4096, 64, true),
      merge(8, 1024, 128),
      merge(32, 32, 128),
      {
        title: 'real attention over 4 key ranges, layer 4, 256 x 64',
        options: { states: 4, rows: 256, n: HEAD_DIM },
        inputs: (_, { layer4 }) => partialAttention(layer4, 256, 4),
        quick: true,
      },
    ],
    javascript({ outputs, lses }, { states, rows, n }: SoftmaxMergeOptions) {
      const output = new Float32Array(rows * n);
      const lse = new Float32Array(rows);
      const weights = new Float64Array(states);
      return () => {
        for (let row = 0; row < rows; row++) {
          let max = -Infinity;
          for (let s = 0; s < states; s++) max = Math.max(max, lses![s * rows + row]!);
          let sum = 0;
          for (let s = 0; s < states; s++) sum += weights[s] = Math.exp(lses![s * rows + row]! - max);
          lse[row] = max + Math.log(sum);
          output.fill(0, row * n, (row + 1) * n);
          for (let s = 0; s < states; s++) {
            const weight = weights[s]! / sum;
            const from = (s * rows + row) * n;
            for (let i = 0; i < n; i++) output[row * n + i]! += weight * outputs![from + i]!;
          }
        }
      };
    },
  },
};

export default bench;
