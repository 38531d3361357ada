/** What the GPU's kernels of quantize for f32 and for f16 share: each makes a kernel of its dtype's contract and shader. */
import { checkFormat, groupOf, type QuantizeOptions } from './contract/quantize.js';
import type { Contract, Params } from './contract.js';
import { type Definition, type GpuKernelFactory, gpuKernel, type Shader } from './gpu/runtime.js';

/** What a format fixes: given to `compile`. */
export type Constants = 'bits' | 'groupSize' | 'scheme' | 'axis';

const WORKGROUP = 256;

/** How many invocations share a group: one per word, but so few down columns that neighbours read side by side. */
function lanesFor(params: Params): number {
  const words = Math.ceil(groupOf(params) / (32 / params.bits!));
  const most = params.axis ? 8 : WORKGROUP;
  let lanes = 1;
  while (2 * lanes <= Math.min(words, most)) lanes *= 2;
  return lanes;
}

/** Four values of a row lie side by side in one 16-byte unit. */
const aligned = ({ axis, n }: Params) => axis === 0 && n! % 4 === 0;

type OfFormat = Pick<Definition<QuantizeOptions>, 'constants' | 'checkConstants' | 'usable'>;

/** A format fixes its constants, and with them which entry points its calls can take. */
const formatOf = (kernel: string): OfFormat => ({
  constants: ['bits', 'groupSize', 'scheme', 'axis'],
  checkConstants: (params) => checkFormat(kernel, params),
  usable: (entry, { scheme, axis }) =>
    entry.endsWith('symmetric') === (entry.startsWith('quantize') && scheme === 1) &&
    !(entry.includes('vec4') && axis === 1),
});

export const quantizeOf = (
  contract: Contract<QuantizeOptions>,
  shader: Shader,
): GpuKernelFactory<QuantizeOptions, Constants> =>
  gpuKernel({
    contract,
    shader,
    ...formatOf(contract.kernel),
    dynamic: { rows: {} },
    steps({ params }) {
      const lanes = lanesFor(params);
      const { x, scales } = contract.lengths(params);
      const variant = [aligned(params) && 'vec4', params.scheme === 1 && 'symmetric'].filter(Boolean).join('_');
      return [
        {
          entry: `${contract.kernel}${variant && `__${variant}`}`,
          workgroups: x ? Math.ceil(scales! / (WORKGROUP / lanes)) : 0,
          params: { lanes },
        },
      ];
    },
  });

export const dequantizeOf = (
  contract: Contract<QuantizeOptions>,
  shader: Shader,
): GpuKernelFactory<QuantizeOptions, Constants> =>
  gpuKernel({
    contract,
    shader,
    ...formatOf(contract.kernel),
    dynamic: { rows: {} },
    steps({ params }) {
      const { rows, n, axis, scheme } = params as Record<string, number>;
      const units = axis ? Math.ceil(rows! / 4) * n! : Math.ceil(n! / 4) * rows!;
      return [
        {
          entry: `${contract.kernel}${aligned(params) ? '__vec4' : ''}`,
          workgroups: Math.ceil(units / WORKGROUP),
          ...(scheme ? { rename: { minima: 'scales' } } : {}),
        },
      ];
    },
  });
