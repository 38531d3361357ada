/** Our kernels on memory of our own (pointers, nothing checked, nothing copied), and the plain JavaScript of bench/<family>.bench.ts. */

import { existsSync } from 'node:fs';
import { benches, code, cpu, specs } from '../../test/generated/registry.js';
import { cpuImplementation } from '../../test/lib/implementations.js';
import type { Arrays, KernelSpec } from '../../test/lib/spec.js';
import { ARRAY_OF, type Contract, dtypeOf } from '../../ts/contract.js';
import { bestLevel } from '../../ts/cpu/runtime.js';
import { type Contender, load, type Peer } from './contender.js';

const byKernel = (files: object): Record<string, any> =>
  Object.assign({}, ...Object.values(files).map((file) => (file as { default: object }).default));

export const specOf = (kernel: string): KernelSpec | undefined => byKernel(specs)[kernel];

/** The arrays that the kernel knows, without what only peers need. */
export const known = (contract: Contract<any>, inputs: Arrays): Arrays =>
  Object.fromEntries(Object.entries(inputs).filter(([name]) => name in contract.arrays));

async function raw(kernel: string, options: any, inputs: Arrays): Promise<Contender> {
  const { contract } = specOf(kernel)!;
  const level = bestLevel();
  const { run, outputs } = await cpuImplementation(level).prepare(contract, options, known(contract, inputs));
  return { who: 'lanewise', how: level, time: 'kernel', run, outputs };
}

/** The same on the threads of a pool, in its shared memory. */
async function pooled(kernel: string, options: any, inputs: Arrays, threads: number): Promise<Contender> {
  const { contract } = specOf(kernel)!;
  const params = contract.params(options);
  const lengths = contract.lengths(params);
  const pool = await (await load('../../ts/cpu/pool.js')).createPool({ threads });
  const memory: WebAssembly.Memory = pool.memory;
  const offsets: Record<string, number> = {};
  let end = 64;
  for (const [name, declared] of Object.entries(contract.arrays)) {
    const { role, optional } = declared;
    if (role === 'in' ? !inputs[name] : optional && lengths[name] === 0) continue;
    offsets[name] = end;
    const bytes = lengths[name]! * ARRAY_OF[dtypeOf(declared, params)].BYTES_PER_ELEMENT;
    end += Math.ceil((role === 'scratch' ? pool.scratchBytes(bytes) : bytes) / 64) * 64 + 64;
  }
  const missing = Math.ceil(end / 65536) - memory.buffer.byteLength / 65536;
  if (missing > 0) memory.grow(missing);
  const view = (name: string) =>
    new ARRAY_OF[dtypeOf(contract.arrays[name]!, params)](memory.buffer as ArrayBuffer, offsets[name]!, lengths[name]!);
  for (const [name, array] of Object.entries(inputs)) if (offsets[name] !== undefined) view(name).set(array);
  const [family, { parameters }] = Object.entries(
    code as unknown as Record<string, { parameters: Record<string, string> }>,
  ).find(([, { parameters }]) => kernel in parameters)!;
  const { raw, level } = await pool.instantiate((cpu as Record<string, unknown>)[family]);
  const args = parameters[kernel]!.split(' ').map((name) => offsets[name] ?? params[name] ?? 0);
  return {
    who: 'lanewise',
    how: level,
    time: 'kernel',
    run: () => raw[kernel](...args),
    outputs: () =>
      Object.fromEntries(
        Object.keys(contract.arrays)
          .filter((name) => offsets[name] && contract.arrays[name]!.role === 'out')
          .map((name) => [name, view(name).slice()]),
      ),
  };
}

const hasPool = existsSync(new URL('../../ts/cpu/pool.ts', import.meta.url));

export const lanewise: Peer = {
  unable: (threads) => (threads > 1 && !hasPool ? 'there is no pool yet' : undefined),
  async prepare({ kernel, options }, inputs, threads) {
    if (threads > 1) {
      const contenders = [await pooled(kernel, options, known(specOf(kernel)!.contract, inputs), threads)];
      return { contenders, failures: [] };
    }
    const { contract, cost } = specOf(kernel)!;
    const { bytesRead, bytesWritten } = cost(contract.params(options));
    const { run } = await cpuImplementation(bestLevel()).copy(bytesRead + bytesWritten);
    const contenders: Contender[] = [
      await raw(kernel, options, inputs),
      { who: 'memory copy', how: 'as many bytes, read and written', time: 'kernel', run, outputs: () => ({}) },
    ];
    // What a sparse mask saves is measured against the same without it.
    if (options.blocks)
      contenders.push({
        ...(await raw(kernel, { ...options, blocks: undefined }, { q: inputs.q!, k: inputs.k!, v: inputs.v! })),
        who: 'lanewise dense',
        outputs: () => ({}),
      });
    return { contenders, failures: [] };
  },
};

export const javascript: Peer = {
  unable: (threads) => (threads > 1 ? 'plain loops run on one thread' : undefined),
  async prepare({ kernel, options }, inputs) {
    const bench = byKernel(benches)[kernel];
    if (!bench) return { contenders: [], failures: [`bench/ has no plain loop for ${kernel}`] };
    // Its results are the bench's business: it keeps them to itself.
    return {
      contenders: [
        {
          who: 'JavaScript loop',
          how: 'typed arrays',
          time: 'kernel',
          run: bench.javascript(known(specOf(kernel)!.contract, inputs), options),
          outputs: () => ({}),
        },
      ],
      failures: [],
    };
  },
};
