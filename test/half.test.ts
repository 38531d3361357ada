/** binary16 conversions: every half, and the nearest half of any float. */
import fc from 'fast-check';
import { float16ToFloat32 } from 'npyjs';
import { expect, test } from 'vitest';
import { fromHalf, fromHalves, toHalf, toHalves } from '../ts/half.js';
import { assemble } from './lib/assemble.js';
import { random } from './lib/random.js';

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);

test('every half is the number that npyjs reads, and comes back', () => {
  const values = fromHalves(all);
  for (const half of all) {
    expect(values[half]).toBe(float16ToFloat32(half));
    if (!Number.isNaN(values[half]!)) expect(toHalf(values[half]!)).toBe(half);
  }
  expect(toHalves(Float32Array.of(NaN))[0]).toBe(0x7e00);
});

test('what is no array is a TypeError', () => {
  for (const wrong of [undefined, null, 5, 'x', {}] as never[]) {
    expect(() => toHalves(wrong)).toThrow(/^toHalves: "values" expected array of numbers, got /);
    expect(() => fromHalves(wrong)).toThrow(/^fromHalves: "halves" expected array of numbers, got /);
  }
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

test('assembly/lib/half.ts gives the same bits: every half, every boundary between two, and floats of any bits', async () => {
  const memory = new WebAssembly.Memory({ initial: 64 });
  const kernels = await assemble<Record<string, (from: number, to: number, n: number) => void>>(
    `import {
      NARROW_EXPONENT, NARROW_LEAST, NARROW_MAGIC, NARROW_NAN, half, load1, load4, loadSome, narrow, narrowWeights_i16x8, store1, store4, storeSome, widen,
    } from './assembly/lib/half';
    export function widen4(x: usize, y: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i += 4, x += 8, y += 16) v128.store(y, load4<half>(x));
    }
    export function widen1(x: usize, y: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i++, x += 2, y += 4) store<f32>(y, load1<half>(x));
    }
    export function widenSome(x: usize, y: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i += 3, x += 6, y += 12) {
        v128.store64_lane(y, loadSome<half>(x, 2), 0);
        v128.store32_lane(y, loadSome<half>(x, 3), 2, 8);
      }
    }
    export function widenAll(x: usize, y: usize, n: u32): void {
      widen(x, n - 5, y);
      widen(x + 2 * (n - 5), 5, y + 4 * (n - 5));
    }
    export function narrowAll(y: usize, x: usize, n: u32): void {
      narrow(y, n - 5, x);
      narrow(y + 4 * (n - 5), 5, x + 2 * (n - 5));
    }
    export function narrowSome(y: usize, x: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i += 4, x += 8, y += 16) {
        storeSome<half>(x, v128.load(y), 3);
        storeSome<half>(x + 6, v128.load(y, 12), 1);
      }
    }
    export function weights8(y: usize, x: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i += 8, x += 16, y += 32)
        v128.store(x, narrowWeights_i16x8(
          v128.load(y), v128.load(y, 16), i32x4.splat(NARROW_EXPONENT), i32x4.splat(NARROW_NAN), i32x4.splat(NARROW_LEAST), i32x4.splat(NARROW_MAGIC),
        ));
    }
    export function narrow4(y: usize, x: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i += 4, x += 8, y += 16) store4<half>(x, v128.load(y));
    }
    export function narrow1(y: usize, x: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i++, x += 2, y += 4) store1<half>(x, load<f32>(y));
    }`,
    'simd',
    memory,
  );
  const n = 1 << 18;
  const halves = new Uint16Array(memory.buffer, 0, n);
  const floats = new Float32Array(memory.buffer, 2 * n, n);
  const words = new Uint32Array(floats.buffer, 2 * n, n);
  halves.set(all);
  for (const kernel of ['widen4', 'widen1', 'widenSome', 'widenAll']) {
    floats.fill(-7);
    kernels[kernel]!(0, 2 * n, 65536);
    expect(floats.subarray(0, 65536).findIndex((value, half) => !Object.is(value, fromHalf(half)))).toBe(-1);
  }
  // Halfway from each half to the next, the floats beside it, the half itself, and any words.
  const r = random(5);
  words.set(r.words(n));
  for (let half = 0; half < 32768; half++) {
    const middle = (fromHalf(half) + Math.min(fromHalf(half + 1), 65536)) / 2;
    floats[4 * half] = half & 64 ? -middle : middle;
    words[4 * half + 1] = words[4 * half]! + 1;
    words[4 * half + 2] = words[4 * half]! - (words[4 * half]! & 0x7fffffff ? 1 : 0);
  }
  const want = toHalves(floats);
  for (const kernel of ['narrow4', 'narrow1', 'narrowSome', 'narrowAll']) {
    halves.fill(0x1234);
    kernels[kernel]!(2 * n, 0, n);
    expect(halves.findIndex((half, i) => half !== want[i])).toBe(-1);
  }
  // Weights have no sign and no infinity.
  kernels.weights8!(2 * n, 0, n);
  const isWeight = (value: number) => !(value > 65504) && !Object.is(Math.sign(value), -0) && !(value < 0);
  expect(halves.findIndex((half, i) => isWeight(floats[i]!) && half !== (want[i]! & 0x7fff))).toBe(-1);
});
