/** Everything a spec demands of one implementation. */
import { checkCase } from './check.js';
import type { How, Implementation } from './implementations.js';
import type { KernelSpec } from './spec.js';

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
