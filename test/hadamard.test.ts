import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hadamard, instantiate } from '../ts/cpu/hadamard.js';
import { allocate, release, supports } from '../ts/cpu/runtime.js';
import * as reference from '../ts/reference/hadamard.js';
import spec from './hadamard.spec.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';
import type { Tolerance } from './lib/tolerance.js';

const golden = <T>(name: string) => {
  const url = new URL(`golden/hadamard/${name}.npy`, import.meta.url);
  return readNpy(Uint8Array.from(readFileSync(url)), name).data as T;
};
const levels = (['simd', 'relaxed'] as const).filter(supports);
const { cpu } = spec.hadamard_f32.tolerance.out as { cpu: Tolerance };

function expectNear(got: Float32Array, want: ArrayLike<number>, n: number, slack = 1) {
  const params = { rows: got.length / n, n };
  expect(cpu.error(got, want, {}, params)).toBeLessThanOrEqual(slack * cpu.limit(params));
}

describe.each([1, 2, 8, 64, 128, 1024])('golden values (scipy), n = %i', (n) => {
  const x = golden<Float32Array>(`pow2_${n}_x_f32`);
  const want = golden<Float64Array>(`pow2_${n}_y_f64`);
  const rows = x.length / n;

  test('reference', () => {
    const got = reference.hadamardF64(x, undefined, { rows, n, scale: 1 });
    const size = Math.max(...want.map(Math.abs));
    for (const [i, value] of got.entries()) expect(Math.abs(value - want[i]!)).toBeLessThanOrEqual(1e-14 * size);
  });

  test.each(levels)('%s', (level) => {
    const memory = new WebAssembly.Memory({ initial: 2 });
    const kernels = instantiate(memory, { level });
    new Float32Array(memory.buffer).set(x, 1);
    kernels.hadamard_f32(4, rows, n, 1, 0, 0, 4);
    expectNear(new Float32Array(memory.buffer, 4, x.length), want, n);
  });
});

/** Rows of finite values, with signs. */
const matrices = fc
  .record({ power: fc.integer({ min: 0, max: 13 }), rows: fc.integer({ min: 1, max: 9 }), seed: fc.integer() })
  .map(({ power, rows, seed }) => {
    const source = random(seed);
    const n = 2 ** power;
    return { rows, n, x: source.normals(rows * n, 10), signs: source.signs(n) };
  });

describe('properties', () => {
  test('twice is the identity', () => {
    fc.assert(
      fc.property(matrices, ({ x, rows, n }) => {
        expectNear(hadamard(hadamard(x, { rows, n }), { rows, n }), x, n, 2);
      }),
    );
  });

  test('the inverse undoes the signs', () => {
    fc.assert(
      fc.property(matrices, ({ x, rows, n, signs }) => {
        const rotated = hadamard(x, { rows, n, signs });
        expectNear(hadamard(rotated, { rows, n, signs, inverse: true }), x, n, 2);
      }),
    );
  });

  test('keeps the product of two rows', () => {
    fc.assert(
      fc.property(matrices, ({ x, rows, n, signs }) => {
        const rotated = hadamard(x, { rows, n, signs });
        const product = (values: Float32Array, row: number) =>
          values.subarray(0, n).reduce((sum, value, i) => sum + value * values[row * n + i]!, 0);
        const size = (row: number) => Math.hypot(...x.subarray(row * n, (row + 1) * n));
        for (let row = 0; row < rows; row++)
          expect(Math.abs(product(rotated, row) - product(x, row))).toBeLessThanOrEqual(1e-5 * size(0) * size(row));
      }),
    );
  });

  test('rows do not see each other, and in place is the same', () => {
    fc.assert(
      fc.property(matrices, ({ x, rows, n, signs }) => {
        const whole = hadamard(x, { rows, n, signs });
        const last = hadamard(x.subarray((rows - 1) * n), { rows: 1, n, signs });
        expect(last).toEqual(whole.subarray((rows - 1) * n));
        const own = x.slice();
        expect(hadamard(own, { rows, n, signs, out: own })).toBe(own);
        expect(own).toEqual(whole);
      }),
    );
  });

  test('a unit vector becomes a column of the Sylvester matrix, exactly', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 15 }), fc.nat(), fc.boolean(), (power, place, inverse) => {
        const n = 2 ** power;
        const column = place % n;
        const signs = random(place).signs(n);
        const x = new Float32Array(n);
        x[column] = 1;
        const got = hadamard(x, { rows: 1, n, scale: 0.75, signs, inverse });
        for (let i = 0; i < n; i++) {
          const ones = (i & column).toString(2).replaceAll('0', '').length;
          const sign = (ones % 2 ? -1 : 1) * (inverse ? signs[i]! : signs[column]!);
          if (got[i] !== 0.75 * sign) expect([i, got[i]]).toEqual([i, 0.75 * sign]);
        }
      }),
      { numRuns: 60 },
    );
  });
});

// Above 1 MiB rows are worked off in smaller chunks.
test.each([16, 128, 512, 4096])('more than fits a cache at once is the same as in parts, n = %i', (n) => {
  const rows = (5 << 16) / n + 1;
  const x = random(n).normals(rows * n);
  const signs = random(n + 1).signs(n);
  for (const inverse of [false, true]) {
    const whole = hadamard(x, { rows, n, signs, inverse });
    for (let row = 0; row < rows; ) {
      const count = Math.min(rows - row, 2 ** 15 / n + 1);
      const part = hadamard(x.subarray(row * n, (row + count) * n), { rows: count, n, signs, inverse });
      const bytes = new Uint8Array(whole.buffer, whole.byteOffset + row * n * 4, part.byteLength);
      expect(Buffer.compare(bytes, new Uint8Array(part.buffer, part.byteOffset, part.byteLength))).toBe(0);
      row += count;
    }
  }
});

test('an output inside the kernels’ memory is used in place', () => {
  const out = allocate(Float32Array, 4);
  expect(hadamard(Float32Array.of(1, 2, 3, 4), { rows: 1, n: 4, out })).toBe(out);
  expect([...out]).toEqual([5, -1, -2, 0]);
  hadamard(out, { rows: 1, n: 4, out });
  expect([...out]).toEqual([1, 2, 3, 4]);
  release(out);
});

describe('errors', () => {
  const x = new Float32Array(8);
  const wrong = (call: () => unknown, kind: new (...args: any[]) => Error, message: string) => {
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  };

  test.each([
    ['cpu', hadamard],
    ['reference', reference.hadamard],
  ])('%s', (_, hadamard) => {
    wrong(
      () => hadamard(x, { rows: 2, n: 3 }),
      RangeError,
      'hadamard_f32: "n" expected power of two in [1, 32768], got 3',
    );
    wrong(
      () => hadamard(x, { rows: 1, n: 65536 }),
      RangeError,
      'hadamard_f32: "n" expected integer in [1, 32768], got 65536',
    );
    wrong(
      () => hadamard(x, { rows: 1 } as never),
      TypeError,
      'hadamard_f32: "n" expected integer in [1, 32768], got undefined',
    );
    wrong(
      () => hadamard(x, { rows: -1, n: 8 }),
      RangeError,
      'hadamard_f32: "rows" expected integer in [0, 4294967295], got -1',
    );
    wrong(
      () => hadamard(x, { rows: 2, n: 8 }),
      RangeError,
      'hadamard_f32: "x" expected Float32Array of length 16, got Float32Array of length 8',
    );
    wrong(
      () => hadamard([] as never, { rows: 1, n: 8 }),
      TypeError,
      'hadamard_f32: "x" expected Float32Array of length 8, got Array',
    );
    wrong(
      () => hadamard(x, { rows: 1, n: 8, scale: NaN }),
      RangeError,
      'hadamard_f32: "scale" expected finite number, got NaN',
    );
    wrong(
      () => hadamard(x, { rows: 1, n: 8, scale: 1e39 }),
      RangeError,
      'hadamard_f32: "scale" expected finite number, got Infinity',
    );
    wrong(
      () => hadamard(x, { rows: 1, n: 8, inverse: 1 as never }),
      TypeError,
      'hadamard_f32: "inverse" expected boolean, got 1',
    );
    wrong(
      () => hadamard(x, { rows: 1, n: 8, signs: new Int8Array(4) }),
      RangeError,
      'hadamard_f32: "signs" expected Int8Array of length 8, got Int8Array of length 4',
    );
    wrong(
      () => hadamard(x, { rows: 1, n: 8, signs: new Int8Array(8).fill(1).fill(2, 5) }),
      RangeError,
      'hadamard_f32: "signs[5]" expected 1 or -1, got 2',
    );
    wrong(
      () => hadamard(x, { rows: 1, n: 8, out: new Float32Array(4) }),
      RangeError,
      'hadamard_f32: "out" expected Float32Array of length 8',
    );
  });

  test('pointers', () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const kernels = instantiate(memory);
    wrong(
      () => kernels.hadamard_f32(6, 1, 8, 1, 0, 0, 64),
      RangeError,
      'hadamard_f32: "x" expected byte offset that is a multiple of 4, got 6',
    );
    wrong(
      () => kernels.hadamard_f32(64, 1, 8, 1, 0, 0, 80),
      RangeError,
      'hadamard_f32: "out" expected range that does not overlap "x"',
    );
    wrong(
      () => kernels.hadamard_f32(64, 1, 8, 1, 65535, 0, 64),
      RangeError,
      'hadamard_f32: "signs" expected array that ends within',
    );
    wrong(
      () => kernels.hadamard_f32(64, 1, 8, 1, 33, 0, 64),
      RangeError,
      'hadamard_f32: "signs[0]" expected 1 or -1, got 0',
    );
    wrong(
      () => kernels.hadamard_f32(64, 1, 8, 1, 0, 2, 64),
      RangeError,
      'hadamard_f32: "inverse" expected integer in [0, 1], got 2',
    );
    new Int8Array(memory.buffer).fill(-1, 33, 41);
    kernels.hadamard_f32(64, 1, 8, 1, 33, 0, 64);
  });
});
