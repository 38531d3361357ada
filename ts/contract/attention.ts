import type { Arrays, Contract, Float, Params } from '../contract.js';
import { message } from '../errors.js';
import { elements, finite, flag, integer, options } from '../validate.js';

/** Which keys each block of queries attends to, in compressed sparse rows. */
export interface Blocks {
  /**
   * Where each block row's list begins and ends in `indices`: `ceil(queries / blockQueries) + 1` positions, or that many
   * for each head when `perHead` (`[heads, queryBlocks + 1]`; positions count from the start of `indices` in every head).
   */
  indptr: Uint32Array;
  /** Key blocks in any order, each less than `ceil(keys / blockKeys)`. A block listed twice in a row counts twice. */
  indices: Uint32Array;
  /** Queries per block: a multiple of 16 from 16 to 128. The last block may be shorter. */
  blockQueries: number;
  /** Keys per block: a multiple of 16 from 16 to 128. The last block may be shorter. */
  blockKeys: number;
  /** Each head has its own block rows. Default: all heads share one set. */
  perHead?: boolean;
}

export interface HeadOptions {
  /** Query heads, a multiple of kvHeads. */
  heads: number;
  /** Key and value heads; query head h reads kv head floor(h / (heads / kvHeads)). */
  kvHeads: number;
  /** Keys (and values) per kv head. */
  keys: number;
  /** Length of a query and of a key, 1 to 256. */
  headDim: number;
  /** Length of a value, 1 to 256. Default: headDim. */
  valueDim?: number;
  /** Multiplies q·k. Default: 1 / sqrt(headDim). */
  scale?: number;
  /** Scores become softcap · tanh(score / softcap). Default 0: no cap. */
  softcap?: number;
}

export interface MaskOptions {
  /** Queries per head; query i stands at position i + keys - queries, so that the last query is the last key's. */
  queries: number;
  /** A query sees no key after its own position. Default false. */
  causal?: boolean;
  /** A query sees its own position and the window - 1 keys before it (which implies causal). Default 0: no window. */
  window?: number;
  /** The block mask. Default: dense. */
  blocks?: Blocks | undefined;
}

export interface AttentionBlocksparseOptions extends HeadOptions, MaskOptions {}

export interface AttentionDecodeOptions extends HeadOptions {
  /** First key attended to. Default 0. */
  from?: number;
  /** One past the last key attended to. Default: keys. */
  to?: number;
}

export interface AttentionInputs {
  /** Blocksparse: [heads, queries, headDim]. Decode: [heads, headDim]. */
  q: Float32Array;
  /** [kvHeads, keys, headDim]. */
  k: Float32Array;
  /** [kvHeads, keys, valueDim]. */
  v: Float32Array;
}

export interface AttentionOutputs {
  /** [heads, queries, valueDim] or [heads, valueDim]. */
  output: Float32Array;
  /** Natural log-sum-exp of each row's scores: [heads, queries] or [heads]. */
  lse: Float32Array;
}

/** `AttentionInputs` in halves, as their bits. */
export interface AttentionHalfInputs {
  q: Uint16Array;
  k: Uint16Array;
  v: Uint16Array;
}

/** `AttentionOutputs` with its output in halves. */
export interface AttentionHalfOutputs {
  output: Uint16Array;
  /** Natural log-sum-exp, f32. */
  lse: Float32Array;
}

/** The arrays of a call with a block mask. */
export const withBlocks = (inputs: object, given: MaskOptions | undefined) => ({
  ...inputs,
  indptr: given?.blocks?.indptr,
  indices: given?.blocks?.indices,
});

const MAX_DIM = 256;
/** Positions are signed 32-bit numbers in the kernels, and are added to each other. */
const MAX_POSITION = 2 ** 30;

/** assembly/lib/attention.ts: rows (a query of a head) kept in scratch at a time, keys scored at a time. */
const PASS_ROWS = 64;
const CHUNK_KEYS = 64;

/** Elements of scratch both CPU kernels need: independent of heads, queries and keys. Keys in halves are widened there. */
function scratchLength(dtype: Float, { headDim, valueDim }: Params): number {
  const roundUp4 = (n: number) => Math.ceil(n / 4) * 4;
  const widened = dtype === 'f16' ? CHUNK_KEYS * (headDim! + valueDim!) : 0;
  return 8 * (CHUNK_KEYS + 1) + PASS_ROWS * (4 + roundUp4(headDim!) + roundUp4(valueDim!)) + widened;
}

interface HeadDims {
  headDim: number;
  /** Default: headDim. */
  valueDim?: number;
}

function scratchBytes(dtype: Float, dims: HeadDims): number {
  const kernel = `attention_blocksparse_${dtype}`;
  const { headDim, valueDim = headDim } = options(kernel, dims);
  integer(kernel, 'headDim', headDim, 1, MAX_DIM);
  integer(kernel, 'valueDim', valueDim, 1, MAX_DIM);
  return 4 * scratchLength(dtype, { headDim, valueDim });
}

/** Bytes of scratch that `attention_blocksparse_f32` and `attention_decode_f32` need in the pointer layer. */
export function attentionScratchBytes(dims: HeadDims): number {
  return scratchBytes('f32', dims);
}

/** The same of `attention_blocksparse_f16` and `attention_decode_f16`. */
export function attentionHalfScratchBytes(dims: HeadDims): number {
  return scratchBytes('f16', dims);
}

/** The numbers of HeadOptions. */
export function headParams(kernel: string, o: HeadOptions) {
  const { heads, kvHeads, keys, headDim, valueDim = headDim, softcap = 0 } = options(kernel, o);
  const { scale = 1 / Math.sqrt(integer(kernel, 'headDim', headDim, 1, MAX_DIM)) } = o;
  // Rounded here so that every backend, the reference included, scales by the same number.
  const f32 = {
    scale: Math.fround(finite(kernel, 'scale', scale)),
    softcap: Math.fround(finite(kernel, 'softcap', softcap)),
  };
  return { heads, kvHeads, keys, headDim, valueDim, ...f32 };
}

export function checkHeads(kernel: string, { heads, kvHeads, keys, headDim, valueDim, scale, softcap }: Params): void {
  integer(kernel, 'kvHeads', kvHeads, 1);
  integer(kernel, 'heads', heads, 1);
  if (heads! % kvHeads! !== 0)
    throw new RangeError(message(kernel, 'heads', `multiple of kvHeads (${kvHeads})`, heads));
  integer(kernel, 'keys', keys, 0, MAX_POSITION);
  integer(kernel, 'headDim', headDim, 1, MAX_DIM);
  integer(kernel, 'valueDim', valueDim, 1, MAX_DIM);
  finite(kernel, 'scale', scale);
  if (finite(kernel, 'softcap', softcap) < 0)
    throw new RangeError(message(kernel, 'softcap', 'number of at least 0', softcap));
}

function blockSize(kernel: string, name: string, size: number | undefined): number {
  integer(kernel, name, size, 16, 128);
  if (size! % 16 !== 0) throw new RangeError(message(kernel, name, 'multiple of 16', size));
  return size!;
}

/** What a query sees: MaskOptions as numbers. blockQueries = blockKeys = 0: dense. */
export function maskParams(kernel: string, o: MaskOptions) {
  const { queries, causal = false, window = 0, blocks } = o;
  let mask = { indicesLength: 0, blockQueries: 0, blockKeys: 0, perHead: 0 };
  if (blocks !== undefined) {
    const { indptr, indices, blockQueries, blockKeys, perHead = false } = options(kernel, blocks);
    if (!(indptr instanceof Uint32Array)) throw new TypeError(message(kernel, 'indptr', 'Uint32Array', indptr));
    if (!(indices instanceof Uint32Array)) throw new TypeError(message(kernel, 'indices', 'Uint32Array', indices));
    mask = {
      indicesLength: indices.length,
      blockQueries: blockSize(kernel, 'blockQueries', blockQueries),
      blockKeys: blockSize(kernel, 'blockKeys', blockKeys),
      perHead: flag(kernel, 'perHead', perHead),
    };
  }
  return { queries, causal: flag(kernel, 'causal', causal), window, ...mask };
}

/** Checks them, and answers with the lengths of their arrays. */
export function maskLengths(kernel: string, params: Params): { indptr: number; indices: number } {
  const { heads, queries, causal, window, indicesLength, blockQueries, blockKeys, perHead } = params;
  integer(kernel, 'queries', queries, 0, MAX_POSITION);
  integer(kernel, 'causal', causal, 0, 1);
  integer(kernel, 'window', window, 0, MAX_POSITION);
  integer(kernel, 'perHead', perHead, 0, 1);
  integer(kernel, 'indicesLength', indicesLength, 0);
  const dense = blockQueries === 0 && blockKeys === 0;
  const rows = dense ? 0 : Math.ceil(queries! / blockSize(kernel, 'blockQueries', blockQueries)) + 1;
  if (!dense) blockSize(kernel, 'blockKeys', blockKeys);
  return { indptr: perHead === 1 ? elements(kernel, 'indptr', heads!, rows) : rows, indices: indicesLength! };
}

/** Faults in the block lists. */
export function checkBlocks(
  kernel: string,
  { heads, queries, keys, indicesLength, blockQueries, blockKeys, perHead }: Params,
  { indptr, indices }: Arrays,
): void {
  if (indptr === undefined) return;
  const blocks = Math.ceil(keys! / blockSize(kernel, 'blockKeys', blockKeys));
  const rows = Math.ceil(queries! / blockSize(kernel, 'blockQueries', blockQueries));
  for (let head = 0; head < (perHead ? heads! : 1); head++) {
    for (let row = 0; row <= rows; row++) {
      const at = head * (rows + 1) + row;
      const least = row === 0 ? 0 : indptr[at - 1]!;
      if (indptr[at]! < least || indptr[at]! > indicesLength!)
        throw new RangeError(message(kernel, `indptr[${at}]`, `integer in [${least}, ${indicesLength}]`, indptr[at]));
    }
    for (let at = indptr[head * (rows + 1)]!; at < indptr[head * (rows + 1) + rows]!; at++)
      if (indices === undefined || !(indices[at]! < blocks))
        throw new RangeError(message(kernel, `indices[${at}]`, `integer in [0, ${blocks - 1}]`, indices?.[at]));
  }
}

function blocksparseOf(dtype: Float): Contract<AttentionBlocksparseOptions> {
  const kernel = `attention_blocksparse_${dtype}`;
  return {
    kernel,
    arrays: {
      q: { dtype, role: 'in' },
      k: { dtype, role: 'in' },
      v: { dtype, role: 'in' },
      indptr: { dtype: 'u32', role: 'in', optional: true },
      indices: { dtype: 'u32', role: 'in', optional: true },
      output: { dtype, role: 'out' },
      lse: { dtype: 'f32', role: 'out' },
      scratch: { dtype: 'f32', role: 'scratch' },
      status: { dtype: 'u32', role: 'out', optional: true },
    },
    params: (o) => ({ ...headParams(kernel, o), ...maskParams(kernel, o) }),
    lengths(params) {
      checkHeads(kernel, params);
      const { heads, kvHeads, queries, keys, headDim, valueDim } = params;
      const mask = maskLengths(kernel, params);
      return {
        q: elements(kernel, 'q', heads!, queries!, headDim!),
        k: elements(kernel, 'k', kvHeads!, keys!, headDim!),
        v: elements(kernel, 'v', kvHeads!, keys!, valueDim!),
        ...mask,
        output: elements(kernel, 'output', heads!, queries!, valueDim!),
        lse: elements(kernel, 'lse', heads!, queries!),
        scratch: scratchLength(dtype, params),
        status: 1,
      };
    },
    checkData: (params, arrays) => checkBlocks(kernel, params, arrays),
  };
}

export const attention_blocksparse_f32: Contract<AttentionBlocksparseOptions> = blocksparseOf('f32');
export const attention_blocksparse_f16: Contract<AttentionBlocksparseOptions> = blocksparseOf('f16');

function decodeOf(dtype: Float): Contract<AttentionDecodeOptions> {
  const kernel = `attention_decode_${dtype}`;
  return {
    kernel,
    arrays: {
      q: { dtype, role: 'in' },
      k: { dtype, role: 'in' },
      v: { dtype, role: 'in' },
      output: { dtype, role: 'out' },
      lse: { dtype: 'f32', role: 'out' },
      scratch: { dtype: 'f32', role: 'scratch' },
    },
    params(o) {
      const { from = 0, to = o.keys } = options(kernel, o);
      return { ...headParams(kernel, o), from, to };
    },
    lengths(params) {
      checkHeads(kernel, params);
      const { heads, kvHeads, keys, headDim, valueDim, from, to } = params;
      integer(kernel, 'to', to, 0, keys);
      integer(kernel, 'from', from, 0, to);
      return {
        q: elements(kernel, 'q', heads!, headDim!),
        k: elements(kernel, 'k', kvHeads!, keys!, headDim!),
        v: elements(kernel, 'v', kvHeads!, keys!, valueDim!),
        output: elements(kernel, 'output', heads!, valueDim!),
        lse: heads!,
        scratch: scratchLength(dtype, params),
      };
    },
  };
}

export const attention_decode_f32: Contract<AttentionDecodeOptions> = decodeOf('f32');
export const attention_decode_f16: Contract<AttentionDecodeOptions> = decodeOf('f16');
