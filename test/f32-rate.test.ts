/** The table's f32 rate on devices whose true rate is known. */
import { expect, test } from 'vitest';
import { bestRate } from './lib/f32-rate.js';

/** Workgroups of 10⁶ operations, 0.1 ms each, on a device with its costs; answers also with what it was asked to run. */
async function measured(costs: (workgroups: number, run: number) => number) {
  const runs: number[] = [];
  const rate = await bestRate(async (workgroups) => costs(workgroups, runs.push(workgroups)), 1e6);
  return { rate, runs };
}

test('the work doubles until a dispatch is long, then is repeated', async () => {
  const { rate, runs } = await measured((workgroups) => 1 + 0.1 * workgroups);
  expect(runs).toEqual([1, 1, 2, 4, 8, 16, 32, 64, ...Array(8).fill(64)]);
  expect(rate).toBeCloseTo(64 / 7.4, 10);
});

test('a first dispatch that compiles does not end the search', async () => {
  const { rate, runs } = await measured((workgroups, run) => (run === 1 ? 1000 : 0.1 * workgroups));
  expect(Math.max(...runs)).toBe(64);
  expect(rate).toBeCloseTo(10, 10);
});

test('of noisy dispatches the best counts', async () => {
  const { rate } = await measured((workgroups, run) => 0.1 * workgroups * (run % 3 ? 1.5 : 1));
  expect(rate).toBeCloseTo(10, 10);
});

test('a clock that sees nothing gives no rate, and the work does not outgrow a dispatch', async () => {
  const { rate, runs } = await measured(() => 0);
  expect(Math.max(...runs)).toBe(32768);
  expect(rate).toBe(0);
});
