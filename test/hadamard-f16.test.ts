import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { hadamard, hadamardScratchBytes, instantiate } from '../ts/cpu/hadamard-f16.js';
import { supports } from '../ts/cpu/runtime.js';
import { fromHalves, toHalves } from '../ts/half.js';
import { hadamardF64 } from '../ts/reference/hadamard.js';
import * as reference from '../ts/reference/hadamard-f16.js';
import spec from './hadamard-f16.spec.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';
import type { Tolerance } from './lib/tolerance.js';

const golden = <T>(name: string) =>
  readNpy(Uint8Array.from(readFileSync(new URL(`golden/hadamard/${name}.npy`, import.meta.url))), name).data as T;
const levels = (['simd', 'relaxed'] as const).filter(supports);
const { cpu } = spec.hadamard_f16!.tolerance.out as { cpu: Tolerance };

/** H·x of SciPy's own x, whose rounding to halves moves no row by more than 2^-11 of its norm, and H enlarges that by √n. */
describe.each([1, 2, 8, 64, 128, 1024])('golden values (scipy), n = %i', (n) => {
  const x = golden<Float32Array>(`pow2_${n}_x_f32`);
  const want = golden<Float64Array>(`pow2_${n}_y_f64`);
  const rows = x.length / n;
  const halves = toHalves(x);
  const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));

  test.each(levels)('%s', (level) => {
    const memory = new WebAssembly.Memory({ initial: 2 });
    const kernels = instantiate(memory, { level });
    new Uint16Array(memory.buffer).set(halves, 1);
    const scratch = 131072 - hadamardScratchBytes({ n });
    kernels.hadamard_f16(2, rows, n, 1, 0, 0, 2, scratch);
    const bits = new Uint16Array(memory.buffer, 2, x.length);
    const got = fromHalves(bits);
    for (let row = 0; row < rows; row++) {
      const y = want.subarray(row * n, (row + 1) * n);
      const off = norm(got.subarray(row * n, (row + 1) * n).map((value, i) => value - y[i]!));
      expect(off).toBeLessThanOrEqual(2 * 2 ** -11 * norm(y) + 2 ** -24 * n);
    }
    // And within the spec's own bound of the exact transform of the halves.
    const exact = hadamardF64(fromHalves(halves), undefined, { rows, n, scale: 1 });
    expect(cpu.error(got, exact, {}, { rows, n })).toBeLessThanOrEqual(cpu.limit({ rows, n }));
  });
});

test('nearly every half is the exact transform rounded once; in place is the same', () => {
  for (const n of [1, 4, 64, 4096, 8192]) {
    const rows = 3;
    const source = random(n);
    const [x, signs] = [toHalves(source.normals(rows * n, 3)), source.signs(n)];
    for (const inverse of [false, true]) {
      const got = hadamard(x, { rows, n, signs, inverse });
      const want = reference.hadamard(x, { rows, n, signs, inverse });
      // Beside 0 an f32 error is many steps of a half.
      const off = got.filter((bits, i) => bits !== want[i]).length;
      expect(off).toBeLessThanOrEqual(0.02 * rows * n);
      const own = x.slice();
      expect(hadamard(own, { rows, n, signs, inverse, out: own })).toBe(own);
      expect(own).toEqual(got);
    }
  }
});

test('what lies between the passes may exceed f16, what comes out becomes infinity from 65520 on', () => {
  const x = toHalves(new Float32Array(64).fill(60000));
  expect(fromHalves(hadamard(x, { rows: 1, n: 64, scale: 1 / 64 }))[0]).toBe(60000);
  const twice = hadamard(x, { rows: 1, n: 64 });
  expect(fromHalves(twice)[0]).toBe(Infinity);
  expect(fromHalves(twice)[1]).toBe(0);
});

test('scratch, and errors that name the kernel', () => {
  expect(hadamardScratchBytes({ n: 64 })).toBe(8192);
  expect(hadamardScratchBytes({ n: 32768 })).toBe(131072);
  expect(() => hadamardScratchBytes({ n: 3 })).toThrow('hadamard_f16: "n" expected power of two in [1, 32768], got 3');
  for (const transform of [hadamard, reference.hadamard])
    expect(() => transform(new Float32Array(8) as never, { rows: 1, n: 8 })).toThrow(
      'hadamard_f16: "x" expected Uint16Array of length 8, got Float32Array of length 8',
    );
  const kernels = instantiate(new WebAssembly.Memory({ initial: 1 }));
  expect(() => kernels.hadamard_f16(1, 1, 8, 1, 0, 0, 64, 1024)).toThrow(
    'hadamard_f16: "x" expected byte offset that is a multiple of 2, got 1',
  );
  expect(() => kernels.hadamard_f16(64, 1, 8, 1, 0, 0, 64, 65536 - 4096)).toThrow('hadamard_f16: "scratch" expected');
});
