/** Integer codes of halves in every format: the public functions against those of f32, the reference and KIVI's own values. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { root } from '../scripts/house.js';
import * as wide from '../ts/cpu/integers.js';
import * as cpu from '../ts/cpu/integers-f16.js';
import { fromHalves, toHalf, toHalves } from '../ts/half.js';
import * as reference from '../ts/reference/integers-f16.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';

type Options = cpu.QuantizeIntegersOptions;

const implementations = [
  ['cpu', cpu],
  ['reference', reference],
] as const;

const formats: Pick<Options, 'bits' | 'scheme'>[] = [
  ...[1, 2, 3, 4, 8].flatMap((bits) => [
    { bits, scheme: 'affine' as const },
    { bits, scheme: 'symmetric' as const },
  ]),
  { bits: 1.6, scheme: 'ternary' },
  { bits: 2, scheme: 'ternary' },
];
const layouts = formats.flatMap((format) => (['row', 'column'] as const).map((axis) => ({ ...format, axis })));

test.each(implementations)("KIVI's own codes come back as its values, rounded once, %s", (_, { dequantize }) => {
  const golden = (name: string) =>
    readNpy(Uint8Array.from(readFileSync(`${root}/test/golden/quantize/v_b4_${name}.npy`)), name).data as Float32Array;
  const stored = { codes: Uint32Array.from(golden('codes')), scales: golden('scales'), minima: golden('minima') };
  const format = { rows: 128, n: 64, bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' } as const;
  expect(dequantize(stored, format)).toEqual(toHalves(golden('values')));
});

test('codes, scales and minima of the widened values, values rounded once, whatever the options', () => {
  // Also rows longer than a piece of scratch, and more columns than one takes.
  const long = { rows: fc.integer({ min: 1, max: 20 }), n: fc.constantFrom(1030, 2100) };
  const small = { rows: fc.integer({ min: 1, max: 70 }), n: fc.integer({ min: 1, max: 70 }) };
  const anyCase = fc.record({
    format: fc.constantFrom(...layouts),
    shape: fc.oneof({ weight: 4, arbitrary: fc.record(small) }, fc.record(long)),
    groupSize: fc.constantFrom(0, 16, 32, 48, 64, 256),
    scaleType: fc.constantFrom<'f32' | 'f16'>('f32', 'f16'),
    seed: fc.nat(3),
    first: fc.nat(),
    given: fc.boolean(),
    size: fc.constantFrom(1, 1e-4, 1e4),
  });
  fc.assert(
    fc.property(anyCase, ({ format, shape, groupSize, scaleType, seed, first, given, size }) => {
      const options = { ...format, ...shape, groupSize, scaleType };
      const x = toHalves(random(first).normals(shape.rows * shape.n, size));
      const { length } = wide.quantize(fromHalves(x), options).scales;
      const range = given && {
        range: {
          highs: Float32Array.from({ length }, (_, i) => size * (0.5 + (i % 5) / 4)),
          ...(format.scheme === 'affine' && {
            lows: Float32Array.from({ length }, (_, i) => -size * (1 + (i % 3) / 4)),
          }),
        },
      };
      const all = { ...options, seed, first, ...range };
      const stored = cpu.quantize(x, all);
      expect(stored).toEqual(wide.quantize(fromHalves(x), all));
      expect(cpu.dequantize(stored, options)).toEqual(toHalves(wide.dequantize(stored, options)));
    }),
    { numRuns: 300 },
  );
});

describe.each(layouts)('$bits bits, $scheme, $axis', (format) => {
  test('groups longer than a piece', () => {
    const [rows, n] = format.axis === 'row' ? [2, 2500] : [2500, 6];
    const options = { ...format, rows, n, groupSize: 0 };
    const x = toHalves(random(1).normals(rows * n));
    const stored = cpu.quantize(x, options);
    expect(stored).toEqual(wide.quantize(fromHalves(x), options));
    expect(cpu.dequantize(stored, options)).toEqual(toHalves(wide.dequantize(stored, options)));
  });

  test('every half there is, NaN and infinity among them', () => {
    const options = { ...format, rows: 256, n: 256, groupSize: 32, scaleType: 'f16' } as const;
    const x = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const stored = cpu.quantize(x, options);
    expect(stored).toEqual(reference.quantize(x, options));
    expect(cpu.dequantize(stored, options)).toEqual(reference.dequantize(stored, options));
  });
});

test.each(implementations)(
  'past the largest half infinite, ties to even, a broken group NaN, %s',
  (_, { dequantize }) => {
    const options = { rows: 1, n: 64, bits: 3, groupSize: 32, scheme: 'affine', axis: 'row' } as const;
    const at = (scales: number[], minima: number[]) => {
      const floats = { scales: Float32Array.from(scales), minima: Float32Array.from(minima) };
      const back = dequantize({ codes: new Uint32Array(6), ...floats }, options);
      return [back[0], back[32]];
    };
    expect(at([1, 1], [65519, 65520])).toEqual([0x7bff, 0x7c00]);
    expect(at([1, 1], [2049, 2051])).toEqual([toHalf(2048), toHalf(2052)]);
    expect(at([1, NaN], [0, 0])).toEqual([0, 0x7e00]);
  },
);

test('scratch, and errors that name the kernel', () => {
  const options = { rows: 8192, n: 128, bits: 3, groupSize: 32, scheme: 'affine', axis: 'column' } as const;
  expect(cpu.integersScratchBytes(options)).toBe(8192);
  expect(cpu.integersScratchBytes({ ...options, n: 4096 })).toBe(4 * 4 * 4096);
  expect(cpu.integersScratchBytes({ ...options, groupSize: 0 })).toBe(4 * 16 * 8192);
  expect(() => cpu.integersScratchBytes({ ...options, groupSize: 24 })).toThrow('dequantize_integers_f16: "groupSize"');
  const small = { ...options, rows: 1, n: 16 };
  for (const [, { quantize }] of implementations) {
    expect(() => quantize(new Float32Array(16) as never, small)).toThrow(
      'quantize_integers_f16: "x" expected Uint16Array of length 16, got Float32Array of length 16',
    );
    expect(() => quantize(new Uint16Array(16), { ...small, bits: 5 })).toThrow(
      'quantize_integers_f16: "bits" expected',
    );
    expect(() => quantize(new Uint16Array(16), { ...small, range: { highs: new Float32Array(16) } })).toThrow(
      'quantize_integers_f16: "lows" expected Float32Array of length 16',
    );
  }
  const stored = cpu.quantize(new Uint16Array(16), small);
  expect(() => cpu.dequantize(stored, { ...small, out: new Float32Array(16) as never })).toThrow(
    'dequantize_integers_f16: "out" expected Uint16Array of length 16',
  );
  const kernels = cpu.instantiate(new WebAssembly.Memory({ initial: 1 }));
  const call = (x: number, scratch: number) => () =>
    kernels.quantize_integers_f16(x, 1, 32, 3, 32, 0, 0, 256, 322, 330, 1, 0, 0, 0, 0, scratch);
  expect(call(66, 1024)).not.toThrow();
  expect(call(65, 1024)).toThrow('quantize_integers_f16: "x" expected byte offset that is a multiple of 2, got 65');
  expect(call(66, 65536 - 4096)).toThrow('quantize_integers_f16: "scratch" expected');
});
