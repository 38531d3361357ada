import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hadamard } from '../ts/cpu/hadamard.js';
import {
  HADAMARD_ORDERS,
  hadamardMatrix,
  hadamardMixed,
  hadamardMixedScratchBytes,
  hadamardOrder,
  instantiate,
} from '../ts/cpu/hadamardmixed.js';
import { supports } from '../ts/cpu/runtime.js';
import * as reference from '../ts/reference/hadamardmixed.js';
import spec from './hadamardmixed.spec.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';
import type { Tolerance } from './lib/tolerance.js';

const file = (name: string) => Uint8Array.from(readFileSync(new URL(`golden/hadamardmixed/${name}`, import.meta.url)));
const golden = <T>(name: string) => readNpy(file(`${name}.npy`), name).data as T;
const levels = (['simd', 'relaxed'] as const).filter(supports);
const { cpu } = spec.hadamard_mixed_f32.tolerance.out as { cpu: Tolerance };

function expectNear(got: Float32Array, want: ArrayLike<number>, n: number, inner = 1, slack = 1) {
  const params = { rows: got.length / n / inner, n, inner, order: hadamardOrder(n) };
  expect(cpu.error(got, want, {}, params)).toBeLessThanOrEqual(slack * cpu.limit(params));
}

describe.each(HADAMARD_ORDERS)('matrix of order %i', (order) => {
  const entry = reference.hadamardMixedF64;
  const packed = hadamardMatrix(order);
  const words = Math.ceil(order / 32);
  const matrix = Int8Array.from({ length: order * order }, (_, at) => {
    const [i, j] = [Math.floor(at / order), at % order];
    return (packed[i * words + (j >>> 5)]! >>> (j & 31)) & 1 ? -1 : 1;
  });

  test("is QuaRot's", () => {
    const digests = JSON.parse(Buffer.from(file('sha256.json')).toString()) as Record<string, string>;
    expect(createHash('sha256').update(matrix).digest('hex')).toBe(digests[order]);
  });

  test('M·Mᵀ = order·I, and no bit is set behind a row', () => {
    for (let i = 0; i < order; i++)
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let k = 0; k < order; k++) sum += matrix[i * order + k]! * matrix[j * order + k]!;
        if (sum !== (i === j ? order : 0)) expect([i, j, sum]).toEqual([i, j, i === j ? order : 0]);
      }
    if (order % 32) for (let i = 0; i < order; i++) expect(packed[(i + 1) * words - 1]! >>> (order % 32)).toBe(0);
  });

  test('unit vectors become its columns, blocks those of H, exactly', () => {
    const n = 4 * order;
    for (const column of [0, 1, n / 2 + 1, n - 1]) {
      const x = new Float32Array(n);
      x[column] = 1;
      const got = hadamardMixed(x, { rows: 1, n, order, scale: 1 });
      const want = Float32Array.from({ length: n }, (_, i) => {
        const [k, l, a, b] = [i >> 2, column >> 2, i & 3, column & 3];
        return matrix[k * order + l]! * ([1, -1][((a & b & 1) + ((a & b) >> 1)) & 1] as number);
      });
      expect(got).toEqual(want);
      expect(Float32Array.from(entry(x, packed, undefined, { rows: 1, n, order, scale: 1 }))).toEqual(want);
    }
  });
});

test('a matrix is a new array each time', () => {
  hadamardMatrix(12).fill(0);
  expect(hadamardMatrix(12).some(Boolean)).toBe(true);
  expect(() => hadamardMatrix(16)).toThrow(
    new RangeError('hadamardMatrix: "order" expected one of 1, 12, 20, 28, 36, 40, 52, 60, 108, 140, 156, 172, got 16'),
  );
});

test('the order that n demands', () => {
  const orders = [
    1,
    2,
    4096,
    12,
    20,
    40,
    80,
    160,
    28,
    14336,
    11008,
    13824,
    8960,
    53248,
    36,
    60,
    156,
    30,
    148,
    6,
    0.5,
    NaN,
  ];
  expect(orders.map(hadamardOrder)).toEqual([
    1,
    1,
    1,
    12,
    20,
    40,
    40,
    40,
    28,
    28,
    172,
    108,
    140,
    52,
    36,
    60,
    156,
    NaN,
    NaN,
    NaN,
    NaN,
    NaN,
  ]);
});

describe.each([12, 20, 28, 96])('golden values (QuaRot), n = %i', (n) => {
  const x = golden<Float32Array>(`quarot_${n}_x_f32`);
  const rows = x.length / n;
  describe.each([false, true])('inverse: %s', (inverse) => {
    const want = golden<Float64Array>(`quarot_${n}_y${inverse ? 'T' : ''}_f64`);
    test('reference', () => {
      const got = reference.hadamardMixedF64(x, undefined, undefined, { rows, n, inverse });
      // The scale is an f32.
      for (const [i, value] of got.entries())
        expect(Math.abs(value - want[i]!)).toBeLessThanOrEqual(2 ** -23 * Math.abs(want[i]!) + 1e-14);
    });
    test.each(levels)('%s', (level) => {
      const memory = new WebAssembly.Memory({ initial: 4 });
      const kernels = instantiate(memory, { level });
      const order = hadamardOrder(n);
      new Float32Array(memory.buffer).set(x, 1);
      new Uint32Array(memory.buffer).set(hadamardMatrix(order), 4096);
      kernels.hadamard_mixed_f32(4, rows, n, order, 1, 1 / Math.sqrt(n), 16384, 0, inverse ? 1 : 0, 32768, 131072);
      expectNear(new Float32Array(memory.buffer, 131072, x.length), want, n);
    });
  });
});

const shapes = fc
  .record({
    order: fc.constantFrom(1, ...HADAMARD_ORDERS),
    power: fc.integer({ min: 0, max: 6 }),
    inner: fc.constantFrom(1, 1, 2, 5, 8, 24),
    rows: fc.integer({ min: 1, max: 4 }),
    seed: fc.integer(),
  })
  .map(({ order, power, inner, rows, seed }) => {
    const source = random(seed);
    const n = order * 2 ** power;
    return { rows, n, inner, x: source.normals(rows * n * inner, 10), signs: source.signs(n) };
  });

describe('properties', () => {
  test('the inverse undoes it', () => {
    fc.assert(
      fc.property(shapes, ({ x, signs, ...shape }) => {
        const rotated = hadamardMixed(x, { ...shape, signs });
        expectNear(hadamardMixed(rotated, { ...shape, signs, inverse: true }), x, shape.n, shape.inner, 2);
      }),
    );
  });

  test('across is along, transposed', () => {
    fc.assert(
      fc.property(shapes, ({ x, signs, rows, n, inner }) => {
        const turned = Float32Array.from(x, (_, at) => {
          const [row, i, j] = [Math.floor(at / (n * inner)), Math.floor(at / n) % inner, at % n];
          return x[(row * n + j) * inner + i]!;
        });
        const along = hadamardMixed(turned, { rows: rows * inner, n, signs });
        const across = hadamardMixed(x, { rows, n, inner, signs });
        const back = Float32Array.from(x, (_, at) => {
          const [row, j, i] = [Math.floor(at / (n * inner)), Math.floor(at / inner) % n, at % inner];
          return along[(row * inner + i) * n + j]!;
        });
        expectNear(across, back, n, inner, 2);
      }),
    );
  });
});

test('powers of two: hadamard', () => {
  const x = random(1).normals(3 * 256);
  expectNear(hadamardMixed(x, { rows: 3, n: 256 }), hadamard(x, { rows: 3, n: 256 }), 256, 1, 2);
});

test("another matrix of the same order: Dao's of order 20 for n = 40", () => {
  const x = random(2).normals(40);
  const matrix = hadamardMatrix(20);
  const got = hadamardMixed(x, { rows: 1, n: 40, order: 20, matrix });
  expect(got).toEqual(hadamardMixed(x, { rows: 1, n: 40, order: 20 }));
  expectNear(hadamardMixed(got, { rows: 1, n: 40, order: 20, inverse: true }), x, 40, 1, 2);
});

describe('errors', () => {
  const x = new Float32Array(96);
  const wrong = (call: () => unknown, kind: new (...args: any[]) => Error, message: string) => {
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  };
  test.each([
    ['cpu', hadamardMixed],
    ['reference', reference.hadamardMixed],
  ])('%s', (_, mixed) => {
    const name = 'hadamard_mixed_f32:';
    wrong(
      () => mixed(x, { rows: 1, n: 30 }),
      RangeError,
      `${name} "n" expected power of two, or one times 12, 20, 28, 36, 40, 52, 60, 108, 140, 156, 172, got 30`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, order: 6 }),
      RangeError,
      `${name} "order" expected 1 or multiple of 4, got 6`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, order: 512 }),
      RangeError,
      `${name} "order" expected integer in [1, 256], got 512`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, order: 20 }),
      RangeError,
      `${name} "n" expected 20 times a power of two up to 32768, got 96`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 65536 }),
      RangeError,
      `${name} "n" expected 1 times a power of two up to 32768, got 65536`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, order: 24 }),
      TypeError,
      `${name} "matrix" expected Uint32Array of length 24, got undefined`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, inner: 0 }),
      RangeError,
      `${name} "inner" expected integer in [1, 4294967295], got 0`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, inner: 2 }),
      RangeError,
      `${name} "x" expected Float32Array of length 192, got Float32Array of length 96`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, scale: Infinity }),
      RangeError,
      `${name} "scale" expected finite number, got Infinity`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, matrix: new Uint32Array(3) }),
      RangeError,
      `${name} "matrix" expected Uint32Array of length 12, got Uint32Array of length 3`,
    );
    wrong(
      () => mixed(x, { rows: 1, n: 96, signs: new Int8Array(96) }),
      RangeError,
      `${name} "signs[0]" expected 1 or -1, got 0`,
    );
  });
  test('pointers', () => {
    const { hadamard_mixed_f32: kernel } = instantiate(new WebAssembly.Memory({ initial: 1 }));
    wrong(
      () => kernel(64, 1, 96, 12, 1, 1, 0, 0, 0, 1024, 8192),
      TypeError,
      '"matrix" expected byte offset of Uint32Array of length 12',
    );
    wrong(
      () => kernel(64, 1, 96, 12, 1, 1, 512, 0, 0, 1024, 64),
      RangeError,
      '"out" expected range that does not overlap "x"',
    );
    wrong(() => kernel(64, 1, 96, 12, 1, 1, 512, 0, 0, 1024, 2048), RangeError, 'range that does not overlap');
  });
  test('bytes of scratch', () => {
    expect(hadamardMixedScratchBytes({ n: 96 })).toBe(4 * (12 + 384));
    expect(hadamardMixedScratchBytes({ n: 64 })).toBe(0);
    expect(() => hadamardMixedScratchBytes({ n: 30 })).toThrow(RangeError);
  });
});
