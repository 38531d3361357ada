/** Softmax over halves: its public functions against the reference's, rounding included. */
import { expect, test } from 'vitest';
import * as contract from '../ts/contract/softmax.js';
import * as cpu from '../ts/cpu/softmax-f16.js';
import { fromHalves, toHalves } from '../ts/half.js';
import * as reference from '../ts/reference/softmax-f16.js';
import { random } from './lib/random.js';

const rows = 3;
const n = 203;
const x = toHalves(random(1).normals(rows * n, 4));

/** Halves that differ, and none by more than the last bit. */
const different = (a: Uint16Array, b: Uint16Array) => {
  const distances = Array.from(a, (half, i) => Math.abs(half - b[i]!));
  expect(Math.max(...distances)).toBeLessThanOrEqual(1);
  return distances.filter(Boolean).length;
};

test('weights are the reference rounded once: a last bit differs only where the f32 error meets a tie', () => {
  const weights = cpu.softmax(x, { rows, n });
  expect(different(weights, reference.softmax(x, { rows, n }))).toBeLessThan(rows * n * 0.01);
  const own = x.slice();
  expect(cpu.softmax(own, { rows, n, out: own })).toBe(own);
  expect(own).toEqual(weights);
});

test('states are f32', () => {
  const { max, sum } = cpu.softmaxState(x, { rows, n, scale: 0.5 });
  const want = reference.softmaxState(x, { rows, n, scale: 0.5 });
  expect(max).toEqual(want.max);
  expect(Math.max(...sum.map((s, i) => Math.abs(s / want.sum[i]! - 1)))).toBeLessThan(1e-6);
  const lse = cpu.logsumexp(x, { rows, n, scale: 0.5 });
  expect(
    Math.max(...lse.map((v, i) => Math.abs(v - reference.logsumexp(x, { rows, n, scale: 0.5 })[i]!))),
  ).toBeLessThan(2e-6);
});

test('nine states merge with one rounding', () => {
  const r = random(2);
  const states = Array.from({ length: 9 }, () => ({ output: toHalves(r.normals(rows * 7)), lse: r.normals(rows) }));
  const got = cpu.softmaxMerge(states, { rows, n: 7 });
  expect(different(got.output, reference.softmaxMerge(states, { rows, n: 7 }).output)).toBeLessThan(2);
  expect(fromHalves(cpu.softmaxMerge(states.slice(0, 1), { rows, n: 7 }).output)).toEqual(
    fromHalves(states[0]!.output),
  );
});

test('errors name the f16 kernel and its arrays', () => {
  expect(() => cpu.softmax(new Float32Array(4) as never, { rows: 1, n: 4 })).toThrow(
    /^softmax_f16: "x" expected Uint16Array of length 4, got Float32Array of length 4$/,
  );
  expect(() =>
    cpu.softmaxMerge([{ output: new Float32Array(1) as never, lse: new Float32Array(1) }], { rows: 1, n: 1 }),
  ).toThrow(/^softmax_merge_f16: "states\[0\].output" expected Uint16Array/);
  expect(contract.softmax_f16.arrays.x!.dtype).toBe('f16');
});
