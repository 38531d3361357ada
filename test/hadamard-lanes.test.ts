/** The GPU's Hadamard transform where local_invocation_index runs otherwise through subgroups than drivers are known to do it. */
import { expect, test } from 'vitest';
import { hadamard_f32 } from '../ts/contract/hadamard.js';
import { shader } from '../ts/generated/gpu/hadamard.js';
import { hadamardOf } from '../ts/gpu-hadamard.js';
import { hadamardF64 } from '../ts/reference/hadamard.js';
import { adapters, deviceOf } from './lib/adapters.js';
import { random } from './lib/random.js';

const able = (await adapters()).found.find(({ levels }) => levels.includes('subgroups'));
if (!able) console.log('Hadamard over other lanes skipped: no adapter with subgroups');
const gpu = able && (await deviceOf(able));

/** What stands for the index of invocation `raw`, so that a subgroup's lanes are ... */
const ORDERS: Record<string, string> = {
  'consecutive, subgroups in another order': 'raw ^ 128u',
  'apart from one another': '(raw * 5u) & 255u',
  'swapped in the last subgroup': 'select(raw, raw ^ 1u, raw >= 254u)',
  'shared by two': '(raw & ~34u) | ((raw & 2u) << 4u) | ((raw >> 4u) & 2u)',
};

test.runIf(able).each(Object.entries(ORDERS))('lanes %s', async (_, index) => {
  const { device, errors } = gpu!;
  const text = (shader.wgsl as Record<string, string>).subgroups!;
  const subgroups = text.replace(
    /local_invocation_index\) local: u32\) \{/g,
    (head) => `${head.replace('local:', 'raw:')}\n  let local = ${index};`,
  );
  expect(subgroups).not.toBe(text);
  const kernel = await hadamardOf(hadamard_f32, { ...shader, wgsl: { ...shader.wgsl, subgroups } }).compile(device);
  expect(kernel.level).toBe('subgroups');
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  for (const n of [2, 16, 64, 128, 512, 4096]) {
    const size = 4 * 4096;
    const values = random(1).normals(4096);
    const [x, out] = [device.createBuffer({ size, usage }), device.createBuffer({ size, usage })];
    device.queue.writeBuffer(x, 0, values as Float32Array<ArrayBuffer>);
    const target = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const call = kernel.bind({ x, out }, { rows: 4096 / n, n });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    call.encode(pass);
    pass.end();
    encoder.copyBufferToBuffer(out, 0, target, 0, size);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    const got = new Float32Array(target.getMappedRange());
    const want = hadamardF64(values, undefined, { rows: 4096 / n, n });
    expect(Math.max(...got.map((value, i) => Math.abs(value - want[i]!)))).toBeLessThan(1e-5);
  }
  expect(errors).toEqual([]);
});
