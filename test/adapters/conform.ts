/**
 * Specs on every GPU implementation of the host this runs in (Node or Deno), or with `--compile` every entry point of every
 * shader through its WGSL compiler; one JSON line for each result on stdout.
 *   --kernels a,b   only these      --cases 6   at most so many cases of each, spread evenly
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import type { Shader } from '../../ts/gpu/runtime.js';
import { shaders } from '../generated/registry.js';
import { adapters, deviceOf, gpuImplementations } from '../lib/adapters.js';
import { faultsOf } from '../lib/conformance.js';
import { allSpecs } from '../lib/specs.js';

export type Result =
  | { reason: string }
  | { implementation: string; kernel: string; absent?: string; faults: string[]; seconds: number }
  | { implementation: string; errors: string[] }
  | { compiled: number; absent: string[]; faults: string[] };

const { values } = parseArgs({
  options: { kernels: { type: 'string' }, cases: { type: 'string' }, compile: { type: 'boolean' } },
});
const only = values.kernels?.split(',');
const print = (result: Result) => console.log(JSON.stringify(result));

/** Values of override constants that some case of the kernel's spec takes. */
function constantsOf(kernel: string, shader: Shader): Record<string, number> {
  const spec = allSpecs[kernel]!;
  const params = spec.contract.params(spec.cases[0]!.options as never);
  return Object.fromEntries(
    Object.keys(shader.overrides)
      .filter((name) => Number.isFinite(params[name]))
      .map((name) => [name, params[name]!]),
  );
}

async function compileAll(): Promise<void> {
  const { found, reason } = await adapters();
  if (!found[0]) return print({ reason: reason! });
  const { device, errors } = await deviceOf(found[0]);
  const faults: string[] = [];
  const absent: string[] = [];
  let compiled = 0;
  const jobs = Object.entries(shaders as Record<string, { shader: Shader }>).flatMap(([stem, { shader }]) =>
    (shader.wgsl.base === shader.wgsl.subgroups ? ['base' as const] : (['base', 'subgroups'] as const)).map(
      async (level) => {
        const needs = [...(shader.features ?? []), ...(level === 'subgroups' ? ['subgroups'] : [])];
        const lacks = needs.find((feature) => !device.features.has(feature as GPUFeatureName));
        if (lacks) return absent.push(`${stem} ${level} (${lacks})`);
        const module = device.createShaderModule({ code: shader.wgsl[level] });
        const { messages } = await module.getCompilationInfo();
        for (const { type, lineNum, message } of messages)
          if (type === 'error') faults.push(`${stem} ${level}: line ${lineNum}: ${message}`);
        return Promise.all(
          Object.keys(shader.entries).map(async (entryPoint) => {
            const constants = constantsOf(entryPoint.split('__')[0]!, shader);
            try {
              await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint, constants } });
              compiled++;
            } catch (error) {
              faults.push(`${stem} ${level}, ${entryPoint}: ${(error as Error).message}`);
            }
          }),
        );
      },
    ),
  );
  await Promise.all(jobs);
  print({ compiled, absent, faults: [...faults, ...errors] });
}

async function conform(): Promise<void> {
  const { implementations, errors, reason } = await gpuImplementations();
  if (reason) print({ reason });
  for (const [i, { name, kernels, absent = {} }] of implementations.entries()) {
    for (const [kernel, spec] of Object.entries(allSpecs)) {
      if (only && !only.includes(kernel)) continue;
      if (absent[kernel]) print({ implementation: name, kernel, absent: absent[kernel], faults: [], seconds: 0 });
      if (!kernels.includes(kernel)) continue;
      const start = performance.now();
      const faults = await faultsOf(spec, implementations[i]!, values.cases ? Number(values.cases) : undefined);
      print({ implementation: name, kernel, faults, seconds: (performance.now() - start) / 1000 });
    }
    print({ implementation: name, errors: errors[i]! });
  }
}

await (values.compile ? compileAll() : conform());
process.exit(0);
