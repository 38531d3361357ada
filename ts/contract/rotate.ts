import type { Arrays, Contract, Params } from '../contract.js';
import { message } from '../errors.js';
import { hadamardOrder, knownMatrix } from '../hadamard-matrices.js';
import { elements, finite, flag, integer, options, signs, word } from '../validate.js';
import { checkOrder, matrixLength, mixScratchLength } from './hadamardmixed.js';
import { checkFormat, type QuantizeOptions, quantizedLengths, SCHEMES } from './quantize.js';

export interface RotateOptions {
  /** Rows: tokens, or tokens times heads. */
  rows: number;
  /** Values per row, rotated together: order · 2^p, up to 2048. The head dimension, or several heads together. */
  n: number;
  /** The order of the matrix: 1, or a multiple of 4 up to 256. Default `hadamardOrder(n)`, as for hadamardMixed. */
  order?: number;
  /** Multiplies the unnormalised transform; any finite f32. Default 1/√n: orthonormal. */
  scale?: number;
  /** Undoes a call without: transposed matrix, signs, reciprocal factors, permutation, in this order. Default false. */
  inverse?: boolean;
}

/** Rotation, then groups along a row as for quantize. */
export interface RotateQuantizeOptions
  extends Omit<RotateOptions, 'inverse'>,
    Pick<QuantizeOptions, 'bits' | 'groupSize' | 'scheme'> {}

export interface Rotation {
  /** The column of x that each value of a row comes from; each column once. */
  permutation?: Uint32Array | undefined;
  /** Multiply the columns of x; finite, not 0. */
  factors?: Float32Array | undefined;
  /** ±1 for each value of a permuted row. */
  signs?: Int8Array | undefined;
  /** A Hadamard matrix of the order, packed as by `hadamardMatrix`, which it is by default. */
  matrix?: Uint32Array | undefined;
}

/** The arrays of a rotation; the matrix of a known order need not be given. */
export const rotationOf = ({ permutation, factors, signs, matrix }: Rotation, { order }: Params) => ({
  permutation,
  factors,
  signs,
  matrix: matrix ?? knownMatrix(order!),
});

export const MAX_N = 2048;

/** Values of the rows that are worked off together: assembly/rotate.ts. */
const CHUNK = 2048;

/** Whole vectors. */
const padded = (length: number) => Math.ceil(length / 4) * 4;

/** 4-byte words of scratch: coefficients and offsets of a row, the matrix's, some rows. */
const scratchLength = (n: number, order: number): number =>
  2 * padded(n) + mixScratchLength(order) + padded(Math.max(1, Math.floor(CHUNK / n)) * n);

/** Bytes of scratch that each of the kernels needs in the pointer layer. */
export function rotateScratchBytes(size: Pick<RotateOptions, 'n' | 'order'>): number {
  const n = integer('rotate_f32', 'n', options('rotate_f32', size).n, 1, MAX_N);
  const { order = hadamardOrder(n) } = size;
  checkOrder('rotate_f32', n, order);
  return 4 * scratchLength(n, order);
}

const ROTATION = {
  permutation: { dtype: 'u32', role: 'in', optional: true },
  factors: { dtype: 'f32', role: 'in', optional: true },
  signs: { dtype: 'i8', role: 'in', optional: true },
  matrix: { dtype: 'u32', role: 'in', optional: 'empty' },
  scratch: { dtype: 'f32', role: 'scratch' },
} as const;

const rotationParams = ({
  rows,
  n,
  order = hadamardOrder(n),
  scale = 1 / Math.sqrt(n),
}: Omit<RotateOptions, 'inverse'>) => ({
  rows,
  n,
  order,
  scale,
});

function rotationLengths(kernel: string, { rows, n, order, scale }: Params) {
  integer(kernel, 'rows', rows, 0);
  integer(kernel, 'n', n, 1, MAX_N);
  checkOrder(kernel, n!, order!);
  finite(kernel, 'scale', scale);
  finite(kernel, 'scale', Math.fround(scale!));
  return {
    permutation: n!,
    factors: n!,
    signs: n!,
    matrix: matrixLength(order!),
    scratch: scratchLength(n!, order!),
  };
}

function checkRotation(kernel: string, params: Params, arrays: Arrays): void {
  signs(kernel, arrays.signs);
  const { permutation, factors } = arrays;
  const seen = new Uint8Array(params.n!);
  permutation?.forEach((column, i) => {
    if (column >= params.n! || seen[column])
      throw new RangeError(message(kernel, `permutation[${i}]`, `each of 0 to ${params.n! - 1} once`, column));
    seen[column] = 1;
  });
  const at = factors?.findIndex((factor) => !Number.isFinite(factor) || factor === 0) ?? -1;
  if (at >= 0) throw new RangeError(message(kernel, `factors[${at}]`, 'finite number that is not 0', factors![at]));
}

export const rotate_f32: Contract<RotateOptions> = {
  kernel: 'rotate_f32',
  arrays: { x: { dtype: 'f32', role: 'in' }, ...ROTATION, out: { dtype: 'f32', role: 'out' } },
  params(given) {
    const { inverse = false, ...rest } = options('rotate_f32', given);
    return { ...rotationParams(rest), inverse: flag('rotate_f32', 'inverse', inverse) };
  },
  lengths(params) {
    const rotation = rotationLengths('rotate_f32', params);
    integer('rotate_f32', 'inverse', params.inverse, 0, 1);
    const values = elements('rotate_f32', 'x', params.rows!, params.n!);
    return { x: values, ...rotation, out: values };
  },
  checkData: (params, arrays) => checkRotation('rotate_f32', params, arrays),
};

const QUANTIZE = 'rotate_quantize_f32';
const DEQUANTIZE = 'rotate_dequantize_f32';

function formatParams(kernel: string, given: RotateQuantizeOptions): Params {
  const { bits, groupSize, scheme, ...rest } = options(kernel, given);
  return { ...rotationParams(rest), bits, groupSize, scheme: word(kernel, 'scheme', scheme, SCHEMES) };
}

/** What is fixed at compile on a GPU. */
export const checkRotateFormat = (kernel: string, params: Params): void => checkFormat(kernel, { ...params, axis: 0 });

function formatLengths(kernel: string, values: 'x' | 'out', params: Params) {
  const rotation = rotationLengths(kernel, params);
  const { x, ...stored } = quantizedLengths(kernel, values, { ...params, axis: 0 });
  return { [values]: x, ...rotation, ...stored };
}

export const rotate_quantize_f32: Contract<RotateQuantizeOptions> = {
  kernel: QUANTIZE,
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    ...ROTATION,
    codes: { dtype: 'u32', role: 'out' },
    scales: { dtype: 'f32', role: 'out' },
    minima: { dtype: 'f32', role: 'out', optional: 'empty' },
  },
  params: (given) => formatParams(QUANTIZE, given),
  lengths: (params) => formatLengths(QUANTIZE, 'x', params),
  checkData: (params, arrays) => checkRotation(QUANTIZE, params, arrays),
};

export const rotate_dequantize_f32: Contract<RotateQuantizeOptions> = {
  kernel: DEQUANTIZE,
  arrays: {
    codes: { dtype: 'u32', role: 'in' },
    scales: { dtype: 'f32', role: 'in' },
    minima: { dtype: 'f32', role: 'in', optional: 'empty' },
    ...ROTATION,
    out: { dtype: 'f32', role: 'out' },
  },
  params: (given) => formatParams(DEQUANTIZE, given),
  lengths: (params) => formatLengths(DEQUANTIZE, 'out', params),
  checkData: (params, arrays) => checkRotation(DEQUANTIZE, params, arrays),
};
