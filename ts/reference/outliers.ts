import {
  type Outliers,
  type OutliersOptions,
  outliers_extract_f32,
  outliers_restore_f32,
} from '../contract/outliers.js';
import type { Out, Params } from '../contract.js';
import { run } from './runtime.js';

export type { Outliers, OutliersOptions };

/** The k values of largest magnitude of each row, and the row without them (0 in their place). */
export function outliersExtract(
  x: Float32Array,
  options: OutliersOptions & Out<Outliers & { rest: Float32Array }>,
): Outliers & { rest: Float32Array } {
  return run(outliers_extract_f32, { x }, options, (p) => extracted(x, p));
}

function extracted(x: Float32Array, p: Params) {
  const { rows, n, k } = p as Record<'rows' | 'n' | 'k', number>;
  const values = new Float32Array(rows * k);
  const indices = new Uint32Array(rows * k);
  const rest = x.slice();
  for (let row = 0; row < rows; row++) {
    // NaN last; equal magnitudes, and NaN among themselves: the lower index first.
    const rank = (i: number) => (Number.isNaN(x[row * n + i]!) ? -1 : Math.abs(x[row * n + i]!));
    const order = Uint32Array.from({ length: n }, (_, i) => i).sort((a, b) =>
      rank(a) === rank(b) ? a - b : rank(b) - rank(a),
    );
    indices.set(order.subarray(0, k).sort(), row * k);
    for (let i = row * k; i < (row + 1) * k; i++) {
      values[i] = x[row * n + indices[i]!]!;
      rest[row * n + indices[i]!] = 0;
    }
  }
  return { values, indices, rest };
}

/** rest with each value added at its index. */
export function outliersRestore(
  rest: Float32Array,
  outliers: Outliers,
  options: OutliersOptions & Out<Float32Array>,
): Float32Array {
  return run(outliers_restore_f32, { ...outliers, rest }, options, ({ n, k }) => {
    const { values, indices } = outliers;
    const out = rest.slice();
    values.forEach((value, i) => void (out[Math.floor(i / k!) * n! + indices[i]!]! += value));
    return { out };
  });
}
