import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as cpu from '../ts/cpu/outliers.js';
import { allocate, release } from '../ts/cpu/runtime.js';
import { topk } from '../ts/cpu/topk.js';
import * as reference from '../ts/reference/outliers.js';
import { random } from './lib/random.js';

const implementations = [['reference', reference] as const, ['cpu', cpu] as const];

describe('properties', () => {
  // Ties, zeros, NaN and infinities are frequent.
  const value = fc.oneof(
    fc.integer({ min: -3, max: 3 }),
    fc.float(),
    fc.constantFrom(NaN, Infinity, -Infinity, 0, -0, 1e-42),
  );
  const options = fc.integer({ min: 1, max: 70 }).chain((n) =>
    fc.integer({ min: 1, max: n }).chain((k) =>
      fc.integer({ min: 1, max: 3 }).chain((rows) =>
        fc.record({
          o: fc.constant({ rows, n, k }),
          values: fc.array(value, { minLength: rows * n, maxLength: rows * n }),
        }),
      ),
    ),
  );

  test('those that topk picks by |x|, by ascending index; what is left holds 0 there and x elsewhere', () => {
    fc.assert(
      fc.property(options, ({ o, values }) => {
        const x = Float32Array.from(values);
        const got = cpu.outliersExtract(x, o);
        const best = topk(x.map(Math.abs), o).indices;
        for (let row = 0; row < o.rows; row++) {
          const indices = best.slice(row * o.k, (row + 1) * o.k).sort();
          expect(got.indices.slice(row * o.k, (row + 1) * o.k)).toEqual(indices);
          const rest = x.slice(row * o.n, (row + 1) * o.n);
          indices.forEach((index, i) => {
            expect(got.values[row * o.k + i]).toBe(rest[index]);
            rest[index] = 0;
          });
          expect(got.rest.slice(row * o.n, (row + 1) * o.n)).toEqual(rest);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('restoring gives x back', () => {
    fc.assert(
      fc.property(options, ({ o, values }) => {
        const x = Float32Array.from(values, (v) => v + 0);
        const { rest, ...taken } = cpu.outliersExtract(x, o);
        expect(cpu.outliersRestore(rest, taken, o)).toEqual(x.map((v) => v + 0));
      }),
      { numRuns: 300 },
    );
  });
});

describe('public functions', () => {
  const o = { rows: 3, n: 65, k: 4 };
  const x = () => random(7).normals(195);

  test('in place, in the kernels’ memory', () => {
    const place = allocate(Float32Array, 195);
    place.set(x());
    const { values, indices, rest } = cpu.outliersExtract(place, { ...o, out: { rest: place } });
    expect(rest).toBe(place);
    const want = reference.outliersExtract(x(), o);
    expect({ values, indices, rest: place }).toEqual(want);
    expect(cpu.outliersRestore(place, { values, indices }, { ...o, out: place })).toBe(place);
    expect(place).toEqual(x());
    release(place);
  });

  test.each(implementations)('errors, %s', (_, { outliersExtract, outliersRestore }) => {
    expect(() => outliersExtract(x(), { ...o, k: 66 })).toThrow(
      new RangeError('outliers_extract_f32: "k" expected integer in [1, 65], got 66'),
    );
    expect(() => outliersExtract(x(), { ...o, rows: 2 })).toThrow(
      new RangeError('outliers_extract_f32: "x" expected Float32Array of length 130, got Float32Array of length 195'),
    );
    const taken = reference.outliersExtract(x(), o);
    taken.indices[5] = 65;
    expect(() => outliersRestore(x(), taken, o)).toThrow(
      new RangeError('outliers_restore_f32: "indices[5]" expected index in [0, 64], got 65'),
    );
  });

  test('raw: an index past the row is passed over', () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const { raw } = cpu.instantiate(memory);
    const floats = new Float32Array(memory.buffer);
    floats.set([1, 2, 3, 4], 16);
    floats.set([10, 20], 32);
    new Uint32Array(memory.buffer).set([3, 0xffff_ffff], 48);
    raw.outliers_restore_f32(64, 128, 192, 1, 4, 2, 64);
    expect([...floats.subarray(14, 22)]).toEqual([0, 0, 1, 2, 3, 14, 0, 0]);
  });
});
