/** The CPU runtime: other people's memory, shared memory, several modules in one, arrays in place, errors before effects. */
import { describe, expect, test } from 'vitest';
import { hadamard, instantiate as instantiateHadamard } from '../ts/cpu/hadamard.js';
import { instantiate as instantiateQuantize } from '../ts/cpu/quantize.js';
import { allocate, memory, release, reserve, supports } from '../ts/cpu/runtime.js';
import { instantiate as instantiateTopk, topk } from '../ts/cpu/topk.js';
import { instantiate as instantiateHalfTopk, topkScratchBytes } from '../ts/cpu/topk-f16.js';
import { LanewiseUnsupportedError } from '../ts/errors.js';
import { toHalves } from '../ts/half.js';
import { cpu, references } from './generated/registry.js';

const x = Float32Array.of(3, 1, 4, 1, 5, 9, 2, 6);

describe.each([false, true])('one memory, shared: %s', (shared) => {
  const make = () => new WebAssembly.Memory({ initial: 2, maximum: 4, shared });

  test('two modules and another program use it side by side', () => {
    const target = make();
    const hadamardKernels = instantiateHadamard(target);
    const topkKernels = instantiateTopk(target);
    // The other program: whatever lies around our arrays stays as it is.
    const bytes = new Uint8Array(target.buffer).fill(0x5a);
    new Float32Array(target.buffer, 1024, 8).set(x);
    hadamardKernels.hadamard_f32(1024, 1, 8, 1, 0, 0, 2048);
    topkKernels.topk_f32(2048, 1, 8, 2, 3072, 4096);
    expect([...new Float32Array(target.buffer, 2048, 8)]).toEqual([31, -3, 5, -1, -13, 13, -7, -1]);
    expect([...new Float32Array(target.buffer, 3072, 2)]).toEqual([31, 13]);
    expect([...new Uint32Array(target.buffer, 4096, 2)]).toEqual([0, 5]);
    const ours = [
      [1024, 1056],
      [2048, 2080],
      [3072, 3080],
      [4096, 4104],
    ] as const;
    expect(bytes.every((byte, at) => byte === 0x5a || ours.some(([from, to]) => at >= from && at < to))).toBe(true);
  });

  test('the memory may grow after instantiation', () => {
    const target = make();
    const kernels = instantiateTopk(target);
    target.grow(2);
    const end = target.buffer.byteLength;
    new Float32Array(target.buffer, end - 32, 8).set(x);
    kernels.topk_f32(end - 32, 1, 8, 1, 0, 4);
    expect(new Float32Array(target.buffer, 0, 1)[0]).toBe(9);
  });
});

test('every family offers instantiate with a raw and a checked face of the same kernels', () => {
  for (const module of Object.values(cpu as unknown as Record<string, { instantiate: typeof instantiateTopk }>)) {
    const { raw, memory: own, level, ...checked } = module.instantiate(new WebAssembly.Memory({ initial: 1 }));
    expect(Object.keys(checked).sort()).toEqual(Object.keys(raw).sort());
    expect(own).toBeInstanceOf(WebAssembly.Memory);
    expect(supports(level)).toBe(true);
  }
});

describe('pointer calls are checked before anything is written', () => {
  const target = new WebAssembly.Memory({ initial: 1 });
  const kernels = instantiateTopk(target);
  const cases: [title: string, call: () => void, message: string][] = [
    ['k', () => kernels.topk_f32(0, 1, 8, 9, 64, 128), 'topk_f32: "k" expected integer in [1, 8], got 9'],
    [
      'alignment',
      () => kernels.topk_f32(2, 1, 8, 1, 64, 128),
      'topk_f32: "x" expected byte offset that is a multiple of 4, got 2',
    ],
    [
      'bounds',
      () => kernels.topk_f32(65520, 1, 8, 1, 64, 128),
      'topk_f32: "x" expected array that ends within the memory\'s 65536 bytes, got 65552',
    ],
    [
      'fraction',
      () => kernels.topk_f32(0.5, 1, 8, 1, 64, 128),
      'topk_f32: "x" expected integer in [0, 4294967295], got 0.5',
    ],
    [
      'overlap',
      () => kernels.topk_f32(0, 1, 8, 1, 16, 128),
      'topk_f32: "values" expected range that does not overlap "x" (bytes 0 to 32), got 16',
    ],
  ];
  test.each(cases)('%s', (_, call, message) => {
    const bytes = new Uint8Array(target.buffer).fill(7);
    expect(call).toThrow(new RangeError(message));
    expect(bytes.every((byte) => byte === 7)).toBe(true);
  });
});

test('an array left out of a pointer call is named, and nothing is written; 0 that is said is a place', () => {
  const target = new WebAssembly.Memory({ initial: 2 });
  const bytes = new Uint8Array(target.buffer).fill(7);
  const half = instantiateHalfTopk(target);
  const left = (call: () => void, message: string) => {
    expect(call).toThrow(new TypeError(message));
    expect(bytes.every((byte) => byte === 7)).toBe(true);
  };
  const scratch = `topk_f16: "scratch" expected byte offset of Uint32Array of length ${topkScratchBytes({ n: 64, k: 2 }) / 4}`;
  const { topk_f16 } = half as unknown as Record<string, (...args: unknown[]) => void>;
  left(() => topk_f16!(32768, 1, 64, 2, 40000, 41000), `${scratch}, got undefined`);
  left(() => topk_f16!(32768, 1, 64, 2, 40000, 41000, 0, null), `${scratch}, got null`);
  left(
    () => topk_f16!(undefined, 1, 64, 2, 40000, 41000, 0, 65536),
    'topk_f16: "x" expected byte offset of Uint16Array of length 64, got undefined',
  );
  // Minima are optional, but affine groups have them.
  left(
    () => instantiateQuantize(target).quantize_f32(64, 1, 32, 4, 32, 0, 0, 1024, 2048, 0),
    'quantize_f32: "minima" expected byte offset of Float32Array of length 1, got 0',
  );
  new Uint16Array(target.buffer, 32768, 64).set(toHalves(Float32Array.from({ length: 64 }, (_, i) => i)));
  topk_f16!(32768, 1, 64, 2, 40000, 41000, 0, 0);
  expect([...new Uint32Array(target.buffer, 41000, 2)]).toEqual([63, 62]);
});

describe('typed arrays', () => {
  test('wrong kinds are TypeErrors, wrong sizes RangeErrors', () => {
    expect(() => topk([1, 2] as unknown as Float32Array, { rows: 1, n: 2, k: 1 })).toThrow(
      new TypeError('topk_f32: "x" expected Float32Array of length 2, got Array'),
    );
    expect(() => topk(new Float64Array(2) as unknown as Float32Array, { rows: 1, n: 2, k: 1 })).toThrow(TypeError);
    expect(() => topk(new Float32Array(3), { rows: 1, n: 2, k: 1 })).toThrow(
      new RangeError('topk_f32: "x" expected Float32Array of length 2, got Float32Array of length 3'),
    );
    expect(() => topk(x, undefined as never)).toThrow(TypeError);
    expect(() => topk(x, { rows: 1, n: '8' as never, k: 1 })).toThrow(
      new TypeError('topk_f32: "n" expected integer in [1, 16777216], got "8"'),
    );
  });

  // Functions of numbers alone, which take what JavaScript takes; no arrays, no options.
  const plain = ['ggmlTypeOf', 'hadamardOrder', 'hadamardMatrix', 'preload'];
  const functions = Object.entries(cpu as Record<string, object>).flatMap(([family, module]) =>
    Object.entries(module).flatMap(([name, f]) => {
      if (typeof f !== 'function' || plain.includes(name)) return [];
      const twin = (references as Record<string, Record<string, unknown>>)[family]?.[name];
      return [['cpu', f] as const, ['reference', twin] as const]
        .filter(([, each]) => typeof each === 'function')
        .map(([layer, each]) => [`${layer} ${family} ${name}`, each as (...args: unknown[]) => unknown] as const);
    }),
  );
  test.each(functions)('%s: whatever is missing is named', (_, call) => {
    const some = [undefined, null, -1, 'x', {}, new Float32Array(4)];
    for (const first of some)
      for (const second of some)
        for (const third of some) {
          const run = () => call(first, second, third);
          expect(run).toThrow(/^\w+: "[^"]+" expected .+, got /);
        }
  });

  test("arrays in the kernels' memory are used in place", () => {
    reserve(1 << 20);
    const input = allocate(Float32Array, 8);
    const out = allocate(Float32Array, 8);
    input.set(x);
    expect(hadamard(input, { rows: 1, n: 8, scale: 1, out })).toBe(out);
    expect(out.buffer).toBe(memory().buffer);
    expect([...out]).toEqual([31, -3, 5, -1, -13, 13, -7, -1]);
    hadamard(input, { rows: 1, n: 8, scale: 1, out: input });
    expect([...input]).toEqual([...out]);
    release(input);
    expect(allocate(Float32Array, 8).byteOffset).toBe(input.byteOffset);
    release(input);
  });

  test.each([
    ['quantize', 'quantize', 'x'],
    ['quantize', 'dequantize', 'out'],
    ['quantize-f16', 'dequantize', 'out'],
    ['integers', 'quantize', 'x'],
    ['integers', 'dequantize', 'out'],
    ['mx', 'mxQuantize', 'x'],
    ['mx', 'mxDequantize', 'out'],
    ['codebook', 'codebookQuantize', 'x'],
    ['codebook', 'codebookDequantize', 'out'],
    ['ggml', 'ggmlQuantize', 'x'],
    ['ggml', 'ggmlDequantize', 'out'],
    ['rotate', 'rotate', 'x'],
    ['rotate', 'rotateQuantize', 'x'],
    ['rotate', 'rotateDequantize', 'out'],
  ])('%s %s: what would be too large is an argument', (family, name, array) => {
    const options = { rows: 2 ** 31, n: 32, bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' };
    const formats: Record<string, object> = { mx: { format: 'mxfp4', bits: 0 }, ggml: { type: 'q4_0' } };
    const more = { ...options, ...formats[family] };
    for (const layer of [cpu, references] as unknown as Record<string, Record<string, (...args: unknown[]) => void>>[])
      expect(() => layer[family]![name]!(...(family === 'codebook' ? [x, x] : [x]), more)).toThrow(
        new RegExp(`^\\w+: "${array}" expected at most 4294967295 elements, got 68719476736$`),
      );
  });

  test('an array is released after the memory has grown, too', () => {
    const first = allocate(Float32Array, 16);
    const at = first.byteOffset;
    allocate(Uint8Array, memory().buffer.byteLength);
    expect(first.length).toBe(0);
    release(first);
    const again = allocate(Float32Array, 16);
    expect(again.byteOffset).toBe(at);
    release(again);
  });

  test('memory errors are named', () => {
    const types = 'one of Float32Array, Uint16Array, Uint32Array, Int32Array, Int16Array, Uint8Array, Int8Array';
    for (const [call, error] of [
      [() => allocate('x' as never, 3), new TypeError(`allocate: "type" expected ${types}, got "x"`)],
      [() => allocate(Float64Array as never, 3), new TypeError(`allocate: "type" expected ${types}, got Float64Array`)],
      [() => allocate(Int8Array, -1), new RangeError('allocate: "length" expected integer in [0, 4294967295], got -1')],
      [() => reserve(NaN), new RangeError('reserve: "bytes" expected integer in [0, 4294967295], got NaN')],
      [
        () => release(undefined as never),
        new TypeError('release: "array" expected array made by allocate(), got undefined'),
      ],
      [
        () => release(x),
        new RangeError('release: "array" expected array made by allocate(), got Float32Array of length 8'),
      ],
    ] as const)
      expect(call).toThrow(error);
  });

  test('results stay when later calls reuse and grow the memory', () => {
    const { values } = topk(x, { rows: 1, n: 8, k: 2 });
    topk(new Float32Array(8 << 20), { rows: 1, n: 8 << 20, k: 1 });
    expect([...values]).toEqual([9, 6]);
  });
});

test('a level the host lacks is a LanewiseUnsupportedError', () => {
  const target = new WebAssembly.Memory({ initial: 1 });
  if (supports('relaxed')) expect(instantiateTopk(target, { level: 'relaxed' }).level).toBe('relaxed');
  else expect(() => instantiateTopk(target, { level: 'relaxed' })).toThrow(LanewiseUnsupportedError);
  expect(() => instantiateTopk(target, { level: 'fast' as never })).toThrow(
    new RangeError('topk_f32: "level" expected "simd" or "relaxed", got "fast"'),
  );
  expect(() => instantiateTopk(target, { level: null as never })).toThrow(
    new TypeError('topk_f32: "level" expected "simd" or "relaxed", got null'),
  );
  expect(() => instantiateTopk({} as never)).toThrow(TypeError);
});
