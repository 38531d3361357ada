/** What the GPU's attention kernels of f32 and of f16 share: each makes a kernel of its dtype's contract and two shaders. */
import type { AttentionBlocksparseOptions, AttentionDecodeOptions } from './contract/attention.js';
import type { Contract, Params } from './contract.js';
import { type Definition, type GpuKernelFactory, gpuKernel, type Shader, type Step } from './gpu/runtime.js';
import { mostSplits, sharesOf, splitsOf } from './gpu-splits.js';
import { integer } from './validate.js';

export type Dimensions = 'headDim' | 'valueDim';

/** One kernel from two shaders: 16-byte loads where both dimensions, which are fixed at compile, are multiples of 4. */
function byDimension<Options extends { headDim: number; valueDim?: number }>(
  definition: Omit<Definition<Options>, 'shader' | 'constants' | 'checkConstants'>,
  scalar: Shader,
  vec4: Shader,
): GpuKernelFactory<Options, Dimensions> {
  const { kernel } = definition.contract;
  const [any, aligned] = [scalar, vec4].map((shader) =>
    gpuKernel<Options, Dimensions>({
      ...definition,
      shader,
      constants: ['headDim', 'valueDim'],
      checkConstants: ({ valueDim }) => void integer(kernel, 'valueDim', valueDim, 1, 256),
    }),
  ) as [GpuKernelFactory<Options, Dimensions>, GpuKernelFactory<Options, Dimensions>];
  return {
    ...any,
    async compile(device, options) {
      const { headDim, valueDim = headDim } = { ...options } as { headDim: number; valueDim?: number };
      return (headDim % 4 || valueDim % 4 ? any : aligned).compile(device, options);
    },
  };
}

/** Queries of a workgroup. */
const TILE = 32;

function sparseSteps(kernel: string, params: Params, given: ReadonlySet<string>): Step[] {
  const { heads, queries, keys, indicesLength, blockQueries } = params as Record<string, number>;
  const masked = blockQueries! > 0;
  const listed = masked && indicesLength! > 0;
  const status = { entry: `${kernel}__${listed ? 'status' : 'clear'}`, workgroups: 1 };
  const tiles = masked
    ? Math.ceil(queries! / blockQueries!) * Math.ceil(blockQueries! / TILE)
    : Math.ceil(queries! / TILE);
  const main =
    keys! > 0 && (listed || !masked)
      ? { entry: `${kernel}${masked ? '__blocks' : ''}`, workgroups: heads! * tiles }
      : { entry: `${kernel}__empty`, workgroups: heads! * queries! };
  return given.has('status') ? [status, main] : [main];
}

export const blocksparseOf = (
  contract: Contract<AttentionBlocksparseOptions>,
  any: Shader,
  vec4: Shader,
): GpuKernelFactory<AttentionBlocksparseOptions, Dimensions> =>
  byDimension(
    {
      contract,
      steps: ({ params, given }) => sparseSteps(contract.kernel, params, given),
    },
    any,
    vec4,
  );

function decodeScratch(params: Params): number {
  const { heads, valueDim } = params as Record<string, number>;
  const splits = mostSplits(params.to! - params.from!, params);
  return splits > 1 ? splits * heads! * (valueDim! + 1) : 0;
}

function decodeSteps(kernel: string, params: Params): Step[] {
  const { heads, from, to } = params as Record<string, number>;
  if (from === to) return [{ entry: `${kernel}__empty`, workgroups: heads! }];
  const splits = splitsOf(to! - from!, params);
  const workgroups = splits * sharesOf(params);
  const more = { splits, fromKey: from!, toKey: to! };
  if (splits === 1) return [{ entry: kernel, workgroups, params: more }];
  return [
    { entry: `${kernel}__split`, workgroups, params: more },
    { entry: `${kernel}__merge`, workgroups: heads!, params: more },
  ];
}

export const decodeOf = (
  contract: Contract<AttentionDecodeOptions>,
  any: Shader,
  vec4: Shader,
): GpuKernelFactory<AttentionDecodeOptions, Dimensions> =>
  byDimension(
    {
      contract,
      scratch: decodeScratch,
      steps: ({ params }) => decodeSteps(contract.kernel, params),
      // A split past the last key gives the empty state.
      dynamic: {
        from: { field: 'fromKey', most: 'to' },
        to: { field: 'toKey', least: 'from' },
        scale: {},
        softcap: { min: 0 },
      },
    },
    any,
    vec4,
  );
