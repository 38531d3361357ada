import { type TopkOptions, topk_f32 } from '../contract/topk.js';
import { checked } from './runtime.js';

export type { TopkOptions };

/** The k largest (or smallest) values of each row and their positions, by sorting the whole row. */
export function topk(x: Float32Array, options: TopkOptions): { values: Float32Array; indices: Uint32Array } {
  const { rows, n, k, smallest } = checked(topk_f32, { x }, options) as Record<'rows' | 'n' | 'k' | 'smallest', number>;
  const values = new Float32Array(rows * k);
  const indices = new Uint32Array(rows * k);
  // Values are moved as words: a NaN keeps its bits.
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  const valueBits = new Uint32Array(values.buffer);
  for (let row = 0; row < rows; row++) {
    const score = (index: number) => x[row * n + index]!;
    const order = Uint32Array.from({ length: n }, (_, index) => index).sort((a, b) => {
      const [first, second] = [score(a), score(b)];
      // NaN last, whatever the direction.
      const nan = Number(Number.isNaN(first)) - Number(Number.isNaN(second));
      if (nan) return nan;
      // Equal values (-0 and +0 are equal) and NaN among themselves: the lower index first.
      if (first === second || Number.isNaN(first)) return a - b;
      return first < second === Boolean(smallest) ? -1 : 1;
    });
    for (let i = 0; i < k; i++) {
      indices[row * k + i] = order[i]!;
      valueBits[row * k + i] = bits[row * n + order[i]!]!;
    }
  }
  return { values, indices };
}
