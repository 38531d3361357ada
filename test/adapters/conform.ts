/** Every spec on every GPU implementation of the host this runs in (Node or Deno); one JSON line per implementation on stdout. */
import { specs } from '../generated/registry.js';
import { gpuImplementations } from '../lib/adapters.js';
import { faultsOf } from '../lib/conformance.js';
import type { KernelSpec } from '../lib/spec.js';

export interface Conformance {
  implementation: string;
  kernels: number;
  faults: Record<string, string[]>;
  errors: string[];
}

const only = process.env.LANEWISE_KERNEL;
const kernels = Object.values(specs as Record<string, { default: Record<string, KernelSpec> }>)
  .flatMap((file) => Object.entries(file.default))
  .filter(([name]) => !only || name === only);

const { implementations, errors, reason } = await gpuImplementations();
if (reason) console.log(JSON.stringify({ reason }));
for (const [i, implementation] of implementations.entries()) {
  const faults: Record<string, string[]> = {};
  const own = kernels.filter(([name]) => implementation.kernels.includes(name));
  for (const [name, spec] of own) {
    const found = await faultsOf(spec, implementation);
    if (found.length) faults[name] = found;
  }
  console.log(
    JSON.stringify({
      implementation: implementation.name,
      kernels: own.length,
      faults,
      errors: errors[i]!,
    } satisfies Conformance),
  );
}
process.exit(0);
