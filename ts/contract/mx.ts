import type { Contract, Params } from '../contract.js';
import { message } from '../errors.js';
import { elements, finite, integer, options, word } from '../validate.js';

/**
 * Elements of a few bits that share a scale byte per block along the row. Here `mxfp4`, blocks of 32:
 *
 *     x      [rows, n]
 *     codes  [rows, ceil(n·width/8)]   byte 0: x1,x0   byte 1: x3,x2   ...      (x0 in bits 3 to 0)
 *     scales [rows, ceil(n/32)]        byte 0: x0 to x31   byte 1: x32 to x63   ...
 *
 * Elements of 6 bits lie low bits first, four in three bytes; those of 8 bits are bytes. Each row starts a byte; its
 * unused high bits are 0; the last block of a row may be shorter.
 */
export interface MxOptions {
  /** Rows of x (tokens). */
  rows: number;
  /** Values per row (channels). */
  n: number;
  /**
   * OCP microscaling (an E8M0 scale per 32): `mxfp4`, `mxfp6_e2m3`, `mxfp6_e3m2`, `mxfp8_e4m3`, `mxfp8_e5m2`, `mxint8`.
   * `bfp`: the same with two's complement mantissas of `bits` bits. `nvfp4`: E2M1 with an E4M3 scale per 16;
   * `nvfp4_ue5m3`: with an unsigned E5M3 scale.
   */
  format: MxFormat;
  /** Bits of a mantissa, sign included, 3 to 8: for `bfp`, and only there. */
  bits?: number;
  /** Values that share a scale: 16, 32 or 64. Default: the format's own (32; nvfp4: 16). */
  blockSize?: number;
  /**
   * The power of two that a block is divided by, for E8M0 scales. `floor` (OCP, the default): that of the largest
   * magnitude; larger elements saturate. `even`: the same after rounding the magnitude to the element's precision. `ceil`: the next
   * power of two; `rceil`: the least with which nothing saturates.
   */
  scaling?: (typeof SCALINGS)[number];
  /** Of elements. `even` (default): to nearest, ties to even. `away`: ties away from zero. `floor`: towards zero. */
  rounding?: (typeof ROUNDINGS)[number];
  /** One element per byte, in its low bits, whatever the format. Default false. */
  unpacked?: boolean;
  /** nvfp4: a second scale for the whole tensor, from 2^-100 to 2^100. Default 1 (as is 0). Rounded to f32. */
  tensorScale?: number;
}

export interface MxQuantized {
  /** Elements, `[rows, ceil(n·width/8)]` bytes: 4, 6 or 8 bits each; unpacked: `[rows, n]`. */
  codes: Uint8Array;
  /** `[rows, ceil(n/blockSize)]`: E8M0; nvfp4: E4M3 or UE5M3. */
  scales: Uint8Array;
}

/** Positions in these lists are the numbers that kernels take. */
export const FORMATS = [
  'mxfp4',
  'mxfp6_e2m3',
  'mxfp6_e3m2',
  'mxfp8_e4m3',
  'mxfp8_e5m2',
  'mxint8',
  'bfp',
  'nvfp4',
  'nvfp4_ue5m3',
] as const;
export const SCALINGS = ['floor', 'ceil', 'even', 'rceil'] as const;
export const ROUNDINGS = ['even', 'away', 'floor'] as const;

export type MxFormat = (typeof FORMATS)[number];

/** An element: value = code's magnitude read as a float of `mantissa` bits whose least normal is 2^minExponent. */
export interface Element {
  /** Bits with the sign. */
  readonly bits: number;
  readonly mantissa: number;
  readonly minExponent: number;
  /** Exponent of the largest value, and that value's code. */
  readonly maxExponent: number;
  readonly maxCode: number;
  /** Two's complement: all of it below the least "normal". */
  readonly integer: boolean;
}

const float = (exponent: number, mantissa: number, maxExponent: number, maxCode: number): Element => ({
  bits: 1 + exponent + mantissa,
  mantissa,
  minExponent: 2 - 2 ** (exponent - 1),
  maxExponent,
  maxCode,
  integer: false,
});

const E2M1 = float(2, 1, 2, 0x7);
const FLOATS = [E2M1, float(2, 3, 2, 0x1f), float(3, 2, 4, 0x1f), float(4, 3, 8, 0x7e), float(5, 2, 15, 0x7b)];

/** What the elements of a call are. */
export function elementOf({ format, bits }: Params): Element {
  if (isNv(format!)) return E2M1;
  const known = FLOATS[format!];
  if (known) return known;
  const width = format === BFP ? bits! : 8;
  return {
    bits: width,
    mantissa: width - 2,
    minExponent: 0,
    maxExponent: 0,
    maxCode: 2 ** (width - 1) - 1,
    integer: true,
  };
}

const BFP = FORMATS.indexOf('bfp');
const NVFP4 = FORMATS.indexOf('nvfp4');

/** Scales with a mantissa? */
export const isNv = (format: number): boolean => format >= NVFP4;

/** Bits that a code takes in memory: 4, 6 or 8. */
export const widthOf = (p: Params): number => (p.unpacked ? 8 : Math.ceil(Math.max(elementOf(p).bits, 4) / 2) * 2);

/** What a scaling adds to a magnitude's bits before all but its exponent falls away: the next one is reached or not. */
export function roundOf(p: Params): number {
  const { mantissa, maxCode } = elementOf(p);
  const largest = (maxCode << (23 - mantissa)) & 0x7fffff;
  return [0, 0x7fffff, 2 ** (22 - mantissa), 0x7fffff - largest][p.scaling!]!;
}

/** Values per block. */
export const blockOf = ({ blockSize, format }: Params): number => blockSize || (isNv(format!) ? 16 : 32);

/** Scale bytes of nvfp4 by format: their least normal and largest values, their exponent bias, and their NaN. */
export const scaleOf = ({ format }: Params): { min: number; max: number; bias: number; nan: number } =>
  format === NVFP4
    ? { min: 2 ** -6, max: 448, bias: 7, nan: 0x7f }
    : { min: 2 ** -14, max: 114688, bias: 15, nan: 0xff };

const LIMIT = 2 ** 100;
const NO_FORMAT = -1;

function params(kernel: string, o: MxOptions): Params {
  const {
    rows,
    n,
    format,
    bits = 0,
    blockSize,
    scaling = 'floor',
    rounding = 'even',
    unpacked = false,
  } = options(kernel, o);
  const { tensorScale = 1 } = o;
  // A GPU kernel compiles before it knows its format; `lengths` asks for it.
  const at = format === undefined ? NO_FORMAT : word(kernel, 'format', format, FORMATS);
  // In the pointer layer 0 is a number left out; microxcaling means the whole axis by it.
  if (blockSize === 0) throw new RangeError(message(kernel, 'blockSize', '16, 32 or 64', blockSize));
  if (typeof unpacked !== 'boolean') throw new TypeError(message(kernel, 'unpacked', 'boolean', unpacked));
  return {
    rows,
    n,
    format: at,
    bits,
    blockSize: blockSize ?? blockOf({ format: at }),
    scaling: word(kernel, 'scaling', scaling, SCALINGS),
    rounding: word(kernel, 'rounding', rounding, ROUNDINGS),
    unpacked: Number(unpacked),
    tensorScale: typeof tensorScale === 'number' ? Math.fround(tensorScale === 0 ? 1 : tensorScale) : tensorScale,
  };
}

/** Every length; `values` is the name of the array that holds the values themselves. */
function lengths(kernel: string, values: 'x' | 'out', p: Params): { x: number; codes: number; scales: number } {
  if (p.format === NO_FORMAT) word(kernel, 'format', undefined, FORMATS);
  const format = integer(kernel, 'format', p.format, 0, FORMATS.length - 1);
  if (format === BFP) integer(kernel, 'bits', p.bits, 3, 8);
  else if (p.bits !== 0) throw new RangeError(message(kernel, 'bits', 'nothing: only bfp has a choice', p.bits));
  integer(kernel, 'blockSize', p.blockSize, 0);
  if (![0, 16, 32, 64].includes(p.blockSize!))
    throw new RangeError(message(kernel, 'blockSize', '16, 32 or 64', p.blockSize));
  integer(kernel, 'scaling', p.scaling, 0, SCALINGS.length - 1);
  if (p.scaling && isNv(format))
    throw new RangeError(message(kernel, 'scaling', 'nothing: only E8M0 scales have a choice', SCALINGS[p.scaling]));
  integer(kernel, 'rounding', p.rounding, 0, ROUNDINGS.length - 1);
  integer(kernel, 'unpacked', p.unpacked, 0, 1);
  // 0 is what a pointer call leaves out.
  const tensorScale = finite(kernel, 'tensorScale', p.tensorScale) || 1;
  if (!(tensorScale >= 1 / LIMIT && tensorScale <= LIMIT))
    throw new RangeError(message(kernel, 'tensorScale', 'number from 2^-100 to 2^100', tensorScale));
  if (tensorScale !== 1 && !isNv(format))
    throw new RangeError(message(kernel, 'tensorScale', 'nothing: only nvfp4 has one', tensorScale));
  const rows = integer(kernel, 'rows', p.rows, 0);
  const n = integer(kernel, 'n', p.n, 1);
  return {
    x: elements(kernel, values, rows, n),
    codes: rows * Math.ceil((n * widthOf(p)) / 8),
    scales: rows * Math.ceil(n / blockOf(p)),
  };
}

const QUANTIZE = 'mx_quantize_f32';
const DEQUANTIZE = 'mx_dequantize_f32';

export const mx_quantize_f32: Contract<MxOptions> = {
  kernel: QUANTIZE,
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    codes: { dtype: 'u8', role: 'out' },
    scales: { dtype: 'u8', role: 'out' },
  },
  params: (o) => params(QUANTIZE, o),
  lengths: (p) => lengths(QUANTIZE, 'x', p),
};

export const mx_dequantize_f32: Contract<MxOptions> = {
  kernel: DEQUANTIZE,
  arrays: {
    codes: { dtype: 'u8', role: 'in' },
    scales: { dtype: 'u8', role: 'in' },
    out: { dtype: 'f32', role: 'out' },
  },
  params: (o) => params(DEQUANTIZE, o),
  lengths(p) {
    const { x, ...stored } = lengths(DEQUANTIZE, 'out', p);
    return { ...stored, out: x };
  },
};
