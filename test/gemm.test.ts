/** gemm: properties, what parts of memory calls may share, and weights that other people's code quantised. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { blockOf, type GemmFormat, packedLayout } from '../ts/contract/gemm.js';
import * as cpu from '../ts/cpu/gemm.js';
import { dequantize, quantize } from '../ts/cpu/quantize.js';
import { supports } from '../ts/cpu/runtime.js';
import * as reference from '../ts/reference/gemm.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';
import { ulpOf } from './lib/tolerance.js';

const ACTIVATIONS = ['f32', 'i16', 'i8'] as const;
const LEVELS = (['simd', 'relaxed'] as const).filter(supports);
const numbersOf = ({ n, k, bits, groupSize, scheme }: GemmFormat) =>
  [n, k, bits, groupSize, Number(scheme === 'symmetric')] as const;

/** One level's pointer calls. */
function atLevel(level: 'simd' | 'relaxed') {
  const memory = new WebAssembly.Memory({ initial: 8 });
  const kernels = cpu.instantiate(memory, { level });
  const [X, OUT, SCRATCH, PACKED] = [64, 60_000, 120_000, 330_000] as const;
  return {
    memory,
    kernels,
    gemm(x: Float32Array, packed: Uint32Array, m: number, format: GemmFormat, activations: cpu.Activations) {
      new Float32Array(memory.buffer, X, x.length).set(x);
      new Uint32Array(memory.buffer, PACKED, packed.length).set(packed);
      kernels[`gemm_quantized_${activations}`](X, PACKED, m, ...numbersOf(format), OUT, SCRATCH);
      return new Float32Array(memory.buffer, OUT, m * format.n).slice();
    },
  };
}

const shapes = fc.record({
  m: fc.integer({ min: 1, max: 9 }),
  n: fc.integer({ min: 1, max: 20 }),
  k: fc.integer({ min: 1, max: 300 }),
  bits: fc.constantFrom(4, 8),
  groupSize: fc.constantFrom(0, 32, 64, 128),
  scheme: fc.constantFrom('affine' as const, 'symmetric' as const),
  seed: fc.nat(),
});
type Shape = typeof shapes extends fc.Arbitrary<infer T> ? T : never;

function made({ m, n, k, bits, groupSize, scheme, seed }: Shape) {
  const r = random(seed);
  const format = { n, k, bits, groupSize, scheme };
  const rule = { rows: n, n: k, bits, groupSize, scheme, axis: 'row' } as const;
  const stored = quantize(r.normals(n * k), rule);
  return { x: r.normals(m * k), format, packed: cpu.pack(stored, format), weights: dequantize(stored, rule) };
}

describe.each(ACTIVATIONS)('%s', (activations) => {
  test('is dequantising and multiplying, within the bound', () => {
    const highest = { f32: Infinity, i16: 32767, i8: 127 }[activations];
    fc.assert(
      fc.property(shapes, (shape) => {
        const { x, format, packed, weights } = made(shape);
        const { m, n, k, bits, scheme } = shape;
        const out = cpu.gemm(x, packed, { m, ...format, activations });
        const block = blockOf(shape);
        // What codes are stored plus, in units of the weights: at most twice the largest, whatever the scale.
        const largest = weights.reduce((a, w) => Math.max(a, Math.abs(w)), 0);
        const offset = scheme === 'symmetric' ? (largest * 2 ** bits) / (2 ** (bits - 1) - 1) : 2 * largest;
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++) {
            let [sum, size, bound] = [0, 0, 0];
            for (let from = 0; from < k; from += block) {
              let [top, norm] = [0, 0];
              for (let l = from; l < Math.min(from + block, k); l++) {
                const [a, w] = [x[i * k + l]!, weights[j * k + l]!];
                sum += a * w;
                size += Math.abs(a) * (Math.abs(w) + offset);
                top = Math.max(top, Math.abs(a));
                norm += Math.abs(w);
              }
              bound += (top / highest / 2) * norm;
            }
            const terms = (activations === 'f32' ? block : 0) + Math.ceil(k / block) + 8;
            const rounding = terms * 2 ** -24 * size;
            expect(Math.abs(out[i * n + j]! - sum)).toBeLessThanOrEqual(bound * (1 + 1e-5) + rounding);
          }
      }),
      { numRuns: 60 },
    );
  });

  test('has the error that docs/gemm.md states of normal data', () => {
    const stated = Number(
      new RegExp(`gemm_quantized_${activations}\` .*\\| (\\S+) +\\|$`, 'm').exec(
        readFileSync(new URL('../docs/gemm.md', import.meta.url), 'utf8'),
      )![1],
    );
    const [m, n, k] = [4, 64, 4096];
    const { x, format, packed, weights } = made({ m, n, k, bits: 4, groupSize: 32, scheme: 'affine', seed: 7 });
    const out = cpu.gemm(x, packed, { m, ...format, activations });
    let [error, size] = [0, 0];
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) sum += x[i * k + l]! * weights[j * k + l]!;
        error += (out[i * n + j]! - sum) ** 2;
        size += sum ** 2;
      }
    const measured = Math.sqrt(error / size);
    expect(measured).toBeGreaterThan(0.7 * stated);
    expect(measured).toBeLessThan(1.3 * stated);
  });

  test('is linear in powers of two, to the bit', () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: -60, max: 60 }), (shape, power) => {
        const { x, format, packed } = made(shape);
        const run = (values: Float32Array) => cpu.gemm(values, packed, { m: shape.m, ...format, activations });
        const factor = 2 ** power;
        expect(run(x.map((value) => value * factor))).toEqual(run(x).map((value) => value * factor));
      }),
      { numRuns: 60 },
    );
  });

  test('outputs are divided by panels: parts give the bits of the whole', () => {
    const shape = { m: 5, n: 43, k: 100, bits: 4, groupSize: 32, scheme: 'affine', seed: 1 } as const;
    const { x, format, packed } = made(shape);
    for (const level of LEVELS) {
      const one = atLevel(level);
      const whole = one.gemm(x, packed, shape.m, format, activations);
      const stride = 50;
      const out = new Float32Array(one.memory.buffer, 60_000, shape.m * stride).fill(7);
      const { panelWords } = packedLayout({ ...format, scheme: 0 });
      for (const [first, count] of [
        [0, 16],
        [16, 27],
      ] as const)
        one.kernels[`gemm_quantized_${activations}`](
          64,
          330_000 + (first / 8) * 4 * panelWords,
          shape.m,
          ...numbersOf({ ...format, n: count }),
          60_000 + 4 * first,
          120_000,
          stride,
        );
      for (let i = 0; i < shape.m; i++) {
        expect(out.subarray(i * stride, i * stride + shape.n)).toEqual(whole.subarray(i * shape.n, (i + 1) * shape.n));
        // What lies between rows is somebody else's.
        if (i + 1 < shape.m)
          expect(out.subarray(i * stride + shape.n, (i + 1) * stride).every((value) => value === 7)).toBe(true);
      }
    }
  });
});

describe.each(['i16', 'i8'] as const)('%s: integers are exact', (activations) => {
  test.skipIf(LEVELS.length < 2)('every level gives the same bits', () => {
    const [simd, relaxed] = LEVELS.map(atLevel) as [ReturnType<typeof atLevel>, ReturnType<typeof atLevel>];
    fc.assert(
      fc.property(shapes, (shape) => {
        const { x, format, packed } = made(shape);
        const [a, b] = [simd, relaxed].map((level) => level.gemm(x, packed, shape.m, format, activations));
        expect(a).toEqual(b);
      }),
    );
  });

  test('a row has the same bits alone and among others', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const { x, format, packed } = made(shape);
        const { m, n, k } = shape;
        const together = cpu.gemm(x, packed, { m, ...format, activations });
        for (let i = 0; i < m; i++)
          expect(cpu.gemm(x.slice(i * k, (i + 1) * k), packed, { m: 1, ...format, activations })).toEqual(
            together.slice(i * n, (i + 1) * n),
          );
      }),
      { numRuns: 50 },
    );
  });

  test('the largest sums do not overflow', () => {
    const k = 512;
    for (const [bits, groupSize] of [
      [4, 256],
      [8, 256],
      [8, 0],
    ] as const)
      for (const scheme of ['affine', 'symmetric'] as const) {
        const format = { n: 8, k, bits, groupSize, scheme };
        // Every code at its highest, but for one that makes the range.
        const w = Float32Array.from({ length: 8 * k }, (_, at) => (at % (groupSize || k) === 0 ? 0 : 1));
        const packed = cpu.pack(quantize(w, { rows: 8, n: k, bits, groupSize, scheme, axis: 'row' }), format);
        for (const m of [1, 4])
          for (const value of [1, -1]) {
            const out = cpu.gemm(new Float32Array(m * k).fill(value), packed, { m, ...format, activations });
            const sum = value * (k - k / (groupSize || k));
            for (const got of out) expect(Math.abs(got - sum)).toBeLessThan(1e-3);
          }
      }
  });
});

describe('weights that KIVI quantised (test/golden/quantize)', () => {
  const golden = <T = Float32Array>(name: string) =>
    readNpy(Uint8Array.from(readFileSync(new URL(`golden/quantize/${name}.npy`, import.meta.url))), name).data as T;

  test.each([['cpu', cpu] as const, ['reference', reference] as const])(
    '%s: the rows of the identity give its dequantised values back',
    (_, { gemm, pack }) => {
      const format = { n: 128, k: 64, bits: 4, groupSize: 32, scheme: 'affine' } as const;
      const packed = pack(
        {
          codes: Uint32Array.from(golden<Int32Array>('v_b4_codes')),
          scales: golden('v_b4_scales'),
          minima: golden('v_b4_minima'),
        },
        format,
      );
      const identity = Float32Array.from({ length: 64 * 64 }, (_, at) => Number(at % 65 === 0));
      const values = golden('v_b4_values');
      const scales = golden('v_b4_scales');
      const out = gemm(identity, packed, { m: 64, ...format, activations: 'f32' });
      for (let l = 0; l < 64; l++)
        for (let j = 0; j < 128; j++) {
          // Both round the product and the sum once.
          const largest = Math.max(15 * scales[2 * j + (l >> 5)]!, Math.abs(values[j * 64 + l]!));
          expect(Math.abs(out[l * 128 + j]! - values[j * 64 + l]!)).toBeLessThanOrEqual(2 * ulpOf(largest));
        }
    },
  );
});

describe('errors', () => {
  const format = { n: 8, k: 64, bits: 4, groupSize: 32, scheme: 'affine' } as const;
  const packed = new Uint32Array(cpu.packedLength(format));
  const x = new Float32Array(64);
  const run = (more: object) => () => cpu.gemm(x, packed, { m: 1, ...format, activations: 'f32', ...more } as never);

  test.each([
    [{ bits: 2 }, 'gemm_quantized_f32: "bits" expected 4 or 8, got 2'],
    [
      { groupSize: 48 },
      'gemm_quantized_f32: "groupSize" expected multiple of 32 in [32, 256], or the whole row (0, or at least 64), got 48',
    ],
    [{ scheme: 'odd' }, 'gemm_quantized_f32: "scheme" expected "affine" or "symmetric", got "odd"'],
    [{ activations: 'i4' }, 'gemm: "activations" expected "f32" or "i16" or "i8", got "i4"'],
    [{ k: 0 }, 'gemm_quantized_f32: "k" expected integer in [1, 4294967295], got 0'],
    [{ m: 2 }, 'gemm_quantized_f32: "x" expected Float32Array of length 128, got Float32Array of length 64'],
    [
      { activations: 'i8', n: 9 },
      `gemm_quantized_i8: "packed" expected Uint32Array of length 192, got Uint32Array of length 96`,
    ],
  ])('%o', (more, text) => {
    expect(run(more)).toThrow(new RangeError(text));
  });

  test('kinds', () => {
    expect(run({ activations: undefined })).toThrow(TypeError);
    expect(() => cpu.gemm([1] as never, packed, { m: 1, ...format, activations: 'f32' })).toThrow(TypeError);
    expect(() => cpu.pack({ codes: new Uint32Array(64), scales: new Float32Array(16) }, format)).toThrow(
      new TypeError('gemm_pack_u32: "minima" expected Float32Array of length 16, got undefined'),
    );
  });

  test('pointers', () => {
    const { kernels } = atLevel('simd');
    const call = (outStride: number) => () =>
      kernels.gemm_quantized_f32(64, 1024, 2, 8, 64, 4, 32, 0, 4096, 8192, outStride);
    expect(call(7)).toThrow(
      new RangeError('gemm_quantized_f32: "outStride" expected integer in [8, 4294967295], got 7'),
    );
    expect(call(200_000)).toThrow('gemm_quantized_f32: "out" expected array that ends within');
    expect(() => kernels.gemm_quantized_i8(66, 1024, 1, 8, 64, 4, 32, 0, 4096, 8192)).toThrow(
      '"x" expected byte offset that is a multiple of 4, got 66',
    );
  });
});
