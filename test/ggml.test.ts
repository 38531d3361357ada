import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as cpu from '../ts/cpu/ggml.js';
import { supports } from '../ts/cpu/runtime.js';
import * as reference from '../ts/reference/ggml.js';
import { random } from './lib/random.js';
import { readSafetensors } from './lib/tensors.js';

const { GGML_TYPES, GGML_WRITABLE, ggmlTypeOf } = cpu;
type Type = cpu.GgmlType;
type Writable = cpu.GgmlWritableType;
const TYPES = Object.keys(GGML_TYPES) as Type[];

const file = new URL('golden/ggml/ggml.safetensors', import.meta.url);
const tensors = readSafetensors(Uint8Array.from(readFileSync(file)), 'ggml.safetensors');
const f32 = (name: string) => tensors.get(name)!.data as Float32Array;
const u8 = (name: string) => tensors.get(name)!.data as Uint8Array;

/** Rows whose values are kept. */
const TELLING = [0, 6, 8, 13, 16, 17, 20, 21];

/** Through one level's pointers, at an odd byte. */
function atLevel(level: 'simd' | 'relaxed') {
  const memory = new WebAssembly.Memory({ initial: 4 });
  const kernels = cpu.instantiate(memory, { level });
  const [VALUES, BLOCKS] = [64, 131_073] as const;
  const numbers = (type: Type | number) => (typeof type === 'number' ? type : GGML_TYPES[type].id);
  const sizeOf = (o: { rows: number; n: number; type: Type | number }) => {
    const { block, bytes } = GGML_TYPES[ggmlTypeOf(numbers(o.type))!];
    return ((o.rows * o.n) / block) * bytes;
  };
  return {
    ggmlQuantize(x: Float32Array, o: cpu.GgmlQuantizeOptions): Uint8Array {
      new Float32Array(memory.buffer, VALUES, x.length).set(x);
      kernels.ggml_quantize_f32(VALUES, o.rows, o.n, numbers(o.type), BLOCKS);
      return new Uint8Array(memory.buffer, BLOCKS, sizeOf(o)).slice();
    },
    ggmlDequantize(blocks: Uint8Array, o: cpu.GgmlDequantizeOptions): Float32Array {
      new Uint8Array(memory.buffer, BLOCKS, blocks.length).set(blocks);
      kernels.ggml_dequantize_f32(BLOCKS, o.rows, o.n, numbers(o.type), VALUES);
      return new Float32Array(memory.buffer, VALUES, o.rows * o.n).slice();
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

describe.each(implementations)("ggml's golden values, %s", (_, { ggmlQuantize, ggmlDequantize }) => {
  test.each(GGML_WRITABLE)('blocks of %s', (type) => {
    expect(ggmlQuantize(f32('x'), { rows: 23, n: 256, type })).toEqual(u8(`${type}.blocks`));
  });

  test.each(TYPES.filter((type) => type !== 'q8_1'))('values of %s', (type) => {
    const stored = u8(`${type}.blocks`);
    const { block, bytes } = GGML_TYPES[type];
    const rowBytes = (256 / block) * bytes;
    const written = (GGML_WRITABLE as readonly Type[]).includes(type);
    const blocks = Uint8Array.from(
      TELLING.flatMap((row, i) => [...stored.subarray((written ? row : i) * rowBytes).subarray(0, rowBytes)]),
    );
    expect(ggmlDequantize(blocks, { rows: 8, n: 256, type })).toEqual(f32(`${type}.values`));
  });
});

/** The largest step of a block's codes by its values: the error is half of it, but for what an f16 scale and a clipped code add. */
const BOUNDS: Record<Writable, (x: Float32Array) => number> = {
  // The value across from the largest, 8d, would be the code 16: it is clipped by a whole step.
  q4_0: (x) => most(x) / 8,
  q4_1: (x) => range(x) / 30 + most(x) * 2 ** -11,
  q5_0: (x) => most(x) / 16,
  q5_1: (x) => range(x) / 62 + most(x) * 2 ** -11,
  q8_0: (x) => most(x) / 254,
  q8_1: (x) => most(x) / 254,
  // The widest gap, 89 to 113, is 24 of 127 wide, and the value across from the largest is clipped by 14; the scale that least squares
  // finds may be off by as much again.
  iq4_nl: (x) => (28 / 127) * most(x),
  // The scale is 2^(e-2) where x is below 2^(e+1): from 6 to 8 of its units clipped, 4 to 6 with a step of 2.
  mxfp4: (x) => most(x) / 4,
  // In each 16 the largest is 6 units, of steps of 2, and the scale has three bits.
  nvfp4: (x) => most(x) / 6 + most(x) / 16,
  // Levels -d, 0 and d.
  tq1_0: (x) => most(x) / 2,
  tq2_0: (x) => most(x) / 2,
  q2_0: (x) => most(x) / 2,
  // The mean magnitude with the value's sign.
  q1_0: (x) => most(x),
};
const most = (x: Float32Array) => x.reduce((size, v) => Math.max(size, Math.abs(v)), 0);
const range = (x: Float32Array) => Math.max(...x) - Math.min(...x);

describe('there and back', () => {
  test.each(GGML_WRITABLE)('%s: no value is further away than its step allows', (type) => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: -5, max: 8 }),
        fc.integer({ min: -20, max: 20 }),
        (seed, size, offset) => {
          const { block } = GGML_TYPES[type];
          const x = random(seed)
            .normals(2 * block, 2 ** size)
            .map((v) => v + (offset * 2 ** size) / 4);
          const options = { rows: 2, n: block, type };
          const back = cpu.ggmlDequantize(cpu.ggmlQuantize(x, options), options);
          const part = type === 'nvfp4' ? 16 : block;
          for (let i = 0; i < x.length; i += part) {
            const own = x.subarray(i, i + part);
            // Codes are found with the f32 scale, values with the f16 one: a relative 2^-11 more.
            const bound = BOUNDS[type](own) + most(own) * 2 ** -10;
            for (const [j, v] of own.entries()) expect(Math.abs(back[i + j]! - v)).toBeLessThanOrEqual(bound);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  test('whatever the bytes: the CPU reads what the reference reads', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TYPES), fc.integer(), fc.integer({ min: 0, max: 6 }), (type, seed, count) => {
        const { block, bytes } = GGML_TYPES[type];
        const blocks = random(seed).bytes(count * bytes);
        const options = { rows: 1, n: count * block, type };
        expect(cpu.ggmlDequantize(blocks, options)).toEqual(reference.ggmlDequantize(blocks, options));
      }),
      { numRuns: 300 },
    );
  });

  test('whatever the floats: the CPU writes what the reference writes', () => {
    fc.assert(
      fc.property(fc.constantFrom(...GGML_WRITABLE), fc.integer(), fc.boolean(), (type, seed, wild) => {
        const n = 2 * GGML_TYPES[type].block;
        const source = random(seed);
        const x = wild ? new Float32Array(source.words(n).buffer) : source.normals(n, 2 ** source.int(-30, 30));
        const options = { rows: 1, n, type };
        expect(cpu.ggmlQuantize(x, options)).toEqual(reference.ggmlQuantize(x, options));
      }),
      { numRuns: 500 },
    );
  });
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe('the layout', () => {
  const ramp = Float32Array.from({ length: 32 }, (_, i) => i - 16);

  test('low nibbles are the first half of a block', () => {
    const q4 = cpu.ggmlQuantize(ramp, { rows: 1, n: 32, type: 'q4_0' });
    // d = 2 (0x4000), values 0 and 16 are codes 0 and 8.
    expect(hex(q4)).toBe(`0040${'80 91 91 a2 a2 b3 b3 c4 c4 d5 d5 e6 e6 f7 f7 f8'.replaceAll(' ', '')}`);
  });

  test('fifth bits: value i has bit i', () => {
    const q5 = cpu.ggmlQuantize(ramp, { rows: 1, n: 32, type: 'q5_0' });
    expect(hex(q5.subarray(0, 6))).toBe('003c0000ffff');
    expect(hex(q5.subarray(6))).toBe('00112233445566778899aabbccddeeff');
  });

  test('MXFP4: the scale byte first; NVFP4: four of them', () => {
    const x = new Float32Array(64).fill(6);
    expect(hex(cpu.ggmlQuantize(x, { rows: 2, n: 32, type: 'mxfp4' }))).toBe(`7f${'77'.repeat(16)}`.repeat(2));
    expect(hex(cpu.ggmlQuantize(x, { rows: 1, n: 64, type: 'nvfp4' }))).toBe(`38383838${'77'.repeat(32)}`);
  });

  test('Q8_1 keeps the sum of its values', () => {
    const q8 = cpu.ggmlQuantize(new Float32Array(32).fill(127), { rows: 1, n: 32, type: 'q8_1' });
    // 32 · 127 = 4064 in f16.
    expect(hex(q8.subarray(0, 4))).toBe('003cf06b');
  });
});

test('blocks may lie at any byte of a file, and `out` may be given', () => {
  const x = random(3).normals(512);
  for (const type of GGML_WRITABLE) {
    const options = { rows: 2, n: 256, type };
    const blocks = cpu.ggmlQuantize(x, options);
    const bytes = new Uint8Array(blocks.length + 12);
    for (const at of [1, 3, 7]) {
      const place = bytes.subarray(at, at + blocks.length);
      expect(cpu.ggmlQuantize(x, { ...options, out: place })).toBe(place);
      expect(place).toEqual(blocks);
      expect([...bytes.subarray(0, at), ...bytes.subarray(at + blocks.length)]).toEqual(new Array(12).fill(0));
      const out = new Float32Array(512);
      expect(cpu.ggmlDequantize(place, { ...options, out })).toBe(out);
      expect(out).toEqual(reference.ggmlDequantize(blocks, options));
      bytes.fill(0);
    }
  }
});

test('a type by its number in a file is the type', () => {
  const x = random(4).normals(256);
  for (const type of GGML_WRITABLE)
    expect(cpu.ggmlQuantize(x, { rows: 1, n: 256, type: GGML_TYPES[type].id })).toEqual(
      cpu.ggmlQuantize(x, { rows: 1, n: 256, type }),
    );
  expect([2, 14, 39, 0, 16].map((id) => ggmlTypeOf(id))).toEqual(['q4_0', 'q6_K', 'mxfp4', undefined, undefined]);
});

describe.each([
  ['cpu', cpu],
  ['reference', reference],
] as const)('errors, %s', (_, { ggmlQuantize, ggmlDequantize }) => {
  const x = new Float32Array(64);

  test.each([
    [{ type: 'q4_1x' }, RangeError, /^ggml_quantize_f32: "type" expected "q4_0" or .* or "q2_0", got "q4_1x"$/],
    [{ type: 'q6_K' }, RangeError, /^ggml_quantize_f32: "type" expected "q4_0" or .* or "q2_0", got "q6_K"$/],
    [{ type: undefined }, TypeError, /^ggml_quantize_f32: "type" expected "q4_0" or .*, got undefined$/],
    [{ type: 14 }, RangeError, /^ggml_quantize_f32: "type" expected 2 \(q4_0\), .*, 42 \(q2_0\), got 14$/],
    [{ type: 2.5 }, RangeError, /^ggml_quantize_f32: "type" expected integer in \[0, 4294967295\], got 2.5$/],
    [{ n: 33 }, RangeError, 'ggml_quantize_f32: "n" expected multiple of 32, got 33'],
    [{ n: 32, rows: 2, type: 'nvfp4' }, RangeError, 'ggml_quantize_f32: "n" expected multiple of 64, got 32'],
    [{ rows: -1 }, RangeError, 'ggml_quantize_f32: "rows" expected integer in [0, 4294967295], got -1'],
    [
      { rows: 3 },
      RangeError,
      'ggml_quantize_f32: "x" expected Float32Array of length 192, got Float32Array of length 64',
    ],
  ])('%j', (wrong, kind, message) => {
    const call = () => ggmlQuantize(x, { rows: 1, n: 64, type: 'q4_0', ...wrong } as cpu.GgmlQuantizeOptions);
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });

  test('a file cut short', () => {
    expect(() => ggmlDequantize(new Uint8Array(209), { rows: 1, n: 256, type: 'q6_K' })).toThrow(
      new RangeError('ggml_dequantize_f32: "blocks" expected Uint8Array of length 210, got Uint8Array of length 209'),
    );
    expect(() => ggmlDequantize(new Uint8Array(210), { rows: 1, n: 256, type: 16 })).toThrow(
      /^ggml_dequantize_f32: "type" expected 2 \(q4_0\), .*, got 16$/,
    );
  });
});
