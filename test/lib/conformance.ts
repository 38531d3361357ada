/** Everything a spec demands of one implementation, and all specs of everything a host has. */
import { gpuImplementations } from './adapters.js';
import { checkCase } from './check.js';
import { cpuImplementation, cpuImplementations, type How, type Implementation } from './implementations.js';
import type { KernelSpec } from './spec.js';
import { allSpecs } from './specs.js';

/** Of `count` cases, at most `most` spread evenly over them, always the same. */
export function chosen(count: number, most = Infinity): (index: number) => boolean {
  if (count <= most) return () => true;
  const picked = new Set(Array.from({ length: most }, (_, i) => Math.floor((i * count) / most)));
  return (index) => picked.has(index);
}

/** Runs a kernel's spec, all cases or `most` of them, each as `always`; answers with what is wrong, one line each. */
export async function faultsOf(
  spec: KernelSpec,
  implementation: Implementation,
  most?: number,
  always: How = {},
): Promise<string[]> {
  const { arrays } = spec.contract;
  const all = Object.values(arrays);
  const variants: [suffix: string, how: How][] = [];
  if (all.some((array) => array.inPlace)) variants.push([' (in place)', { inPlace: true }]);
  if (implementation.kind === 'cpu' && all.some((array) => array.role === 'scratch' && array.optional))
    variants.push([' (without scratch)', { bare: true }]);
  const faults: string[] = [];
  const picked = chosen(spec.cases.length, most);
  for (const [seed, one] of spec.cases.entries()) {
    if (!picked(seed)) continue;
    if (implementation.kind === 'gpu' && one.cpuOnly) continue;
    // Every second case starts its arrays off the alignment that suits the kernel.
    for (const [suffix, how] of [['', { shifted: seed % 2 === 1 }] as [string, How], ...variants]) {
      const { fault } = await checkCase(spec, one, implementation, seed, { ...how, ...always }).catch(
        (error: Error) => ({
          fault: error.stack ?? error.message,
        }),
      );
      if (fault) faults.push(`${one.title}${suffix}: ${fault}`);
    }
  }
  return faults;
}

/** What came of one kernel on one implementation, or of something else; a line of JSON between processes. */
export type Result =
  | { reason: string }
  | { implementation: string; kernel: string; absent?: string; faults: string[]; seconds: number }
  | { implementation: string; errors: string[] }
  | { compiled: number; absent: string[]; faults: string[] };

export interface Which {
  /** Default: both. */
  only?: 'cpu' | 'gpu';
  /** Default: all. */
  kernels?: string[];
  /** Of each kernel at most so many cases. */
  cases?: number;
  /** Where that is another number on adapters. */
  gpuCases?: number;
}

/** All specs on everything the host this runs in has. */
export async function* conform({ only, kernels: asked, cases, gpuCases = cases }: Which): AsyncGenerator<Result> {
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated ?? true;
  const cpu = only === 'gpu' ? [] : cpuImplementations();
  if (only !== 'gpu' && isolated) cpu.push(cpuImplementation('simd', { shared: true }));
  const gpu = only === 'cpu' ? { implementations: [], errors: [], reason: undefined } : await gpuImplementations();
  if (gpu.reason) yield { reason: gpu.reason };
  for (const implementation of [...cpu, ...gpu.implementations]) {
    const { name, kind, kernels, absent = {} } = implementation;
    for (const [kernel, spec] of Object.entries(allSpecs)) {
      if (asked && !asked.includes(kernel)) continue;
      if (absent[kernel]) yield { implementation: name, kernel, absent: absent[kernel], faults: [], seconds: 0 };
      if (!kernels.includes(kernel)) continue;
      const start = performance.now();
      const faults = await faultsOf(spec, implementation, kind === 'gpu' ? gpuCases : cases);
      yield { implementation: name, kernel, faults, seconds: (performance.now() - start) / 1000 };
    }
    const errors = gpu.errors[gpu.implementations.indexOf(implementation)];
    if (errors) yield { implementation: name, errors };
  }
}
