/** What the GPU kernels of attention promise beyond the spec: faulty masks, scratch, composition, dispatches past one dimension. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attentionBlocksparse, attentionDecode } from '../ts/gpu/attention.js';
import type { Call } from '../ts/gpu/runtime.js';
import { softmaxMerge } from '../ts/gpu/softmax.js';
import * as reference from '../ts/reference/attention.js';
import { adapters, deviceOf } from './lib/adapters.js';
import { random } from './lib/random.js';

const { found, reason } = await adapters();
if (reason) console.log(`attention on the GPU skipped: ${reason}`);

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((most, x, i) => (x === b[i] ? most : Math.max(most, Math.abs(x - b[i]!))), 0);

describe.runIf(found.length)('attention on the GPU', () => {
  let device: GPUDevice;
  let errors: string[];
  // Compiled once: on a CPU adapter that takes longer than everything else.
  let decode: Awaited<ReturnType<typeof attentionDecode.compile>>;

  beforeAll(async () => {
    ({ device, errors } = await deviceOf(found[0]!, { plain: true }));
    decode = await attentionDecode.compile(device, { headDim: 8 });
  });
  afterAll(() => expect(errors).toEqual([]));

  const usage = () => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const empty = (length: number) => device.createBuffer({ size: 4 * length, usage: usage() });
  function filled(content: Float32Array | Uint32Array): GPUBuffer {
    const buffer = empty(content.length);
    device.queue.writeBuffer(buffer, 0, content as Float32Array<ArrayBuffer>);
    return buffer;
  }
  function submit(...calls: Call[]): void {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const call of calls) call.encode(pass);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }
  async function read(source: GPUBuffer): Promise<ArrayBuffer> {
    const target = device.createBuffer({ size: source.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, 0, source.size);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    return target.getMappedRange().slice(0);
  }
  const floats = async (source: GPUBuffer) => new Float32Array(await read(source));

  test.each([
    ['a block index out of range', [0, 2, 4, 6], [1, 0, 1, 7, 99, 0], 4],
    ['positions past the indices', [0, 2, 2 ** 31, 2 ** 32 - 1], [1, 0, 1, 0], 0],
    ['a sound mask', [0, 1, 2, 4], [0, 1, 1, 0], 0],
  ])('%s: skipped, and reported', async (_, ptr, list, fault) => {
    const shape = { heads: 2, kvHeads: 1, queries: 40, keys: 29, headDim: 12, valueDim: 20 };
    const [indptr, indices] = [Uint32Array.from(ptr), Uint32Array.from(list)];
    const r = random(5);
    const [q, k, v] = [r.normals(2 * 40 * 12), r.normals(29 * 12), r.normals(29 * 20)];
    const kernel = await attentionBlocksparse.compile(device, { headDim: 12, valueDim: 20 });
    const [output, lse, status] = [empty(2 * 40 * 20), empty(2 * 40), filled(Uint32Array.of(77))];
    const blocks = { indptr, indices, blockQueries: 16, blockKeys: 16 };
    const buffers = {
      q: filled(q),
      k: filled(k),
      v: filled(v),
      indptr: filled(indptr),
      indices: filled(indices),
      output,
      lse,
      status,
    };
    submit(kernel.bind(buffers, { ...shape, blocks }));
    // The same lists without what is out of range.
    const rows = [0, 1, 2].map((row) =>
      list.slice(ptr[row], Math.min(ptr[row + 1]!, list.length)).filter((block) => block < 2),
    );
    const clean = {
      indptr: Uint32Array.from([0, 1, 2, 3].map((row) => rows.slice(0, row).flat().length)),
      indices: Uint32Array.from(rows.flat()),
    };
    const want = reference.attentionBlocksparse({ q, k, v }, { ...shape, blocks: { ...blocks, ...clean } });
    expect(new Uint32Array(await read(status))[0]).toBe(fault);
    expect(largestDifference(await floats(output), want.output)).toBeLessThan(1e-5);
    expect(largestDifference(await floats(lse), want.lse)).toBeLessThan(1e-5);
  });

  test('decode by ranges into one buffer of states, merged in the same pass, is decode of all keys', async () => {
    const shape = { heads: 64, kvHeads: 16, keys: 500, headDim: 8 };
    const r = random(6);
    const [q, k, v] = [r.normals(64 * 8), r.normals(16 * 500 * 8), r.normals(16 * 500 * 8)];
    const inputs = {
      q: filled(q),
      k: filled(k),
      v: filled(v),
      scratch: empty(attentionDecode.scratchBytes(shape) / 4),
    };
    const [outputs, lses] = [empty(3 * 64 * 8), empty(3 * 64)];
    const ranges = [
      [0, 70],
      [70, 71],
      [71, 500],
    ];
    const parts = ranges.map(([from, to], i) =>
      decode.bind(
        { ...inputs, output: { buffer: outputs, offset: i * 64 * 8 * 4 }, lse: { buffer: lses, offset: i * 64 * 4 } },
        { ...shape, from, to },
      ),
    );
    const [output, lse] = [empty(64 * 8), empty(64)];
    const merge = (await softmaxMerge.compile(device)).bind(
      { outputs, lses, output, lse },
      { states: 3, rows: 64, n: 8 },
    );
    submit(...parts, merge);
    const want = reference.attentionDecode({ q, k, v }, shape);
    expect(largestDifference(await floats(output), want.output)).toBeLessThan(1e-5);
    expect(largestDifference(await floats(lse), want.lse)).toBeLessThan(1e-5);
  });

  test('what lies outside the range does not matter, NaN included', async () => {
    const shape = { heads: 5, kvHeads: 1, keys: 200, headDim: 8, from: 30, to: 171 };
    const r = random(7);
    const [q, k, v] = [r.normals(5 * 8), r.normals(200 * 8), r.normals(200 * 8)];
    const want = reference.attentionDecode({ q, k, v }, shape);
    for (const x of [k, v]) x.fill(Number.NaN, 0, 30 * 8).fill(Number.NaN, 171 * 8);
    const [output, lse, scratch] = [empty(5 * 8), empty(5), empty(attentionDecode.scratchBytes(shape) / 4)];
    submit(decode.bind({ q: filled(q), k: filled(k), v: filled(v), output, lse, scratch }, shape));
    expect(largestDifference(await floats(output), want.output)).toBeLessThan(1e-5);
    expect(largestDifference(await floats(lse), want.lse)).toBeLessThan(1e-5);
  });

  test('more workgroups than one dimension holds', async () => {
    const heads = 65537;
    const [q, output, lse] = [
      empty(heads * 8),
      filled(new Float32Array(heads * 8).fill(7)),
      filled(new Float32Array(heads).fill(7)),
    ];
    submit(decode.bind({ q, output, lse }, { heads, kvHeads: heads, keys: 0, headDim: 8 }));
    expect((await floats(output)).findIndex((x) => x !== 0)).toBe(-1);
    expect((await floats(lse)).findIndex((x) => x !== -Infinity)).toBe(-1);
  });

  test('scratch that serves the longest range serves every shorter one', () => {
    const shape = { heads: 32, kvHeads: 8, headDim: 128, valueDim: 128, scale: 1, softcap: 0, from: 0 };
    let before = 0;
    for (let keys = 0; keys < 20000; keys += 37) {
      const bytes = attentionDecode.scratchBytes({ ...shape, keys });
      expect(bytes).toBeGreaterThanOrEqual(before);
      before = bytes;
    }
  });

  test('what is fixed at compile, and scratch, are checked', async () => {
    await expect(attentionDecode.compile(device, { headDim: 257 })).rejects.toThrow(
      'attention_decode_f32: "headDim" expected integer in [1, 256], got 257',
    );
    await expect(attentionDecode.compile(device, { headDim: 8, valueDim: 0 })).rejects.toThrow(
      'attention_decode_f32: "valueDim" expected integer in [1, 256], got 0',
    );
    await expect(attentionDecode.compile(device)).rejects.toThrow(TypeError);
    const long = { heads: 1, kvHeads: 1, keys: 1000 };
    const buffers = { q: empty(8), k: empty(8000), v: empty(8000), output: empty(8), lse: empty(1) };
    expect(() => decode.bind(buffers, { ...long, valueDim: 4 })).toThrow(
      'attention_decode_f32: "valueDim" expected 8, as compiled, got 4',
    );
    expect(() => decode.bind(buffers, long)).toThrow(/attention_decode_f32: "scratch" expected GPUBuffer/);
    expect(() => decode.bind({ ...buffers, scratch: empty(9) }, long)).toThrow(
      /attention_decode_f32: "scratch" expected at least \d+ bytes/,
    );
  });
});
