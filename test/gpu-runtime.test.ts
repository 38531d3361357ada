/** The GPU runtime: the caller's pass, buffers and device; errors before the device is touched. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LanewiseDeviceLostError, LanewiseUnsupportedError } from '../ts/errors.js';
import { hadamard } from '../ts/gpu/hadamard.js';
import { softmax } from '../ts/gpu/softmax.js';
import { softmax as softmaxHalf } from '../ts/gpu/softmax-f16.js';
import { adapters, deviceOf } from './lib/adapters.js';

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
      expect(() => kernel.bind({ x: 5 as never, out }, size)).toThrow(TypeError);
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
});
