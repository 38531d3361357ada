import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as cpu from '../ts/cpu/codebook.js';
import { allocate, release } from '../ts/cpu/runtime.js';
import * as reference from '../ts/reference/codebook.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';

const { AF4, codebook, DYNAMIC8, DYNAMIC8_UNSIGNED, FP4, LINEAR8, lloydMax, NF4 } = cpu;

const root = new URL('..', import.meta.url);
const golden = <T = Float32Array>(name: string) =>
  readNpy(Uint8Array.from(readFileSync(new URL(`test/golden/codebook/${name}.npy`, root))), name).data as T;

const implementations = [['reference', reference] as const, ['cpu', cpu] as const];
const rows = 24;
const n = 1024;
const f32 = Math.fround;

describe('tables', () => {
  test.each([
    ['nf4', NF4],
    ['fp4', FP4],
    ['af4', AF4],
    ['dynamic8_signed', DYNAMIC8],
    ['dynamic8_unsigned', DYNAMIC8_UNSIGNED],
    ['linear8_signed', LINEAR8],
  ])("%s is bitsandbytes'", (name, table) => expect(table).toEqual(golden(`code_${name}_f32`)));

  test("lloydMax: the values of Max's paper (1960, table 1)", () => {
    for (const [bits, published] of [
      [1, [0.798]],
      [2, [0.4528, 1.51]],
      [3, [0.2451, 0.756, 1.344, 2.152]],
      [4, [0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733]],
    ] as const) {
      const table = lloydMax(bits);
      expect(table.length).toBe(2 ** bits);
      published.forEach((value, i) => {
        expect(Math.abs(table[2 ** (bits - 1) + i]! - value)).toBeLessThan(6e-4);
        expect(table[2 ** (bits - 1) - 1 - i]).toBe(-table[2 ** (bits - 1) + i]!);
      });
    }
    expect(lloydMax(1)[1]).toBe(f32(Math.sqrt(2 / Math.PI)));
    expect(() => lloydMax(7)).toThrow('lloydMax: "bits" expected integer in [1, 6], got 7');
  });
});

describe.each(implementations)(
  "golden values (bitsandbytes' Python path), %s",
  (_, { codebookQuantize, codebookDequantize }) => {
    const x = () => golden('input_f32');

    test.each([
      ['nf4', NF4, 32],
      ['nf4', NF4, 64],
      ['nf4', NF4, 128],
      ['fp4', FP4, 32],
      ['fp4', FP4, 64],
      ['fp4', FP4, 128],
    ] as const)('%s, blocks of %3$i: bytes, scales, and back', (name, table, groupSize) => {
      const packed = golden<Uint8Array>(`${name}_bs${groupSize}_packed`);
      // Blocks in flattened order, and rows of whole blocks, are the same.
      for (const shape of [
        { rows, n },
        { rows: 1, n: rows * n },
      ]) {
        const options = { ...shape, bits: 4, groupSize, nibbles: 'high' } as const;
        const { codes, scales } = codebookQuantize(x(), table, options);
        expect(Buffer.compare(codes, packed)).toBe(0);
        if (groupSize !== 64) continue;
        expect(scales).toEqual(golden(`${name}_bs64_absmax_f32`));
        if (name === 'nf4')
          expect(codebookDequantize({ codes, scales: scales! }, table, options)).toEqual(
            golden('nf4_bs64_dequant_f32'),
          );
      }
    });

    test.each([64, 256])('dynamic 8 bits, blocks of %i', (groupSize) => {
      const options = { rows, n, bits: 8, groupSize };
      const { codes, scales } = codebookQuantize(x(), DYNAMIC8, options);
      expect(Buffer.compare(codes, golden<Uint8Array>(`dyn8_bs${groupSize}_codes_python`))).toBe(0);
      expect(scales).toEqual(golden(`dyn8_bs${groupSize}_absmax_f32`));
    });

    test('nested: the scales of NF4, less their mean, as dynamic 8 bits in blocks of 256', () => {
      // The golden array was made of 19 rows, of which the first, third, ... are among ours; its scales stand for the others.
      const offset = f32(140.0346221923828);
      const nested = golden('nested_absmax_absmax_f32');
      const want = golden<Uint8Array>('nested_absmax_codes');
      const absmax = golden('nf4_bs64_absmax_f32');
      for (let block = 0; block < 2; block++) {
        const places = [...want.keys()].filter((i) => Math.floor(i / 256) === block && Math.floor(i / 16) % 2 === 0);
        const own = Float32Array.from(places, (i) => absmax[16 * Math.floor(i / 32) + (i % 16)]! - offset);
        const x = Float32Array.of(...own, nested[block]!);
        const { codes, scales } = codebookQuantize(x, DYNAMIC8, { rows: 1, n: x.length, bits: 8 });
        expect(scales![0]).toBe(nested[block]);
        expect([...codes.subarray(0, own.length)]).toEqual(places.map((i) => want[i]));
      }
    });
  },
);

describe('properties', () => {
  const options = fc.record({
    rows: fc.integer({ min: 1, max: 4 }),
    n: fc.integer({ min: 1, max: 90 }),
    bits: fc.integer({ min: 1, max: 8 }),
    groupSize: fc.constantFrom(0, 16, 32, 64),
    scale: fc.constantFrom('absmax' as const, 'rms' as const, 'none' as const),
    tables: fc.constantFrom('shared' as const, 'perColumn' as const),
    nibbles: fc.constantFrom('low' as const, 'high' as const),
  });

  test('no value of the table is nearer than the one that comes back', () => {
    fc.assert(
      fc.property(options, fc.integer(), (o, seed) => {
        const r = random(seed);
        const x = r.normals(o.rows * o.n);
        const table = r.normals(2 ** o.bits * (o.tables === 'perColumn' ? o.n : 1));
        const { codes, scales } = cpu.codebookQuantize(x, table, o);
        const back = cpu.codebookDequantize({ codes, scales: scales! }, table, o);
        const size = Math.min(o.groupSize || o.n, o.n);
        back.forEach((value, i) => {
          const [row, column] = [Math.floor(i / o.n), i % o.n];
          const s = scales?.[row * Math.ceil(o.n / size) + Math.floor(column / size)] ?? 1;
          const own =
            o.tables === 'perColumn' ? table.subarray(column * 2 ** o.bits, (column + 1) * 2 ** o.bits) : table;
          const best = Math.min(...own.map((t) => Math.abs(t * s - x[i]!)));
          expect(Math.abs(value - x[i]!)).toBeLessThanOrEqual(best + 1e-6 * (Math.abs(x[i]!) + Math.abs(value)));
        });
      }),
      { numRuns: 200 },
    );
  });

  test('what comes back gives the same codes again, unscaled', () => {
    fc.assert(
      fc.property(options, fc.integer(), (given, seed) => {
        const o = { ...given, scale: 'none' as const };
        const r = random(seed);
        const book = codebook(r.normals(2 ** o.bits * (o.tables === 'perColumn' ? o.n : 1)), o);
        const once = cpu.codebookQuantize(r.normals(o.rows * o.n), book, o);
        expect(cpu.codebookQuantize(cpu.codebookDequantize(once, book, o), book, o)).toEqual(once);
      }),
    );
  });
});

describe('public functions', () => {
  const o = { rows: 2, n: 32, bits: 4 } as const;

  test('a short table', () => {
    const table = Float32Array.of(-1, 0, 1);
    const { codes, scales } = cpu.codebookQuantize(Float32Array.of(-3, 3, 0.1, 2), table, { rows: 1, n: 4, bits: 2 });
    expect([...codes]).toEqual([0b10_01_10_00]);
    expect(cpu.codebookDequantize({ codes, scales: scales! }, table, { rows: 1, n: 4, bits: 2 })).toEqual(
      Float32Array.of(-3, 3, 0, 3),
    );
  });

  test('arrays of the caller, in the kernels’ memory too', () => {
    const x = allocate(Float32Array, 64);
    x.set(random(1).normals(64));
    const codes = allocate(Uint8Array, 32);
    const scales = new Float32Array(2);
    const stored = cpu.codebookQuantize(x, NF4, { ...o, out: { codes, scales } });
    expect(stored.codes).toBe(codes);
    expect(stored.scales).toBe(scales);
    expect(stored).toEqual(reference.codebookQuantize(x, NF4, o));
    const out = new Float32Array(64);
    expect(cpu.codebookDequantize(stored, codebook(NF4, o), { ...o, out })).toBe(out);
    expect(out).toEqual(reference.codebookDequantize(stored, NF4, o));
    release(x);
  });

  const x = new Float32Array(64);
  const fault = (run: () => unknown, Kind: new (message: string) => Error, text: string) =>
    expect(run).toThrow(new Kind(text));

  test.each(implementations)('errors, %s', (_, { codebookQuantize, codebookDequantize }) => {
    const quantize =
      (options: object, table: unknown = NF4) =>
      () =>
        codebookQuantize(x, table as Float32Array, { ...o, ...options });
    fault(quantize({ bits: 9 }), RangeError, 'codebook_quantize_f32: "bits" expected integer in [1, 8], got 9');
    fault(
      quantize({ groupSize: 20 }),
      RangeError,
      'codebook_quantize_f32: "groupSize" expected multiple of 16, or the whole row (0, or at least 32), got 20',
    );
    fault(
      quantize({ scale: 'max' }),
      RangeError,
      'codebook_quantize_f32: "scale" expected "absmax" or "rms" or "none", got "max"',
    );
    fault(quantize({ bits: 3 }), RangeError, 'codebook: "table" expected 2 to 8 values, got Float32Array of length 16');
    fault(
      quantize({}, [1, 2]),
      TypeError,
      'codebook: "table" expected Float32Array or what codebook() made, got Array',
    );
    fault(quantize({}, Float32Array.of(1, NaN)), RangeError, 'codebook: "table[1]" expected finite number, got NaN');
    fault(
      quantize({}, codebook(lloydMax(2), { bits: 2 })),
      RangeError,
      'codebook: "bits" expected 2, the table\'s, got 4',
    );
    fault(
      () => codebookDequantize({ codes: new Uint8Array(32) }, NF4, o),
      TypeError,
      'codebook_dequantize_f32: "scales" expected Float32Array of length 2, got undefined',
    );
  });

  test('faults in data, by pointers', () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const kernels = cpu.instantiate(memory);
    new Float32Array(memory.buffer, 256, 4).set([0, 2, 1, Infinity]);
    const call = (order: number) => () => kernels.codebook_quantize_f32(64, 256, order, 1, 4, 2, 0, 0, 0, 0, 512, 600);
    fault(call(0), RangeError, 'codebook_quantize_f32: "thresholds[2]" expected number not below thresholds[1], got 1');
    new Float32Array(memory.buffer, 256, 4).set([0, 1, 2, Infinity]);
    new Uint8Array(memory.buffer, 300, 4).set([0, 1, 4, 2]);
    fault(call(300), RangeError, 'codebook_quantize_f32: "order[2]" expected code below 4, got 4');
    call(0)();
  });
});
