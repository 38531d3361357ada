import {
  type AttentionBlocksparseQuantizedOptions,
  type AttentionDecodeQuantizedOptions,
  attention_blocksparse_quantized_f32,
  attention_decode_quantized_f32,
  checkStored,
  type QuantizedAttentionOptions,
  STORED_SCHEMES,
} from '../contract/qattention.js';
import type { Params } from '../contract.js';
import { shader as sparse } from '../generated/gpu/qattention.js';
import { shader as decode } from '../generated/gpu/qattention-decode.js';
import { mostSplits, sharesOf, splitsOf } from '../gpu-splits.js';
import { type GpuKernelFactory, gpuKernel, type Step } from './runtime.js';

export type { AttentionBlocksparseQuantizedOptions, AttentionDecodeQuantizedOptions, QuantizedAttentionOptions };

/** What a cache fixes: given to `compile`. */
const CONSTANTS = [
  'headDim',
  'valueDim',
  'kScheme',
  'kBits',
  'kAxis',
  'kGroupSize',
  'kScaleType',
  'vScheme',
  'vBits',
  'vAxis',
  'vGroupSize',
  'vScaleType',
] as const;
type Constants = (typeof CONSTANTS)[number];

/** The arrays a side's scheme has, in the places of the shader's three; a place without use gets one that is there. */
function storedAs({ kScheme, vScheme }: Params): Record<string, string> {
  const of = (side: string, scheme: number) => {
    const name = STORED_SCHEMES[scheme]!;
    const scales = name === 'mxfp4' ? 'Exponents' : 'Scales';
    const third = { affine: 'Minima', symmetric: 'Scales', mxfp4: 'Exponents', codebook: 'Table' }[name];
    return { [`${side}Scales`]: side + scales, [`${side}Minima`]: side + third };
  };
  return { ...of('k', kScheme!), ...of('v', vScheme!) };
}

/** Recent rows in the codes' place. */
const RECENT = {
  kCodes: 'kRecent',
  kScales: 'kRecent',
  kMinima: 'kRecent',
  vCodes: 'vRecent',
  vScales: 'vRecent',
  vMinima: 'vRecent',
};

/** Splits of stored and of recent keys; `__merge` takes 256 in all. */
const MOST = { stored: 224, recent: 32 };

const DECODE = 'attention_decode_quantized_f32';

function decodeScratch(params: Params): number {
  const { heads, valueDim, from, to, recentKeys } = params as Record<string, number>;
  const states = mostSplits(to! - from!, params, MOST.stored) + mostSplits(recentKeys!, params, MOST.recent);
  return states * heads! * (valueDim! + 1);
}

function decodeSteps({ params }: { params: Params }): Step[] {
  const { heads, from, to, capacity, recentKeys, recentCapacity } = params as Record<string, number>;
  const stored = splitsOf(to! - from!, params, MOST.stored);
  const recent = splitsOf(recentKeys!, params, MOST.recent);
  const states = stored + recent;
  if (!states) return [{ entry: `${DECODE}__empty`, workgroups: heads! }];
  return [
    {
      entry: DECODE,
      workgroups: stored * sharesOf(params),
      params: { keys: capacity!, fromKey: from!, toKey: to!, splits: stored, recent: 0, firstState: 0, states },
      rename: storedAs(params),
    },
    {
      entry: DECODE,
      workgroups: recent * sharesOf(params),
      params: {
        ...{ keys: recentCapacity!, capacity: recentCapacity!, fromKey: 0, toKey: recentKeys!, splits: recent },
        ...{ recent: 1, firstState: stored, states },
      },
      rename: RECENT,
    },
    { entry: `${DECODE}__merge`, workgroups: heads!, params: { splits: states } },
  ];
}

/**
 * One query per head over a quantised cache: `{ q, kCodes, kScales, kMinima, vCodes, vScales, vMinima, kRecent, vRecent,
 * output, lse, scratch }`; `kExponents` or `kTable` for the schemes that have them. Codes are expanded in registers.
 * `attentionDecodeQuantized.scratchBytes(options)` says how much scratch the states of the splits take.
 */
export const attentionDecodeQuantized: GpuKernelFactory<AttentionDecodeQuantizedOptions, Constants> =
  /* @__PURE__ */ gpuKernel({
    contract: attention_decode_quantized_f32,
    shader: decode,
    constants: CONSTANTS,
    checkConstants: (params) => checkStored(DECODE, params),
    scratch: decodeScratch,
    steps: decodeSteps,
    // As in attention_decode; stored and recent keys are steps of one entry point.
    dynamic: {
      from: { field: 'fromKey', most: 'to', steps: { recent: 0 } },
      to: { field: 'toKey', least: 'from', steps: { recent: 0 } },
      recentKeys: { field: 'toKey', steps: { recent: 1 } },
      scale: {},
      softcap: { min: 0 },
    },
  });

/** Queries of a workgroup. */
const TILE = 32;

const SPARSE = 'attention_blocksparse_quantized_f32';

/** Which keys give a state: stored ones, unless nothing is listed, and recent ones. */
function statesOf({ keys, recentKeys, blockQueries, indicesLength }: Params) {
  const stored = keys! > 0 && (blockQueries === 0 || indicesLength! > 0);
  return { stored, states: Number(stored) + Number(recentKeys! > 0) };
}

function sparseScratch(params: Params): number {
  const { heads, queries, valueDim } = params as Record<string, number>;
  const { indptr, indices } = attention_blocksparse_quantized_f32.lengths(params);
  return statesOf(params).states * heads! * queries! * (valueDim! + 1) + indptr! + indices!;
}

function sparseSteps({ params, given }: { params: Params; given: ReadonlySet<string> }): Step[] {
  const { heads, queries, keys, capacity, recentKeys, recentCapacity, indicesLength, blockQueries } = params as Record<
    string,
    number
  >;
  const rows = heads! * queries!;
  const masked = blockQueries! > 0;
  const listed = masked && indicesLength! > 0;
  const indptrLength = attention_blocksparse_quantized_f32.lengths(params).indptr!;
  const { stored, states } = statesOf(params);
  const all = { states, indptrLength };
  const steps: Step[] = [];
  if (listed)
    steps.push({
      entry: `${SPARSE}__lists`,
      workgroups: Math.ceil((indptrLength + indicesLength!) / 64),
      params: all,
    });
  if (given.has('status'))
    steps.push({ entry: `${SPARSE}__${listed ? 'status' : 'clear'}`, workgroups: 1, params: all });
  if (!states) return [...steps, { entry: `${SPARSE}__empty`, workgroups: rows }];
  const tiles = Math.ceil(queries! / TILE);
  if (stored)
    steps.push({
      entry: masked ? `${SPARSE}__blocks` : SPARSE,
      workgroups: heads! * (masked ? Math.ceil(queries! / blockQueries!) * Math.ceil(blockQueries! / TILE) : tiles),
      params: { ...all, capacity: capacity!, recent: 0, state: 0, firstPosition: keys! + recentKeys! - queries! },
      rename: storedAs(params),
    });
  if (recentKeys)
    steps.push({
      entry: SPARSE,
      workgroups: heads! * tiles,
      params: {
        ...{ ...all, keys: recentKeys, capacity: recentCapacity!, recent: 1, state: states - 1 },
        firstPosition: recentKeys - queries!,
      },
      rename: RECENT,
    });
  return [...steps, { entry: `${SPARSE}__finish`, workgroups: rows, params: all }];
}

/**
 * Many queries, or chosen blocks, of a quantised cache: as attentionDecodeQuantized's arrays with `indptr`, `indices` and
 * `status` as attentionBlocksparse has them. Scratch holds a state for stored and one for recent keys, and the lists.
 */
export const attentionBlocksparseQuantized: GpuKernelFactory<AttentionBlocksparseQuantizedOptions, Constants> =
  /* @__PURE__ */ gpuKernel({
    contract: attention_blocksparse_quantized_f32,
    shader: sparse,
    constants: CONSTANTS,
    checkConstants: (params) => checkStored(SPARSE, params),
    scratch: sparseScratch,
    steps: sparseSteps,
  });
