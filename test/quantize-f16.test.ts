/** Integer codes of halves: the public functions against those of f32 and the reference. */
import { describe, expect, test } from 'vitest';
import * as wide from '../ts/cpu/quantize.js';
import * as cpu from '../ts/cpu/quantize-f16.js';
import { fromHalves, toHalves } from '../ts/half.js';
import * as reference from '../ts/reference/quantize-f16.js';
import { random } from './lib/random.js';

const SCHEMES = ['affine', 'symmetric'] as const;
const AXES = ['row', 'column'] as const;
const formats = [2, 4, 8].flatMap((bits) =>
  SCHEMES.flatMap((scheme) => AXES.map((axis) => ({ bits, scheme, axis, groupSize: 32 }))),
);

describe.each(formats)('$bits bits, $scheme, $axis', (format) => {
  test.each([
    [33, 48],
    [5, 1],
    [35, 67],
    [3, 1025],
    [2, 3],
  ])('%i x %i: codes of the widened values, values rounded once', (rows, n) => {
    const options = { ...format, rows, n };
    const x = toHalves(random(rows).normals(rows * n));
    const stored = cpu.quantize(x, options);
    expect(stored).toEqual(wide.quantize(fromHalves(x), options));
    expect(cpu.dequantize(stored, options)).toEqual(toHalves(wide.dequantize(stored, options)));
  });

  test('every half there is, NaN and infinity among them', () => {
    const options = { ...format, rows: 256, n: 256 };
    const x = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const stored = cpu.quantize(x, options);
    expect(stored).toEqual(reference.quantize(x, options));
    expect(fromHalves(cpu.dequantize(stored, options))).toEqual(fromHalves(reference.dequantize(stored, options)));
  });
});

test('values past the largest half are infinite, ties go to even, a broken group is NaN', () => {
  const options = { rows: 1, n: 64, bits: 8, groupSize: 32, scheme: 'affine', axis: 'row' } as const;
  const codes = new Uint32Array(16);
  const at = (scales: number[], minima: number[]) =>
    cpu.dequantize({ codes, scales: Float32Array.from(scales), minima: Float32Array.from(minima) }, options);
  const big = at([1, 1], [65519, 65520]);
  expect([big[0], big[32]]).toEqual([0x7bff, 0x7c00]);
  const ties = at([1, NaN], [2049, 0]);
  expect(fromHalves(ties)[0]).toBe(2048);
  expect(fromHalves(ties)[32]).toBeNaN();
});

test('errors name the f16 kernel and its arrays', () => {
  const options = { rows: 1, n: 16, bits: 4, groupSize: 0, scheme: 'symmetric', axis: 'row' } as const;
  for (const { quantize } of [cpu, reference])
    expect(() => quantize(new Float32Array(16) as never, options)).toThrow(
      /^quantize_f16: "x" expected Uint16Array of length 16/,
    );
  const stored = { codes: new Uint32Array(2), scales: new Float32Array(1) };
  expect(() => cpu.dequantize(stored, { ...options, out: new Float32Array(16) as never })).toThrow(
    /^dequantize_f16: "out" expected Uint16Array of length 16/,
  );
});
