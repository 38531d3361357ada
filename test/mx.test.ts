import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FORMATS, isNv, type MxFormat, type MxOptions, mx_quantize_f32, SCALINGS } from '../ts/contract/mx.js';
import * as cpu from '../ts/cpu/mx.js';
import { supports } from '../ts/cpu/runtime.js';
import * as reference from '../ts/reference/mx.js';
import { random } from './lib/random.js';
import { readSafetensors } from './lib/tensors.js';

const file = new URL('golden/mx/mx.safetensors', import.meta.url);
const tensors = readSafetensors(Uint8Array.from(readFileSync(file)), 'mx.safetensors');
const f32 = (name: string) => tensors.get(name)!.data as Float32Array;
const u8 = (name: string) => tensors.get(name)!.data as Uint8Array;

const DECODE: Record<string, string> = {
  mxfp4: 'float4_e2m1fn',
  mxfp6_e2m3: 'float6_e2m3fn',
  mxfp6_e3m2: 'float6_e3m2fn',
  mxfp8_e4m3: 'float8_e4m3fn',
  mxfp8_e5m2: 'float8_e5m2',
};
const FLOATS = Object.keys(DECODE) as MxFormat[];
/** Exponents of the largest elements: with a greatest magnitude in that binade the scale is 1. */
const TOP: Record<string, number> = { mxfp4: 4, mxfp6_e2m3: 4, mxfp6_e3m2: 16, mxfp8_e4m3: 256, mxfp8_e5m2: 32768 };

/** Through one level's pointers. */
function atLevel(level: 'simd' | 'relaxed') {
  const memory = new WebAssembly.Memory({ initial: 8 });
  const kernels = cpu.instantiate(memory, { level });
  const [X, CODES, SCALES, OUT] = [64, 150_000, 300_000, 320_000] as const;
  const numbers = (o: MxOptions) => {
    const { format, bits, blockSize, scaling, rounding, unpacked, tensorScale } = mx_quantize_f32.params(o);
    return [format!, [bits!, blockSize!, scaling!, rounding!, unpacked!, tensorScale!] as const] as const;
  };
  return {
    mxQuantize(x: Float32Array, o: MxOptions): cpu.MxQuantized {
      const [format, rest] = numbers(o);
      const lengths = mx_quantize_f32.lengths(mx_quantize_f32.params(o));
      new Float32Array(memory.buffer, X, x.length).set(x);
      kernels.mx_quantize_f32(X, o.rows, o.n, format, CODES, SCALES, ...rest);
      return {
        codes: new Uint8Array(memory.buffer, CODES, lengths.codes!).slice(),
        scales: new Uint8Array(memory.buffer, SCALES, lengths.scales!).slice(),
      };
    },
    mxDequantize({ codes, scales }: cpu.MxQuantized, o: MxOptions): Float32Array {
      const [format, rest] = numbers(o);
      new Uint8Array(memory.buffer, CODES, codes.length).set(codes);
      new Uint8Array(memory.buffer, SCALES, scales.length).set(scales);
      kernels.mx_dequantize_f32(CODES, SCALES, o.rows, o.n, format, OUT, ...rest);
      return new Float32Array(memory.buffer, OUT, o.rows * o.n).slice();
    },
  };
}

const implementations = [
  ['reference', reference] as const,
  ['cpu', cpu] as const,
  ...(['simd', 'relaxed'] as const)
    .filter(supports)
    .map((level) => [`cpu ${level}, pointers`, atLevel(level)] as const),
];

describe.each(implementations)("golden values (torchao's and others'), %s", (_, { mxQuantize, mxDequantize }) => {
  const x = f32('x');
  const shape = { rows: 12, n: 256 };

  test.each(FLOATS)('torchao to_mx: %s, every scaling', (format) => {
    for (const scaling of SCALINGS) {
      const unpacked = format.startsWith('mxfp6');
      const { codes, scales } = mxQuantize(x, { ...shape, format, scaling, unpacked });
      expect(scales).toEqual(u8(`${format}.${scaling}.scales`));
      expect(codes).toEqual(u8(`${format}.${scaling}.codes`));
    }
  });

  test.each([...FLOATS, 'mxint8'] as MxFormat[])('microxcaling: %s, every rounding', (format) => {
    for (const rounding of ['even', 'away', 'floor'] as const) {
      const { codes } = mxQuantize(x, { ...shape, format, rounding, unpacked: true });
      // It drops the sign of a zero that it was given.
      const unsigned = codes.map((code, i) => (x[i] === 0 ? 0 : code));
      expect(unsigned).toEqual(u8(`${format}.microxcaling.${rounding}`));
    }
  });

  test('torchao nvfp4_quantize, one and two levels', () => {
    for (const [name, rows, tensorScale] of [
      ['nv', 12, 1],
      ['nv2', 8, 0.008134809322655201],
    ] as const) {
      const stored = mxQuantize(f32(`${name}.x`), { rows, n: 256, format: 'nvfp4', tensorScale });
      expect(stored).toEqual({ codes: u8(`${name}.codes`), scales: u8(`${name}.scales`) });
    }
  });

  test.each(FLOATS)('ml_dtypes casts: %s', (format) => {
    const top = TOP[format]!;
    const codes = u8(`elem.${format}`);
    const inputs = f32('elem.x');
    const within = [...inputs.keys()].filter((i) => Math.abs(inputs[i]!) < 2 * top);
    const rows = within.flatMap((i) => [top, inputs[i]!, ...new Array(14).fill(0)]);
    const options = { rows: within.length, n: 16, blockSize: 16, format, unpacked: true };
    const stored = mxQuantize(Float32Array.from(rows), options);
    expect(new Set(stored.scales)).toEqual(new Set([127]));
    // Past the largest value ml_dtypes has NaN or infinity in 8 bits; we saturate.
    const special = format === 'mxfp8_e4m3' ? 0x7f : format === 'mxfp8_e5m2' ? 0x7c : 0x80;
    const kept = within.map((i) => ((codes[i]! & 0x7f) >= special ? (codes[i]! & 0x80) | (special - 1) : codes[i]!));
    expect(within.map((_, row) => stored.codes[16 * row + 1])).toEqual(kept);
  });

  test('every code and every scale', () => {
    for (const format of FLOATS) {
      const want = f32(`decode.${DECODE[format]}`);
      const codes = Uint8Array.from({ length: Math.max(32, want.length) }, (_, i) => i % want.length);
      const options = { rows: 1, n: codes.length, format, unpacked: true };
      const values = mxDequantize({ codes, scales: new Uint8Array(codes.length / 32).fill(127) }, options);
      expect(values).toEqual(Float32Array.from(codes, (code) => want[code]!));
    }
    const scales = Uint8Array.from({ length: 256 }, (_, i) => i);
    const values = mxDequantize(
      { codes: new Uint8Array(256 * 32).fill(64), scales },
      { rows: 256, n: 32, format: 'mxint8' },
    );
    expect(values.filter((_, i) => i % 32 === 7)).toEqual(f32('decode.float8_e8m0fnu'));
  });
});

const anyRule = fc
  .record({
    format: fc.constantFrom(...FORMATS),
    bits: fc.integer({ min: 3, max: 8 }),
    blockSize: fc.constantFrom(undefined, 16, 32, 64),
    rounding: fc.constantFrom('even', 'away', 'floor'),
    scaling: fc.constantFrom(...SCALINGS),
    unpacked: fc.boolean(),
    tensorScale: fc.constantFrom(1, 0.01, 1e-12, 333),
  })
  .map(({ format, bits, blockSize, rounding, scaling, unpacked, tensorScale }) => ({
    format,
    rounding: rounding as 'even' | 'away' | 'floor',
    unpacked,
    ...(blockSize ? { blockSize } : {}),
    ...(format === 'bfp' ? { bits } : {}),
    ...(isNv(FORMATS.indexOf(format)) ? { tensorScale } : { scaling }),
  }));

describe('properties', () => {
  test('the reference on any bits, and back on any bytes', () => {
    fc.assert(
      fc.property(anyRule, fc.integer({ min: 1, max: 150 }), fc.integer(), (rule, n, seed) => {
        const options = { rows: 2, n, ...rule };
        const r = random(seed);
        const x = new Float32Array(r.words(2 * n).buffer);
        const want = reference.mxQuantize(x, options);
        const got = cpu.mxQuantize(x, options);
        expect(got).toEqual(want);
        const bytes = { codes: r.bytes(got.codes.length), scales: r.bytes(got.scales.length) };
        for (const stored of [got, bytes])
          expect(cpu.mxDequantize(stored, options)).toEqual(reference.mxDequantize(stored, options));
      }),
      { numRuns: 400 },
    );
  });

  test('one scale for near values: the reference on normals of any size', () => {
    fc.assert(
      fc.property(
        anyRule,
        fc.integer({ min: 1, max: 1300 }),
        fc.integer({ min: -40, max: 40 }),
        fc.integer(),
        (rule, n, size, seed) => {
          const options = { rows: 2, n, ...rule };
          const x = random(seed).normals(2 * n, 2 ** size);
          const got = cpu.mxQuantize(x, options);
          expect(got).toEqual(reference.mxQuantize(x, options));
          expect(cpu.mxDequantize(got, options)).toEqual(reference.mxDequantize(got, options));
        },
      ),
    );
  });

  test('what was quantised once comes back the same when quantised again', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FLOATS, 'mxint8' as const), fc.integer(), (format, seed) => {
        const options = { rows: 3, n: 70, format };
        const once = cpu.mxDequantize(cpu.mxQuantize(random(seed).normals(210), options), options);
        expect(cpu.mxDequantize(cpu.mxQuantize(once, options), options)).toEqual(once);
      }),
    );
  });

  test('bfp of 8 bits is mxint8', () => {
    const x = random(3).normals(5 * 90);
    const int8 = cpu.mxQuantize(x, { rows: 5, n: 90, format: 'mxint8' });
    expect(cpu.mxQuantize(x, { rows: 5, n: 90, format: 'bfp', bits: 8 })).toEqual(int8);
  });

  test('rceil saturates nothing, and no smaller power of two would do', () => {
    const MOST: Record<string, number> = {
      mxfp4: 6,
      mxfp6_e2m3: 7.5,
      mxfp6_e3m2: 28,
      mxfp8_e4m3: 448,
      mxfp8_e5m2: 57344,
    };
    for (const format of FLOATS) {
      const x = random(5).normals(32 * 100, 3);
      const { scales } = cpu.mxQuantize(x, { rows: 100, n: 32, format, scaling: 'rceil' });
      for (const [row, byte] of scales.entries()) {
        const largest = Math.max(...x.subarray(32 * row, 32 * row + 32).map(Math.abs)) / 2 ** (byte - 127);
        expect(largest).toBeLessThanOrEqual(MOST[format]!);
        expect(2 * largest).toBeGreaterThan(MOST[format]!);
      }
    }
  });
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe('the layout', () => {
  const x = Float32Array.of(0.5, 1, 1.5, 2, 3, 4, -6);

  test('4 bits: the first element in the low nibble', () => {
    const { codes, scales } = cpu.mxQuantize(x, { rows: 1, n: 7, format: 'mxfp4' });
    expect([hex(codes), hex(scales)]).toEqual(['2143650f', '7f']);
  });

  test('6 bits: four elements in three bytes, low bits first', () => {
    const { codes } = cpu.mxQuantize(x, { rows: 1, n: 7, format: 'mxfp6_e2m3' });
    const of = [4, 8, 12, 16, 20, 24, 0x20 | 28];
    expect(cpu.mxQuantize(x, { rows: 1, n: 7, format: 'mxfp6_e2m3', unpacked: true }).codes).toEqual(
      Uint8Array.from(of),
    );
    const number = of.reduce((sum, code, i) => sum + (BigInt(code) << BigInt(6 * i)), 0n);
    expect([...codes]).toEqual([0, 1, 2, 3, 4, 5].map((i) => Number((number >> BigInt(8 * i)) & 255n)));
  });

  test('rows start bytes, blocks end with their row', () => {
    const two = Float32Array.from({ length: 2 * 33 }, (_, i) => (i < 33 ? 1 : 2));
    const { codes, scales } = cpu.mxQuantize(two, { rows: 2, n: 33, format: 'mxfp4' });
    expect([codes.length, hex(scales)]).toEqual([34, '7d7d7e7e']);
    expect([codes[15], codes[16], codes[17]]).toEqual([0x66, 0x06, 0x66]);
  });

  test('bfp: two’s complement in fields of 4, 6 or 8 bits', () => {
    const v = Float32Array.of(1, -1, 0.5, -0.25);
    const at = (bits: number) => hex(cpu.mxQuantize(v, { rows: 1, n: 4, format: 'bfp', bits }).codes);
    expect([at(3), at(4), at(6), at(8)]).toEqual(['e201', 'c4f2', '108cf0', '40c020f0']);
  });
});

describe('blocks that are not plain', () => {
  test('zeros, NaN, infinity', () => {
    const x = new Float32Array(96);
    x[40] = Infinity;
    x[95] = NaN;
    for (const [format, zero, nan] of [
      ['mxfp4', 0, 255],
      ['mxint8', 0, 255],
      ['nvfp4', 0x08, 0x7f],
      ['nvfp4_ue5m3', 0x08, 0xff],
    ] as const) {
      const options = { rows: 1, n: 96, blockSize: 32, format };
      const stored = cpu.mxQuantize(x, options);
      expect([...stored.scales]).toEqual([zero, nan, nan]);
      expect(new Set(stored.codes)).toEqual(new Set([0]));
      const values = cpu.mxDequantize(stored, options);
      expect([values[0], values[32], values[64]]).toEqual([0, NaN, NaN]);
    }
  });

  test('values past the range of scales saturate', () => {
    const options = { rows: 1, n: 16, format: 'nvfp4' } as const;
    const back = cpu.mxDequantize(cpu.mxQuantize(new Float32Array(16).fill(1e30), options), options);
    expect(back[0]).toBe(2688);
    const wide = { ...options, format: 'nvfp4_ue5m3' } as const;
    expect(cpu.mxDequantize(cpu.mxQuantize(new Float32Array(16).fill(1e30), wide), wide)[0]).toBe(6 * 114688);
  });
});

describe.each([
  ['cpu', cpu],
  ['reference', reference],
] as const)('errors, %s', (_, { mxQuantize, mxDequantize }) => {
  const options: MxOptions = { rows: 2, n: 48, format: 'mxfp4' };
  const x = new Float32Array(96);

  test.each([
    [{ format: 'fp4' }, RangeError, /^mx_quantize_f32: "format" expected "mxfp4" or .* or "nvfp4_ue5m3", got "fp4"$/],
    [{ format: undefined }, TypeError, /"format" expected "mxfp4" or .*, got undefined$/],
    [{ bits: 4 }, RangeError, 'mx_quantize_f32: "bits" expected nothing: only bfp has a choice, got 4'],
    [{ format: 'bfp' }, RangeError, 'mx_quantize_f32: "bits" expected integer in [3, 8], got 0'],
    [{ format: 'bfp', bits: 9 }, RangeError, 'mx_quantize_f32: "bits" expected integer in [3, 8], got 9'],
    [{ blockSize: 24 }, RangeError, 'mx_quantize_f32: "blockSize" expected 16, 32 or 64, got 24'],
    [{ blockSize: 0 }, RangeError, 'mx_quantize_f32: "blockSize" expected 16, 32 or 64, got 0'],
    [{ scaling: 'round' }, RangeError, /"scaling" expected "floor" or "ceil" or "even" or "rceil", got "round"$/],
    [
      { format: 'nvfp4', scaling: 'even' },
      RangeError,
      /"scaling" expected nothing: only E8M0 scales have a choice, got "even"$/,
    ],
    [{ rounding: 1 }, TypeError, /"rounding" expected "even" or "away" or "floor", got 1$/],
    [{ unpacked: 1 }, TypeError, 'mx_quantize_f32: "unpacked" expected boolean, got 1'],
    [{ tensorScale: 2 }, RangeError, 'mx_quantize_f32: "tensorScale" expected nothing: only nvfp4 has one, got 2'],
    [{ format: 'nvfp4', tensorScale: -1 }, RangeError, /"tensorScale" expected number from 2\^-100 to 2\^100, got -1$/],
    [
      { format: 'nvfp4', tensorScale: NaN },
      RangeError,
      'mx_quantize_f32: "tensorScale" expected finite number, got NaN',
    ],
    [{ n: 0 }, RangeError, 'mx_quantize_f32: "n" expected integer in [1, 4294967295], got 0'],
    [
      { rows: 3 },
      RangeError,
      'mx_quantize_f32: "x" expected Float32Array of length 144, got Float32Array of length 96',
    ],
  ])('%j', (wrong, kind, message) => {
    const call = () => mxQuantize(x, { ...options, ...wrong } as MxOptions);
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });

  test('mxDequantize names the array', () => {
    const { codes, scales } = mxQuantize(x, options);
    expect(() => mxDequantize({ codes, scales: scales.subarray(1) }, options)).toThrow(
      'mx_dequantize_f32: "scales" expected Uint8Array of length 4, got Uint8Array of length 3',
    );
    expect(() => mxDequantize({ codes, scales }, { ...options, format: 'mxfp8_e4m3' })).toThrow(
      'mx_dequantize_f32: "codes" expected Uint8Array of length 96, got Uint8Array of length 48',
    );
  });
});

test('pointer calls: what is left out is the default', () => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const kernels = cpu.instantiate(memory);
  const x = random(9).normals(64);
  new Float32Array(memory.buffer, 64, 64).set(x);
  const format = FORMATS.indexOf('nvfp4');
  kernels.mx_quantize_f32(64, 2, 32, format, 1001, 2001);
  const { codes, scales } = cpu.mxQuantize(x, { rows: 2, n: 32, format: 'nvfp4' });
  expect(new Uint8Array(memory.buffer, 1001, 32)).toEqual(codes);
  expect(new Uint8Array(memory.buffer, 2001, 4)).toEqual(scales);
  expect(() => kernels.mx_quantize_f32(64, 2, 32, 9, 1001, 2001)).toThrow(
    new RangeError('mx_quantize_f32: "format" expected integer in [0, 8], got 9'),
  );
  expect(() => kernels.mx_quantize_f32(64, 2, 32, 0, 1001, 1010)).toThrow('that does not overlap "scales"');
});
