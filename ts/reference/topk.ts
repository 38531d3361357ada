import { type Topk, type TopkOptions, topk_f32 } from '../contract/topk.js';
import type { Out, Params } from '../contract.js';
import { run } from './runtime.js';

export type { Topk, TopkOptions };

/** Positions of the best k of each row of numbers, by sorting the whole row. */
export function topkIndices(x: Float32Array, { rows, n, k, smallest }: Params): Uint32Array {
  const indices = new Uint32Array(rows! * k!);
  for (let row = 0; row < rows!; row++) {
    const score = (index: number) => x[row * n! + index]!;
    const order = Uint32Array.from({ length: n! }, (_, index) => index).sort((a, b) => {
      const [first, second] = [score(a), score(b)];
      // NaN last, whatever the direction.
      const nan = Number(Number.isNaN(first)) - Number(Number.isNaN(second));
      if (nan) return nan;
      // Equal values (-0 and +0 are equal) and NaN among themselves: the lower index first.
      if (first === second || Number.isNaN(first)) return a - b;
      return first < second === Boolean(smallest) ? -1 : 1;
    });
    indices.set(order.subarray(0, k), row * k!);
  }
  return indices;
}

/** Integers are moved, so that a NaN keeps its bits. */
export function taken<T extends Uint16Array | Uint32Array>(
  bits: T,
  indices: Uint32Array,
  { n, k }: Params,
  values: T,
): T {
  indices.forEach((index, i) => {
    values[i] = bits[Math.floor(i / k!) * n! + index]!;
  });
  return values;
}

/** The k largest (or smallest) values of each row and their positions. */
export function topk(x: Float32Array, options: TopkOptions & Out<Topk>): Topk {
  return run(topk_f32, { x }, options, (params) => {
    const indices = topkIndices(x, params);
    const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
    const values = taken(bits, indices, params, new Uint32Array(indices.length));
    return { values: new Float32Array(values.buffer), indices };
  });
}
