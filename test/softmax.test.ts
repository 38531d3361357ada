import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { supports } from '../ts/cpu/runtime.js';
import { instantiate, logsumexp, type SoftmaxState, softmax, softmaxMerge, softmaxState } from '../ts/cpu/softmax.js';
import * as reference from '../ts/reference/softmax.js';
import { assemble } from './lib/assemble.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';
import type { Tolerance } from './lib/tolerance.js';
import { ulpOf } from './lib/tolerance.js';
import spec from './softmax.spec.js';

const root = new URL('..', import.meta.url);
const golden = <T = Float64Array>(name: string) =>
  readNpy(Uint8Array.from(readFileSync(new URL(`test/golden/softmax/${name}.npy`, root))), name).data as T;
const levels = (['simd', 'relaxed'] as const).filter(supports);

const cpuTolerance = (kernel: string, array: string) => (spec[kernel]!.tolerance[array] as { cpu: Tolerance }).cpu;

function expectWithin(
  tolerance: Tolerance,
  got: Float32Array,
  want: ArrayLike<number>,
  inputs: Record<string, Float32Array>,
  params: Record<string, number>,
) {
  expect(tolerance.error(got, want, inputs, params)).toBeLessThanOrEqual(tolerance.limit(params));
}

describe('golden values (torch, float64)', () => {
  const [rows, n] = [12, 300];
  const x = golden<Float32Array>('softmax_x');
  const weights = golden('softmax_f64').map((w, i) => (Math.floor(i / n) === 5 ? 0 : w)); // all -inf
  const lses = golden('softmax_lse_f64');

  test('reference', () => {
    const faults = (got: Float64Array, want: Float64Array) =>
      got.filter(
        (value, i) =>
          !Object.is(value, want[i]) && !(Math.abs(value - want[i]!) <= 1e-13 * Math.max(1, Math.abs(want[i]!))),
      );
    expect(faults(reference.softmaxF64(x, { rows, n }), weights)).toHaveLength(0);
    expect(faults(reference.logsumexpF64(x, { rows, n }), lses)).toHaveLength(0);
  });

  test.each(levels)('%s', (level) => {
    const memory = new WebAssembly.Memory({ initial: 2 });
    const kernels = instantiate(memory, { level });
    const inputs = new Float32Array(memory.buffer, 64, x.length);
    const out = new Float32Array(memory.buffer, 64 + x.byteLength, x.length);
    const lse = new Float32Array(memory.buffer, 64 + 2 * x.byteLength, rows);
    inputs.set(x);
    kernels.softmax_f32(inputs.byteOffset, rows, n, 1, out.byteOffset);
    kernels.logsumexp_f32(inputs.byteOffset, rows, n, 1, lse.byteOffset);
    const params = { rows, n, scale: 1 };
    expectWithin(cpuTolerance('softmax_f32', 'out'), out, weights, { x }, params);
    expectWithin(cpuTolerance('logsumexp_f32', 'lse'), lse, lses, { x }, params);
  });

  test('merging attention over parts of the keys gives attention over all', () => {
    const parts = ['0_1', '1_130', '130_512', '512_1000'].map((range) => ({
      output: Float32Array.from(golden(`merge_decode_part_${range}_v_f64`)),
      lse: Float32Array.from(golden(`merge_decode_part_${range}_s_f64`)),
    }));
    const { output, lse } = softmaxMerge(parts, { rows: 8, n: 64 });
    const [wholeOutput, wholeLse] = [golden('merge_decode_out_f64'), golden('merge_decode_lse_f64')];
    expect(Math.max(...output.map((value, i) => Math.abs(value - wholeOutput[i]!)))).toBeLessThan(1e-6);
    expect(Math.max(...lse.map((value, i) => Math.abs(value - wholeLse[i]!)))).toBeLessThan(1e-6);
  });
});

describe('accuracy of the building blocks', async () => {
  const source = `
    import * as e from './assembly/lib/exp';
    import { held_f32x4 } from './assembly/lib/held';
    export function exp(p: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i += 4, p += 16) v128.store(p, e.expOnce_f32x4(v128.load(p)));
    }
    export function exp2(p: usize, n: u32): void {
      for (let i: u32 = 0; i < n; i += 4, p += 16) v128.store(p, e.exp2Once_f32x4(v128.load(p)));
    }
    export function tanh(p: usize, n: u32): void {
      const limit = held_f32x4(e.TANH_LIMIT), magic = held_f32x4(e.EXP2_MAGIC), one = held_f32x4(1);
      const c1 = held_f32x4(e.EXP2_C1), c2 = held_f32x4(e.EXP2_C2), c3 = held_f32x4(e.EXP2_C3), c4 = held_f32x4(e.EXP2_C4), c5 = held_f32x4(e.EXP2_C5), c6 = held_f32x4(e.EXP2_C6);
      for (let i: u32 = 0; i < n; i += 4, p += 16) v128.store(p, e.tanh_f32x4(v128.load(p), limit, magic, one, c1, c2, c3, c4, c5, c6));
    }
    export function ln(x: f64): f64 { return e.ln_f64(x); }`;

  interface Blocks {
    exp(p: number, n: number): void;
    exp2(p: number, n: number): void;
    tanh(p: number, n: number): void;
    ln(x: number): number;
  }

  /** The largest error in ulp over every 211th f32 with |x| in [from, to], both signs. */
  function worst(
    memory: WebAssembly.Memory,
    kernel: (p: number, n: number) => void,
    exact: (x: number) => number,
    from: number,
    to: number,
  ): number {
    const f32 = new Float32Array(memory.buffer, 0, 16384);
    const bits = new Uint32Array(memory.buffer, 0, f32.length);
    const [first, last] = Array.from(new Uint32Array(Float32Array.of(from, to).buffer)) as [number, number];
    let error = 0;
    for (const sign of [0, 0x8000_0000])
      for (let at = first; at < last; at += 211 * f32.length) {
        for (let i = 0; i < f32.length; i++) bits[i] = Math.min(at + 211 * i, last) | sign;
        const x = f32.slice();
        kernel(0, f32.length);
        for (let i = 0; i < f32.length; i++) {
          const want = exact(x[i]!);
          error = Math.max(error, Math.abs(f32[i]! - want) / ulpOf(want));
        }
      }
    return error;
  }

  describe.each(levels)('%s', async (level) => {
    const memory = new WebAssembly.Memory({ initial: 2 });
    const blocks = await assemble<Blocks>(source, level, memory);
    const f32 = new Float32Array(memory.buffer, 0, 8);

    test('e^d: at most 2.4 ulp (2.2 fused) for every |d| up to 87, flushed below -87.68', () => {
      expect(worst(memory, blocks.exp, Math.exp, 2 ** -30, 87)).toBeLessThan(level === 'relaxed' ? 2.2 : 2.4);
      f32.set([-87.69, -88, -1e30, -Infinity, NaN, 0, -0, -1e-30]);
      blocks.exp(0, 8);
      expect([...f32]).toEqual([0, 0, 0, 0, NaN, 1, 1, 1]);
    });

    test('2^t: at most 1.08 ulp, flushed below -126.5', () => {
      expect(worst(memory, blocks.exp2, (t) => 2 ** t, 2 ** -30, 126.49999)).toBeLessThan(1.08);
      f32.set([-126.5, -127, -1e30, -Infinity, NaN, 0, -0, 127]);
      blocks.exp2(0, 8);
      expect([...f32]).toEqual([0, 0, 0, 0, NaN, 1, 1, 2 ** 127]);
    });

    test('tanh: at most 3.1 ulp', () => {
      expect(worst(memory, blocks.tanh, (t) => Math.tanh(t / 2.8853900817779268), 2 ** -60, 100)).toBeLessThan(3.1);
      f32.set([-Infinity, Infinity, NaN, 0, -3e38, 3e38, 1e-38, 60]);
      blocks.tanh(0, 8);
      expect([...f32.subarray(0, 6)]).toEqual([-1, 1, NaN, 0, -1, 1]);
    });

    test('ln: relative error below 3e-9', () => {
      const source = random(1);
      for (let i = 0; i < 100_000; i++) {
        const x = i % 2 ? 2 ** (200 * source.uniform() - 100) : 1 + source.uniform() * 2 ** -(i % 40);
        if (x !== 1) expect(Math.abs(blocks.ln(x) / Math.log(x) - 1)).toBeLessThan(3e-9);
      }
      expect(blocks.ln(1)).toBe(0);
    });
  });
});

describe('properties', () => {
  const finite = fc.float({ min: -100, max: 100, noNaN: true });
  const row = fc.float32Array({ minLength: 1, maxLength: 70, min: -100, max: 100, noNaN: true });
  const near = (a: number, b: number, by: number) => Object.is(a, b) || Math.abs(a - b) <= by;

  test('weights add up to 1', () => {
    fc.assert(
      fc.property(row, finite, (x, scale) => {
        const sum = softmax(x, { rows: 1, n: x.length, scale }).reduce((a, b) => a + b, 0);
        return near(sum, 1, 1e-5);
      }),
    );
  });

  test('in place gives the same bits', () => {
    fc.assert(
      fc.property(row, (x) => {
        const apart = softmax(x, { rows: 1, n: x.length });
        const same = softmax(x, { rows: 1, n: x.length, out: x });
        expect(same).toBe(x);
        expect(new Uint32Array(x.buffer, x.byteOffset, x.length)).toEqual(
          new Uint32Array(apart.buffer, apart.byteOffset, x.length),
        );
      }),
    );
  });

  test('masking is leaving out', () => {
    fc.assert(
      fc.property(row, fc.nat(), (x, at) => {
        const n = x.length;
        const masked = Float32Array.from(x);
        masked[at % n] = -Infinity;
        const rest = x.filter((_, i) => i !== at % n);
        const [lse] = logsumexp(masked, { rows: 1, n });
        const [want] = logsumexp(rest, { rows: 1, n: n - 1 });
        expect(softmax(masked, { rows: 1, n })[at % n]).toBe(0);
        return near(lse!, want!, 1e-4);
      }),
    );
  });

  test('states of two pieces give the whole: by max and sum, and by lse', () => {
    fc.assert(
      fc.property(row, fc.nat(), (x, cut) => {
        const n = x.length;
        const [a, b] = [x.subarray(0, cut % (n + 1)), x.subarray(cut % (n + 1))];
        const [left, right] = [a, b].map((part) => softmaxState(part, { rows: 1, n: part.length })) as [
          { max: Float32Array; sum: Float32Array },
          { max: Float32Array; sum: Float32Array },
        ];
        const max = Math.max(left.max[0]!, right.max[0]!);
        const sum = [left, right].reduce(
          (total, s) => total + (s.sum[0] ? s.sum[0]! * Math.exp(s.max[0]! - max) : 0),
          0,
        );
        const [lse] = logsumexp(x, { rows: 1, n });
        return near(max + Math.log(sum), lse!, 3e-5);
      }),
    );
  });

  const merged = (states: SoftmaxState[]) => softmaxMerge(states, { rows: 1, n: 3 });
  const state = fc
    .tuple(
      fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 3, maxLength: 3 }),
      fc.oneof(fc.float({ min: -20, max: 20, noNaN: true }), fc.constant(-Infinity)),
    )
    .map(
      ([output, lse]): SoftmaxState => ({
        output: Float32Array.from(lse === -Infinity ? [0, 0, 0] : output),
        lse: Float32Array.of(lse),
      }),
    );
  const alike = (a: SoftmaxState, b: SoftmaxState) =>
    near(a.lse[0]!, b.lse[0]!, 1e-5) && a.output.every((v, i) => near(v, b.output[i]!, 1e-5));

  const unsigned = ({ output, lse }: SoftmaxState) => ({
    output: output.map((v) => v + 0),
    lse: lse.map((v) => v + 0),
  });

  test('merge is associative and commutative, the empty state is its identity', () => {
    const empty: SoftmaxState = { output: new Float32Array(3), lse: Float32Array.of(-Infinity) };
    fc.assert(
      fc.property(state, state, state, (a, b, c) => {
        const all = merged([a, b, c]);
        expect(alike(merged([merged([a, b]), c]), all)).toBe(true);
        expect(alike(merged([a, merged([b, c])]), all)).toBe(true);
        expect(alike(merged([c, a, b]), all)).toBe(true);
        // -0 may come back as +0, their equal.
        expect(unsigned(merged([a]))).toEqual(unsigned(a));
        expect(unsigned(merged([empty, a, empty]))).toEqual(unsigned(merged([a])));
      }),
    );
    expect(merged([empty, empty])).toEqual(empty);
  });
});

describe('errors', () => {
  const x = new Float32Array(6);
  const wrong = (call: () => unknown, kind: new (...args: any[]) => Error, message: string) => {
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  };
  const state = { output: new Float32Array(6), lse: new Float32Array(2) };

  test.each([
    ['cpu', { softmax, logsumexp, softmaxMerge }],
    ['reference', reference],
  ])('%s', (_, { softmax, logsumexp, softmaxMerge }) => {
    wrong(
      () => softmax(x, undefined as unknown as { rows: number; n: number }),
      TypeError,
      'softmax_f32: "options" expected object, got undefined',
    );
    wrong(
      () => softmax(x, { rows: 2, n: 4 }),
      RangeError,
      'softmax_f32: "x" expected Float32Array of length 8, got Float32Array of length 6',
    );
    wrong(
      () => softmax(x, { rows: 2.5, n: 3 }),
      RangeError,
      'softmax_f32: "rows" expected integer in [0, 4294967295], got 2.5',
    );
    wrong(
      () => softmax([] as unknown as Float32Array, { rows: 0, n: 0 }),
      TypeError,
      'softmax_f32: "x" expected Float32Array of length 0',
    );
    wrong(
      () => softmax(x, { rows: 2, n: 3, scale: NaN }),
      RangeError,
      'softmax_f32: "scale" expected finite number, got NaN',
    );
    wrong(
      () => softmax(x, { rows: 2, n: 3, scale: 1e39 }),
      RangeError,
      'softmax_f32: "scale" expected finite number, got Infinity',
    );
    wrong(
      () => softmax(x, { rows: 2, n: 3, scale: '1' as unknown as number }),
      TypeError,
      'softmax_f32: "scale" expected finite number, got "1"',
    );
    wrong(
      () => softmax(x, { rows: 2, n: 3, out: new Float32Array(5) }),
      RangeError,
      'softmax_f32: "out" expected Float32Array of length 6',
    );
    wrong(
      () => logsumexp(x, { rows: -1, n: 3 }),
      RangeError,
      'logsumexp_f32: "rows" expected integer in [0, 4294967295], got -1',
    );
    wrong(
      () => softmaxMerge([], { rows: 2, n: 3 }),
      RangeError,
      'softmax_merge_f32: "states" expected integer in [1, 4294967295], got 0',
    );
    wrong(
      () => softmaxMerge({} as unknown as [], { rows: 2, n: 3 }),
      TypeError,
      'softmax_merge_f32: "states" expected array of { output, lse }',
    );
    wrong(
      () => softmaxMerge([state, { ...state, lse: x }], { rows: 2, n: 3 }),
      RangeError,
      'softmax_merge_f32: "states[1].lse" expected Float32Array of length 2, got Float32Array of length 6',
    );
    wrong(
      () => softmaxMerge([{ lse: state.lse } as SoftmaxState], { rows: 2, n: 3 }),
      TypeError,
      'softmax_merge_f32: "states[0].output" expected Float32Array of length 6, got undefined',
    );
  });

  test('pointers', () => {
    const kernels = instantiate(new WebAssembly.Memory({ initial: 1 }));
    wrong(
      () => kernels.softmax_f32(2, 1, 4, 1, 64),
      RangeError,
      'softmax_f32: "x" expected byte offset that is a multiple of 4, got 2',
    );
    wrong(
      () => kernels.softmax_f32(64, 1, 4, 1, 72),
      RangeError,
      'softmax_f32: "out" expected range that does not overlap "x"',
    );
    wrong(
      () => kernels.softmax_f32(64, 1, 4, Infinity, 64),
      RangeError,
      'softmax_f32: "scale" expected finite number, got Infinity',
    );
    kernels.softmax_f32(64, 1, 4, 1, 64);
  });
});
