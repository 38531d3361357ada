/** Attention on a quantised cache: the accuracy it promises on real keys and values, states that merge, errors. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { layerFrom } from '../bench/lib/bench.js';
import { root } from '../scripts/house.js';
import { attentionDecode } from '../ts/cpu/attention.js';
import { codebookQuantize, NF4 } from '../ts/cpu/codebook.js';
import { hadamard } from '../ts/cpu/hadamard.js';
import { dequantize, quantize } from '../ts/cpu/integers.js';
import * as halves from '../ts/cpu/integers-f16.js';
import { mxQuantize } from '../ts/cpu/mx.js';
import { attentionBlocksparseQuantized, attentionDecodeQuantized, type Stored } from '../ts/cpu/qattention.js';
import { allocate, release, reserve } from '../ts/cpu/runtime.js';
import { softmaxMerge } from '../ts/cpu/softmax.js';
import { fromHalves, toHalves } from '../ts/half.js';
import { attentionDecode as exactAttention } from '../ts/reference/attention.js';
import { attentionDecodeQuantized as reference } from '../ts/reference/qattention.js';
import { random } from './lib/random.js';
import { readNpy } from './lib/tensors.js';

const [heads, kvHeads, keys, headDim] = [4, 2, 1024, 64];
const shape = { rows: kvHeads * keys, n: headDim };
const kernel = 'attention_decode_quantized_f32';
const base = { heads, kvHeads, keys, headDim } as const;

type Side = { scheme: 'affine' | 'symmetric'; bits: number; axis: 'row' | 'column'; scaleType?: 'f32' | 'f16' };

function integers(x: Float32Array, side: Side, rows = shape.rows): Stored {
  return quantize(x, { rows, n: headDim, groupSize: 32, ...side });
}

const most = (x: Float32Array) => x.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
const apart = (a: Float32Array, b: Float32Array) => a.reduce((d, value, i) => Math.max(d, Math.abs(value - b[i]!)), 0);

/** What docs/qattention.md states of the captured layers, and what is measured there: outputs over the largest value, log-sum-exps. */
const stated = /outputs by up to (\S+) of the largest value, log-sum-exps by up to (\S+) /
  .exec(readFileSync(`${root}/docs/qattention.md`, 'utf8'))!
  .slice(1)
  .map(Number) as [number, number];
const worst: [number, number] = [0, 0];

describe.each(['kv-layer1', 'kv-layer4'])('%s', (name) => {
  const file = `bench/data/${name}.safetensors`;
  const { q: all, k, v } = layerFrom(readFileSync(`${root}/${file}`), file);
  /** The last position's query of each head. */
  const q = Float32Array.from({ length: heads * headDim }, (_, i) => {
    const head = Math.floor(i / headDim);
    return all[((head + 1) * keys - 1) * headDim + (i % headDim)]!;
  });

  /** Within what is stated of dequantising, then attention in float64. */
  function promised(stored: { k: Stored; v: Stored }, options: Parameters<typeof attentionDecodeQuantized>[1]) {
    const got = attentionDecodeQuantized({ q, ...stored }, options);
    const want = reference({ q, ...stored }, options);
    [apart(got.output, want.output) / most(v), apart(got.lse, want.lse)].forEach((error, i) => {
      expect(error).toBeLessThan(stated[i]!);
      worst[i] = Math.max(worst[i]!, error);
    });
  }

  test.each([8, 4, 3, 2])("KIVI's axes, %i bits", (bits) => {
    const stored = {
      k: integers(k, { scheme: 'affine', bits, axis: 'column' }),
      v: integers(v, { scheme: 'affine', bits, axis: 'row' }),
    };
    promised(stored, { ...base, kScheme: 'affine', kBits: bits, kAxis: 'column', vScheme: 'affine', vBits: bits });
  });

  test.each([8, 4, 3, 2])('symmetric per token, %i bits', (bits) => {
    const side = { scheme: 'symmetric', bits, axis: 'row' } as const;
    const stored = { k: integers(k, side), v: integers(v, side) };
    promised(stored, { ...base, kScheme: 'symmetric', kBits: bits, vScheme: 'symmetric', vBits: bits });
  });

  test.each([8, 4, 3, 2])("KIVI's axes, %i bits, f16 scales", (bits) => {
    const side = { scheme: 'affine', bits, scaleType: 'f16' } as const;
    const stored = { k: integers(k, { ...side, axis: 'column' }), v: integers(v, { ...side, axis: 'row' }) };
    const format = { kScheme: 'affine', kBits: bits, kAxis: 'column', vScheme: 'affine', vBits: bits } as const;
    promised(stored, { ...base, ...format, kScaleType: 'f16', vScaleType: 'f16' });
  });

  test.each([8, 4, 3, 2])('a cache made of halves goes in as it is, %i bits', (bits) => {
    const format = { ...shape, bits, groupSize: 32, scheme: 'affine', scaleType: 'f16' } as const;
    const [kHalves, vHalves] = [toHalves(k), toHalves(v)];
    const [kSide, vSide] = [{ ...format, axis: 'column' } as const, { ...format, axis: 'row' } as const];
    const stored = { k: halves.quantize(kHalves, kSide), v: halves.quantize(vHalves, vSide) };
    const options = {
      ...base,
      kScheme: 'affine',
      kBits: bits,
      kAxis: 'column',
      vScheme: 'affine',
      vBits: bits,
    } as const;
    promised(stored, { ...options, kScaleType: 'f16', vScaleType: 'f16' });
    // Exact attention over what the cache gives back as halves: off by their rounding alone.
    const [kBack, vBack] = [halves.dequantize(stored.k, kSide), halves.dequantize(stored.v, vSide)].map(fromHalves);
    const got = attentionDecodeQuantized({ q, ...stored }, { ...options, kScaleType: 'f16', vScaleType: 'f16' });
    const want = exactAttention({ q, k: kBack!, v: vBack! }, base);
    expect(apart(got.output, want.output) / most(v)).toBeLessThan(2e-3);
  });

  test('MXFP4 keys, NF4 values', () => {
    const nf4 = codebookQuantize(v, NF4, { ...shape, bits: 4, groupSize: 32 });
    const stored = { k: mxQuantize(k, { ...shape, format: 'mxfp4' }), v: { ...nf4, table: NF4 } };
    promised(stored, { ...base, kScheme: 'mxfp4', vScheme: 'codebook' });
  });

  test('a rotated cache: the query is rotated once, the output once', () => {
    const turn = (x: Float32Array) => hadamard(x, { rows: x.length / headDim, n: headDim });
    const side = { scheme: 'symmetric', bits: 8, axis: 'row' } as const;
    const stored = { k: integers(turn(k), side), v: integers(turn(v), side) };
    const options = { ...base, kScheme: 'symmetric', kBits: 8, vScheme: 'symmetric', vBits: 8 } as const;
    const { output } = attentionDecodeQuantized({ q: turn(q), ...stored }, options);
    const exact = attentionDecode({ q, k, v }, base).output;
    // What is left is the error of 8-bit codes.
    expect(apart(turn(output), exact) / most(v)).toBeLessThan(0.02);
  });
});

test('docs/qattention.md states no more than these layers need', () => {
  worst.forEach((error, i) => {
    expect(error).toBeGreaterThan(0.7 * stated[i]!);
  });
});

const format = { kScheme: 'affine', kAxis: 'column', vScheme: 'affine' } as const;
function small(count: number, group = 2) {
  const r = random(count);
  const [k, v] = [r.normals(count * headDim), r.normals(count * headDim)];
  const stored = {
    k: integers(k, { scheme: 'affine', bits: 4, axis: 'column' }, count),
    v: integers(v, { scheme: 'affine', bits: 4, axis: 'row' }, count),
  };
  const options = { heads: group, kvHeads: 1, keys: count, headDim, ...format };
  return { inputs: { q: r.normals(group * headDim), ...stored }, options };
}

test('two ranges of keys merge into the whole', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.double({ min: 0, max: 1, noNaN: true }), (count, share) => {
      const { inputs, options } = small(count);
      const at = Math.floor(share * count);
      const parts = [
        { from: 0, to: at },
        { from: at, to: count },
      ].map((range) => attentionDecodeQuantized(inputs, { ...options, ...range }));
      const merged = softmaxMerge(parts, { rows: 2, n: headDim });
      expect(apart(merged.output, attentionDecodeQuantized(inputs, options).output)).toBeLessThan(1e-3);
    }),
    { numRuns: 30 },
  );
});

test('recent keys join as if they had been stored without loss', () => {
  const { inputs, options } = small(96);
  const back = (side: Stored, axis: 'row' | 'column') =>
    dequantize(side as never, { rows: 96, n: headDim, bits: 4, groupSize: 32, scheme: 'affine', axis });
  const r = random(7);
  const recent = { kRecent: r.normals(5 * headDim), vRecent: r.normals(5 * headDim) };
  const join = (a: Float32Array, b: Float32Array) => Float32Array.of(...a, ...b);
  const got = attentionDecodeQuantized({ ...inputs, ...recent }, { ...options, recentKeys: 5 });
  const want = attentionDecode(
    { q: inputs.q, k: join(back(inputs.k, 'column'), recent.kRecent), v: join(back(inputs.v, 'row'), recent.vRecent) },
    { heads: 2, kvHeads: 1, keys: 101, headDim },
  );
  expect(apart(got.output, want.output)).toBeLessThan(1e-3);
});

test.each([1, 2, 4, 7, 8])('%i query heads on one: each as alone', (group) => {
  const { inputs, options } = small(70, group);
  const together = attentionDecodeQuantized(inputs, options).output;
  for (let head = 0; head < group; head++) {
    const q = inputs.q.slice(head * headDim, (head + 1) * headDim);
    const alone = attentionDecodeQuantized({ ...inputs, q }, { ...options, heads: 1 }).output;
    expect(apart(alone, together.subarray(head * headDim, (head + 1) * headDim))).toBeLessThan(1e-3);
  }
});

test('listed blocks are a range', () => {
  const { inputs, options } = small(128);
  const blocks = { indptr: Uint32Array.of(0, 2), indices: Uint32Array.of(3, 2), blockQueries: 16, blockKeys: 32 };
  const sparse = attentionBlocksparseQuantized(inputs, { ...options, queries: 1, blocks });
  const range = attentionDecodeQuantized(inputs, { ...options, from: 64, to: 128 });
  expect(apart(sparse.output, range.output)).toBeLessThan(1e-3);
});

test("KIVI's own codes of keys (2 bits) and values (4 bits), against attention over the values KIVI reads from them", () => {
  const golden = (name: string) => {
    const file = `test/golden/quantize/${name}.npy`;
    return readNpy(readFileSync(`${root}/${file}`), file).data;
  };
  const side = (name: string): Stored => ({
    codes: Uint32Array.from(golden(`${name}_codes`) as Int32Array),
    scales: Float32Array.from(golden(`${name}_scales`) as Float32Array),
    minima: Float32Array.from(golden(`${name}_minima`) as Float32Array),
  });
  const [k, v] = ['k_b2_values', 'v_b4_values'].map((name) => Float32Array.from(golden(name) as Float32Array));
  const one = { heads: 1, kvHeads: 1, keys: k!.length / headDim, headDim };
  const q = random(3).normals(headDim);
  const got = attentionDecodeQuantized(
    { q, k: side('k_b2'), v: side('v_b4') },
    { ...one, ...format, kBits: 2, vBits: 4 },
  );
  const want = exactAttention({ q, k: k!, v: v! }, one);
  expect(apart(got.output, want.output) / most(v!)).toBeLessThan(stated[0]);
});

test('what lies behind the keys in use changes nothing', () => {
  const { inputs, options } = small(64);
  const row = { ...options, kAxis: 'row' } as const;
  const k = integers(random(5).normals(64 * headDim), { scheme: 'affine', bits: 4, axis: 'row' }, 64);
  const clean = attentionDecodeQuantized({ ...inputs, k }, { ...row, keys: 40, capacity: 64 });
  const groups = headDim / 32;
  for (const side of [k, inputs.v])
    for (const array of [side.scales!, side.minima!]) array.fill(Number.NaN, 40 * groups);
  expect(attentionDecodeQuantized({ ...inputs, k }, { ...row, keys: 40, capacity: 64 })).toEqual(clean);
});

test('bytes of codes are words wherever they lie', () => {
  const { inputs, options } = small(32);
  const side = { rows: 32, n: headDim, format: 'mxfp4' } as const;
  const k = mxQuantize(random(9).normals(32 * headDim), side);
  const mx = { ...options, kScheme: 'mxfp4', kAxis: 'row' } as const;
  const want = attentionDecodeQuantized({ ...inputs, k }, mx);
  const off = new Uint8Array(k.codes.length + 1);
  off.set(k.codes, 1);
  reserve(1 << 20);
  const mine = allocate(Uint8Array, k.codes.length);
  mine.set(k.codes);
  for (const codes of [off.subarray(1), mine, new Uint32Array(k.codes.buffer)])
    for (const attend of [attentionDecodeQuantized, reference])
      expect(apart(attend({ ...inputs, k: { ...k, codes } }, mx).output, want.output)).toBeLessThan(1e-4);
  release(mine);
  for (const attend of [attentionDecodeQuantized, reference]) {
    expect(() => attend({ ...inputs, k: { ...k, codes: off } }, mx)).toThrow(
      new TypeError(`${kernel}: "kCodes" expected Uint32Array of length 256, got Uint8Array of length 1025`),
    );
    expect(() => attend({ ...inputs, k: { ...k, scales: new Float32Array(64) } }, mx)).toThrow(
      new TypeError(`${kernel}: "kExponents" expected Uint8Array of length 64, got Float32Array of length 64`),
    );
    expect(() => attend({ ...inputs, k }, options)).toThrow(
      new TypeError(`${kernel}: "kScales" expected Float32Array of length 64, got Uint8Array of length 64`),
    );
  }
});

test('errors name the argument, before anything is written', () => {
  const { inputs, options } = small(32);
  const call = (more: object, changed: object = {}) =>
    expect(() => attentionDecodeQuantized({ ...inputs, ...changed }, { ...options, ...more } as never));
  call({ kBits: 5 }).toThrow(/^attention_decode_quantized_f32: "kBits" expected 2, 3, 4 or 8, got 5$/);
  call({ headDim: 60 }).toThrow(/"headDim" expected multiple of 8, got 60/);
  call({ from: 9, to: 3 }).toThrow(/"from" expected integer in \[0, 3\], got 9/);
  call({ kScheme: 'nf4' }).toThrow(/"kScheme" expected "affine" or/);
  call({ kScaleType: 'f16' }).toThrow(/"kScales" expected Uint16Array of length 64, got Float32Array/);
  call({ kScheme: 'mxfp4', kAxis: 'row', kScaleType: 'f16' }).toThrow(/"kScaleType" expected f32 \(mxfp4\), got "f16"/);
  call({}, { k: { ...inputs.k, minima: undefined } }).toThrow(/"kMinima" expected Float32Array of length 64/);
  call({ recentKeys: 2 }).toThrow(/"kRecent" expected Float32Array of length 128/);
});
