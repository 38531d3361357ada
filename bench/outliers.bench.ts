import type { Arrays } from '../test/lib/spec.js';
import type { OutliersOptions } from '../ts/contract/outliers.js';
import { outliersExtract } from '../ts/cpu/outliers.js';
import type { FamilyBench, Real, Size } from './lib/bench.js';

interface Work {
  title: string;
  options: OutliersOptions;
  values?(real: Real): Float32Array;
  quick?: true;
}

const works: Work[] = [
  { title: '1 of 16384 x 128', options: { rows: 16384, n: 128, k: 1 } },
  { title: '6 of 16384 x 128', options: { rows: 16384, n: 128, k: 6 } },
  { title: '41 of 1024 x 4096', options: { rows: 1024, n: 4096, k: 41 }, quick: true },
  { title: '205 of 1024 x 4096', options: { rows: 1024, n: 4096, k: 205 } },
  {
    title: 'real keys, layer 4, 2 of 2048 x 64',
    options: { rows: 2048, n: 64, k: 2 },
    values: ({ layer4 }) => layer4.k,
    quick: true,
  },
];

const sizes = (make: (x: Float32Array, options: OutliersOptions) => Arrays): Size<OutliersOptions>[] =>
  works.map(({ values, ...work }) => ({
    ...work,
    inputs: (random, real) => make(values?.(real) ?? random.normals(work.options.rows * work.options.n), work.options),
  }));

const bench: FamilyBench = {
  outliers_extract_f32: {
    sizes: sizes((x) => ({ x })),
    /** A heap of the k largest magnitudes so far, the least at its root; then the row is walked once more. */
    javascript({ x }, { rows, n, k }: OutliersOptions) {
      const values = new Float32Array(rows * k);
      const indices = new Uint32Array(rows * k);
      const rest = new Float32Array(rows * n);
      const heap = new Float32Array(k);
      function sink(hole: number, size: number, value: number) {
        for (;;) {
          let child = 2 * hole + 1;
          if (child >= size) break;
          if (child + 1 < size && heap[child + 1]! < heap[child]!) child++;
          if (value <= heap[child]!) break;
          heap[hole] = heap[child]!;
          hole = child;
        }
        heap[hole] = value;
      }
      return () => {
        for (let row = 0; row < rows; row++) {
          const start = row * n;
          for (let i = 0; i < k; i++) heap[i] = Math.abs(x![start + i]!);
          for (let i = (k >> 1) - 1; i >= 0; i--) sink(i, k, heap[i]!);
          for (let i = k; i < n; i++) {
            const magnitude = Math.abs(x![start + i]!);
            if (magnitude > heap[0]!) sink(0, k, magnitude);
          }
          const threshold = heap[0]!;
          let ties = 0;
          for (let i = 0; i < k; i++) if (heap[i] === threshold) ties++;
          for (let i = 0, at = row * k; i < n; i++) {
            const value = x![start + i]!;
            const magnitude = Math.abs(value);
            if (magnitude > threshold || (magnitude === threshold && ties-- > 0)) {
              values[at] = value;
              indices[at++] = i;
              rest[start + i] = 0;
            } else rest[start + i] = value;
          }
        }
      };
    },
  },
  outliers_restore_f32: {
    sizes: sizes((x, options) => ({ ...outliersExtract(x, options) })),
    javascript({ rest, values, indices }, { rows, n, k }: OutliersOptions) {
      const out = new Float32Array(rows * n);
      return () => {
        out.set(rest as Float32Array);
        for (let row = 0; row < rows; row++)
          for (let i = row * k; i < (row + 1) * k; i++) out[row * n + indices![i]!]! += values![i]!;
      };
    },
  },
};

export default bench;
