/**
 * Specs on everything of the host this runs in (Node, Deno, Bun), or with `--compile` every entry point of every shader through
 * its WGSL compiler; one JSON line for each result on stdout. Options: `whichOf`.
 */
import process from 'node:process';
import type { Shader } from '../../ts/gpu/runtime.js';
import { shaders } from '../generated/registry.js';
import { adapters, deviceOf } from '../lib/adapters.js';
import { conform, type Result } from '../lib/conformance.js';
import { allSpecs } from '../lib/specs.js';
import { whichOf } from './which.js';

const { compile, ...which } = whichOf(process.argv.slice(2));
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

if (compile) await compileAll();
else for await (const result of conform(which)) print(result);
process.exit(0);
