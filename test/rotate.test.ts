import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hadamardMixed } from '../ts/cpu/hadamardmixed.js';
import { quantize } from '../ts/cpu/quantize.js';
import {
  hadamardOrder,
  instantiate,
  type RotateQuantizeOptions,
  type Rotation,
  rotate,
  rotateDequantize,
  rotateQuantize,
  rotateScratchBytes,
} from '../ts/cpu/rotate.js';
import { allocate, release } from '../ts/cpu/runtime.js';
import * as reference from '../ts/reference/rotate.js';
import { byFours } from './hadamardmixed.spec.js';
import { random } from './lib/random.js';
import { rotationFor } from './rotate.spec.js';

/** Rows of finite values with any of the arrays. */
const cases = fc
  .record({
    n: fc.constantFrom(1, 2, 4, 8, 12, 16, 32, 64, 80, 96, 112, 128, 192, 256, 512, 576, 2048),
    rows: fc.integer({ min: 1, max: 9 }),
    which: fc.constantFrom('', 'p', 'f', 's', 'pf', 'fs', 'ps', 'pfs'),
    format: fc.record({
      bits: fc.constantFrom(2, 4, 8),
      groupSize: fc.constantFrom(0, 16, 32, 64),
      scheme: fc.constantFrom<RotateQuantizeOptions['scheme']>('affine', 'symmetric'),
    }),
    seed: fc.integer(),
  })
  .map(({ n, rows, which, format, seed }) => {
    const source = random(seed);
    const rotation = rotationFor(n, hadamardOrder(n), which, source) as Rotation;
    return { rows, n, format, rotation, x: source.normals(rows * n, 10) };
  });

/** The error that hadamardmixed.spec allows, of a row's norm, and two roundings more. */
const bound = (n: number) => {
  const order = hadamardOrder(n);
  return 1.01 * 2 ** -24 * (Math.log2(n / order) + 4 + (order > 1 ? byFours(order) * Math.sqrt(order) : 0));
};
const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));
const column = ({ permutation }: Rotation, j: number) => permutation?.[j] ?? j;

describe('properties', () => {
  test('codes are those of quantize, of what rotate makes, bit for bit', () => {
    fc.assert(
      fc.property(cases, ({ x, rows, n, format, rotation }) => {
        const rotated = rotate(x, { rows, n, ...rotation });
        const want = quantize(rotated, { rows, n, ...format, axis: 'row' });
        expect(rotateQuantize(x, { rows, n, ...format, ...rotation })).toEqual(want);
        expect(reference.rotateQuantize(x, { rows, n, ...format, ...rotation })).toEqual(want);
      }),
    );
  });

  test('rotate is permutation, factors, then hadamardMixed', () => {
    fc.assert(
      fc.property(cases, ({ x, rows, n, rotation }) => {
        const { factors, signs } = rotation;
        const entered = x.map((_, at) => {
          const j = column(rotation, at % n);
          return x[at - (at % n) + j]! * (factors?.[j] ?? 1);
        });
        const want = hadamardMixed(entered, { rows, n, signs });
        const got = rotate(x, { rows, n, ...rotation });
        for (let row = 0; row < rows; row++) {
          const part = (values: Float32Array) => values.subarray(row * n, (row + 1) * n);
          const error = norm(part(got).map((value, i) => value - part(want)[i]!));
          expect(error).toBeLessThanOrEqual(2 * bound(n) * norm(part(entered)));
        }
      }),
    );
  });

  test('the inverse undoes it', () => {
    fc.assert(
      fc.property(cases, ({ x, rows, n, rotation }) => {
        const { factors } = rotation;
        const back = rotate(rotate(x, { rows, n, ...rotation }), { rows, n, ...rotation, inverse: true });
        for (let row = 0; row < rows; row++) {
          const scaled = (values: Float32Array) =>
            values.subarray(row * n, (row + 1) * n).map((value, i) => value * (factors?.[i] ?? 1));
          const want = scaled(x);
          const error = norm(scaled(back).map((value, i) => value - want[i]!));
          expect(error).toBeLessThanOrEqual(2 * bound(n) * norm(want));
        }
      }),
    );
  });

  test('products with queries stay what they are where these take the reciprocal factors', () => {
    fc.assert(
      fc.property(cases, ({ x, rows, n, rotation }) => {
        const { factors } = rotation;
        const q = random(n).normals(n);
        const rotatedQ = rotate(q, {
          rows: 1,
          n,
          ...rotation,
          ...(factors ? { factors: factors.map((f) => 1 / f) } : {}),
        });
        const rotatedX = rotate(x, { rows, n, ...rotation });
        const product = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
        for (let row = 0; row < rows; row++) {
          const [k, rotatedK] = [x, rotatedX].map((values) => values.subarray(row * n, (row + 1) * n)) as [
            Float32Array,
            Float32Array,
          ];
          const size = norm(rotatedQ) * norm(rotatedK);
          expect(Math.abs(product(rotatedQ, rotatedK) - product(q, k))).toBeLessThanOrEqual(4 * bound(n) * size);
        }
      }),
    );
  });

  test('eight bits come back within half a step, rotated back', () => {
    fc.assert(
      fc.property(cases, ({ x, rows, n, format, rotation: { factors: _, ...rotation } }) => {
        const options = { rows, n, ...format, bits: 8, ...rotation };
        const stored = rotateQuantize(x, options);
        const back = rotateDequantize(stored, options);
        expect(back).toEqual(reference.rotateDequantize(stored, options));
        const groups = stored.scales.length / rows;
        for (let row = 0; row < rows; row++) {
          const step = Math.max(...stored.scales.subarray(row * groups, (row + 1) * groups));
          const [a, b] = [x, back].map((values) => values.subarray(row * n, (row + 1) * n)) as [
            Float32Array,
            Float32Array,
          ];
          const error = norm(a.map((value, i) => value - b[i]!));
          expect(error).toBeLessThanOrEqual(0.5 * step * Math.sqrt(n) + 3 * bound(n) * norm(a));
        }
      }),
    );
  });
});

test('arrays inside the kernels’ memory are used in place', () => {
  const out = { codes: allocate(Uint32Array, 4), scales: allocate(Float32Array, 1), minima: allocate(Float32Array, 1) };
  const options = { rows: 1, n: 32, bits: 4, groupSize: 32, scheme: 'affine' } as const;
  const stored = rotateQuantize(random(1).normals(32), { ...options, out });
  expect(stored.codes).toBe(out.codes);
  expect(stored).toEqual(rotateQuantize(random(1).normals(32), options));
  release(out.codes);
});

test('a wild permutation in a raw call stays inside x', () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { raw } = instantiate(memory);
  const words = new Uint32Array(memory.buffer);
  words.fill(0xffff_ffff, 256, 256 + 64);
  const values = new Float32Array(memory.buffer);
  values.fill(1, 16, 16 + 64);
  raw.rotate_f32(64, 1, 64, 1, 1, 1024, 0, 0, 0, 0, 4096, 2048);
  expect(values[512]).toBe(64);
  expect([...values.subarray(513, 576)].every((value) => value === 0)).toBe(true);
});

describe('errors', () => {
  const x = new Float32Array(64);
  const wrong = (call: () => unknown, kind: new (...args: any[]) => Error, message: string) => {
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  };
  const format = { bits: 4, groupSize: 32, scheme: 'affine' } as const;
  const identity = Uint32Array.from({ length: 64 }, (_, i) => i);

  test.each([
    ['cpu', { rotate, rotateQuantize, rotateDequantize }],
    ['reference', reference],
  ])('%s', (_, { rotate, rotateQuantize, rotateDequantize }) => {
    const shape = { rows: 1, n: 64 };
    wrong(() => rotate(x, { rows: 1, n: 4096 }), RangeError, 'rotate_f32: "n" expected integer in [1, 2048], got 4096');
    wrong(
      () => rotate(x, { rows: 1, n: 30 }),
      RangeError,
      'rotate_f32: "n" expected power of two, or one times 12, 20',
    );
    wrong(
      () => rotate(x, { ...shape, permutation: identity.with(9, 64) }),
      RangeError,
      'rotate_f32: "permutation[9]" expected each of 0 to 63 once, got 64',
    );
    wrong(
      () => rotate(x, { ...shape, permutation: identity.with(9, 3) }),
      RangeError,
      'rotate_f32: "permutation[9]" expected each of 0 to 63 once, got 3',
    );
    wrong(
      () => rotate(x, { ...shape, factors: new Float32Array(64).fill(1).fill(0, 7) }),
      RangeError,
      'rotate_f32: "factors[7]" expected finite number that is not 0, got 0',
    );
    wrong(
      () => rotate(x, { ...shape, signs: new Int8Array(64) }),
      RangeError,
      'rotate_f32: "signs[0]" expected 1 or -1, got 0',
    );
    wrong(
      () => rotate(x, { ...shape, signs: new Int8Array(63) }),
      RangeError,
      'rotate_f32: "signs" expected Int8Array of length 64, got Int8Array of length 63',
    );
    wrong(
      () => rotate(x, { ...shape, scale: 1e39 }),
      RangeError,
      'rotate_f32: "scale" expected finite number, got Infinity',
    );
    wrong(
      () => rotate(x, { ...shape, inverse: 1 as never }),
      TypeError,
      'rotate_f32: "inverse" expected boolean, got 1',
    );
    wrong(
      () => rotateQuantize(x, { ...shape, ...format, bits: 5 }),
      RangeError,
      'rotate_quantize_f32: "bits" expected',
    );
    wrong(
      () => rotateQuantize(x, { ...shape, ...format, groupSize: 24 }),
      RangeError,
      'rotate_quantize_f32: "groupSize" expected multiple of 16',
    );
    wrong(
      () => rotateQuantize(x, { ...shape, ...format, scheme: 'odd' as never }),
      RangeError,
      'rotate_quantize_f32: "scheme" expected "affine" or "symmetric", got "odd"',
    );
    wrong(
      () => rotateQuantize(x, { ...shape, ...format, order: 24, n: 96 }),
      RangeError,
      'rotate_quantize_f32: "x" expected Float32Array of length 96',
    );
    const { codes, scales } = rotateQuantize(x, { ...shape, ...format });
    wrong(
      () => rotateDequantize({ codes, scales }, { ...shape, ...format }),
      TypeError,
      'rotate_dequantize_f32: "minima" expected Float32Array of length 2, got undefined',
    );
  });

  test('pointers', () => {
    const { rotate_f32 } = instantiate(new WebAssembly.Memory({ initial: 1 }));
    wrong(
      () => rotate_f32(64, 1, 64, 1, 1, 0, 0, 0, 0, 0, 4096, 64),
      RangeError,
      '"out" expected range that does not overlap "x"',
    );
    wrong(
      () => rotate_f32(64, 1, 96, 12, 1, 0, 0, 0, 0, 0, 4096, 1024),
      TypeError,
      '"matrix" expected byte offset of Uint32Array of length 12',
    );
  });

  test('bytes of scratch', () => {
    expect(rotateScratchBytes({ n: 128 })).toBe(4 * (256 + 2048));
    expect(rotateScratchBytes({ n: 96 })).toBe(4 * (192 + 12 + 384 + 21 * 96));
    expect(() => rotateScratchBytes({ n: 5000 })).toThrow(RangeError);
  });
});
