/** What the GPU's kernels of integers for f32 and for f16 share: each makes a kernel of its dtype's contract and shader. */
import { checkFormat, type IntegerOptions, type QuantizeIntegersOptions, runOf } from './contract/integers.js';
import { groupOf } from './contract/quantize.js';
import type { Contract, Params } from './contract.js';
import { type Definition, type GpuKernelFactory, gpuKernel, type Shader } from './gpu/runtime.js';

/** What a format fixes: given to `compile`. */
export type Constants = 'bits' | 'scheme' | 'axis' | 'scaleType';
type OfFormat = Pick<Definition<IntegerOptions>, 'constants' | 'checkConstants' | 'usable'>;

/** A format fixes its constants, and with them which entry points its calls can take. */
const formatOf = (kernel: string): OfFormat => ({
  constants: ['bits', 'scheme', 'axis', 'scaleType'],
  checkConstants: (params) => checkFormat(kernel, params),
  usable: (entry, { scheme }) => !/__(search|range)/.test(entry) || entry.endsWith('_scales') === (scheme !== 0),
});

const WORKGROUP = 256;

/** How many invocations share a group: few values each, but so few down columns that neighbours read side by side. */
function lanesFor(params: Params): number {
  // The mean's lanes sum blocks of 256 (wgsl/integers.wgsl); two groups to a workgroup at least, for their halves.
  const mean = params.scheme === 2 || (params.scheme === 1 && params.bits === 1);
  const most = Math.min(groupOf(params) / (mean ? 256 : 4), params.axis ? 8 : WORKGROUP / 2);
  let lanes = 1;
  while (2 * lanes <= most) lanes *= 2;
  return lanes;
}

const linesOf = ({ rows, n, axis }: Params) => (axis ? [n!, rows!] : [rows!, n!]) as [lines: number, length: number];

export const quantizeOf = (
  contract: Contract<QuantizeIntegersOptions>,
  shader: Shader,
): GpuKernelFactory<QuantizeIntegersOptions, Constants> =>
  gpuKernel({
    contract,
    shader,
    ...formatOf(contract.kernel),
    dynamic: { rows: {} },
    steps({ params, given }) {
      const lanes = lanesFor(params);
      const { x, scales } = contract.lengths(params);
      if (!x) return [];
      const [lines, length] = linesOf(params);
      const affine = params.scheme === 0;
      return [
        {
          entry: `${contract.kernel}__${given.has('highs') ? 'range' : 'search'}${affine ? '' : '_scales'}`,
          workgroups: Math.ceil(scales! / (WORKGROUP / lanes)),
          params: { lanes },
        },
        {
          entry: `${contract.kernel}__codes`,
          workgroups: Math.ceil((Math.ceil(length / runOf(params).codes) * lines) / WORKGROUP),
          ...(affine ? {} : { rename: { minima: 'scales' } }),
        },
      ];
    },
  });

export const dequantizeOf = (
  contract: Contract<IntegerOptions>,
  shader: Shader,
): GpuKernelFactory<IntegerOptions, Constants> =>
  gpuKernel({
    contract,
    shader,
    ...formatOf(contract.kernel),
    dynamic: { rows: {} },
    steps({ params }) {
      const [lines, length] = linesOf(params);
      return [
        {
          entry: contract.kernel,
          workgroups: Math.ceil((Math.ceil(length / 4) * lines) / WORKGROUP),
          ...(params.scheme === 0 ? {} : { rename: { minima: 'scales' } }),
        },
      ];
    },
  });
