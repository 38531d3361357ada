import { type HadamardArrays, type HadamardOptions, hadamard_f32 } from '../contract/hadamard.js';
import { checked, run } from './runtime.js';

export type { HadamardArrays, HadamardOptions };

/** The Walsh–Hadamard transform of each row, in natural order; `out` may be x. */
export function hadamard(x: Float32Array, options: HadamardOptions & HadamardArrays): Float32Array {
  const signs = options?.signs;
  return run(hadamard_f32, { x, signs }, options, () => ({ out: hadamardF64(x, signs, options) }));
}

/** hadamard before its results are rounded to f32. */
export function hadamardF64(x: Float32Array, signs: Int8Array | undefined, options: HadamardOptions): Float64Array {
  const { rows, n, scale, inverse } = checked(hadamard_f32, { x, signs }, options) as Record<string, number>;
  const factor = Math.fround(scale!);
  const result = new Float64Array(rows! * n!);
  for (let row = 0; row < rows!; row++) {
    const values = Float64Array.from(x.subarray(row * n!, (row + 1) * n!));
    if (signs && !inverse) flip(values, signs);
    butterflies(values);
    if (signs && inverse) flip(values, signs);
    result.set(
      values.map((value) => factor * value),
      row * n!,
    );
  }
  return result;
}

/** H·v in place, H[i][j] = (−1)^popcount(i & j): H(2h) = [H(h) H(h); H(h) −H(h)], half by half. */
export function butterflies(v: Float64Array): void {
  for (let h = 1; h < v.length; h *= 2)
    for (let i = 0; i < v.length; i++) {
      if (i & h) continue;
      const [a, b] = [v[i]!, v[i + h]!];
      v[i] = a + b;
      v[i + h] = a - b;
    }
}

function flip(v: Float64Array, signs: Int8Array): void {
  for (let i = 0; i < v.length; i++) v[i]! *= signs[i]!;
}
