/** Every kernel × adapter × level against the float64 reference, from the specs alone. A file of its own: software adapters take minutes. */
import { afterAll, describe, expect, test } from 'vitest';
import { gpuImplementations } from './lib/adapters.js';
import { faultsOf } from './lib/conformance.js';
import { absences } from './lib/implementations.js';
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

afterAll(() => expect(gpu.errors.flat(), 'uncaptured WebGPU errors').toEqual([]));
