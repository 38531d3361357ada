/** The GPU runtime: the caller's pass, buffers and device; errors before the device is touched. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { LanewiseDeviceLostError, LanewiseUnsupportedError } from '../ts/errors.js';
import { attentionDecode } from '../ts/gpu/attention.js';
import { gemmF32, packedLength } from '../ts/gpu/gemm.js';
import { hadamard } from '../ts/gpu/hadamard.js';
import { hadamardMixed } from '../ts/gpu/hadamardmixed.js';
import { attentionDecodeQuantized } from '../ts/gpu/qattention.js';
import { quantize as quantizeGpu } from '../ts/gpu/quantize.js';
import { type BindOptions, createUniformRing, type GpuKernelFactory } from '../ts/gpu/runtime.js';
import { softmax } from '../ts/gpu/softmax.js';
import { softmax as softmaxHalf } from '../ts/gpu/softmax-f16.js';
import { topk } from '../ts/gpu/topk.js';
import * as reference from '../ts/reference/attention.js';
import * as referenceQuantized from '../ts/reference/qattention.js';
import { quantize } from '../ts/reference/quantize.js';
import { gpu } from './generated/registry.js';
import { adapters, deviceOf } from './lib/adapters.js';
import { random } from './lib/random.js';

const { found, reason } = await adapters();
if (reason) console.log(`GPU runtime tests skipped: ${reason}`);

describe.runIf(found.length)('WebGPU', () => {
  let device: GPUDevice;
  let errors: string[];

  beforeAll(async () => {
    ({ device, errors } = await deviceOf(found[0]!, { plain: true }));
  });
  afterAll(() => expect(errors).toEqual([]));

  const storage = (
    content: Float32Array | number,
    usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  ) => {
    const size = typeof content === 'number' ? content : content.byteLength;
    const buffer = device.createBuffer({ size, usage });
    if (typeof content !== 'number') device.queue.writeBuffer(buffer, 0, content as Float32Array<ArrayBuffer>);
    return buffer;
  };

  async function readBack(source: GPUBuffer): Promise<Float32Array> {
    const target = device.createBuffer({ size: source.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, 0, source.size);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    return new Float32Array(target.getMappedRange().slice(0));
  }

  function encode(...calls: { encode(pass: GPUComputePassEncoder): void }[]): void {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const call of calls) call.encode(pass);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  test('what a dispatch reads and what it writes are different buffers; what it writes may share one', async () => {
    const arena = storage(1024);
    const half = (offset: number) => ({ buffer: arena, offset, size: 256 });
    const kernel = await softmax.compile(device);
    expect(() => kernel.bind({ x: half(0), out: half(256) }, { rows: 4, n: 16 })).toThrow(
      'softmax_f32: "out" expected another GPUBuffer than that of "x", which the same dispatch reads, got "the same"',
    );
    encode(kernel.bind({ x: half(0), out: half(0) }, { rows: 4, n: 16 }));
    const best = await topk.compile(device);
    encode(best.bind({ x: storage(256), values: half(0), indices: half(256) }, { rows: 4, n: 16, k: 2 }));
  });

  test('two binds of one kernel in one pass and one submit, the second reading what the first wrote', async () => {
    const kernel = await hadamard.compile(device);
    const x = storage(Float32Array.of(3, 1, 4, 1, 5, 9, 2, 6));
    const [once, twice] = [storage(32), storage(32)];
    const first = kernel.bind({ x, out: once }, { rows: 1, n: 8 });
    const second = kernel.bind({ x: once, out: twice }, { rows: 2, n: 4, scale: 0.5 });
    encode(first, second);
    const a = await readBack(once);
    expect(a[0]).toBeCloseTo(31 / Math.sqrt(8), 5);
    const b = await readBack(twice);
    expect(b[0]).toBeCloseTo((a[0]! + a[1]! + a[2]! + a[3]!) / 2, 5);
    expect(b[4]).toBeCloseTo((a[4]! + a[5]! + a[6]! + a[7]!) / 2, 5);
    first.destroy();
    second.destroy();
  });

  test('more rows than one dimension can dispatch', async () => {
    const rows = 70_000;
    const kernel = await softmax.compile(device);
    const x = storage(Float32Array.from({ length: rows * 2 }, (_, i) => (i & 1 ? Math.log(3) : 0)));
    const out = storage(rows * 8);
    encode(kernel.bind({ x, out }, { rows, n: 2 }));
    const got = await readBack(out);
    expect(got.every((value, i) => Math.abs(value - (i & 1 ? 0.75 : 0.25)) < 1e-6)).toBe(true);
  });

  test('zero rows dispatch nothing', async () => {
    const kernel = await softmax.compile(device);
    const out = storage(Float32Array.of(7));
    encode(kernel.bind({ x: storage(4), out }, { rows: 0, n: 1 }));
    expect([...(await readBack(out))]).toEqual([7]);
  });

  test("the caller's own uniform buffer", async () => {
    const kernel = await softmax.compile(device);
    const uniform = device.createBuffer({ size: 1024, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    const out = storage(8);
    const call = kernel.bind({ x: storage(Float32Array.of(1, 1)), out }, { rows: 1, n: 2 }, { uniform });
    device.queue.writeBuffer(uniform, 0, call.uniform);
    encode(call);
    call.destroy();
    encode(call); // destroy() frees only what is ours
    expect([...(await readBack(out))]).toEqual([0.5, 0.5]);
  });

  test('kernel.wgsl, kernel.bindings and kernel.packParams serve those who do the rest themselves', async () => {
    const kernel = await softmax.compile(device);
    const { bindings, uniform, params } = kernel.bindings.softmax_f32!;
    expect(kernel.wgsl).toContain('fn softmax_f32');
    expect(Object.keys(bindings).sort()).toEqual(['out', 'x']);
    expect(uniform).toBeGreaterThanOrEqual(0);
    const packed = new DataView(kernel.packParams('softmax_f32', { rows: 5, n: 6, scale: 0.5 }));
    expect(packed.getUint32(4 * params.findIndex(([name]) => name === 'rows'), true)).toBe(5);
    expect(packed.getFloat32(4 * params.findIndex(([name]) => name === 'scale'), true)).toBe(0.5);
  });

  describe('bind refuses, naming kernel and binding', () => {
    test('what is wrong with a buffer', async () => {
      const kernel = await softmax.compile(device);
      const x = storage(32);
      const out = storage(32);
      const size = { rows: 2, n: 4 };
      expect(() => kernel.bind({ x }, size)).toThrow(/^softmax_f32: "out" expected GPUBuffer/);
      for (const wrong of [null, undefined, 5] as any[]) {
        expect(() => kernel.bind(wrong, size)).toThrow(/^softmax_f32: "buffers" expected object with x, out, got /);
        expect(() => kernel.bind({ x, out }, wrong)).toThrow(/^softmax_f32: "[a-z]+" expected /);
      }
      for (const wrong of [null, 5, 'x', {}, new Float32Array(8)] as any[]) {
        const call = () => kernel.bind({ x: wrong, out }, size);
        expect(call).toThrow(TypeError);
        expect(call).toThrow(/^softmax_f32: "x" expected GPUBuffer/);
        if (wrong)
          expect(() => kernel.bind({ x, out }, size, { uniform: wrong })).toThrow(/"uniform" expected GPUBuffer/);
      }
      expect(() => kernel.bind({ x: storage(32, GPUBufferUsage.COPY_DST), out }, size)).toThrow(
        /^softmax_f32: "x" expected buffer with usage STORAGE \(128\), got 8$/,
      );
      expect(() => kernel.bind({ x: storage(16), out }, size)).toThrow(
        /^softmax_f32: "x" expected at least 32 bytes, got 16$/,
      );
      expect(() => kernel.bind({ x: { buffer: storage(512), offset: 4 }, out }, size)).toThrow(
        /^softmax_f32: "x.offset" expected multiple of \d+ bytes, got 4$/,
      );
      expect(() => kernel.bind({ x, out, extra: out }, size)).toThrow(/^softmax_f32: "extra" expected one of x, out/);
      const big = storage(1024);
      expect(() =>
        kernel.bind({ x: { buffer: big, size: 512 }, out: { buffer: big, offset: 256 } }, { rows: 16, n: 8 }),
      ).toThrow(/^softmax_f32: "out" expected range that does not overlap "x"/);
      expect(() => kernel.bind({ x, out }, { rows: 2, n: -4 })).toThrow(/^softmax_f32: "n" expected integer/);
    });

    test('more than the device can bind', async () => {
      const kernel = await softmax.compile(device);
      const rows = device.limits.maxStorageBufferBindingSize / 4 + 1;
      const fake = { usage: 128, size: rows * 4 } as GPUBuffer;
      expect(() => kernel.bind({ x: fake, out: fake }, { rows, n: 1 })).toThrow(
        /^softmax_f32: "x" expected at most \d+ bytes \(the device's limit\)/,
      );
    });
  });

  describe('a call used for every token', () => {
    const HEADS = { heads: 4, kvHeads: 2, headDim: 8 };

    /** Decode attention with room for `keys`, and its answer so far. */
    async function decoder(keys: number, extra: BindOptions = {}) {
      const r = random(3);
      const [q, k, v] = [r.normals(32), r.normals(2 * keys * 8), r.normals(2 * keys * 8)] as const;
      const kernel = await attentionDecode.compile(device, { headDim: 8 });
      const scratch = storage(attentionDecode.scratchBytes({ ...HEADS, keys }));
      const [output, lse] = [storage(128), storage(16)];
      const buffers = { q: storage(q), k: storage(k), v: storage(v), output, lse, scratch };
      const call = kernel.bind(buffers, { ...HEADS, keys }, extra);
      const want = (from: number, to: number) => reference.attentionDecode({ q, k, v }, { ...HEADS, keys, from, to });
      return {
        kernel,
        call,
        buffers,
        async expectKeys(from: number, to: number) {
          const { output: o, lse: l } = want(from, to);
          const got = await readBack(output);
          expect(Math.max(...got.map((value, i) => Math.abs(value - o[i]!)))).toBeLessThan(1e-5);
          const gotLse = await readBack(lse);
          expect(gotLse.every((value, i) => value === l[i] || Math.abs(value - l[i]!) < 1e-5)).toBe(true);
        },
      };
    }

    test('set(): any range within what was bound, without a new plan', async () => {
      const { call, kernel, expectKeys } = await decoder(1000);
      expect(kernel.dynamic).toEqual(['from', 'to', 'scale', 'softcap']);
      for (const to of [1, 128, 129, 700, 0, 1000]) {
        call.set('to', to);
        encode(call);
        await expectKeys(0, to);
      }
      call.set('from', 901);
      encode(call);
      await expectKeys(901, 1000);
      expect(() => call.set('to', 1001)).toThrow(
        /^attention_decode_f32: "to" expected integer in \[901, 1000\], got 1001$/,
      );
      expect(() => call.set('to', 900)).toThrow(RangeError);
      expect(() => call.set('from', 1001)).toThrow(RangeError);
      expect(() => call.set('softcap', -1)).toThrow(
        'attention_decode_f32: "softcap" expected number of at least 0, got -1',
      );
      expect(() => call.set('heads', 2)).toThrow(/"option" expected from or to or scale or softcap/);
      call.destroy();
    });

    test('set(): stored and recent keys of a quantised cache', async () => {
      const [keys, recentKeys] = [500, 40];
      const r = random(4);
      const stored = { bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' } as const;
      const cache = () => quantize(r.normals(2 * keys * 32), { rows: 2 * keys, n: 32, ...stored });
      const [q, k, v, kRecent, vRecent] = [r.normals(128), cache(), cache(), r.normals(2560), r.normals(2560)] as const;
      const shape = {
        heads: 4,
        kvHeads: 2,
        headDim: 32,
        keys,
        recentKeys,
        kScheme: 'affine',
        vScheme: 'affine',
      } as const;
      const kernel = await attentionDecodeQuantized.compile(device, shape);
      const [output, lse] = [storage(512), storage(16)];
      const bytes = (array: ArrayBufferView) => storage(array as Float32Array);
      const buffers = {
        ...{ q: bytes(q), kCodes: bytes(k.codes), kScales: bytes(k.scales), kMinima: bytes(k.minima!), output, lse },
        ...{ vCodes: bytes(v.codes), vScales: bytes(v.scales), vMinima: bytes(v.minima!) },
        ...{ kRecent: bytes(kRecent), vRecent: bytes(vRecent) },
        scratch: storage(attentionDecodeQuantized.scratchBytes(shape)),
      };
      const call = kernel.bind(buffers, shape);
      expect(call.offsetsOf('to')).toHaveLength(1);
      for (const [from, to, recent] of [
        [0, 500, 40],
        [0, 1, 3],
        [129, 300, 0],
        [0, 0, 7],
      ] as const) {
        call.set('from', 0);
        call.set('to', to);
        call.set('from', from);
        call.set('recentKeys', recent);
        encode(call);
        const options = { ...shape, capacity: keys, from, to, recentKeys: recent, recentCapacity: recentKeys };
        const want = referenceQuantized.attentionDecodeQuantized({ q, k, v, kRecent, vRecent }, options);
        const got = await readBack(output);
        expect(Math.max(...got.map((value, i) => Math.abs(value - want.output[i]!)))).toBeLessThan(1e-4);
      }
      expect(() => call.set('recentKeys', 41)).toThrow(RangeError);
      call.destroy();
    });

    test('options given to bind are not looked at again', async () => {
      const kernel = await softmax.compile(device);
      const options = { rows: 4, n: 16 };
      const out = storage(256);
      const call = kernel.bind({ x: storage(new Float32Array(64).fill(1)), out }, options);
      Object.assign(options, { rows: 1, n: 8 });
      call.update({ scale: 0.5 });
      encode(call);
      expect(await readBack(out)).toEqual(new Float32Array(64).fill(1 / 16));
    });

    test('update(): plans anew within the bound buffers, and refuses more', async () => {
      const { call, expectKeys } = await decoder(1000);
      for (const to of [1000, 100, 0, 999]) {
        call.update({ to });
        encode(call);
        await expectKeys(0, to);
      }
      expect(() => call.update({ keys: 1001 })).toThrow(
        /^attention_decode_f32: "k" expected at most the 64000 bytes that were bound, got 64064$/,
      );
      expect(() => call.update({ to: 1001 })).toThrow(/"to" expected integer/);
      expect(() => call.update({ headDim: 4 })).toThrow(/"headDim" expected 8, as compiled/);
      encode(call); // a refused update leaves the call as it was
      await expectKeys(0, 999);
      call.destroy();
    });

    test('scratchBytes: what bind asks for; an empty buffer or none where it is 0', async () => {
      const { kernel, buffers } = await decoder(1000);
      const options = { ...HEADS, keys: 1000 };
      const bytes = attentionDecode.scratchBytes(options);
      expect(() => kernel.bind({ ...buffers, scratch: storage(bytes - 4) }, options)).toThrow(
        `attention_decode_f32: "scratch" expected at least ${bytes} bytes, got ${bytes - 4}`,
      );
      const few = { ...options, to: 128 };
      expect(attentionDecode.scratchBytes(few)).toBe(0);
      for (const scratch of [storage(0), buffers.scratch, undefined]) encode(kernel.bind({ ...buffers, scratch }, few));
      expect(() => kernel.bind({ ...buffers, scratch: 5 as never }, few)).toThrow(/"scratch" expected GPUBuffer/);
      // The CPU's kernel has scratch, the GPU's has none.
      expect(hadamardMixed.scratchBytes({ rows: 1, n: 96 })).toBe(0);
      expect(softmax.scratchBytes({ rows: 1, n: 4 })).toBe(0);
      expect(() => softmax.scratchBytes(null as never)).toThrow('softmax_f32: "options" expected object, got null');
      expect(() => softmax.scratchBytes({ rows: 1, n: -1 })).toThrow(/^softmax_f32: "n" expected integer/);
    });

    test('scratch that only longer ranges need: refused before anything changes', async () => {
      const { kernel, buffers, expectKeys } = await decoder(1000);
      const { scratch: _, ...rest } = buffers;
      const made = vi.spyOn(device, 'createBuffer');
      expect(() => kernel.bind(rest, { ...HEADS, keys: 1000 })).toThrow(
        /^attention_decode_f32: "scratch" expected GPUBuffer/,
      );
      expect(made).not.toHaveBeenCalled();
      made.mockRestore();
      const call = kernel.bind(rest, { ...HEADS, keys: 1000, to: 60 });
      expect(() => call.update({ to: 1000 })).toThrow(/"scratch" expected at most the 0 bytes that were bound/);
      encode(call);
      await expectKeys(0, 60);
      call.destroy();
    });

    test.each([300, 1000])('a length that only the GPU knows, room for %i keys', async (keys) => {
      const { call, kernel, expectKeys } = await decoder(keys);
      const { buffer, offset } = call.uniformBinding;
      for (const to of [77, 0, 299, keys]) {
        const length = storage(Float32Array.of(0));
        device.queue.writeBuffer(length, 0, Uint32Array.of(to));
        const encoder = device.createCommandEncoder();
        for (const at of call.offsetsOf('to')) encoder.copyBufferToBuffer(length, 0, buffer, offset + at, 4);
        const pass = encoder.beginComputePass();
        call.encode(pass);
        pass.end();
        device.queue.submit([encoder.finish()]);
        await expectKeys(0, to);
      }
      expect(call.offsetsOf('to').length).toBe(2); // of the splits and of their merge
      expect(call.offsetsOf('to')[0]).toBe(kernel.fieldOffset('attention_decode_f32__split', 'toKey'));
      call.destroy();
    });

    test('a ring: one call encoded with several lengths in one submit, one write', async () => {
      const ring = createUniformRing(device, { bytes: 2048 });
      const kernel = await softmax.compile(device);
      const x = storage(Float32Array.of(1, 1, 1, 1));
      const results = [1, 2, 4].map(() => storage(16));
      const calls = results.map((out) => kernel.bind({ x, out }, { rows: 1, n: 4 }, { uniform: ring }));
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (const [i, n] of [1, 2, 4].entries()) {
        calls[i]!.set('n', n);
        calls[i]!.encode(pass);
      }
      calls[0]!.set('n', 4); // no recorded encode sees it
      pass.end();
      expect(ring.used).toBe(3 * 256);
      ring.flush();
      device.queue.submit([encoder.finish()]);
      expect(ring.used).toBe(0);
      expect([...(await readBack(results[0]!))]).toEqual([1, 0, 0, 0]);
      expect([...(await readBack(results[1]!))]).toEqual([0.5, 0.5, 0, 0]);
      expect([...(await readBack(results[2]!))]).toEqual([0.25, 0.25, 0.25, 0.25]);
      const unused = device.createCommandEncoder().beginComputePass();
      expect(() => {
        for (let i = 0; i < 9; i++) calls[0]!.encode(unused);
      }).toThrow(
        /^createUniformRing: "bytes" expected room for every encode between two flushes \(2048 bytes are taken\)/,
      );
      unused.end();
      ring.destroy();
    });

    test('binding the same buffers again makes no bind group', async () => {
      const ring = createUniformRing(device);
      const kernel = await softmax.compile(device);
      const [x, out, other] = [storage(32), storage(32), storage(32)];
      kernel.bind({ x, out }, { rows: 2, n: 4 }, { uniform: ring });
      const spy = vi.spyOn(device, 'createBindGroup');
      kernel.bind({ x, out }, { rows: 2, n: 4 }, { uniform: ring });
      expect(spy).toHaveBeenCalledTimes(0);
      kernel.bind({ x, out: other }, { rows: 2, n: 4 }, { uniform: ring });
      expect(spy).toHaveBeenCalledTimes(1);
      spy.mockRestore();
    });

    test('the 128 sets of buffers bound last keep their bind groups', async () => {
      const ring = createUniformRing(device);
      const kernel = await softmax.compile(device);
      const [x, out] = [storage(16), storage(256 * 129)];
      const bind = (i: number) =>
        kernel.bind({ x, out: { buffer: out, offset: 256 * i } }, { rows: 1, n: 4 }, { uniform: ring });
      const spy = vi.spyOn(device, 'createBindGroup');
      for (let i = 0; i < 128; i++) bind(i);
      bind(0); // used again: the second is the oldest now
      expect(spy).toHaveBeenCalledTimes(128);
      bind(128);
      expect(spy).toHaveBeenCalledTimes(129);
      bind(0);
      expect(spy).toHaveBeenCalledTimes(129);
      bind(1);
      expect(spy).toHaveBeenCalledTimes(130);
      spy.mockRestore();
    });

    test('encodeIndirect: the GPU decides how many rows', async () => {
      const kernel = await softmax.compile(device);
      const rows = 1024;
      const x = storage(new Float32Array(rows * 4).fill(1));
      const out = storage(rows * 16);
      const call = kernel.bind({ x, out }, { rows, n: 4 });
      expect(call.rowsPerWorkgroup).toBe(256);
      const count = storage(12 + 4, GPUBufferUsage.INDIRECT | GPUBufferUsage.COPY_DST);
      device.queue.writeBuffer(count, 4, Uint32Array.of(Math.ceil(300 / 256), 1, 1));
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      call.encodeIndirect(pass, count, 4);
      pass.end();
      device.queue.submit([encoder.finish()]);
      const got = await readBack(out);
      expect(got.findIndex((value) => value !== 0.25)).toBe(512 * 4); // two whole workgroups
      expect(() => call.encodeIndirect(pass, x, 0)).toThrow(/"buffer" expected buffer with usage INDIRECT/);
      expect(() => call.encodeIndirect(pass, count, 2)).toThrow(/"offset" expected multiple of 4/);
      expect(() => call.encodeIndirect(pass, count, 8)).toThrow(/"buffer" expected at least 12 bytes, got 8/);
      const columns = await quantizeGpu.compile(device, {
        bits: 4,
        groupSize: 64,
        scheme: 'symmetric',
        axis: 'column',
      });
      const sizes = { rows: 128, n: 64 };
      const down = columns.bind({ x: storage(32768), codes: storage(4096), scales: storage(512) }, sizes);
      expect(down.rowsPerWorkgroup).toBeUndefined();
      const { call: split } = await decoder(1000);
      expect(split.rowsPerWorkgroup).toBeUndefined();
      expect(() => split.encodeIndirect(pass, count, 4)).toThrow(/expected a call of one dispatch, got 2/);
    });
  });

  describe('bind({ validate: true }) asks the device', () => {
    const size = { rows: 2, n: 4 };
    test('nothing wrong', async () => {
      const kernel = await softmax.compile(device);
      await kernel.bind({ x: storage(32), out: storage(32) }, size, { validate: true }).validated;
    });
    test("another device's buffer", async () => {
      const kernel = await softmax.compile(device);
      const { device: other } = await deviceOf((await adapters()).found[0]!, { plain: true });
      const x = other.createBuffer({ size: 32, usage: GPUBufferUsage.STORAGE });
      const { validated } = kernel.bind({ x, out: storage(32) }, size, { validate: true });
      await expect(validated).rejects.toThrow(/^softmax_f32: "buffers" expected buffer of this device/);
    });
    test('a destroyed uniform', async () => {
      const kernel = await softmax.compile(device);
      const uniform = storage(256, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
      uniform.destroy();
      const { validated } = kernel.bind({ x: storage(32), out: storage(32) }, size, { validate: true, uniform });
      await expect(validated).rejects.toThrow(/^softmax_f32: "uniform" expected buffer of this device, not destroyed/);
    });
    test('a destroyed buffer', async () => {
      const kernel = await softmax.compile(device);
      const x = storage(32);
      x.destroy();
      const { validated } = kernel.bind({ x, out: storage(32) }, size, { validate: true });
      await expect(validated).rejects.toThrow(/^softmax_f32: "x" expected buffer of this device, not destroyed/);
    });
  });

  describe('sizes at the edges', () => {
    test('rows of one element', async () => {
      const rows = 1003;
      const kernel = await softmax.compile(device);
      const out = storage(rows * 4);
      encode(kernel.bind({ x: storage(rows * 4), out }, { rows, n: 1 }));
      expect((await readBack(out)).findIndex((value) => value !== 1)).toBe(-1);
    });

    test.each([3, 9])('gemm leaves what lies between %i rows of out', async (m) => {
      const [n, k, outStride] = [24, 64, 29];
      const format = { bits: 4, groupSize: 32, scheme: 'symmetric' } as const;
      const kernel = await gemmF32.compile(device, format);
      const x = random(1).normals(m * k);
      const packed = random(2).words(packedLength({ n, k, ...format }));
      const results = [];
      for (const stride of [n, outStride]) {
        const out = storage(new Float32Array((m - 1) * stride + n).fill(7));
        const weights = storage(packed.byteLength);
        device.queue.writeBuffer(weights, 0, packed as Uint32Array<ArrayBuffer>);
        encode(kernel.bind({ x: storage(x), packed: weights, out }, { m, n, k, outStride: stride }));
        results.push(await readBack(out));
      }
      const [dense, apart] = results as [Float32Array, Float32Array];
      const want = new Float32Array(apart.length).fill(7);
      for (let row = 0; row < m; row++) want.set(dense.subarray(row * n, (row + 1) * n), row * outStride);
      expect(dense).not.toContain(7);
      expect(apart).toEqual(want);
    });

    test('more than 65,535 workgroups', async () => {
      const heads = 65_535 + 1000;
      const kernel = await attentionDecode.compile(device, { headDim: 1 });
      const [output, lse] = [storage(new Float32Array(heads).fill(7)), storage(heads * 4)];
      const [q, k, v] = [storage(heads * 4), storage(4), storage(4)];
      encode(kernel.bind({ q, k, v, output, lse }, { heads, kvHeads: 1, keys: 0, headDim: 1 }));
      expect((await readBack(output)).findIndex((value) => value !== 0)).toBe(-1);
      expect((await readBack(lse)).findIndex((value) => value !== -Infinity)).toBe(-1);
    });

    // 2^24 values take SwiftShader 20 s: LANEWISE_LARGE=1.
    const n = process.env.LANEWISE_LARGE ? 2 ** 24 : 2 ** 20;
    test(`top-k of ${n} values`, async () => {
      const kernel = await topk.compile(device);
      const x = new Float32Array(n);
      x[n - 1] = 3;
      x[n - 54_321] = 5;
      x[77] = 4;
      const options = { rows: 1, n, k: 4 };
      const [values, indices] = [storage(16), storage(16)];
      encode(kernel.bind({ x: storage(x), values, indices, scratch: storage(topk.scratchBytes(options)) }, options));
      expect([...(await readBack(values))]).toEqual([5, 4, 3, 0]);
      expect([...new Uint32Array((await readBack(indices)).buffer)]).toEqual([n - 54_321, 77, n - 1, 0]);
    });

    test('decode over 131,072 keys', async () => {
      const keys = 131_072;
      const kernel = await attentionDecode.compile(device, { headDim: 4 });
      const options = { heads: 1, kvHeads: 1, headDim: 4, keys };
      const scratch = storage(attentionDecode.scratchBytes(options));
      const v = Float32Array.from({ length: keys * 4 }, (_, i) => (i >> 2) / keys);
      const [output, lse] = [storage(16), storage(4)];
      encode(kernel.bind({ q: storage(16), k: storage(keys * 16), v: storage(v), output, lse, scratch }, options));
      // Every key weighs the same.
      expect((await readBack(lse))[0]).toBeCloseTo(Math.log(keys), 5);
      expect((await readBack(output))[0]).toBeCloseTo((keys - 1) / 2 / keys, 5);
    });
  });

  describe('whatever is missing or wrong is named', () => {
    const WRONG: any[] = [undefined, null, 5, 'x', {}, []];
    const NAMED = /^\w+: "[^"]+" expected .+, got /;
    const factories = Object.values(gpu as Record<string, Record<string, unknown>>).flatMap((file) =>
      Object.values(file).filter((value) => typeof (value as { compile?: unknown })?.compile === 'function'),
    ) as GpuKernelFactory<any, any>[];
    /** Each argument wrong in turn, every way; `may` says which wrong values are fine there. */
    function eachWrong(call: (...args: any[]) => unknown, good: unknown[], may: unknown[][] = []) {
      for (const at of good.keys())
        for (const value of WRONG) {
          const run = () => call(...good.slice(0, at), value, ...good.slice(at + 1));
          if (may[at]?.some((fine) => String(fine) === String(value) && typeof fine === typeof value)) run();
          else expect(run, `argument ${at}: ${JSON.stringify(value)}`).toThrow(NAMED);
        }
    }

    test('by every factory', async () => {
      for (const factory of factories) {
        eachWrong(factory.scratchBytes, [undefined]);
        // What the device lacks is said first; without constants every option has a default.
        if (factory.features.some((feature) => !device.features.has(feature as GPUFeatureName))) continue;
        for (const wrong of WRONG) {
          await expect(factory.compile(wrong, {})).rejects.toThrow(NAMED);
          if (factory.constants.length || (wrong !== undefined && String(wrong) !== '[object Object]'))
            await expect(factory.compile(device, wrong), factory.contract.kernel).rejects.toThrow(NAMED);
          const right: Record<string, unknown> = { level: undefined, label: 'x' };
          // A number may be right for what is fixed at compile.
          for (const option of ['level', 'label', ...factory.constants])
            if (wrong !== undefined && wrong !== (option in right ? right[option] : 5))
              await expect(factory.compile(device, { [option]: wrong }), option).rejects.toThrow(NAMED);
        }
      }
      await expect(softmax.compile(device, { level: 'toString' as never })).rejects.toThrow(RangeError);
    });

    test('by compiled kernels and their calls', async () => {
      const [x, out] = [storage(32), storage(32)];
      const size = { rows: 2, n: 4 };
      const kernel = await softmax.compile(device);
      eachWrong(kernel.bind, [{ x, out }, size, {}], [[], [], [undefined, {}]]);
      eachWrong((uniform) => kernel.bind({ x, out }, size, { uniform }), [{}], [[undefined]]);
      eachWrong((validate) => kernel.bind({ x, out }, size, { validate }), [false], [[undefined]]);
      for (const key of ['toString', 'constructor'])
        expect(() => kernel.bind({ x, out, [key]: x }, size)).toThrow(`softmax_f32: "${key}" expected one of x, out`);
      eachWrong(kernel.fieldOffset, ['softmax_f32', 'rows']);
      expect(() => kernel.fieldOffset('toString', 'rows')).toThrow(/"entry" expected "softmax_f32"/);
      eachWrong(kernel.packParams, ['softmax_f32', {}], [[], [{}]]);
      eachWrong((rows) => kernel.packParams('softmax_f32', { rows }), [1], [[undefined, 5]]);
      eachWrong((scale) => kernel.packParams('softmax_f32', { scale }), [1], [[undefined, 5]]);

      const call = kernel.bind({ x, out }, size);
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      const counts = storage(16, GPUBufferUsage.INDIRECT);
      eachWrong(call.encode, [pass]);
      eachWrong(call.encodeIndirect, [pass, counts, 0]);
      expect(() => call.encodeIndirect(pass, null as never, 0)).toThrow(
        'softmax_f32: "buffer" expected GPUBuffer, got null',
      );
      eachWrong(call.update, [{}], [[{}]]);
      eachWrong(call.offsetsOf, ['rows']);
      eachWrong(call.set, ['n', 4]);
      eachWrong(call.set, ['scale', 1], [[], [5]]);
      for (const option of ['toString', 'constructor', '__proto__'])
        expect(() => call.set(option, 1)).toThrow(`softmax_f32: "option" expected rows or n or scale, got "${option}"`);
      for (const scale of [1e39, -Infinity, NaN])
        expect(() => call.set('scale', scale)).toThrow(/^softmax_f32: "scale" expected finite number, got /);
      call.set('scale', 3e38);
      pass.end();
      call.destroy();

      // What is fixed at compile is missing in bind's options: they must be an object all the same.
      const decode = await attentionDecode.compile(device, { headDim: 8 });
      eachWrong(decode.bind, [{}, {}, {}]);
    });

    test('by a ring', () => {
      eachWrong(createUniformRing, [device, {}], [[], [undefined, {}]]);
      eachWrong((bytes) => createUniformRing(device, { bytes }), [256], [[undefined]]);
      const ring = createUniformRing(device);
      eachWrong(ring.take, [new Uint32Array(64)]);
      expect(() => ring.take(new Uint32Array(4))).toThrow(NAMED);
      expect(ring.used).toBe(0);
      ring.destroy();
    });
  });

  test('what is no device', async () => {
    for (const wrong of [null, undefined, 5, {}] as any[])
      await expect(softmax.compile(wrong)).rejects.toThrow(/^softmax_f32: "device" expected GPUDevice, got /);
  });

  test('a level the device lacks', async () => {
    await expect(softmax.compile(device, { level: 'subgroups' })).rejects.toThrow(LanewiseUnsupportedError);
    await expect(softmax.compile(device, { level: 'fast' as never })).rejects.toThrow(RangeError);
  });

  test('a feature the device was not asked for', async () => {
    expect(softmaxHalf.features).toEqual(['shader-f16']);
    const without = await deviceOf((await adapters()).found[0]!, { features: [] });
    await expect(softmaxHalf.compile(without.device)).rejects.toThrow(
      new LanewiseUnsupportedError('softmax_f16', 'shader-f16'),
    );
  });

  test('a lost device is a typed error, and a fresh device works', async () => {
    const [fresh] = (await adapters()).found;
    const { device: doomed } = await deviceOf(fresh!, { plain: true });
    const kernel = await softmax.compile(doomed);
    doomed.destroy();
    await doomed.lost;
    await Promise.resolve();
    expect(() => kernel.bind({}, { rows: 1, n: 1 })).toThrow(LanewiseDeviceLostError);
    await expect(softmax.compile(doomed)).rejects.toThrow(LanewiseDeviceLostError);
    const again = await deviceOf((await adapters()).found[0]!);
    await expect(softmax.compile(again.device)).resolves.toBeDefined();
  });

  test('a device lost during compile', async () => {
    const { device: doomed } = await deviceOf((await adapters()).found[0]!, { plain: true });
    const compiling = softmax.compile(doomed);
    doomed.destroy();
    await expect(compiling).rejects.toThrow(LanewiseDeviceLostError);
  });
});
