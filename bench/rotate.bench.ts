import type { Random } from '../test/lib/random.js';
import type { Arrays } from '../test/lib/spec.js';
import { rotationFor } from '../test/rotate.spec.js';
import type { RotateOptions, RotateQuantizeOptions } from '../ts/contract/rotate.js';
import { hadamardOrder } from '../ts/hadamard-matrices.js';
import { entriesOf } from '../ts/reference/hadamardmixed.js';
import type { Quantized } from '../ts/reference/quantize.js';
import { rotateQuantize } from '../ts/reference/rotate.js';
import type { FamilyBench, Size } from './lib/bench.js';

type Format = Pick<RotateQuantizeOptions, 'bits' | 'groupSize' | 'scheme'>;

/** Which arrays: p(ermutation), f(actors), s(igns). */
const named = (which: string) =>
  which && `, ${[...which].map((w) => ({ p: 'permutation', f: 'factors', s: 'signs' })[w]).join(', ')}`;
const rotation = (n: number, which: string, random: Random) => rotationFor(n, hadamardOrder(n), which, random);

const rotated = (
  rows: number,
  n: number,
  which: string,
  more: { inverse?: true; quick?: true } = {},
): Size<RotateOptions> => ({
  title: `${rows} x ${n}${named(which)}${more.inverse ? ', inverse' : ''}`,
  options: { rows, n, ...(more.inverse ? { inverse: true } : {}) },
  inputs: (random) => ({ x: random.normals(rows * n), ...rotation(n, which, random) }),
  ...(more.quick ? { quick: true } : {}),
});

const stored = (rows: number, n: number, which: string, format: Format, quick?: true): Size<RotateQuantizeOptions> => ({
  title: `${rows} x ${n}, ${format.bits} bits, ${format.scheme}, groups of ${format.groupSize || n}${named(which)}`,
  options: { rows, n, ...format },
  inputs: (random) => ({ x: random.normals(rows * n), ...rotation(n, which, random) }),
  ...(quick ? { quick } : {}),
});

const affine4: Format = { bits: 4, groupSize: 32, scheme: 'affine' };
const sizes: Size<RotateQuantizeOptions>[] = [
  {
    title: 'real keys, layer 1, 2 bits',
    options: { rows: 2048, n: 64, bits: 2, groupSize: 32, scheme: 'affine' },
    inputs: (random, real) => ({ x: real.layer1.k, signs: random.signs(64) }),
    quick: true,
  },
  stored(4096, 128, 's', affine4, true),
  stored(4096, 128, '', { bits: 4, groupSize: 0, scheme: 'symmetric' }),
  stored(1024, 512, 'ps', { bits: 2, groupSize: 128, scheme: 'affine' }),
  stored(4096, 128, 'pfs', affine4),
  stored(4096, 96, 's', affine4),
];

/** The steps one after the other over rows, as the reference has them but in plain loops. */
function forth(
  x: Float32Array,
  arrays: Arrays,
  { rows, n, scale = 1 / Math.sqrt(n) }: RotateOptions,
  out: Float32Array,
) {
  const { permutation, factors, signs, matrix } = arrays;
  const order = hadamardOrder(n);
  const mixed = mixer(matrix as Uint32Array | undefined, order, n, false);
  for (let start = 0; start < rows * n; start += n) {
    for (let j = 0; j < n; j++) {
      const column = permutation ? permutation[j]! : j;
      out[start + j] = x[start + column]! * (factors ? factors[column]! : 1) * (signs ? signs[j]! : 1) * scale;
    }
    butterflies(out, start, n, n / order);
    mixed?.(out, start);
  }
}

function back(
  arrays: Arrays,
  { rows, n, scale = 1 / Math.sqrt(n) }: RotateOptions,
  values: Float32Array,
  out: Float32Array,
) {
  const { permutation, factors, signs, matrix } = arrays;
  const order = hadamardOrder(n);
  const mixed = mixer(matrix as Uint32Array | undefined, order, n, true);
  for (let start = 0; start < rows * n; start += n) {
    butterflies(values, start, n, n / order);
    mixed?.(values, start);
    for (let j = 0; j < n; j++) {
      const column = permutation ? permutation[j]! : j;
      out[start + column] = (values[start + j]! * scale * (signs ? signs[j]! : 1)) / (factors ? factors[column]! : 1);
    }
  }
}

function butterflies(v: Float32Array, start: number, n: number, block: number) {
  for (let h = 1; h < block; h *= 2)
    for (let i = start; i < start + n; i += 2 * h)
      for (let j = i; j < i + h; j++) {
        const a = v[j]!;
        const b = v[j + h]!;
        v[j] = a + b;
        v[j + h] = a - b;
      }
}

function mixer(matrix: Uint32Array | undefined, order: number, n: number, transposed: boolean) {
  if (order === 1) return undefined;
  const entry = entriesOf(matrix, order);
  const signs = Float32Array.from({ length: order * order }, (_, at) => {
    const [i, j] = [Math.floor(at / order), at % order];
    return transposed ? entry(j, i) : entry(i, j);
  });
  const block = n / order;
  const column = new Float32Array(order);
  return (v: Float32Array, start: number) => {
    for (let place = start; place < start + block; place++) {
      for (let l = 0; l < order; l++) column[l] = v[place + l * block]!;
      for (let k = 0; k < order; k++) {
        let sum = 0;
        for (let l = 0; l < order; l++) sum += signs[k * order + l]! * column[l]!;
        v[place + k * block] = sum;
      }
    }
  };
}

export default {
  rotate_f32: {
    sizes: [
      rotated(4096, 128, 's', { quick: true }),
      rotated(4096, 128, 'pfs'),
      rotated(4096, 128, 'pfs', { inverse: true }),
      rotated(1024, 512, 'ps'),
    ],
    javascript({ x, ...arrays }, options: RotateOptions) {
      const out = new Float32Array(x!.length);
      const values = new Float32Array(x!.length);
      return () => {
        if (!options.inverse) return forth(x as Float32Array, arrays, options, out);
        values.set(x!);
        back(arrays, options, values, out);
      };
    },
  },
  rotate_quantize_f32: {
    sizes,
    javascript({ x, ...arrays }, options: RotateQuantizeOptions) {
      const { rows, n, bits, scheme } = options;
      const size = options.groupSize || n;
      const perWord = 32 / bits;
      const words = Math.ceil(n / perWord);
      const values = new Float32Array(rows * n);
      const codes = new Uint32Array(rows * words);
      const scales = new Float32Array(rows * Math.ceil(n / size));
      const minima = new Float32Array(scales.length);
      const symmetric = scheme === 'symmetric';
      const largest = symmetric ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
      return () => {
        forth(x as Float32Array, arrays, options, values);
        codes.fill(0);
        for (let row = 0, g = 0; row < rows; row++)
          for (let from = 0; from < n; from += size, g++) {
            const to = Math.min(from + size, n);
            let low = Infinity;
            let high = -Infinity;
            for (let j = from; j < to; j++) {
              const value = symmetric ? Math.abs(values[row * n + j]!) : values[row * n + j]!;
              low = Math.min(low, value);
              high = Math.max(high, value);
            }
            if (symmetric) low = 0;
            const scale = (high - low) / largest;
            scales[g] = scale;
            minima[g] = low;
            for (let j = from; j < to; j++) {
              const code = Math.round((values[row * n + j]! - low) / scale) & (2 ** bits - 1);
              codes[row * words + Math.floor(j / perWord)]! |= code << ((j % perWord) * bits);
            }
          }
      };
    },
  },
  rotate_dequantize_f32: {
    sizes: sizes.map((one) => ({
      ...one,
      inputs(random, real) {
        const { x, ...arrays } = one.inputs(random, real);
        const { minima, ...made } = rotateQuantize(x as Float32Array, { ...one.options, ...arrays });
        return { ...made, ...(minima ? { minima } : {}), ...arrays } as Arrays;
      },
    })),
    javascript(inputs, options: RotateQuantizeOptions) {
      const { codes, scales, minima } = inputs as unknown as Quantized;
      const { rows, n, bits, scheme } = options;
      const size = options.groupSize || n;
      const perWord = 32 / bits;
      const words = Math.ceil(n / perWord);
      const groups = Math.ceil(n / size);
      const shift = scheme === 'symmetric' ? 32 - bits : 0;
      const values = new Float32Array(rows * n);
      const out = new Float32Array(rows * n);
      return () => {
        for (let row = 0; row < rows; row++)
          for (let j = 0; j < n; j++) {
            const code = (codes[row * words + Math.floor(j / perWord)]! >>> ((j % perWord) * bits)) & (2 ** bits - 1);
            const g = row * groups + Math.floor(j / size);
            values[row * n + j] = ((code << shift) >> shift) * scales[g]! + (minima ? minima[g]! : 0);
          }
        back(inputs, options, values, out);
      };
    },
  },
} satisfies FamilyBench;
