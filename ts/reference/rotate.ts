import type { Quantized } from '../contract/quantize.js';
import {
  type RotateOptions,
  type RotateQuantizeOptions,
  type Rotation,
  rotate_dequantize_f32,
  rotate_f32,
  rotate_quantize_f32,
  rotationOf,
} from '../contract/rotate.js';
import type { Out, Params } from '../contract.js';
import { entriesOf } from './hadamardmixed.js';
import { decoded, encoded } from './quantize.js';
import { run } from './runtime.js';

export type { Quantized, RotateOptions, RotateQuantizeOptions, Rotation };

/** Every operation is one correctly rounded f32 operation, in a given order: codes hang on it. */
const f32 = Math.fround;

/** out = scale·(M ⊗ H)·(signs ∘ (factors ∘ x)[permutation]) for each row; with `inverse` the way back. */
export function rotate(x: Float32Array, options: RotateOptions & Rotation & Out<Float32Array>): Float32Array {
  const rotation = rotationOf(options, rotate_f32.params(options));
  return run(rotate_f32, { x, ...rotation }, options, (params) => ({
    out: params.inverse ? rotatedBack(x, params, rotation) : rotated(x, params, rotation),
  }));
}

/** The codes of rotated rows, as quantize makes them of groups along a row. */
export function rotateQuantize(x: Float32Array, options: RotateQuantizeOptions & Rotation & Out<Quantized>): Quantized {
  const rotation = rotationOf(options, rotate_quantize_f32.params(options));
  return run(rotate_quantize_f32, { x, ...rotation }, options, (params) =>
    encoded(rotated(x, params, rotation), { ...params, axis: 0 }),
  );
}

/** The values of codes, rotated back. */
export function rotateDequantize(
  quantized: Quantized,
  options: RotateQuantizeOptions & Rotation & Out<Float32Array>,
): Float32Array {
  const rotation = rotationOf(options, rotate_dequantize_f32.params(options));
  return run(rotate_dequantize_f32, { ...quantized, ...rotation }, options, (params) => ({
    out: rotatedBack(decoded(quantized, { ...params, axis: 0 }), params, rotation),
  }));
}

/** For each value of a rotated row: its column in x, and what x is multiplied by, the scale and the sign in it. */
function rotated(
  x: Float32Array,
  { rows, n, order, scale }: Params,
  { permutation, factors, signs, matrix }: Rotation,
) {
  const out = new Float32Array(rows! * n!);
  const column = (j: number) => permutation?.[j] ?? j;
  const coefficients = Float32Array.from(
    { length: n! },
    (_, j) => f32((factors?.[column(j)] ?? 1) * f32(scale!)) * (signs?.[j] ?? 1),
  );
  for (let row = 0; row < rows!; row++) {
    const values = out.subarray(row * n!, (row + 1) * n!);
    for (let j = 0; j < n!; j++) values[j] = x[row * n! + column(j)]! * coefficients[j]!;
    transform(values, order!, entriesOf(matrix, order!));
  }
  return out;
}

/** Here the scale comes last. */
function rotatedBack(
  x: Float32Array,
  { rows, n, order, scale }: Params,
  { permutation, factors, signs, matrix }: Rotation,
) {
  const out = new Float32Array(rows! * n!);
  const column = (j: number) => permutation?.[j] ?? j;
  const coefficients = Float32Array.from(
    { length: n! },
    (_, j) => f32(f32(scale!) / (factors?.[column(j)] ?? 1)) * (signs?.[j] ?? 1),
  );
  const entry = entriesOf(matrix, order!);
  for (let row = 0; row < rows!; row++) {
    const values = x.slice(row * n!, (row + 1) * n!);
    transform(values, order!, (i, j) => entry(j, i));
    for (let j = 0; j < n!; j++) out[row * n! + column(j)] = values[j]! * coefficients[j]!;
  }
  return out;
}

/** (M ⊗ H)·v in place: the blocks' stages, then sums over blocks, four at a time. */
function transform(v: Float32Array, order: number, entry: (i: number, j: number) => number): void {
  const block = v.length / order;
  for (const distance of distances(block))
    for (let i = 0; i < v.length; i++) {
      if (i & distance) continue;
      const [a, b] = [v[i]!, v[i + distance]!];
      v[i] = a + b;
      v[i + distance] = a - b;
    }
  if (order === 1) return;
  for (let place = 0; place < block; place++) {
    const blocks = Float32Array.from({ length: order }, (_, k) => v[k * block + place]!);
    for (let k = 0; k < order; k++) {
      let sum: number | undefined;
      for (let l = 0; l < order; l += 4) {
        const [a, b, c, d] = [0, 1, 2, 3].map((i) => entry(k, l + i) * blocks[l + i]!) as [
          number,
          number,
          number,
          number,
        ];
        const four = f32(f32(a + b) + f32(c + d));
        sum = sum === undefined ? four : f32(sum + four);
      }
      v[k * block + place] = sum!;
    }
  }
}

/**
 * How far apart the values of each stage lie, in the order in which a block goes through them: 2, 8, 4, 1; what is left
 * above that if not divisible by three, longest first; then three at a time, of each three the longest first.
 */
function distances(block: number): number[] {
  const list = [2, 8, 4, 1].filter((distance) => distance < block);
  let done = 16;
  for (let left = Math.log2(block / 16); left > 0; ) {
    const together = left % 3 || 3;
    for (let i = together; i > 0; i--) list.push(done * 2 ** (i - 1));
    done *= 2 ** together;
    left -= together;
  }
  return list;
}
