/** Our kernels on memory of our own (pointers, nothing checked, nothing copied), and the plain JavaScript of bench/<family>.bench.ts. */

import { benches, specs } from '../../test/generated/registry.js';
import { cpuImplementation } from '../../test/lib/implementations.js';
import type { Arrays, KernelSpec } from '../../test/lib/spec.js';
import type { Contract } from '../../ts/contract.js';
import { bestLevel } from '../../ts/cpu/runtime.js';
import type { Contender, Peer } from './contender.js';

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

export const lanewise: Peer = {
  unable: (threads) => (threads > 1 ? 'the pool is not there yet' : undefined),
  async prepare({ kernel, options }, inputs) {
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
