import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as cpu from '../ts/cpu/quantize.js';
import { allocate, release, reserve, supports } from '../ts/cpu/runtime.js';
import * as reference from '../ts/reference/quantize.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';

type Options = cpu.QuantizeOptions;

const root = new URL('..', import.meta.url);
const golden = <T = Float32Array>(name: string) =>
  readNpy(Uint8Array.from(readFileSync(new URL(`test/golden/quantize/${name}.npy`, root))), name).data as T;
const words = (name: string) => Uint32Array.from(golden<Int32Array>(name));
const levels = (['simd', 'relaxed'] as const).filter(supports);

/** quantize and dequantize through one level's pointers. */
function atLevel(level: 'simd' | 'relaxed') {
  const memory = new WebAssembly.Memory({ initial: 4 });
  const kernels = cpu.instantiate(memory, { level });
  const [X, CODES, SCALES, MINIMA, OUT] = [64, 70_000, 110_000, 130_000, 150_000] as const;
  return {
    quantize(x: Float32Array, { rows, n, bits, groupSize, scheme, axis }: Options): cpu.Quantized {
      new Float32Array(memory.buffer, X, x.length).set(x);
      const [s, a] = [Number(scheme === 'symmetric'), Number(axis === 'column')];
      kernels.quantize_f32(X, rows, n, bits, groupSize, s, a, CODES, SCALES, s ? 0 : MINIMA);
      const { codes, scales, minima } = reference.quantize(x, { rows, n, bits, groupSize, scheme, axis });
      return {
        codes: new Uint32Array(memory.buffer, CODES, codes.length).slice(),
        scales: new Float32Array(memory.buffer, SCALES, scales.length).slice(),
        ...(minima && { minima: new Float32Array(memory.buffer, MINIMA, minima.length).slice() }),
      };
    },
    dequantize({ codes, scales, minima }: cpu.Quantized, { rows, n, bits, groupSize, scheme, axis }: Options) {
      new Uint32Array(memory.buffer, CODES, codes.length).set(codes);
      new Float32Array(memory.buffer, SCALES, scales.length).set(scales);
      if (minima) new Float32Array(memory.buffer, MINIMA, minima.length).set(minima);
      const [s, a] = [Number(scheme === 'symmetric'), Number(axis === 'column')];
      kernels.dequantize_f32(CODES, SCALES, s ? 0 : MINIMA, rows, n, bits, groupSize, s, a, OUT);
      return new Float32Array(memory.buffer, OUT, rows * n).slice();
    },
  };
}

const implementations = [
  ['reference', reference] as const,
  ['cpu', cpu] as const,
  ...levels.map((level) => [`cpu ${level}, pointers`, atLevel(level)] as const),
];

describe.each(implementations)("golden values (KIVI's own), %s", (_, { quantize, dequantize }) => {
  const shape = { rows: 128, n: 64, groupSize: 32, scheme: 'affine' } as const;

  test.each([2, 4, 8])('keys per channel and values per token, %i bits', (bits) => {
    for (const [array, axis] of [
      ['k', 'column'],
      ['v', 'row'],
    ] as const) {
      const { codes, scales, minima } = quantize(golden(`${array}_x`), { ...shape, bits, axis });
      expect(codes).toEqual(words(`${array}_b${bits}_codes`));
      expect(scales).toEqual(golden(`${array}_b${bits}_scales`));
      expect(minima).toEqual(golden(`${array}_b${bits}_minima`));
    }
  });

  test('back', () => {
    for (const [array, bits, axis] of [
      ['k', 2, 'column'],
      ['v', 4, 'row'],
    ] as const) {
      const stored = {
        codes: words(`${array}_b${bits}_codes`),
        scales: golden(`${array}_b${bits}_scales`),
        minima: golden(`${array}_b${bits}_minima`),
      };
      expect(dequantize(stored, { ...shape, bits, axis })).toEqual(golden(`${array}_b${bits}_values`));
    }
  });
});

const anyOptions: fc.Arbitrary<Options> = fc.record({
  rows: fc.integer({ min: 1, max: 70 }),
  n: fc.integer({ min: 1, max: 70 }),
  bits: fc.constantFrom(2, 4, 8),
  groupSize: fc.constantFrom(0, 16, 32, 64, 256),
  scheme: fc.constantFrom('affine', 'symmetric'),
  axis: fc.constantFrom('row', 'column'),
});
const anyCase = fc.tuple(anyOptions, fc.integer(), fc.constantFrom(1, 1e-3, 1e30));
const valuesFor = ({ rows, n }: Options, seed: number, size: number) => random(seed).normals(rows * n, size);

/** The scale of each value's group. */
function scaleOf({ scales }: cpu.Quantized, { rows, n, groupSize, axis }: Options) {
  const length = axis === 'row' ? n : rows;
  const size = groupSize || length;
  return (i: number) => {
    const [row, column] = [Math.floor(i / n), i % n];
    return axis === 'row'
      ? scales[row * Math.ceil(n / size) + Math.floor(column / size)]!
      : scales[Math.floor(row / size) * n + column]!;
  };
}

describe('properties', () => {
  test('the error is at most half a step, and some of f32’s rounding', () => {
    fc.assert(
      fc.property(anyCase, ([options, seed, size]) => {
        const x = valuesFor(options, seed, size);
        const stored = cpu.quantize(x, options);
        const back = cpu.dequantize(stored, options);
        const scale = scaleOf(stored, options);
        back.forEach((value, i) => {
          const rounding = 2 ** -22 * Math.max(Math.abs(x[i]!), 2 ** options.bits * scale(i));
          expect(Math.abs(value - x[i]!)).toBeLessThanOrEqual(scale(i) / 2 + rounding);
        });
      }),
    );
  });

  test('every level gives the codes of the reference', () => {
    const kernels = levels.map(atLevel);
    fc.assert(
      fc.property(anyCase, ([options, seed, size]) => {
        const x = valuesFor(options, seed, size);
        const want = reference.quantize(x, options);
        for (const { quantize } of [...kernels, cpu]) expect(quantize(x, options)).toEqual(want);
      }),
    );
  });

  test('any bits as input: neighbours of a NaN are untouched, a broken group comes back as NaN', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 150 }),
        anyOptions,
        (bits, o) => {
          const x = new Float32Array(Uint32Array.from(bits).buffer);
          const options = { ...o, rows: 1, n: x.length };
          const [got, want] = [cpu.quantize(x, options), reference.quantize(x, options)];
          expect(got).toEqual(want);
          expect(cpu.dequantize(got, options)).toEqual(reference.dequantize(want, options));
        },
      ),
    );
  });

  test('columns are rows of the transposed matrix', () => {
    fc.assert(
      fc.property(anyCase, ([o, seed, size]) => {
        const options = { ...o, axis: 'column' as const };
        const { rows, n } = options;
        const x = valuesFor(options, seed, size);
        const turned = x.map((_, i) => x[(i % rows) * n + Math.floor(i / rows)]!);
        const back = cpu.dequantize(cpu.quantize(x, options), options);
        const other = { ...options, rows: n, n: rows, axis: 'row' as const };
        const turnedBack = cpu.dequantize(cpu.quantize(turned, other), other);
        expect(back).toEqual(x.map((_, i) => turnedBack[(i % n) * rows + Math.floor(i / n)]!));
      }),
    );
  });

  test('what was quantised once is quantised the same again', () => {
    fc.assert(
      fc.property(anyCase, ([o, seed]) => {
        // Symmetric scales of whole numbers: every product is exact.
        const options = { ...o, scheme: 'symmetric' as const };
        const largest = 2 ** (options.bits - 1) - 1;
        const x = random(seed).floats(options.rows * options.n, () => random(seed++).int(-largest, largest));
        const once = cpu.quantize(x, options);
        expect(cpu.quantize(cpu.dequantize(once, options), options)).toEqual(once);
      }),
    );
  });
});

// An array and its thirds go through the same loops, but in chunks that begin and end elsewhere.
describe('large arrays are what their rows are', () => {
  const values = random(3).normals(4_400_000);
  for (let i = 0; i < values.length; i += 70_001) values[i] = [Number.NaN, Infinity, 1e-40][i % 3]!;
  values.fill(2, 1_000_000, 1_000_500);

  test.each([
    { rows: 1029, n: 4096, bits: 4, groupSize: 32, scheme: 'affine' },
    { rows: 1029, n: 4096, bits: 2, groupSize: 64, scheme: 'symmetric' },
    { rows: 33_001, n: 128, bits: 8, groupSize: 128, scheme: 'affine' },
    { rows: 90_001, n: 48, bits: 4, groupSize: 16, scheme: 'symmetric' },
  ] as const)('%o', (format) => {
    const { rows, n } = format;
    const x = values.subarray(0, rows * n);
    const whole = cpu.quantize(x, { ...format, axis: 'row' });
    const some = Math.ceil(rows / 3);
    for (let row = 0; row < rows; row += some) {
      const count = Math.min(some, rows - row);
      const part = cpu.quantize(x.subarray(row * n, (row + count) * n), { ...format, rows: count, axis: 'row' });
      for (const name of ['codes', 'scales', 'minima'] as const) {
        if (!part[name]) continue;
        const width = part[name].length / count;
        expect(whole[name]!.subarray(row * width, (row + count) * width), `${name} from row ${row}`).toEqual(
          part[name],
        );
      }
    }
  });
});

describe('the layout', () => {
  test('low bits first, along the row', () => {
    const x = Float32Array.from({ length: 16 }, (_, i) => i);
    const { codes, scales, minima } = cpu.quantize(x, {
      rows: 1,
      n: 16,
      bits: 4,
      groupSize: 16,
      scheme: 'affine',
      axis: 'row',
    });
    expect([...codes].map((word) => word.toString(16))).toEqual(['76543210', 'fedcba98']);
    expect([...scales, ...minima!]).toEqual([1, 0]);
  });

  test('down the column, symmetric codes in two’s complement, unused bits 0', () => {
    const x = Float32Array.from({ length: 10 }, (_, i) => (i % 2 ? -1 : 1) * (3 + Math.floor(i / 2)));
    const stored = cpu.quantize(x, { rows: 5, n: 2, bits: 4, groupSize: 16, scheme: 'symmetric', axis: 'column' });
    expect([...stored.codes].map((word) => word.toString(16))).toEqual(['76543', '9abcd']);
    expect([...stored.scales]).toEqual([1, 1]);
    expect(stored).not.toHaveProperty('minima');
  });

  test('a constant group reconstructs exactly', () => {
    const options: Options = { rows: 3, n: 32, bits: 2, groupSize: 32, scheme: 'affine', axis: 'row' };
    const x = new Float32Array(96).fill(-0.1);
    const stored = cpu.quantize(x, options);
    expect([...stored.codes]).toEqual([0, 0, 0, 0, 0, 0]);
    expect(cpu.dequantize(stored, options)).toEqual(x);
  });
});

describe('arrays of the caller', () => {
  const options: Options = { rows: 2, n: 32, bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' };
  const x = random(1).normals(64);

  test('anywhere, and inside the kernels’ memory', () => {
    const want = reference.quantize(x, options);
    const out = { codes: new Uint32Array(8), scales: new Float32Array(2), minima: new Float32Array(2) };
    const got = cpu.quantize(x, { ...options, out });
    expect(got).toEqual(want);
    expect(got.codes).toBe(out.codes);
    expect(got.minima).toBe(out.minima);
    reserve(4096);
    const place = allocate(Float32Array, 64);
    expect(cpu.dequantize(got, { ...options, out: place })).toBe(place);
    expect(place).toEqual(reference.dequantize(want, options));
    release(place);
  });

  test('no rows', () => {
    const none = { ...options, rows: 0 };
    expect(reference.quantize(new Float32Array(0), none).codes).toHaveLength(0);
    expect(cpu.quantize(new Float32Array(0), none).codes).toHaveLength(0);
  });
});

describe.each([
  ['cpu', cpu],
  ['reference', reference],
] as const)('errors, %s', (_, { quantize, dequantize }) => {
  const options: Options = { rows: 2, n: 300, bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' };
  const x = new Float32Array(600);
  const stored = reference.quantize(x, options);

  test.each([
    [{ bits: 3 }, RangeError, 'quantize_f32: "bits" expected 2, 4 or 8, got 3'],
    [{ bits: '4' }, TypeError, 'quantize_f32: "bits" expected integer in [2, 8], got "4"'],
    [
      { groupSize: 24 },
      RangeError,
      'quantize_f32: "groupSize" expected multiple of 16 in [16, 256], or the whole axis (0, or at least 300), got 24',
    ],
    [{ groupSize: 288 }, RangeError, /"groupSize" expected multiple of 16 in \[16, 256\].*, got 288$/],
    [{ scheme: 'asymmetric' }, RangeError, 'quantize_f32: "scheme" expected "affine" or "symmetric", got "asymmetric"'],
    [{ axis: 1 }, TypeError, 'quantize_f32: "axis" expected "row" or "column", got 1'],
    [{ n: 0 }, RangeError, 'quantize_f32: "n" expected integer in [1, 4294967295], got 0'],
    [{ rows: 1.5 }, RangeError, 'quantize_f32: "rows" expected integer in [0, 4294967295], got 1.5'],
    [{ rows: 3 }, RangeError, 'quantize_f32: "x" expected Float32Array of length 900, got Float32Array of length 600'],
  ])('%j', (wrong, kind, message) => {
    const call = () => quantize(x, { ...options, ...wrong } as Options);
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });

  test('dequantize names the array', () => {
    expect(() => dequantize({ ...stored, scales: new Float32Array(3) }, options)).toThrow(
      'dequantize_f32: "scales" expected Float32Array of length 20, got Float32Array of length 3',
    );
    const { codes, scales } = stored;
    expect(() => dequantize({ codes, scales }, options)).toThrow(
      new TypeError('dequantize_f32: "minima" expected Float32Array of length 20, got undefined'),
    );
    expect(() => dequantize(stored, { ...options, scheme: 'symmetric' })).toThrow(
      'dequantize_f32: "minima" expected Float32Array of length 0, got Float32Array of length 20',
    );
  });
});

test('a checked pointer call wants minima when affine', () => {
  const kernels = cpu.instantiate(new WebAssembly.Memory({ initial: 1 }));
  expect(() => kernels.quantize_f32(64, 1, 32, 4, 32, 0, 0, 256, 320)).toThrow(TypeError);
  expect(() => kernels.quantize_f32(64, 1, 32, 4, 32, 1, 0, 256, 320)).not.toThrow();
});
