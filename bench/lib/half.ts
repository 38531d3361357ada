/** The bench of kernels' f16 twins from their own: the same sizes with their values in halves. */
import { converted } from '../../test/lib/half.js';
import type { Contract } from '../../ts/contract.js';
import { fromHalf, fromHalves, toHalves } from '../../ts/half.js';
import type { FamilyBench, KernelBench } from './bench.js';

function halves(bench: KernelBench, contract: Contract<any>): KernelBench {
  return {
    sizes: bench.sizes.map((size) => ({
      ...size,
      inputs: (random, real) => converted(contract, size.inputs(random, real), toHalves),
    })),
    /** Widens its inputs first; its outputs stay f32, which spares it the rounding. */
    javascript(inputs, options) {
      const wide = converted(contract, inputs, fromHalves);
      const names = Object.keys(inputs).filter((name) => inputs[name] !== wide[name]);
      const run = bench.javascript(wide, options);
      return () => {
        for (const name of names) {
          const [from, to] = [inputs[name]!, wide[name]!];
          for (let i = 0; i < from.length; i++) to[i] = fromHalf(from[i]!);
        }
        run();
      };
    },
  };
}

/** Kernels `..._f16` of `contracts` from the benches of `..._f32`. */
export const halfBench = (bench: FamilyBench, contracts: object): FamilyBench =>
  Object.fromEntries(
    // In the order of the f32 kernels: that of a namespace object depends on who loads it.
    Object.entries(bench).flatMap(([kernel, one]) => {
      const contract = (contracts as Record<string, Contract<any> | undefined>)[kernel.replace(/_f32$/, '_f16')];
      return contract ? [[contract.kernel, halves(one, contract)]] : [];
    }),
  );
