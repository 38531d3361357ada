/** Every kernel × CPU level against the float64 reference, from the specs alone. conformance-gpu.test.ts does the same on adapters. */
import { describe, expect, test } from 'vitest';
import { faultsOf } from './lib/conformance.js';
import { cpuImplementation, cpuImplementations } from './lib/implementations.js';
import { allSpecs } from './lib/specs.js';

const implementations = [...cpuImplementations(), cpuImplementation('simd', { shared: true })];
const kernels = Object.entries(allSpecs);

test('every level has every kernel', () => {
  for (const { name, kernels: own } of implementations)
    expect([...own].sort(), name).toEqual(kernels.map(([kernel]) => kernel).sort());
});

describe.each(kernels)('%s', (_, spec) => {
  test.each(implementations.map((i) => [i.name, i] as const))('%s', async (_, implementation) => {
    expect(await faultsOf(spec, implementation)).toEqual([]);
  });
});
