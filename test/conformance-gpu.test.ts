/** Every kernel × adapter × level against the float64 reference, from the specs alone. A file of its own: software adapters take minutes. */
import { afterAll, describe, expect, test, vi } from 'vitest';
import { adapters, deviceOf, gpuImplementations } from './lib/adapters.js';
import { faultsOf } from './lib/conformance.js';
import { absences, gpuImplementation } from './lib/implementations.js';
import { allSpecs } from './lib/specs.js';

const gpu = await gpuImplementations();
console.log(
  gpu.reason
    ? `conformance on the GPU skipped: ${gpu.reason}`
    : `conformance on ${gpu.implementations.map((i) => i.name).join(', ')}`,
);
for (const line of absences(gpu.implementations)) console.log(line);

const kernels = Object.entries(allSpecs);

// A machine without an adapter says so above; CI demands one.
test.runIf(process.env.CI)('WebGPU adapter', () => expect(gpu.reason).toBeUndefined());

test('every base level has every kernel', () => {
  for (const { name, level, kernels: own, absent = {} } of gpu.implementations)
    if (level === 'base')
      expect([...own, ...Object.keys(absent)].sort(), name).toEqual(kernels.map(([kernel]) => kernel).sort());
});

const pairs = kernels.flatMap(([kernel, spec]) =>
  gpu.implementations
    .filter((i) => i.kernels.includes(kernel))
    .map((implementation) => [kernel, implementation.name, spec, implementation] as const),
);

describe.runIf(pairs.length)('conformance', () => {
  test.each(pairs)('%s on %s', { timeout: 400_000 }, async (_, __, spec, implementation) => {
    expect(await faultsOf(spec, implementation)).toEqual([]);
  });
});

/** Sizes that `call.set` takes where they may fall. */
const SIZES = ['rows', 'n', 'm', 'states'];

// Attention's lengths are tested where they are bound (gpu-runtime.test.ts).
describe.runIf(pairs.length)('bound for more, then set', () => {
  test.each(pairs.filter(([kernel]) => !/^attention|^gemm_pack/.test(kernel)))(
    '%s on %s',
    { timeout: 400_000 },
    async (_, __, spec, implementation) => {
      expect(await faultsOf(spec, implementation, 12, { set: SIZES })).toEqual([]);
    },
  );
});

// Rows beyond 65,535 workgroups, which no software adapter gets through in a test: on a device said to take two a dimension.
describe.runIf(pairs.length)('dispatches in two dimensions', async () => {
  const { found } = await adapters();
  if (!found.length) return;
  const { device, errors } = await deviceOf(found[0]!);
  gpu.errors.push(errors);
  const limits = new Proxy(device.limits, {
    get: (target, name) => (name === 'maxComputeWorkgroupsPerDimension' ? 2 : Reflect.get(target, name, target)),
  });
  Object.defineProperty(device, 'limits', { value: limits });
  const implementation = gpuImplementation(device, found[0]!.label, 'base');
  test.each(implementation.kernels)('%s', { timeout: 400_000 }, async (kernel) => {
    const dispatch = vi.spyOn(GPUComputePassEncoder.prototype, 'dispatchWorkgroups');
    const spread = () => dispatch.mock.calls.some(([x, y = 1]) => x === 2 && y > 1);
    expect(await faultsOf(allSpecs[kernel]!, implementation, 6)).toEqual([]);
    // Where six are too small, all.
    if (!spread()) expect(await faultsOf(allSpecs[kernel]!, implementation)).toEqual([]);
    expect(spread()).toBe(true);
    dispatch.mockRestore();
  });
});

afterAll(() => expect(gpu.errors.flat(), 'uncaptured WebGPU errors').toEqual([]));
