/** Every kernel × implementation × level × adapter against the float64 reference, from the specs alone. */
import { afterAll, describe, expect, test } from 'vitest';
import { specs } from './generated/registry.js';
import { gpuImplementations } from './lib/adapters.js';
import { faultsOf } from './lib/conformance.js';
import { cpuImplementation, cpuImplementations } from './lib/implementations.js';
import type { KernelSpec } from './lib/spec.js';

const gpu = await gpuImplementations();
console.log(
  gpu.reason
    ? `conformance on the GPU skipped: ${gpu.reason}`
    : `conformance on ${gpu.implementations.map((i) => i.name).join(', ')}`,
);

for (const { name, absent = {} } of gpu.implementations)
  for (const feature of new Set(Object.values(absent)))
    console.log(
      `${name} lacks ${feature}: without ${Object.keys(absent).filter((kernel) => absent[kernel] === feature)}`,
    );

const implementations = [...cpuImplementations(), cpuImplementation('simd', { shared: true }), ...gpu.implementations];
const kernels = Object.values(specs as Record<string, { default: Record<string, KernelSpec> }>).flatMap((file) =>
  Object.entries(file.default),
);

// A machine without an adapter says so above; CI demands one.
test.runIf(process.env.CI)('WebGPU adapter', () => expect(gpu.reason).toBeUndefined());

test('every implementation has every kernel', () => {
  for (const { name, kind, level, kernels: own, absent = {} } of implementations)
    if (kind === 'cpu' || level === 'base')
      expect([...own, ...Object.keys(absent)].sort(), name).toEqual(kernels.map(([kernel]) => kernel).sort());
});

describe.each(kernels)('%s', (kernel, spec) => {
  test.each(implementations.filter((i) => i.kernels.includes(kernel)).map((i) => [i.name, i] as const))(
    '%s',
    async (_, implementation) => {
      expect(await faultsOf(spec, implementation)).toEqual([]);
    },
  );
});

afterAll(() => expect(gpu.errors.flat(), 'uncaptured WebGPU errors').toEqual([]));
