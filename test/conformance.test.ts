/** Every kernel × implementation × level × adapter against the float64 reference, from the specs alone. */
import { afterAll, describe, expect, test } from 'vitest';
import { gpuImplementations } from './lib/adapters.js';
import { checkCase } from './lib/check.js';
import { cpuImplementation, cpuImplementations } from './lib/implementations.js';
import type { KernelSpec } from './lib/spec.js';
import { specs } from './generated/registry.js';

const gpu = await gpuImplementations();
if (gpu.reason) console.log(`conformance on the GPU skipped: ${gpu.reason}`);
else console.log(`conformance on ${gpu.implementations.map((i) => i.name).join(', ')}`);

const implementations = [...cpuImplementations(), cpuImplementation('simd', { shared: true }), ...gpu.implementations];

const kernels = Object.values(specs as Record<string, { default: Record<string, KernelSpec> }>).flatMap((file) => Object.entries(file.default));

test.skipIf(!process.env.CI)('CI has a WebGPU adapter', () => expect(gpu.reason).toBeUndefined());

describe.each(kernels)('%s', (name, spec) => {
  const inPlace = Object.values(spec.contract.arrays).some((array) => array.inPlace);

  test.each(implementations.map((i) => [i.name, i] as const))('%s', async (_, implementation) => {
    expect(implementation.kernels).toContain(name);
    const faults: string[] = [];
    for (const [seed, one] of spec.cases.entries()) {
      if (implementation.kind === 'gpu' && one.cpuOnly) continue;
      for (const how of [{ shifted: seed % 2 === 1 }, ...(inPlace ? [{ inPlace: true }] : [])]) {
        const { fault } = await checkCase(spec, one, implementation, seed, how).catch((error: Error) => ({ fault: error.stack ?? error.message }));
        if (fault) faults.push(`${one.title}${'inPlace' in how ? ' (in place)' : ''}: ${fault}`);
      }
    }
    expect(faults).toEqual([]);
  });
});

afterAll(() => expect(gpu.errors.flat(), 'uncaptured WebGPU errors').toEqual([]));
