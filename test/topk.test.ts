import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { supports } from '../ts/cpu/runtime.js';
import { instantiate, topk, topkScratchBytes } from '../ts/cpu/topk.js';
import * as reference from '../ts/reference/topk.js';
import { readNpy } from './lib/tensors.js';

const root = new URL('..', import.meta.url);
const golden = (name: string) =>
  readNpy(Uint8Array.from(readFileSync(new URL(`test/golden/topk/${name}.npy`, root))), name).data;
const levels = (['simd', 'relaxed'] as const).filter(supports);

/** The pointer layer at one level, with or without scratch. */
function byPointer(
  x: Float32Array,
  rows: number,
  n: number,
  k: number,
  largest: boolean,
  level: 'simd' | 'relaxed',
  scratch: boolean,
) {
  const at = {
    x: 64,
    values: 64 + 4 * rows * n,
    indices: 64 + 4 * rows * (n + k),
    scratch: 64 + 4 * rows * (n + 2 * k),
  };
  const memory = new WebAssembly.Memory({ initial: Math.ceil((at.scratch + topkScratchBytes({ n, k })) / 65536) });
  new Float32Array(memory.buffer, at.x, rows * n).set(x);
  instantiate(memory, { level }).topk_f32(
    at.x,
    rows,
    n,
    k,
    at.values,
    at.indices,
    largest ? 0 : 1,
    scratch ? at.scratch : 0,
  );
  return {
    values: new Float32Array(memory.buffer, at.values, rows * k),
    indices: new Uint32Array(memory.buffer, at.indices, rows * k),
  };
}

describe('golden arrays of torch', () => {
  const sets: [set: string, rows: number, n: number, ks: number[]][] = [
    ['ints_ties', 16, 257, [1, 32, 257]],
    ['odd_sizes', 3, 33, [1, 2, 32, 33]],
    ['all_equal', 2, 100, [1, 7, 100]],
    ['sorted_desc', 1, 4096, [1, 100]],
    ['near_dups', 4, 2048, [10, 100]],
  ];
  for (const [set, rows, n, ks] of sets)
    for (const k of ks)
      test.each([true, false])(`${set}: ${k} of ${rows} × ${n}, largest: %s`, (largest) => {
        const name = `${set}_${rows}x${n}`;
        const x = golden(`${name}_x`) as Float32Array;
        const want = [
          golden(`${name}_k${k}_${largest ? 'max' : 'min'}_values`),
          golden(`${name}_k${k}_${largest ? 'max' : 'min'}_stable_idx`),
        ].map((a) => [...a].map(Number));
        const all = [
          reference.topk(x, { rows, n, k, largest }),
          topk(x, { rows, n, k, largest }),
          ...levels.flatMap((level) =>
            [true, false].map((scratch) => byPointer(x, rows, n, k, largest, level, scratch)),
          ),
        ];
        for (const { values, indices } of all) {
          expect([...indices]).toEqual(want[1]);
          // torch leaves open which of -0 and +0 comes first.
          expect([...values].map((v) => v + 0)).toEqual(want[0]!.map((v) => v + 0));
        }
      });
});

describe('properties', () => {
  const value = fc.oneof(fc.float(), fc.integer({ min: -3, max: 3 }), fc.constantFrom(NaN, 0, -0, Infinity, -Infinity));
  const row = fc.array(value, { minLength: 1, maxLength: 200 }).map((v) => Float32Array.from(v));
  const rowAndK = fc
    .tuple(row, fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean())
    .map(([x, part, largest]) => ({ x, n: x.length, k: Math.max(1, Math.round(part * x.length)), largest }));

  test('values stand where indices point, in order, none left out that is better', () => {
    fc.assert(
      fc.property(rowAndK, fc.boolean(), ({ x, n, k, largest }, scratch) => {
        const { values, indices } = byPointer(x, 1, n, k, largest, levels[0]!, scratch);
        expect(new Set(indices).size).toBe(k);
        expect([...values]).toEqual([...indices].map((i) => x[i]));
        const better = (a: number, b: number) => {
          const [u, v] = [x[a]!, x[b]!];
          if (u !== u || v !== v) return v !== v && (u === u || a < b);
          return u === v ? a < b : u > v === largest;
        };
        for (let i = 1; i < k; i++) expect(better(indices[i - 1]!, indices[i]!)).toBe(true);
        const kept = new Set(indices);
        for (let i = 0; i < n; i++) if (!kept.has(i)) expect(better(indices[k - 1]!, i)).toBe(true);
      }),
    );
  });

  test('a permutation has the same values; fewer are the first of more; negated, the smallest are the largest', () => {
    fc.assert(
      fc.property(rowAndK, fc.infiniteStream(fc.nat()), ({ x, n, k, largest }, shuffle) => {
        const { values } = topk(x, { rows: 1, n, k, largest });
        const order = [...x].map((v) => [shuffle.next().value, v] as const).sort((a, b) => a[0] - b[0]);
        const permuted = Float32Array.from(order, ([, v]) => v);
        expect([...topk(permuted, { rows: 1, n, k, largest }).values].map((v) => v + 0)).toEqual(
          [...values].map((v) => v + 0),
        );
        expect([...topk(x, { rows: 1, n, k: n, largest }).values.subarray(0, k)]).toEqual([...values]);
        expect(
          [
            ...topk(
              x.map((v) => -v),
              { rows: 1, n, k, largest: !largest },
            ).values,
          ].map((v) => -v),
        ).toEqual([...values]);
      }),
    );
  });

  test('NaN comes back bit for bit', () => {
    const x = new Float32Array(70);
    const bits = new Uint32Array(x.buffer);
    for (const i of bits.keys()) bits[i] = (i % 2 ? 0x7f800001 : 0xffc00000) + i;
    for (const k of [1, 3, 70]) {
      const { values, indices } = topk(x, { rows: 1, n: 70, k });
      expect([...indices]).toEqual([...Array(k).keys()]);
      expect([...new Uint32Array(values.buffer)]).toEqual([...bits.subarray(0, k)]);
    }
  });
});

describe('2^24 values', () => {
  const n = 2 ** 24;
  // A permutation of 0 to n - 1 (all exact in f32) whose inverse is known.
  const factor = 2654435769 % n;
  const product = (a: number, b: number) => Number((BigInt(a) * BigInt(b)) % BigInt(n));
  let inverse = 1;
  for (let i = 0; i < 5; i++) inverse = product(inverse, (2 - product(factor, inverse) + n) % n);

  test.each([1, 64, 100_000])('the best %i', (k) => {
    const x = new Float32Array(n);
    for (let i = 0, v = 0; i < n; i++, v = (v + factor) % n) x[i] = v;
    for (const scratch of k <= 64 ? [true, false] : [true]) {
      const { values, indices } = byPointer(x, 1, n, k, true, levels[0]!, scratch);
      let wrong = 0;
      for (let i = 0; i < k; i++) if (values[i] !== n - 1 - i || indices[i] !== product(n - 1 - i, inverse)) wrong++;
      expect(wrong).toBe(0);
    }
  });
});

describe('errors', () => {
  const x = new Float32Array(6);
  const wrong = (call: () => unknown, kind: new (...args: any[]) => Error, message: string) => {
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  };

  test.each([
    ['cpu', topk],
    ['reference', reference.topk],
  ])('%s', (_, topk) => {
    wrong(() => topk(x, { rows: 2, n: 3, k: 4 }), RangeError, 'topk_f32: "k" expected integer in [1, 3], got 4');
    wrong(() => topk(x, { rows: 2, n: 3, k: 0 }), RangeError, 'topk_f32: "k" expected integer in [1, 3], got 0');
    wrong(() => topk(x, { rows: 2, n: 0, k: 1 }), RangeError, 'topk_f32: "n" expected integer in [1, 16777216], got 0');
    wrong(
      () => topk(x, { rows: 1, n: 2 ** 24 + 1, k: 1 }),
      RangeError,
      'topk_f32: "n" expected integer in [1, 16777216], got 16777217',
    );
    wrong(
      () => topk(x, { rows: 2, n: 4, k: 1 }),
      RangeError,
      'topk_f32: "x" expected Float32Array of length 8, got Float32Array of length 6',
    );
    wrong(
      () => topk(x, { rows: 2, n: 3, k: '1' as unknown as number }),
      TypeError,
      'topk_f32: "k" expected integer in [1, 3], got "1"',
    );
    wrong(
      () => topk(x, { rows: 2, n: 3, k: 1, largest: 1 as unknown as boolean }),
      TypeError,
      'topk_f32: "largest" expected boolean, got 1',
    );
    wrong(
      () => topk([] as unknown as Float32Array, { rows: 0, n: 3, k: 1 }),
      TypeError,
      'topk_f32: "x" expected Float32Array of length 0',
    );
    wrong(
      () => topk(x, undefined as unknown as { rows: 1; n: 1; k: 1 }),
      TypeError,
      'topk_f32: "options" expected object, got undefined',
    );
  });

  test('pointers and scratch', () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const { topk_f32 } = instantiate(memory);
    wrong(() => topk_f32(66, 1, 8, 2, 128, 256), RangeError, 'topk_f32: "x" expected');
    wrong(() => topk_f32(64, 1, 8, 9, 128, 256), RangeError, 'topk_f32: "k" expected integer in [1, 8], got 9');
    wrong(() => topk_f32(64, 1, 8, 2, 92, 256), RangeError, 'topk_f32: "values" expected');
    wrong(
      () => topk_f32(64, 1, 8, 2, 128, 256, 0, 65536 - topkScratchBytes({ n: 8, k: 2 }) + 4),
      RangeError,
      'topk_f32: "scratch" expected',
    );
    wrong(
      () => topk_f32(64, 1, 8, 2, 128, 256, 2),
      RangeError,
      'topk_f32: "smallest" expected integer in [0, 1], got 2',
    );
    topk_f32(64, 1, 8, 2, 128, 256, 1, 65536 - topkScratchBytes({ n: 8, k: 2 }));
    wrong(() => topkScratchBytes({ n: 4, k: 5 }), RangeError, 'topk_f32: "k" expected integer in [1, 4], got 5');
  });
});
