import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as cpu from '../ts/cpu/integers.js';
import * as plain from '../ts/cpu/quantize.js';
import { fromHalves, toHalf, toHalves } from '../ts/half.js';
import * as reference from '../ts/reference/integers.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';

type Options = cpu.QuantizeIntegersOptions;

const root = new URL('..', import.meta.url);
const golden = <T = Float32Array>(name: string) =>
  readNpy(Uint8Array.from(readFileSync(new URL(`test/golden/quantize/${name}.npy`, root))), name).data as T;
const words = (name: string) => Uint32Array.from(golden<Int32Array>(name));
const numbers = (array: Float32Array | Uint16Array) => (array instanceof Uint16Array ? fromHalves(array) : array);
const hex = (codes: Uint32Array) => [...codes].map((word) => word.toString(16));

const implementations = [
  ['reference', reference],
  ['cpu', cpu],
] as const;

describe.each(implementations)("KIVI's own arrays, %s", (_, { quantize, dequantize }) => {
  const shape = { rows: 128, n: 64, groupSize: 32, scheme: 'affine' } as const;
  const sides = [
    ['k', 'column'],
    ['v', 'row'],
  ] as const;

  test.each([2, 4, 8])('%i bits', (bits) => {
    for (const [array, axis] of sides) {
      const { codes, scales, minima } = quantize(golden(`${array}_x`), { ...shape, bits, axis });
      expect(codes).toEqual(words(`${array}_b${bits}_codes`));
      expect(scales).toEqual(golden(`${array}_b${bits}_scales`));
      expect(minima).toEqual(golden(`${array}_b${bits}_minima`));
    }
  });

  test('back', () => {
    const stored = { codes: words('v_b4_codes'), scales: golden('v_b4_scales'), minima: golden('v_b4_minima') };
    expect(dequantize(stored, { ...shape, bits: 4, axis: 'row' })).toEqual(golden('v_b4_values'));
  });

  test.each([2, 4, 8])('f16 keys and values, f16 scales, %i bits', (bits) => {
    for (const [array, axis] of sides) {
      const x = fromHalves(toHalves(golden(`${array}_x`)));
      const options = { ...shape, bits, axis, scaleType: 'f16' } as const;
      const stored = quantize(x, options);
      const single = plain.quantize(x, { ...shape, bits, axis });
      expect(stored.scales).toEqual(toHalves(single.scales));
      // A minimum of halves is a half.
      expect(stored.minima).toEqual(toHalves(single.minima!));
      expect(numbers(stored.minima!)).toEqual(single.minima);
      const back = dequantize(stored, options);
      const scaleOf = groupValue(numbers(stored.scales), options);
      const levels = 2 ** bits - 1;
      for (const [i, value] of x.entries()) {
        const step = scaleOf(i);
        // The rounded scale may end short of the maximum: levels times half an ulp of f16.
        expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(
          Math.max(step / 2, levels * step * 2 ** -11) + 4 * 2 ** -24 * (Math.abs(value) + levels * step),
        );
      }
    }
  });
});

/** The value of each value's group in an array shaped as scales. */
function groupValue(
  scales: ArrayLike<number>,
  { rows, n, groupSize, axis }: Pick<Options, 'rows' | 'n' | 'groupSize' | 'axis'>,
) {
  const length = axis === 'row' ? n : rows;
  const size = groupSize || length;
  return (i: number) => {
    const [row, column] = [Math.floor(i / n), i % n];
    return axis === 'row'
      ? scales[row * Math.ceil(n / size) + Math.floor(column / size)]!
      : scales[Math.floor(row / size) * n + column]!;
  };
}

const anyFormat = fc.constantFrom<Pick<Options, 'bits' | 'scheme'>>(
  ...[1, 2, 3, 4, 8].flatMap((bits) => [
    { bits, scheme: 'affine' as const },
    { bits, scheme: 'symmetric' as const },
  ]),
  { bits: 1.6, scheme: 'ternary' },
  { bits: 2, scheme: 'ternary' },
);
const anyShape = fc.record({
  rows: fc.integer({ min: 1, max: 70 }),
  n: fc.integer({ min: 1, max: 70 }),
  groupSize: fc.constantFrom(0, 16, 32, 64, 256),
  axis: fc.constantFrom<'row' | 'column'>('row', 'column'),
  scaleType: fc.constantFrom<'f32' | 'f16'>('f32', 'f16'),
});
const anyCase = fc
  .tuple(anyShape, anyFormat, fc.integer({ min: 0, max: 2 ** 31 }), fc.constantFrom(1, 1e-3, 1e3))
  .map(([shape, format, seed, size]) => ({ options: { ...shape, ...format } as Options, seed, size }));

/** Lowest and highest value a code can stand for. */
function ends({ bits, scheme }: Pick<Options, 'bits' | 'scheme'>, scale: number, minimum: number): [number, number] {
  if (scheme === 'affine') return [minimum, minimum + scale * (2 ** bits - 1)];
  const largest = scheme === 'ternary' || bits === 1 ? 1 : 2 ** (bits - 1) - 1;
  return [-largest * scale, largest * scale];
}

describe('properties', () => {
  test('within its range a value comes back to half a step, at random to one; outside it saturates', () => {
    fc.assert(
      fc.property(anyCase, fc.boolean(), fc.boolean(), ({ options: o, seed, size }, atRandom, given) => {
        const options = { ...o, ...(atRandom && { seed: seed + 1 }) };
        const x = random(seed).normals(o.rows * o.n, size);
        const { scales } = reference.quantize(x, o);
        const range = given && {
          range: {
            highs: new Float32Array(scales.length).fill(0.8 * size),
            ...(o.scheme === 'affine' && { lows: new Float32Array(scales.length).fill(-0.7 * size) }),
          },
        };
        const stored = cpu.quantize(x, { ...options, ...range });
        const back = cpu.dequantize(stored, o);
        const scaleOf = groupValue(numbers(stored.scales), o);
        const minimumOf = stored.minima ? groupValue(numbers(stored.minima), o) : () => 0;
        const signs = o.scheme === 'symmetric' && o.bits === 1;
        for (const [i, value] of x.entries()) {
          const step = scaleOf(i) * (signs ? 2 : 1);
          const [low, high] = ends(o, scaleOf(i), minimumOf(i));
          const inside = Math.min(Math.max(value, low), high);
          const rounding = 8 * 2 ** -24 * (Math.abs(low) + Math.abs(high) + Math.abs(value));
          expect(Math.abs(back[i]! - inside)).toBeLessThanOrEqual(step * (atRandom ? 1 : 0.5) + rounding);
          if (value < low && !signs) expect(back[i]!).toBeCloseTo(low, 4 - Math.log10(size));
        }
      }),
    );
  });

  test('the reference’s bits, on every level, for every option', () => {
    fc.assert(
      fc.property(anyCase, fc.nat(3), fc.nat(), ({ options: o, seed, size }, randomSeed, first) => {
        const options = { ...o, seed: randomSeed, first };
        const x = random(seed).normals(o.rows * o.n, size);
        const [got, want] = [cpu.quantize(x, options), reference.quantize(x, options)];
        expect(got).toEqual(want);
        expect(cpu.dequantize(got, o)).toEqual(reference.dequantize(want, o));
      }),
    );
  });

  test('2, 4 and 8 bits with f32 scales are quantize_f32', () => {
    fc.assert(
      fc.property(anyCase, ({ options, seed, size }) => {
        fc.pre([2, 4, 8].includes(options.bits) && options.scheme !== 'ternary');
        const { scaleType, scheme, ...rest } = options;
        const o = { ...rest, scheme: scheme as 'affine' | 'symmetric' };
        const x = random(seed).normals(o.rows * o.n, size);
        expect(cpu.quantize(x, o)).toEqual(plain.quantize(x, o));
      }),
    );
  });

  test('columns are rows of the transposed matrix', () => {
    fc.assert(
      fc.property(anyCase, ({ options, seed, size }) => {
        const o = { ...options, axis: 'column' as const };
        const { rows, n } = o;
        const x = random(seed).normals(rows * n, size);
        const turned = x.map((_, i) => x[(i % rows) * n + Math.floor(i / rows)]!);
        const other = { ...o, rows: n, n: rows, axis: 'row' as const };
        const back = cpu.dequantize(cpu.quantize(x, o), o);
        const turnedBack = cpu.dequantize(cpu.quantize(turned, other), other);
        expect(back).toEqual(x.map((_, i) => turnedBack[(i % n) * rows + Math.floor(i / n)]!));
      }),
    );
  });

  test('codes go in and out of words', () => {
    fc.assert(
      fc.property(anyCase, ({ options: o, seed }) => {
        const values = Int16Array.from({ length: o.rows * o.n }, (_, i) => {
          const [low, high] = ends(o, 1, 0);
          return o.scheme === 'symmetric' && o.bits === 1 ? i % 2 : random(seed + i).int(low, high);
        });
        const codes = reference.packCodes(values, o);
        expect(reference.unpackCodes(codes, o)).toEqual(values);
        // The kernel reads them alike: scales 1, minima 0.
        const { scales } = reference.quantize(new Float32Array(values.length), o);
        const stored = { codes, scales: scales.fill(o.scaleType === 'f16' ? toHalf(1) : 1) };
        const minima = o.scheme === 'affine' && { minima: scales.slice().fill(0) };
        const back = cpu.dequantize({ ...stored, ...minima }, o);
        const signs = o.scheme === 'symmetric' && o.bits === 1;
        expect(back).toEqual(Float32Array.from(values, (code) => (signs ? 1 - 2 * code : code)));
      }),
    );
  });

  test('ternary and sign values come back as they are', () => {
    fc.assert(
      fc.property(fc.constantFrom(1.6, 2, 1), fc.integer(), fc.constantFrom(0, 1), (bits, seed, zeros) => {
        const r = random(seed);
        const scheme = bits === 1 ? 'symmetric' : 'ternary';
        // With some zeros the mean is less than the magnitude, but the codes are the values' signs still.
        const x = r.floats(3 * 100, (i) =>
          zeros && bits !== 1 && i % 10 === 0 ? 0 : r.uniform() < 0.5 ? -0.75 : 0.75,
        );
        const o = { rows: 3, n: 100, bits, scheme, groupSize: 0, axis: 'row' } as const;
        const stored = cpu.quantize(x, o);
        const sizes = numbers(stored.scales);
        for (const scale of sizes) expect(scale).toBeCloseTo(zeros && bits !== 1 ? 0.675 : 0.75, 6);
        expect(cpu.dequantize(stored, o)).toEqual(x.map((value, i) => Math.sign(value) * sizes[Math.floor(i / 100)]!));
      }),
    );
  });
});

describe('random rounding', () => {
  const rows = 400;
  const o: Options = { rows, n: 64, bits: 4, scheme: 'affine', groupSize: 0, axis: 'row' };
  // One row many times: 0, 15 and values between them, so that scale is 1.
  const row = Float32Array.from({ length: 64 }, (_, i) => (i < 2 ? 15 * i : (i * 15) / 64));
  const x = Float32Array.from({ length: rows * 64 }, (_, i) => row[i % 64]!);

  test('the mean is the value, exact values stay', () => {
    const back = cpu.dequantize(cpu.quantize(x, { ...o, seed: 11 }), o);
    for (let c = 0; c < 64; c++) {
      let sum = 0;
      for (let r = 0; r < rows; r++) sum += back[r * 64 + c]!;
      const fraction = row[c]! % 1;
      // Five standard deviations of a mean of `rows` Bernoulli draws.
      const allowed = 5 * Math.sqrt((fraction * (1 - fraction)) / rows);
      expect(Math.abs(sum / rows - row[c]!), `column ${c}`).toBeLessThanOrEqual(allowed);
    }
  });

  test.each([
    [1.6, 'ternary'],
    [1, 'symmetric'],
    [3, 'symmetric'],
  ] as const)('%d bits, %s: the mean is the value', (bits, scheme) => {
    const range = { highs: new Float32Array(rows).fill(1) };
    const values = Float32Array.from({ length: rows * 64 }, (_, i) => ((i % 64) - 31.5) / 32);
    const format = { ...o, bits, scheme };
    const back = cpu.dequantize(cpu.quantize(values, { ...format, range, seed: 5 }), format);
    const step = bits === 1 ? 2 : bits === 3 ? 1 / 3 : 1;
    for (let c = 0; c < 64; c++) {
      let sum = 0;
      for (let r = 0; r < rows; r++) sum += back[r * 64 + c]!;
      expect(Math.abs(sum / rows - values[c]!)).toBeLessThanOrEqual(5 * step * Math.sqrt(0.25 / rows));
    }
  });

  test('one seed, one result; another, another; `first` goes on', () => {
    const all = cpu.quantize(x, { ...o, seed: 1 });
    expect(cpu.quantize(x, { ...o, seed: 1 })).toEqual(all);
    expect(cpu.quantize(x, { ...o, seed: 2 }).codes).not.toEqual(all.codes);
    const half = { ...o, rows: rows / 2, seed: 1 };
    const second = cpu.quantize(x.slice(x.length / 2), { ...half, first: x.length / 2 });
    expect(second.codes).toEqual(all.codes.slice(all.codes.length / 2));
  });

  test('the generator is the one written down', () => {
    // SplitMix32 with lowbias32, worked out with BigInt.
    const M = 2n ** 32n;
    const mixed = (v: bigint) => {
      v = ((v ^ (v >> 16n)) * 0x7feb352dn) % M;
      v = ((v ^ (v >> 15n)) * 0x846ca68bn) % M;
      return v ^ (v >> 16n);
    };
    for (const [seed, index] of [
      [1, 0],
      [1, 1],
      [0xffffffff, 12345],
      [7, 0xfffffff0],
    ] as const) {
      const word = mixed((BigInt(index) * 0x9e3779b9n + mixed(BigInt(seed))) % M);
      expect(reference.uniform(seed, index)).toBe(Number(word >> 8n) / 2 ** 24);
    }
  });
});

describe('the layouts', () => {
  const o = { rows: 1, groupSize: 0, axis: 'row' } as const;

  test('1 bit: 32 to a word, signs', () => {
    const x = Float32Array.from({ length: 34 }, (_, i) => ([0, 3, 33].includes(i) ? -2 : 2));
    const stored = cpu.quantize(x, { ...o, n: 34, bits: 1, scheme: 'symmetric' });
    expect(hex(stored.codes)).toEqual(['9', '2']);
    expect([...stored.scales]).toEqual([2]);
    expect(stored).not.toHaveProperty('minima');
  });

  test('3 bits: low bits of 16, of 16 more, third bits of 32', () => {
    const x = Float32Array.from({ length: 36 }, (_, i) => i % 8);
    const stored = cpu.quantize(x, { ...o, n: 36, bits: 3, scheme: 'affine' });
    expect(hex(stored.codes)).toEqual(['e4e4e4e4', 'e4e4e4e4', 'f0f0f0f0', 'e4', '0', '0']);
    expect([...stored.scales, ...stored.minima!]).toEqual([1, 0]);
  });

  test('1.6 bits: five to a byte, four neighbours one digit of the four bytes', () => {
    const codes = [1, 0, -1, 1, -1, -1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, -1, 0, 1, 1, 1];
    const x = Float32Array.from(codes, (code) => 4 * code);
    const stored = cpu.quantize(x, { ...o, n: 21, bits: 1.6, scheme: 'ternary' });
    const byte = (b: number) => [0, 1, 2, 3, 4].reduce((sum, d) => sum + (codes[4 * d + b]! + 1) * 3 ** d, 0);
    expect(new Uint8Array(stored.codes.buffer)).toEqual(
      Uint8Array.from([byte(0), byte(1), byte(2), byte(3), 2, 0, 0, 0]),
    );
  });

  test('ternary in 2 bits is two’s complement', () => {
    const x = Float32Array.from([1, -1, 0, 1]);
    const stored = cpu.quantize(x, { ...o, n: 4, bits: 2, scheme: 'ternary' });
    expect(hex(stored.codes)).toEqual([(1 | (3 << 2) | (0 << 4) | (1 << 6)).toString(16)]);
    expect([...stored.scales]).toEqual([0.75]);
  });
});

describe('ties', () => {
  test('go to even codes: 4 bits of halves up to 7.5 exactly, 2 bits in steps of 2.5', () => {
    const x = Float32Array.from({ length: 16 }, (_, i) => i / 2);
    const o = { rows: 1, n: 16, groupSize: 0, axis: 'row', scheme: 'affine', scaleType: 'f16' } as const;
    const four = cpu.quantize(x, { ...o, bits: 4 });
    expect([...reference.unpackCodes(four.codes, { ...o, bits: 4 })]).toEqual(Array.from({ length: 16 }, (_, i) => i));
    const two = cpu.quantize(x, { ...o, bits: 2 });
    // 1.25 and 6.25 are no halves; 3.75 neither.
    expect([...reference.unpackCodes(two.codes, { ...o, bits: 2 })]).toEqual([
      0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3,
    ]);
    const one = cpu.quantize(Float32Array.of(0, 2, 4, 1), { ...o, n: 4, bits: 1 });
    expect([...reference.unpackCodes(one.codes, { ...o, n: 4, bits: 1 })]).toEqual([0, 0, 1, 0]);
  });
});

describe('quantileRanges', () => {
  const x = Float32Array.from({ length: 101 * 2 }, (_, i) => (i % 2 ? 1000 : 1) * Math.floor(i / 2));
  const o = { rows: 101, n: 2, bits: 4, groupSize: 0, scheme: 'affine', axis: 'column' } as const;

  test('linear between neighbours, per group', () => {
    expect(cpu.quantileRanges(x, { ...o, keep: 0.9 })).toEqual({
      lows: Float32Array.of(5, 5000),
      highs: Float32Array.of(95, 95000),
    });
    expect(cpu.quantileRanges(x, { ...o, keep: 0.99 }).highs[0]).toBeCloseTo(99.5, 4);
    expect(cpu.quantileRanges(x, { ...o, keep: 1 }).highs).toEqual(Float32Array.of(100, 100000));
  });

  test('magnitudes, whole, NaN', () => {
    const negative = x.map((v) => -v);
    expect(cpu.quantileRanges(negative, { ...o, scheme: 'symmetric', keep: 0.95 })).toEqual({
      highs: Float32Array.of(95, 95000),
    });
    const { lows, highs } = cpu.quantileRanges(Float32Array.of(3, 1, 2, 5, 4), {
      ...o,
      rows: 1,
      n: 5,
      keep: 0.5,
      whole: true,
    });
    expect([lows, highs]).toEqual([new Float32Array(5).fill(2), new Float32Array(5).fill(4)]);
    expect(cpu.quantileRanges(Float32Array.of(1, NaN, 2, 3), { ...o, rows: 2, keep: 0.5 }).highs).toEqual(
      Float32Array.of(1.75, NaN),
    );
  });

  test('clipping at a percentile costs outliers only', () => {
    const values = random(3).normals(2048);
    values[77] = 100;
    const format = { rows: 1, n: 2048, bits: 4, groupSize: 0, scheme: 'affine', axis: 'row' } as const;
    const error = (range?: cpu.Range) => {
      const back = cpu.dequantize(cpu.quantize(values, { ...format, ...(range && { range }) }), format);
      return back.reduce((sum, v, i) => (i === 77 ? sum : sum + (v - values[i]!) ** 2), 0);
    };
    expect(error(cpu.quantileRanges(values, { ...format, keep: 0.998 }))).toBeLessThan(error() / 50);
  });

  test.each([
    [{ keep: 0 }, RangeError, 'quantileRanges: "keep" expected number in (0, 1], got 0'],
    [{ keep: '1' }, TypeError, 'quantileRanges: "keep" expected number in (0, 1], got "1"'],
    [{ keep: 0.5, scheme: 'symmetric', bits: 1 }, RangeError, /"scheme" expected "affine", or "symmetric" of 2/],
    [{ keep: 0.5, rows: 3 }, RangeError, 'quantileRanges: "x" expected Float32Array of length 6'],
  ])('%j', (wrong, kind, message) => {
    const call = () => cpu.quantileRanges(x, { ...o, ...wrong } as never);
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });
});

describe.each(implementations)('errors, %s', (_, { quantize, dequantize }) => {
  const options: Options = { rows: 2, n: 300, bits: 3, groupSize: 32, scheme: 'affine', axis: 'row', scaleType: 'f16' };
  const x = new Float32Array(600);

  test.each([
    [{ bits: 5 }, RangeError, 'quantize_integers_f32: "bits" expected 1, 2, 3, 4 or 8, got 5'],
    [{ bits: 1.6 }, RangeError, 'quantize_integers_f32: "bits" expected 1, 2, 3, 4 or 8, got 1.6'],
    [{ bits: 1, scheme: 'ternary' }, RangeError, 'quantize_integers_f32: "bits" expected 1.6 or 2, got 1'],
    [{ bits: '3' }, TypeError, 'quantize_integers_f32: "bits" expected 1, 2, 3, 4 or 8, got "3"'],
    [{ scaleType: 'f8' }, RangeError, 'quantize_integers_f32: "scaleType" expected "f32" or "f16", got "f8"'],
    [{ groupSize: 24 }, RangeError, /"groupSize" expected multiple of 16 in \[16, 256\]/],
    [{ seed: -1 }, RangeError, 'quantize_integers_f32: "seed" expected integer in [0, 4294967295], got -1'],
    [{ first: 0.5 }, RangeError, 'quantize_integers_f32: "first" expected integer in [0, 4294967295], got 0.5'],
    [{ range: { highs: new Float32Array(20) } }, TypeError, /"lows" expected Float32Array of length 20/],
    [{ range: { lows: new Float32Array(20) } }, TypeError, /"highs" expected Float32Array of length 20/],
    [{ range: { lows: x, highs: x } }, RangeError, /"lows" expected Float32Array of length 20, got Float32Array of/],
  ])('%j', (wrong, kind, message) => {
    const call = () => quantize(x, { ...options, ...wrong } as never);
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });

  test('dequantize wants scales of their type', () => {
    const { codes, scales, minima } = reference.quantize(x, options);
    expect(() => dequantize({ codes, scales, minima: minima! }, { ...options, scaleType: 'f32' })).toThrow(
      'dequantize_integers_f32: "scales" expected Float32Array of length 20, got Uint16Array of length 20',
    );
    expect(() => dequantize({ codes, scales }, options)).toThrow(
      'dequantize_integers_f32: "minima" expected Uint16Array of length 20, got undefined',
    );
  });
});

test('a checked pointer call wants lows with highs when affine, and halves at even offsets', () => {
  const kernels = cpu.instantiate(new WebAssembly.Memory({ initial: 1 }));
  expect(() => kernels.quantize_integers_f32(64, 1, 32, 3, 32, 0, 0, 256, 320, 328, 0, 0, 336)).toThrow(TypeError);
  expect(() => kernels.quantize_integers_f32(64, 1, 32, 3, 32, 0, 0, 256, 321, 328, 1)).toThrow(
    /"scales".*multiple of 2/,
  );
  expect(() => kernels.quantize_integers_f32(64, 1, 32, 3, 32, 0, 0, 256, 322, 330, 1)).not.toThrow();
});
