/** binary16 conversions: every half, and the nearest half of any float. */
import fc from 'fast-check';
import { float16ToFloat32 } from 'npyjs';
import { expect, test } from 'vitest';
import { fromHalf, fromHalves, toHalf, toHalves } from '../ts/half.js';

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);

test('every half is the number that npyjs reads, and comes back', () => {
  const values = fromHalves(all);
  for (const half of all) {
    expect(values[half]).toBe(float16ToFloat32(half));
    if (!Number.isNaN(values[half]!)) expect(toHalf(values[half]!)).toBe(half);
  }
  expect(toHalves(Float32Array.of(NaN))[0]).toBe(0x7e00);
});

test('a float becomes the nearest half, ties to even', () => {
  // Ascending finite halves; what lies between two goes to the nearer, or to the one whose last bit is 0.
  const check = (given: number) => {
    const x = Math.fround(given);
    const half = toHalf(x);
    const value = fromHalf(half);
    expect(Math.sign(value) * Math.sign(x)).toBeGreaterThanOrEqual(0);
    if (Math.abs(x) >= 65520) {
      expect(Math.abs(value)).toBe(Infinity);
      return;
    }
    const error = Math.abs(value - x);
    for (const next of [half - 1, half + 1]) {
      if ((next ^ half) & 0x8000 || next < 0 || (next & 0x7fff) > 0x7bff) continue;
      const other = Math.abs(fromHalf(next) - x);
      expect(error).toBeLessThanOrEqual(other);
      if (error === other) expect(half & 1).toBe(0);
    }
  };
  fc.assert(fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), check));
  fc.assert(fc.property(fc.float({ noNaN: true, min: -2, max: 2 }), check));
  // Halfway between two neighbours, and just beside.
  for (let half = 0; half < 0x7bff; half += 37) {
    const middle = (fromHalf(half) + fromHalf(half + 1)) / 2;
    for (const x of [middle, middle * (1 - 2 ** -20), middle * (1 + 2 ** -20), -middle]) check(x);
  }
  for (const x of [65504, 65519.99, 65520, -65520, 1e38, Infinity, -Infinity]) check(x);
});
