import { type HadamardMixedArrays, type HadamardMixedOptions, hadamard_mixed_f32 } from '../contract/hadamardmixed.js';
import { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder, knownMatrix } from '../hadamard-matrices.js';
import { butterflies } from './hadamard.js';
import { run } from './runtime.js';

export type { HadamardMixedArrays, HadamardMixedOptions };
export { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder };

/** scale·(M ⊗ H)·(signs ∘ x) along the middle axis of x [rows, n, inner]; with `inverse` signs ∘ (scale·(M ⊗ H)ᵀ·x). */
export function hadamardMixed(x: Float32Array, options: HadamardMixedOptions & HadamardMixedArrays): Float32Array {
  const { order } = hadamard_mixed_f32.params(options);
  const { matrix = knownMatrix(order!), signs } = options;
  const arrays = { x, matrix, signs };
  return run(hadamard_mixed_f32, arrays, options, () => ({ out: hadamardMixedF64(x, matrix, signs, options) }));
}

/** hadamardMixed before its results are rounded to f32. */
export function hadamardMixedF64(
  x: Float32Array,
  matrix: Uint32Array | undefined,
  signs: Int8Array | undefined,
  options: HadamardMixedOptions,
): Float64Array {
  const { rows, n, order, inner, scale, inverse } = hadamard_mixed_f32.params(options) as Record<string, number>;
  const entry = entriesOf(matrix ?? knownMatrix(order!), order!);
  const factor = Math.fround(scale!);
  const result = new Float64Array(rows! * n! * inner!);
  for (let row = 0; row < rows!; row++)
    for (let i = 0; i < inner!; i++) {
      const at = (j: number) => (row * n! + j) * inner! + i;
      const values = Float64Array.from({ length: n! }, (_, j) => x[at(j)]! * (inverse ? 1 : (signs?.[j] ?? 1)));
      const block = n! / order!;
      for (let k = 0; k < order!; k++) butterflies(values.subarray(k * block, (k + 1) * block));
      for (let j = 0; j < n!; j++) {
        const [k, place] = [Math.floor(j / block), j % block];
        let sum = 0;
        for (let l = 0; l < order!; l++) sum += (inverse ? entry(l, k) : entry(k, l)) * values[l * block + place]!;
        result[at(j)] = factor * sum * (inverse ? (signs?.[j] ?? 1) : 1);
      }
    }
  return result;
}

/** Entries of a packed matrix: 1 or −1. Of order 1 it is 1, and none. */
export function entriesOf(matrix: Uint32Array | undefined, order: number): (i: number, j: number) => 1 | -1 {
  const words = Math.ceil(order / 32);
  return (i, j) => (matrix && (matrix[i * words + (j >>> 5)]! >>> (j & 31)) & 1 ? -1 : 1);
}
