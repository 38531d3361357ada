import type { Contract, Params } from '../contract.js';
import { message } from '../errors.js';
import { elements, integer, options, word } from '../validate.js';
import { SCHEMES } from './quantize.js';

/** How weights [n, k] are stored: what `quantize` was told with rows = n, n = k and axis 'row'. */
export interface GemmFormat {
  /** Outputs: rows of the weights. */
  n: number;
  /** Inputs: what is summed over. */
  k: number;
  /** Bits per code: 4 or 8. */
  bits: number;
  /** Consecutive inputs that share a scale: a multiple of 32 from 32 to 256, or the whole row: k, anything longer, or 0. */
  groupSize: number;
  /** `affine`: a scale and a minimum for each group. `symmetric`: a scale, codes around 0. */
  scheme: 'affine' | 'symmetric';
}

export interface GemmOptions extends GemmFormat {
  /** Rows of x and of the result (tokens). */
  m: number;
  /** From one row of the result to the next, in values: n (the default, or 0) or more. */
  outStride?: number;
}

/** Rows that share a stream of packed weights. */
export const PANEL = 8;
/** Rows of x worked off in one pass over the weights: scratch holds these. */
const PASS_ROWS = 64;
/** Inputs of a block when a group is the whole row. */
const WHOLE = 128;

const roundUp = (value: number, unit: number) => Math.ceil(value / unit) * unit;

/** Inputs that share a scale in packed weights and in quantised activations: a group; of a group that is the whole row, 128. */
export const blockOf = ({ k, groupSize }: { k?: number; groupSize?: number }): number =>
  groupSize === 0 || groupSize! >= k! ? WHOLE : groupSize!;

/** Where packed weights lie: see docs/gemm.md. Sizes in 32-bit words. */
export function packedLayout(p: Params) {
  const block = blockOf(p);
  const header = p.scheme ? PANEL : 2 * PANEL;
  const blocks = Math.ceil(p.k! / block);
  const blockWords = header + (block * PANEL * p.bits!) / 32;
  return {
    block,
    header,
    blocks,
    blockWords,
    panels: Math.ceil(p.n! / PANEL),
    panelWords: blocks * header + (roundUp(p.k!, 32) * PANEL * p.bits!) / 32,
  };
}

/** What is fixed at compile on a GPU; groupSize only as far as it is known without k. */
export function checkGemmFormat(kernel: string, { bits, groupSize, scheme }: Params): void {
  integer(kernel, 'bits', bits, 1);
  if (bits !== 4 && bits !== 8) throw new RangeError(message(kernel, 'bits', '4 or 8', bits));
  integer(kernel, 'groupSize', groupSize, 0);
  integer(kernel, 'scheme', scheme, 0, 1);
}

function checkedFormat(kernel: string, p: Params): number {
  checkGemmFormat(kernel, p);
  const n = integer(kernel, 'n', p.n, 0);
  const k = integer(kernel, 'k', p.k, 1);
  const size = p.groupSize!;
  if (size !== 0 && size < k && (size % 32 !== 0 || size > 256))
    throw new RangeError(
      message(kernel, 'groupSize', `multiple of 32 in [32, 256], or the whole row (0, or at least ${k})`, size),
    );
  const { panels, panelWords } = packedLayout(p);
  return n ? elements(kernel, 'packed', panels, panelWords) : 0;
}

const format = (kernel: string, { n, k, bits, groupSize, scheme }: GemmFormat): Params => ({
  n,
  k,
  bits,
  groupSize,
  scheme: word(kernel, 'scheme', scheme, SCHEMES),
});

/** A kernel for activations whose values take `valueBytes` in scratch. */
const gemm = (kernel: string, valueBytes: number): Contract<GemmOptions> => ({
  kernel,
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    packed: { dtype: 'u32', role: 'in' },
    out: { dtype: 'f32', role: 'out' },
    scratch: { dtype: 'u32', role: 'scratch' },
  },
  params(given) {
    const { m, outStride = 0 } = options(kernel, given);
    return { m, ...format(kernel, given), outStride };
  },
  lengths(p) {
    const packed = checkedFormat(kernel, p);
    const [m, n, k] = [integer(kernel, 'm', p.m, 0), p.n!, p.k!];
    const stride = p.outStride ? integer(kernel, 'outStride', p.outStride, n) : n;
    const x = elements(kernel, 'x', m, k);
    const out = elements(kernel, 'out', m, stride) && (m - 1) * stride + n;
    const tile = m === 1 ? 1 : 4;
    const header = Math.ceil(k / blockOf(p)) * 4;
    const words = header + (roundUp(k, 32) * valueBytes) / 4;
    const rows = Math.min(m, PASS_ROWS);
    // From so many rows on, results of all of them and a block of codes expanded (assembly/gemm.ts).
    const expands = m >= 2 * valueBytes;
    const room = expands ? (rows & ~3) * PANEL + (blockOf(p) * PANEL * valueBytes) / 4 : 4 * PANEL;
    const scratch = room + roundUp(rows, tile) * words;
    return n && m ? { x, packed, out, scratch } : { x, packed, out: 0, scratch: 0 };
  },
});

/** Activations as they are. */
export const gemm_quantized_f32: Contract<GemmOptions> = gemm('gemm_quantized_f32', 4);
/** Activations as integers of 16 bits. */
export const gemm_quantized_i16: Contract<GemmOptions> = gemm('gemm_quantized_i16', 2);
/** Activations as integers of 8 bits (held in 16 where there is no dot product of bytes). */
export const gemm_quantized_i8: Contract<GemmOptions> = gemm('gemm_quantized_i8', 2);

/** Activations as they are, or rounded on the way to integers of 16 or 8 bits with a scale for each block. */
export type Activations = 'f32' | 'i16' | 'i8';

/** The contract that computes with such activations. */
export const contractOf: Readonly<Record<Activations, Contract<GemmOptions>>> = {
  f32: gemm_quantized_f32,
  i16: gemm_quantized_i16,
  i8: gemm_quantized_i8,
};

/** The contract that options name. */
export function contractFor(given: { activations: Activations }): Contract<GemmOptions> {
  const { activations } = options('gemm', given);
  const known = Object.keys(contractOf) as Activations[];
  return contractOf[known[word('gemm', 'activations', activations, known)]!];
}

const PACK = 'gemm_pack_u32';

function packLengths(p: Params) {
  const packed = checkedFormat(PACK, p);
  const [n, k] = [p.n!, p.k!];
  const size = p.groupSize === 0 ? k : Math.min(p.groupSize!, k);
  const codes = elements(PACK, 'codes', n, Math.ceil((k * p.bits!) / 32));
  const scales = n * Math.ceil(k / size);
  return { codes, scales, minima: p.scheme ? 0 : scales, packed };
}

/** What `quantize` made, as the other kernels read it. */
export const gemm_pack_u32: Contract<GemmFormat> = {
  kernel: PACK,
  arrays: {
    codes: { dtype: 'u32', role: 'in' },
    scales: { dtype: 'f32', role: 'in' },
    minima: { dtype: 'f32', role: 'in', optional: 'empty' },
    packed: { dtype: 'u32', role: 'out' },
  },
  params: (given) => format(PACK, options(PACK, given)),
  lengths: packLengths,
};

/** Length of packed weights in 32-bit words: what `pack` gives, and `gemm` takes. */
export function packedLength(format: GemmFormat): number {
  return gemm_pack_u32.lengths(gemm_pack_u32.params(format)).packed!;
}
