/** topk over halves: golden arrays, the reference bit for bit, every NaN, memory around. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { topk_f16 } from '../ts/contract/topk.js';
import { supports } from '../ts/cpu/runtime.js';
import * as wide from '../ts/cpu/topk.js';
import { instantiate, topk, topkScratchBytes } from '../ts/cpu/topk-f16.js';
import { fromHalves, toHalves } from '../ts/half.js';
import * as reference from '../ts/reference/topk-f16.js';
import { adapters, deviceOf } from './lib/adapters.js';
import { gpuImplementation } from './lib/implementations.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';

const root = new URL('..', import.meta.url);
const golden = (name: string) =>
  readNpy(Uint8Array.from(readFileSync(new URL(`test/golden/topk/${name}.npy`, root))), name).data;
const levels = (['simd', 'relaxed'] as const).filter(supports);

/** Every half there is, in an order that mixes them. */
const all = Uint16Array.from({ length: 65536 }, (_, i) => (i * 40503) & 0xffff);

describe('golden arrays of torch', () => {
  const sets: [set: string, rows: number, n: number, ks: number[]][] = [
    ['f16_logits', 1, 32000, [64, 1024]],
    ['ints_ties', 16, 257, [1, 32, 257]],
    ['all_equal', 2, 100, [1, 7, 100]],
  ];
  for (const [set, rows, n, ks] of sets)
    for (const k of ks)
      test.each([true, false])(`${set}: ${k} of ${rows} × ${n}, largest: %s`, (largest) => {
        const data = golden(`${set}_${rows}x${n}_x`);
        const x = data instanceof Uint16Array ? data : toHalves(data as Float32Array);
        const want = Array.from(golden(`${set}_${rows}x${n}_k${k}_${largest ? 'max' : 'min'}_stable_idx`), Number);
        for (const { values, indices } of [topk, reference.topk].map((f) => f(x, { rows, n, k, largest }))) {
          expect([...indices]).toEqual(want);
          expect([...values]).toEqual(want.map((index, i) => x[Math.floor(i / k) * n + index]));
        }
      });
});

test.each([true, false])('every half at once, largest: %s: in order, bit for bit, NaN last by index', (largest) => {
  for (const k of [1, 100, 5000, 65536]) {
    const got = topk(all, { rows: 1, n: all.length, k, largest });
    expect(got).toEqual(reference.topk(all, { rows: 1, n: all.length, k, largest }));
    expect(got.indices).toEqual(wide.topk(fromHalves(all), { rows: 1, n: all.length, k, largest }).indices);
  }
});

test('only NaN and their bits', () => {
  const nans = all.filter((half) => (half & 0x7fff) > 0x7c00).subarray(0, 77);
  for (const k of [1, 5, 77]) {
    const { values, indices } = topk(nans, { rows: 1, n: 77, k });
    expect(values).toEqual(nans.slice(0, k));
    expect([...indices]).toEqual([...Array(k).keys()]);
  }
});

test.each(levels)('%s: pointers that are multiples of 2 alone; nothing but its arrays is touched', (level) => {
  const r = random(5);
  for (const [rows, n, k] of [
    [3, 1, 1],
    [3, 7, 3],
    [5, 129, 129],
    [2, 5003, 701],
  ] as const) {
    const x = toHalves(r.floats(rows * n, () => r.int(-9, 9) / 8));
    const bytes = topkScratchBytes({ n, k });
    const indicesAt = 1024;
    const scratchAt = indicesAt + 4 * rows * k + 64;
    const least = scratchAt + bytes + 66 + 2 * rows * n + 64 + 2 * rows * k;
    const memory = new WebAssembly.Memory({ initial: Math.ceil(least / 65536) });
    // Values end where the memory does.
    const valuesAt = memory.buffer.byteLength - 2 * rows * k;
    const xAt = valuesAt - 64 - 2 * rows * n;
    new Uint8Array(memory.buffer).fill(0xa5);
    new Uint16Array(memory.buffer, xAt, rows * n).set(x);
    const before = new Uint8Array(memory.buffer).slice();
    instantiate(memory, { level }).topk_f16(xAt, rows, n, k, valuesAt, indicesAt, 1, scratchAt);
    const want = reference.topk(x, { rows, n, k, largest: false });
    expect(new Uint16Array(memory.buffer, valuesAt, rows * k)).toEqual(want.values);
    expect(new Uint32Array(memory.buffer, indicesAt, rows * k)).toEqual(want.indices);
    const own = (at: number) =>
      (at >= indicesAt && at < indicesAt + 4 * rows * k) ||
      (at >= scratchAt && at < scratchAt + bytes) ||
      at >= valuesAt;
    expect(new Uint8Array(memory.buffer).findIndex((byte, at) => byte !== before[at] && !own(at))).toBe(-1);
  }
});

const { found } = await adapters();

test.runIf(found.length)(
  'on the GPU: every half, and rows that share words',
  async () => {
    const { device } = await deviceOf(found[0]!);
    const gpu = gpuImplementation(device, found[0]!.label, 'base');
    for (const [rows, n, k] of [
      [1, 65536, 65536],
      [1, 65535, 301],
      [127, 515, 33],
      [333, 5, 3],
    ] as const) {
      const x = all.slice(0, rows * n);
      const call = await gpu.prepare(topk_f16, { rows, n, k }, { x });
      await call.run();
      const { values, indices } = await call.outputs();
      expect({ values, indices }).toEqual(reference.topk(x, { rows, n, k }));
      expect(await call.damage()).toBeUndefined();
      call.destroy();
    }
  },
  60_000,
);

test('errors name the f16 kernel; scratch is checked', () => {
  expect(() => topk(new Float32Array(4) as never, { rows: 1, n: 4, k: 1 })).toThrow(
    /^topk_f16: "x" expected Uint16Array of length 4, got Float32Array of length 4$/,
  );
  expect(() => topkScratchBytes({ n: 4, k: 5 })).toThrow(/^topk_f16: "k" expected integer in \[1, 4\], got 5$/);
  const { topk_f16 } = instantiate(new WebAssembly.Memory({ initial: 1 }));
  expect(() => topk_f16(64, 1, 8, 2, 128, 256, 0, 65536)).toThrow(/^topk_f16: "scratch" expected/);
});
