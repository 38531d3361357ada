import {
  type ArrayContract,
  type Arrays,
  type Contract,
  type Params,
  SCALE_TYPES,
  type TypedArray,
} from '../contract.js';
import { message } from '../errors.js';
import { checkGroupSize, elements, integer, options, word } from '../validate.js';
import {
  checkBlocks,
  checkHeads,
  type HeadOptions,
  headParams,
  type MaskOptions,
  maskLengths,
  maskParams,
} from './attention.js';

/**
 * How values are stored. `affine`: code · scale + minimum. `symmetric`: signed code · scale. `mxfp4`: E2M1 codes under
 * E8M0 scales. `codebook`: table[code] · scale. Positions in this list are the numbers that kernels take.
 */
export const STORED_SCHEMES = ['affine', 'symmetric', 'mxfp4', 'codebook'] as const;
export const STORED_AXES = ['row', 'column'] as const;
export type StoredScheme = (typeof STORED_SCHEMES)[number];

/** What K and V have in common: kv heads lie one after the other, each as `quantize` stores rows (keys) of n values. */
export interface QuantizedAttentionOptions extends Omit<HeadOptions, 'keys'> {
  /** Keys (and values) in use per kv head. */
  keys: number;
  /** Keys there is room for: kv heads lie this far apart. Default: keys. */
  capacity?: number;
  /** Newest keys in full precision, after the stored ones: rows of kRecent and vRecent in use per kv head. Default 0. */
  recentKeys?: number;
  /** Rows per kv head in kRecent and vRecent. Default: recentKeys. */
  recentCapacity?: number;
  kScheme: StoredScheme;
  /** 2, 3, 4 or 8. Default 4, which mxfp4 and codebook always have. */
  kBits?: number;
  /** `column`: per channel. `row` (default, and the one for mxfp4 and codebook): per token. */
  kAxis?: 'row' | 'column';
  /** As quantize has it: a multiple of 16 from 16 to 256, or 0 for the whole axis (a column's is `capacity`). Default: 32. */
  kGroupSize?: number;
  /** What scales and minima are stored in, as `quantize` of the integers family has it. Default `f32`, which mxfp4 always has. */
  kScaleType?: 'f32' | 'f16';
  vScheme: StoredScheme;
  vBits?: number;
  vAxis?: 'row' | 'column';
  vGroupSize?: number;
  vScaleType?: 'f32' | 'f16';
}

export interface AttentionDecodeQuantizedOptions extends QuantizedAttentionOptions {
  /** First stored key attended to. Default 0. */
  from?: number;
  /** One past the last stored key attended to. Default: keys. Recent keys are always attended to. */
  to?: number;
}

/** Query i stands at position i + keys + recentKeys - queries. Block lists choose among stored keys; recent ones need none. */
export interface AttentionBlocksparseQuantizedOptions extends QuantizedAttentionOptions, MaskOptions {}

/**
 * One side of a stored cache, all kv heads one after the other: what `quantize`, `mxQuantize` (mxfp4) or `codebookQuantize`
 * (with the `table` beside it) returned, as it is.
 */
export interface Stored {
  /**
   * `row`: `[kvHeads, capacity, words of n codes]`. `column`: `[kvHeads, words of capacity codes, n]`. Bytes are taken for
   * the words that they are, in place; they are copied only where they begin off a word.
   */
  codes: Uint32Array | Uint8Array;
  /** `row`: `[kvHeads, capacity, groups]`. `column`: `[kvHeads, groups, n]`. mxfp4: E8M0 bytes `[kvHeads, capacity, ceil(n/32)]`. */
  scales?: Float32Array | Uint16Array | Uint8Array | undefined;
  /** As scales; affine only. */
  minima?: Float32Array | Uint16Array | undefined;
  /** The 16 values of the codes; codebook only. */
  table?: Float32Array | undefined;
}

export interface QuantizedAttentionInputs {
  /** Blocksparse: [heads, queries, headDim]. Decode: [heads, headDim]. */
  q: Float32Array;
  k: Stored;
  v: Stored;
  /** [kvHeads, recentCapacity, headDim]: the keys after the stored ones. */
  kRecent?: Float32Array | undefined;
  /** [kvHeads, recentCapacity, valueDim]. */
  vRecent?: Float32Array | undefined;
}

const DECODE = 'attention_decode_quantized_f32';
const SPARSE = 'attention_blocksparse_quantized_f32';
const AFFINE = 0;
const MXFP4 = 2;
const CODEBOOK = 3;

/** One side's format, of K or of V. */
interface Format {
  scheme: number;
  bits: number;
  axis: number;
  groupSize: number;
  scaleType: number;
}

/** The format of side `k` or `v`, from a call's numbers. */
export function formatOf(params: Params, side: 'k' | 'v'): Format {
  const of = (name: string) => params[side + name]!;
  return {
    scheme: of('Scheme'),
    bits: of('Bits'),
    axis: of('Axis'),
    groupSize: of('GroupSize'),
    scaleType: of('ScaleType'),
  };
}

/** 32-bit words of `length` codes in a line. Three bits come in runs of 32 codes. */
export const wordsOf = (length: number, bits: number): number =>
  bits === 3 ? 3 * Math.ceil(length / 32) : Math.ceil((length * bits) / 32);

/** Values per group, as long as the axis at most. */
export const groupSizeOf = ({ groupSize }: Format, length: number): number =>
  groupSize === 0 ? length : Math.min(groupSize, length);

/** What does not depend on the axes, and is fixed at compile on a GPU. */
export function checkStored(kernel: string, params: Params): void {
  for (const side of ['k', 'v'] as const) {
    const { scheme, bits, axis, groupSize, scaleType } = formatOf(params, side);
    integer(kernel, `${side}Scheme`, scheme, 0, STORED_SCHEMES.length - 1);
    integer(kernel, `${side}Bits`, bits, 2, 8);
    if (bits !== 8 && bits > 4) throw new RangeError(message(kernel, `${side}Bits`, '2, 3, 4 or 8', bits));
    integer(kernel, `${side}Axis`, axis, 0, 1);
    integer(kernel, `${side}GroupSize`, groupSize, 0);
    integer(kernel, `${side}ScaleType`, scaleType, 0, SCALE_TYPES.length - 1);
    const named = (name: string, want: number | string, got: number | string) => {
      throw new RangeError(message(kernel, side + name, `${want} (${STORED_SCHEMES[scheme]})`, got));
    };
    if (scheme >= MXFP4 && bits !== 4) named('Bits', 4, bits);
    if (scheme >= MXFP4 && axis !== 0) named('Axis', 'row', axis);
    if (scheme === MXFP4 && groupSize !== 32) named('GroupSize', 32, groupSize);
    if (scheme === MXFP4 && scaleType !== 0) named('ScaleType', SCALE_TYPES[0], SCALE_TYPES[scaleType]!);
  }
  checkDims(kernel, params);
}

function checkDims(kernel: string, params: Params): void {
  for (const dim of ['headDim', 'valueDim']) {
    const n = integer(kernel, dim, params[dim], 16, 256);
    if (n % 8) throw new RangeError(message(kernel, dim, 'multiple of 8', n));
  }
}

function storedParams(kernel: string, o: QuantizedAttentionOptions) {
  const { keys, capacity = keys, recentKeys = 0, recentCapacity = recentKeys } = options(kernel, o);
  const side = (
    name: string,
    scheme: unknown,
    bits = 4,
    axis: unknown = 'row',
    groupSize = 32,
    scaleType: unknown = 'f32',
  ) => ({
    [`${name}Scheme`]: word(kernel, `${name}Scheme`, scheme, STORED_SCHEMES),
    [`${name}Bits`]: bits,
    [`${name}Axis`]: word(kernel, `${name}Axis`, axis, STORED_AXES),
    [`${name}GroupSize`]: groupSize,
    [`${name}ScaleType`]: word(kernel, `${name}ScaleType`, scaleType, SCALE_TYPES),
  });
  return {
    ...headParams(kernel, o),
    capacity,
    recentKeys,
    recentCapacity,
    ...side('k', o.kScheme, o.kBits, o.kAxis, o.kGroupSize, o.kScaleType),
    ...side('v', o.vScheme, o.vBits, o.vAxis, o.vGroupSize, o.vScaleType),
  };
}

/** Lengths of one side's arrays; those its scheme has no use for are 0. */
function sideLengths(kernel: string, params: Params, side: 'k' | 'v', n: number) {
  const { kvHeads, capacity } = params as Record<string, number>;
  const format = formatOf(params, side);
  const { scheme, bits, axis } = format;
  const [lines, length] = axis ? [n, capacity!] : [capacity!, n];
  checkGroupSize(kernel, `${side}GroupSize`, format.groupSize, length);
  const codes = elements(kernel, `${side}Codes`, kvHeads!, lines, wordsOf(length, bits));
  const groups = length === 0 ? 0 : kvHeads! * lines * Math.ceil(length / groupSizeOf(format, length));
  return {
    [`${side}Codes`]: codes,
    [`${side}Scales`]: scheme === MXFP4 ? 0 : groups,
    [`${side}Minima`]: scheme === AFFINE ? groups : 0,
    [`${side}Exponents`]: scheme === MXFP4 ? groups : 0,
    [`${side}Table`]: scheme === CODEBOOK ? 16 : 0,
  };
}

function storedLengths(kernel: string, params: Params) {
  checkHeads(kernel, params);
  checkStored(kernel, params);
  const { kvHeads, keys, capacity, recentKeys, recentCapacity, headDim, valueDim } = params as Record<string, number>;
  // Positions are signed 32-bit numbers in the kernels.
  integer(kernel, 'capacity', capacity, keys!, 2 ** 30);
  integer(kernel, 'recentCapacity', recentCapacity, 0, 2 ** 29);
  integer(kernel, 'recentKeys', recentKeys, 0, recentCapacity!);
  return {
    ...sideLengths(kernel, params, 'k', headDim!),
    ...sideLengths(kernel, params, 'v', valueDim!),
    kRecent: elements(kernel, 'kRecent', kvHeads!, recentCapacity!, headDim!),
    vRecent: elements(kernel, 'vRecent', kvHeads!, recentCapacity!, valueDim!),
  };
}

/** Bytes as the words that they are. What is no whole number of words stays as it is, and is refused. */
function wordsFrom(codes: Stored['codes'] | undefined): TypedArray | undefined {
  if (!(codes instanceof Uint8Array) || codes.length % 4) return codes;
  const { buffer, byteOffset, length } = codes.byteOffset % 4 ? new Uint8Array(codes) : codes;
  return new Uint32Array(buffer, byteOffset, length / 4);
}

/** The arrays by their contract names. */
export function cacheArrays(
  inputs: QuantizedAttentionInputs,
  given: Pick<QuantizedAttentionOptions, 'kScheme' | 'vScheme'>,
): Arrays {
  const { q, k, v, kRecent, vRecent } = { ...inputs };
  const side = (name: string, stored: Stored | undefined, scheme: StoredScheme | undefined) => ({
    [`${name}Codes`]: wordsFrom(stored?.codes),
    [name + (scheme === 'mxfp4' ? 'Exponents' : 'Scales')]: stored?.scales,
    [`${name}Minima`]: stored?.minima,
    [`${name}Table`]: stored?.table,
  });
  return { q, ...side('k', k, given?.kScheme), ...side('v', v, given?.vScheme), kRecent, vRecent };
}

/** What the scheme has no use for has length 0; so have recent keys where there are none. */
const f32 = { dtype: 'f32', role: 'in', optional: 'empty' } as const;
const scales = (name: 'k' | 'v') => ({ ...f32, dtypeIf: { [`${name}ScaleType`]: 'f16' } }) as const;
const side = (name: 'k' | 'v') => ({
  [`${name}Codes`]: { dtype: 'u32', role: 'in' } as const,
  [`${name}Scales`]: scales(name),
  [`${name}Minima`]: scales(name),
  [`${name}Exponents`]: { dtype: 'u8', role: 'in', optional: 'empty' } as const,
  [`${name}Table`]: f32,
});
const stored: Readonly<Record<string, ArrayContract>> = { ...side('k'), ...side('v'), kRecent: f32, vRecent: f32 };

/**
 * Elements of scratch both CPU kernels need, independent of heads, queries and keys (assembly/lib/qattention.ts): what does
 * not depend on dimensions, bytes of 64 keys, eight tiles of four rows.
 */
function scratchLength({ headDim, valueDim }: Params): number {
  const fixed = 30144 + 164 * Math.max(headDim!, valueDim!) + 64;
  const tile = 2096 + 16 * (4 + headDim! + valueDim!) + 16 * headDim! + 8 * Math.ceil(headDim! / 16) * 16;
  return Math.ceil((fixed + 8 * tile) / 4);
}

/** Bytes of scratch that the kernels need in the pointer layer. */
export function quantizedAttentionScratchBytes(dims: { headDim: number; valueDim?: number }): number {
  const { headDim, valueDim = headDim } = options(DECODE, dims);
  checkDims(DECODE, { headDim, valueDim });
  return 4 * scratchLength({ headDim, valueDim });
}

export const attention_decode_quantized_f32: Contract<AttentionDecodeQuantizedOptions> = {
  kernel: DECODE,
  arrays: {
    q: { dtype: 'f32', role: 'in' },
    ...stored,
    output: { dtype: 'f32', role: 'out' },
    lse: { dtype: 'f32', role: 'out' },
    scratch: { dtype: 'f32', role: 'scratch' },
  },
  params(o) {
    const { from = 0, to = o.keys } = options(DECODE, o);
    return { ...storedParams(DECODE, o), from, to };
  },
  lengths(params) {
    const lengths = storedLengths(DECODE, params);
    const { heads, keys, headDim, valueDim, from, to } = params;
    integer(DECODE, 'to', to, 0, keys);
    integer(DECODE, 'from', from, 0, to);
    return {
      q: elements(DECODE, 'q', heads!, headDim!),
      ...lengths,
      output: elements(DECODE, 'output', heads!, valueDim!),
      lse: heads!,
      scratch: scratchLength(params),
    };
  },
};

export const attention_blocksparse_quantized_f32: Contract<AttentionBlocksparseQuantizedOptions> = {
  kernel: SPARSE,
  arrays: {
    q: { dtype: 'f32', role: 'in' },
    ...stored,
    indptr: { dtype: 'u32', role: 'in', optional: true },
    indices: { dtype: 'u32', role: 'in', optional: true },
    output: { dtype: 'f32', role: 'out' },
    lse: { dtype: 'f32', role: 'out' },
    scratch: { dtype: 'f32', role: 'scratch' },
    status: { dtype: 'u32', role: 'out', optional: true },
  },
  params: (o) => ({ ...storedParams(SPARSE, o), ...maskParams(SPARSE, o) }),
  lengths(params) {
    const lengths = storedLengths(SPARSE, params);
    const { heads, queries, headDim, valueDim } = params;
    const mask = maskLengths(SPARSE, params);
    return {
      q: elements(SPARSE, 'q', heads!, queries!, headDim!),
      ...lengths,
      ...mask,
      output: elements(SPARSE, 'output', heads!, queries!, valueDim!),
      lse: elements(SPARSE, 'lse', heads!, queries!),
      scratch: scratchLength(params),
      status: 1,
    };
  },
  checkData: (params, arrays) => checkBlocks(SPARSE, params, arrays),
};
