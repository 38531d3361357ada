import type { TopkOptions } from '../ts/contract/topk.js';
import type { FamilyBench, Layer, Size } from './lib/bench.js';

const HEAD_DIM = 64;
const KEYS = 1024;

/** q·k of every position of one head with every key. */
function scores({ q, k }: Layer): Float32Array {
  const x = new Float32Array(KEYS * KEYS);
  for (let row = 0; row < KEYS; row++)
    for (let key = 0; key < KEYS; key++) {
      let dot = 0;
      for (let d = 0; d < HEAD_DIM; d++) dot += q[row * HEAD_DIM + d]! * k[key * HEAD_DIM + d]!;
      x[row * KEYS + key] = dot;
    }
  return x;
}

const size = (
  rows: number,
  n: number,
  k: number,
  quick?: true,
  kind = '',
  value?: (column: number) => number,
): Size<TopkOptions> => ({
  title: `${k} of ${rows} x ${n}${kind && `, ${kind}`}`,
  options: { rows, n, k },
  inputs: (random) => ({ x: value ? random.floats(rows * n, (i) => value(i % n)) : random.normals(rows * n) }),
  ...(quick ? { quick } : {}),
});

const bench: FamilyBench = {
  topk_f32: {
    sizes: [
      size(128, 32768, 64),
      size(1, 131072, 256, true),
      // Neighbours of those that must not fall off a cliff.
      size(1, 131072, 1),
      size(1, 131073, 256),
      size(1, 131072, 256, undefined, 'ascending', (column) => column),
      size(1, 131072, 256, undefined, 'descending', (column) => -column),
      size(1, 131072, 256, undefined, 'all equal', () => 1),
      size(1, 131072, 256, undefined, 'a wave', (column) => Math.sin(column / 100)),
      size(1, 131072, 65536),
      size(1, 131072, 131072),
      size(1, 4194304, 64),
      size(1024, 128, 8, true),
      {
        title: 'real scores, layer 4, 64 of 1024 x 1024',
        options: { rows: KEYS, n: KEYS, k: 64 },
        inputs: (_, { layer4 }) => ({ x: scores(layer4) }),
        quick: true,
      },
    ],
    /** A heap of the k best so far, its worst at the root; most values fail one comparison. */
    javascript({ x }, { rows, n, k }: TopkOptions) {
      const values = new Float32Array(rows * k);
      const indices = new Uint32Array(rows * k);
      const heap = new Float32Array(k);
      const at = new Uint32Array(k);

      function sink(hole: number, size: number, value: number, index: number) {
        for (;;) {
          let child = 2 * hole + 1;
          if (child >= size) break;
          const right = child + 1;
          if (right < size && (heap[right]! < heap[child]! || (heap[right] === heap[child] && at[right]! > at[child]!)))
            child = right;
          if (value < heap[child]! || (value === heap[child] && index > at[child]!)) break;
          heap[hole] = heap[child]!;
          at[hole] = at[child]!;
          hole = child;
        }
        heap[hole] = value;
        at[hole] = index;
      }

      return () => {
        for (let row = 0; row < rows; row++) {
          const start = row * n;
          for (let i = 0; i < k; i++) {
            heap[i] = x![start + i]!;
            at[i] = i;
          }
          for (let i = (k >> 1) - 1; i >= 0; i--) sink(i, k, heap[i]!, at[i]!);
          let worst = heap[0]!;
          for (let i = k; i < n; i++) {
            const value = x![start + i]!;
            if (value > worst) {
              sink(0, k, value, i);
              worst = heap[0]!;
            }
          }
          for (let left = k - 1; left >= 0; left--) {
            values[row * k + left] = heap[0]!;
            indices[row * k + left] = at[0]!;
            sink(0, left, heap[left]!, at[left]!);
          }
        }
      };
    },
  },
};

export default bench;
