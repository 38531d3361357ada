import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AttentionBlocksparseOptions, AttentionDecodeOptions, Blocks } from '../ts/contract/attention.js';
import * as cpu from '../ts/cpu/attention.js';
import { type AttentionInputs, attentionScratchBytes, instantiate } from '../ts/cpu/attention.js';
import * as cpuHalf from '../ts/cpu/attention-f16.js';
import { softmaxMerge } from '../ts/cpu/softmax.js';
import { toHalves } from '../ts/half.js';
import * as reference from '../ts/reference/attention.js';
import spec from './attention.spec.js';
import halfSpec from './attention-f16.spec.js';
import { judge } from './lib/check.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';

const golden = (name: string) => {
  const file = `test/golden/attention/${name}.npy`;
  return readNpy(new Uint8Array(readFileSync(file)), file);
};
const floats = (name: string) => golden(name).data as Float32Array;
const inputsOf = (name: string): AttentionInputs => ({
  q: floats(`${name}_q`),
  k: floats(`${name}_k`),
  v: floats(`${name}_v`),
});
const outputsOf = (name: string) => ({ output: floats(`${name}_out`), lse: floats(`${name}_lse`) });

/** What is wrong with `got` by the spec's own tolerances. */
function faultOf(
  inputs: AttentionInputs,
  options: AttentionBlocksparseOptions | AttentionDecodeOptions,
  got: object,
  want: object,
): string | undefined {
  const kernel = 'queries' in options ? spec.attention_blocksparse_f32! : spec.attention_decode_f32!;
  return judge(kernel, 'cpu', { ...got }, { ...want }, { ...inputs }, options).fault;
}

/** A block mask [heads, queryBlocks, keyBlocks] of 0 and 1 in CSR. */
function csr(name: string, block: number): Blocks {
  const { data, shape } = golden(name);
  const [heads, rows, columns] = shape as [number, number, number];
  const indptr: number[] = [];
  const indices: number[] = [];
  for (let head = 0; head < heads; head++) {
    indptr.push(indices.length);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++)
        if (data[(head * rows + row) * columns + column]) indices.push(column);
      indptr.push(indices.length);
    }
  }
  return {
    indptr: Uint32Array.from(indptr),
    indices: Uint32Array.from(indices),
    blockQueries: block,
    blockKeys: block,
    perHead: true,
  };
}

describe.each([
  ['cpu', cpu],
  ['reference', reference],
] as const)('golden arrays of torch in float64, %s', (_, { attentionBlocksparse, attentionDecode }) => {
  test('one query per head, grouped heads', () => {
    const options = { heads: 4, kvHeads: 2, keys: 7, headDim: 32 };
    const inputs = inputsOf('decode_sk7');
    expect(faultOf(inputs, options, attentionDecode(inputs, options), outputsOf('decode_sk7'))).toBeUndefined();
    const one = { ...options, queries: 1 };
    expect(faultOf(inputs, one, attentionBlocksparse(inputs, one), outputsOf('decode_sk7'))).toBeUndefined();
  });

  test('causal, fewer queries than keys, odd sizes', () => {
    const options = { heads: 3, kvHeads: 1, queries: 37, keys: 53, headDim: 40, causal: true };
    const inputs = inputsOf('prefill_odd');
    expect(faultOf(inputs, options, attentionBlocksparse(inputs, options), outputsOf('prefill_odd'))).toBeUndefined();
  });

  test('sliding window', () => {
    const options = { heads: 1, kvHeads: 1, queries: 48, keys: 48, headDim: 64, window: 32 };
    const inputs = inputsOf('sliding_left31');
    expect(
      faultOf(inputs, options, attentionBlocksparse(inputs, options), outputsOf('sliding_left31')),
    ).toBeUndefined();
  });

  test.each([
    ['bs16_d30_causal', 256, true],
    ['bs16_ragged', 245, false],
  ] as const)('block mask %s', (name, n, causal) => {
    const options = {
      heads: 1,
      kvHeads: 1,
      queries: n,
      keys: n,
      headDim: 32,
      causal,
      blocks: csr(`${name}_blockmask`, 16),
    };
    const { q, k, v } = inputsOf('bs16');
    const inputs = { q: q.slice(0, n * 32), k: k.slice(0, n * 32), v: v.slice(0, n * 32) };
    expect(faultOf(inputs, options, attentionBlocksparse(inputs, options), outputsOf(name))).toBeUndefined();
  });
});

/** Sizes and a seed, small enough for many runs. */
const shapes = fc.record({
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.constantFrom(1, 2, 3, 4, 5, 8, 9),
  queries: fc.integer({ min: 1, max: 40 }),
  keys: fc.integer({ min: 0, max: 150 }),
  headDim: fc.integer({ min: 1, max: 33 }),
  valueDim: fc.integer({ min: 1, max: 33 }),
  softcap: fc.constantFrom(0, 0, 2, 30),
  seed: fc.integer(),
});

type Shape = typeof shapes extends fc.Arbitrary<infer T> ? T : never;

function setUp({ kvHeads, group, seed, ...rest }: Shape) {
  const options = { ...rest, kvHeads, heads: kvHeads * group };
  const r = random(seed);
  const inputs = {
    q: r.normals(options.heads * options.queries * options.headDim),
    k: r.normals(kvHeads * options.keys * options.headDim),
    v: r.normals(kvHeads * options.keys * options.valueDim),
  };
  return { options, inputs, r };
}

describe('properties', () => {
  test('equals the reference under random masks', () => {
    const masks = fc.record({
      causal: fc.boolean(),
      window: fc.constantFrom(0, 0, 1, 17),
      blockQueries: fc.constantFrom(16, 32, 48, 128),
      blockKeys: fc.constantFrom(16, 32, 80, 112),
      perHead: fc.boolean(),
      density: fc.constantFrom(0.2, 0.6, 1),
    });
    fc.assert(
      fc.property(shapes, masks, (shape, { causal, window, blockQueries, blockKeys, perHead, density }) => {
        const { options, inputs, r } = setUp(shape);
        const indptr: number[] = [];
        const indices: number[] = [];
        for (let head = 0; head < (perHead ? options.heads : 1); head++) {
          indptr.push(indices.length);
          for (let row = 0; row < options.queries; row += blockQueries) {
            for (let b = 0; b * blockKeys < options.keys; b++) if (r.uniform() < density) indices.push(b);
            indptr.push(indices.length);
          }
        }
        const blocks = {
          indptr: Uint32Array.from(indptr),
          indices: Uint32Array.from(indices),
          blockQueries,
          blockKeys,
          perHead,
        };
        const all = { ...options, causal, window, blocks };
        expect(
          faultOf(inputs, all, cpu.attentionBlocksparse(inputs, all), reference.attentionBlocksparseF64(inputs, all)),
        ).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });

  test('a full block mask is the dense answer, bit for bit', () => {
    fc.assert(
      fc.property(shapes, fc.boolean(), (shape, causal) => {
        const { options, inputs } = setUp(shape);
        const keyBlocks = Math.ceil(options.keys / 64);
        const rows = Math.ceil(options.queries / 64);
        const blocks = {
          indptr: Uint32Array.from({ length: rows + 1 }, (_, i) => i * keyBlocks),
          indices: Uint32Array.from({ length: rows * keyBlocks }, (_, i) => i % keyBlocks),
          blockQueries: 64,
          blockKeys: 64,
        };
        expect(cpu.attentionBlocksparse(inputs, { ...options, causal, blocks })).toEqual(
          cpu.attentionBlocksparse(inputs, { ...options, causal }),
        );
      }),
      { numRuns: 20 },
    );
  });

  test('decoding is block-sparse attention of one query', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        // Where more dimensions leave room for them, decode takes more keys at a time, and adds in another order.
        const { options, inputs } = setUp({ ...shape, queries: 1, valueDim: Math.min(shape.valueDim, 32) });
        const { queries, ...decode } = options;
        expect(cpu.attentionDecode(inputs, decode)).toEqual(cpu.attentionBlocksparse(inputs, { ...decode, queries }));
      }),
      { numRuns: 30 },
    );
  });

  test('states of split keys merge to the state of all keys', () => {
    fc.assert(
      fc.property(shapes, fc.array(fc.nat(), { maxLength: 4 }), (shape, cuts) => {
        const { options, inputs } = setUp({ ...shape, queries: 1 });
        const { queries, ...decode } = options;
        const ends = [0, ...cuts.map((cut) => cut % (decode.keys + 1)), decode.keys].sort((a, b) => a - b);
        const states = ends.slice(1).map((to, i) => cpu.attentionDecode(inputs, { ...decode, from: ends[i]!, to }));
        const merged = softmaxMerge(states, { rows: decode.heads, n: decode.valueDim });
        expect(faultOf(inputs, decode, merged, reference.attentionDecodeF64(inputs, decode))).toBeUndefined();
      }),
      { numRuns: 40 },
    );
  });

  test('equal values come back', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const { options, inputs } = setUp(shape);
        inputs.v.fill(3);
        const { output, lse } = cpu.attentionBlocksparse(inputs, { ...options, causal: true });
        output.forEach((x, i) => {
          const seen = lse[Math.floor(i / options.valueDim)]! > -Infinity;
          expect(Math.abs(x - (seen ? 3 : 0))).toBeLessThan(3 * 200 * 2 ** -24);
        });
      }),
      { numRuns: 30 },
    );
  });
});

test.each([cpu, reference])('no queries, no keys', ({ attentionBlocksparse }) => {
  const none = new Float32Array(0);
  const some = new Float32Array(8);
  const options = { heads: 2, kvHeads: 1, headDim: 2 };
  expect(attentionBlocksparse({ q: none, k: some, v: some }, { ...options, queries: 0, keys: 4 })).toEqual({
    output: none,
    lse: none,
  });
  expect(attentionBlocksparse({ q: some, k: none, v: none }, { ...options, queries: 2, keys: 0 })).toEqual({
    output: some,
    lse: new Float32Array(4).fill(-Infinity),
  });
});

describe('huge scores', () => {
  test('the largest wins alone', () => {
    const k = Float32Array.of(1, -1, 2, 0).map((x) => x * 1e18);
    const { output, lse } = cpu.attentionDecode(
      { q: Float32Array.of(1e19), k, v: Float32Array.of(1, 2, 3, 4) },
      { heads: 1, kvHeads: 1, keys: 4, headDim: 1 },
    );
    expect(output).toEqual(Float32Array.of(3));
    expect(lse[0]! / 2e37).toBeCloseTo(1, 6);
  });

  test('beyond f32 they are infinite: -inf is masked, +inf makes the row NaN', () => {
    const options = { heads: 2, kvHeads: 1, keys: 2, headDim: 1, scale: 1 };
    const { output, lse } = cpu.attentionDecode(
      { q: Float32Array.of(-1e30, 1e30), k: Float32Array.of(1e30, 1e30), v: Float32Array.of(1, 2) },
      options,
    );
    expect(output).toEqual(Float32Array.of(0, Number.NaN));
    expect(lse).toEqual(Float32Array.of(-Infinity, Number.NaN));
  });
});

// Few heads take halves for finite, and look again where one is not: at the first, a middle and the last key, of few and many.
describe.each([1, 4, 6, 9])('halves that are infinite or NaN, %i heads on a kv head', (group) => {
  const [kvHeads, headDim] = [2, 8];
  const heads = group * kvHeads;
  const kernel = halfSpec.attention_decode_f16!;
  test.each([5, 64, 1500])('%i keys', (keys) => {
    const r = random(keys);
    const [q, k, v] = [heads, kvHeads * keys, kvHeads * keys].map((rows) => toHalves(r.normals(rows * headDim)));
    const [infinity, nan] = [0x7c00, 0x7e00];
    // Values must not be infinite.
    for (const key of [0, keys >> 1, keys - 1])
      for (const [name, half] of [
        ['k', infinity],
        ['k', infinity | 0x8000],
        ['k', nan],
        ['v', nan],
      ] as const) {
        const inputs = { q: q!, k: k!.slice(), v: v!.slice() };
        inputs[name][(keys + key) * headDim + 3] = half;
        const options = { heads, kvHeads, keys, headDim };
        const want = kernel.reference(inputs, options);
        const got = cpuHalf.attentionDecode(inputs, options);
        const fault = judge(kernel, 'cpu', { ...got }, want, inputs, options).fault;
        expect(fault, `${name}, key ${key}, ${half.toString(16)}`).toBeUndefined();
      }
  });
});

test('of the inputs only q, k and v are looked at: what else an object holds is not written', () => {
  const options = { heads: 1, kvHeads: 1, keys: 1, headDim: 1 };
  const [q, output, lse] = [Float32Array.of(1), Float32Array.of(7), Float32Array.of(7)];
  const inputs = { q, k: q, v: q, output, lse };
  cpu.attentionDecode(inputs, options);
  cpu.attentionBlocksparse(inputs, { ...options, queries: 1 });
  expect([...output, ...lse]).toEqual([7, 7]);
});

describe('faults', () => {
  const inputs = { q: new Float32Array(32 * 4), k: new Float32Array(32 * 4), v: new Float32Array(32 * 4) };
  const options = { heads: 1, kvHeads: 1, queries: 32, keys: 32, headDim: 4 };
  const blocks = { indptr: Uint32Array.of(0, 1, 2), indices: Uint32Array.of(0, 1), blockQueries: 16, blockKeys: 16 };
  /** What each layer says, the CPU first. */
  const messages = (change: object) =>
    [cpu, reference].map(({ attentionBlocksparse }) => {
      try {
        attentionBlocksparse(inputs, { ...options, ...change });
        return 'accepted';
      } catch (error) {
        return String(error);
      }
    });

  test.each([
    [
      { heads: 3, kvHeads: 2 },
      'RangeError: attention_blocksparse_f32: "heads" expected multiple of kvHeads (2), got 3',
    ],
    [{ headDim: 257 }, 'RangeError: attention_blocksparse_f32: "headDim" expected integer in [1, 256], got 257'],
    [{ headDim: 0 }, 'RangeError: attention_blocksparse_f32: "headDim" expected integer in [1, 256], got 0'],
    [{ valueDim: '4' }, 'TypeError: attention_blocksparse_f32: "valueDim" expected integer in [1, 256], got "4"'],
    [{ scale: Number.NaN }, 'RangeError: attention_blocksparse_f32: "scale" expected finite number, got NaN'],
    [{ softcap: -1 }, 'RangeError: attention_blocksparse_f32: "softcap" expected number of at least 0, got -1'],
    [{ causal: 1 }, 'TypeError: attention_blocksparse_f32: "causal" expected boolean, got 1'],
    [{ window: -1 }, 'RangeError: attention_blocksparse_f32: "window" expected integer in [0, 1073741824], got -1'],
    [
      { keys: 31 },
      'RangeError: attention_blocksparse_f32: "k" expected Float32Array of length 124, got Float32Array of length 128',
    ],
    [
      { blocks: { ...blocks, blockKeys: 24 } },
      'RangeError: attention_blocksparse_f32: "blockKeys" expected multiple of 16, got 24',
    ],
    [
      { blocks: { ...blocks, blockQueries: 144 } },
      'RangeError: attention_blocksparse_f32: "blockQueries" expected integer in [16, 128], got 144',
    ],
    [
      { blocks: { ...blocks, indptr: [0, 1, 2] } },
      'TypeError: attention_blocksparse_f32: "indptr" expected Uint32Array, got Array',
    ],
    [
      { blocks: { ...blocks, perHead: true, indptr: Uint32Array.of(0, 1) } },
      'RangeError: attention_blocksparse_f32: "indptr" expected Uint32Array of length 3, got Uint32Array of length 2',
    ],
    [
      { blocks: { ...blocks, indptr: Uint32Array.of(0, 2, 1) } },
      'RangeError: attention_blocksparse_f32: "indptr[2]" expected integer in [2, 2], got 1',
    ],
    [
      { blocks: { ...blocks, indptr: Uint32Array.of(0, 1, 9) } },
      'RangeError: attention_blocksparse_f32: "indptr[2]" expected integer in [1, 2], got 9',
    ],
    [
      { blocks: { ...blocks, indices: Uint32Array.of(0, 2) } },
      'RangeError: attention_blocksparse_f32: "indices[1]" expected integer in [0, 1], got 2',
    ],
  ])('%o', (change, expected) => {
    expect(messages(change)).toEqual([expected, expected]);
  });

  test('decode ranges', () => {
    const range = (from: number, to: number) => () =>
      cpu.attentionDecode(
        { ...inputs, q: inputs.q.slice(0, 4) },
        { heads: 1, kvHeads: 1, keys: 32, headDim: 4, from, to },
      );
    expect(range(0, 33)).toThrow(new RangeError('attention_decode_f32: "to" expected integer in [0, 32], got 33'));
    expect(range(9, 8)).toThrow(new RangeError('attention_decode_f32: "from" expected integer in [0, 8], got 9'));
  });

  test('the raw kernel skips a block out of range, reports it, and reads nothing outside under any indptr', () => {
    const memory = new WebAssembly.Memory({ initial: 4 });
    const { raw } = instantiate(memory);
    const scratch = 65536;
    const u32 = new Uint32Array(memory.buffer);
    const f32 = new Float32Array(memory.buffer);
    const [q, k, v, indptr, indices, output, lse, status] = [256, 1024, 2048, 3072, 3200, 4096, 5120, 5376] as const;
    const r = random(5);
    for (const at of [q, k, v]) f32.set(r.normals(128), at / 4);
    const call = (length: number) =>
      raw.attention_blocksparse_f32(
        q,
        k,
        v,
        1,
        1,
        32,
        32,
        4,
        4,
        0.5,
        0,
        0,
        0,
        indptr,
        indices,
        length,
        16,
        16,
        0,
        output,
        lse,
        scratch,
        status,
      );
    u32.set([0, 3, 4], indptr / 4);
    u32.set([1, 77, 0xffffffff, 0], indices / 4);
    call(4);
    expect(u32[status / 4]).toBe(2);
    const skipped = f32.slice(output / 4, output / 4 + 128);
    u32.set([0, 1, 2], indptr / 4);
    u32.set([1, 0], indices / 4);
    call(2);
    expect(u32[status / 4]).toBe(0);
    expect(skipped).toEqual(f32.slice(output / 4, output / 4 + 128));
    for (const bad of [
      [0, 0xffffffff, 0xfffffff0],
      [7, 1, 2],
      [0xffffffff, 0, 1],
    ]) {
      u32.set(bad, indptr / 4);
      call(2);
      expect(f32.slice(output / 4, output / 4 + 128).every(Number.isFinite)).toBe(true);
    }
    expect(attentionScratchBytes({ headDim: 4 })).toBeLessThan(131072);
  });
});
