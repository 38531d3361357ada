import type { Arrays, Contract, Params } from '../contract.js';
import { message } from '../errors.js';
import { elements, integer, options, word } from '../validate.js';

/**
 * The layout, the same on every backend. Every row starts a byte (3 bits: twelve bytes); unused bits are 0.
 *
 *     codes u8 [rows, codeBytes]     first value of a byte              codeBytes
 *     1, 2 bits                      lowest bits                        ceil(n·bits/8)
 *     4 bits                         low nibble, or high nibble         ceil(n/2)
 *     3 bits                         runs of 32 values in three words   12·ceil(n/32)
 *     5 to 8 bits                    one value to a byte                n
 *
 *     3 bits     word 0               word 1               word 2
 *     bit 31     x15   bits 1, 0      x31   bits 1, 0      x31   bit 2
 *      ...        ...                  ...                  ...
 *     bit 0      x0    bits 1, 0      x16   bits 1, 0      x0    bit 2
 *
 *     scales f32 [rows, ceil(n/groupSize)]
 */
export interface CodebookOptions {
  /** Rows of x. */
  rows: number;
  /** Values per row. */
  n: number;
  /** Bits per code, 1 to 8: a table has 2^bits values. */
  bits: number;
  /** Consecutive values of a row that share a scale: a multiple of 16, or the whole row (0, the default, or anything not below n). */
  groupSize?: number;
  /** What values are divided by: their group's largest magnitude (default), the root of its mean square, or nothing. */
  scale?: 'absmax' | 'rms' | 'none';
  /** One table for all (default), or one for each column. */
  tables?: 'shared' | 'perColumn';
  /** Where the first of two 4-bit codes lies in a byte: `low` (default), or `high` as in bitsandbytes. */
  nibbles?: 'low' | 'high';
}

export interface CodebookCodes {
  /** `[rows, codeBytes]`: see `CodebookOptions` for the layout. */
  codes: Uint8Array;
  /** `[rows, ceil(n/groupSize)]`; none with scale 'none'. */
  scales?: Float32Array | undefined;
}

/** Positions in these lists are the numbers that kernels take. */
const SCALES = ['absmax', 'rms', 'none'] as const;
const TABLES = ['shared', 'perColumn'] as const;
const NIBBLES = ['low', 'high'] as const;
/** `scale: 'none'`, as the number. */
export const UNSCALED = 2;

const QUANTIZE = 'codebook_quantize_f32';
const DEQUANTIZE = 'codebook_dequantize_f32';

function params(kernel: string, o: CodebookOptions): Params {
  const { rows, n, bits, groupSize = 0, scale = 'absmax', tables = 'shared', nibbles = 'low' } = options(kernel, o);
  return {
    rows,
    n,
    bits,
    groupSize,
    scale: word(kernel, 'scale', scale, SCALES),
    tables: word(kernel, 'tables', tables, TABLES),
    nibbles: word(kernel, 'nibbles', nibbles, NIBBLES),
  };
}

/** What does not depend on the axes, and is fixed at compile on a GPU. */
export function checkFormat(kernel: string, { bits, groupSize, scale, tables, nibbles }: Params): void {
  integer(kernel, 'bits', bits, 1, 8);
  integer(kernel, 'groupSize', groupSize, 0);
  integer(kernel, 'scale', scale, 0, UNSCALED);
  integer(kernel, 'tables', tables, 0, 1);
  integer(kernel, 'nibbles', nibbles, 0, 1);
}

/** Bytes of a row's codes. */
export function codeBytes({ n, bits }: Params): number {
  if (bits === 3) return 12 * Math.ceil(n! / 32);
  return bits! > 4 ? n! : Math.ceil((n! * bits!) / 8);
}

/** Values per group, as long as the row at most. */
export const groupOf = ({ groupSize, n }: Params): number => (groupSize === 0 ? n! : Math.min(groupSize!, n!));

/** Every length; `values` is the name of the array that holds the values themselves. */
function lengths(kernel: string, values: 'x' | 'out', p: Params) {
  checkFormat(kernel, p);
  const rows = integer(kernel, 'rows', p.rows, 0);
  const n = integer(kernel, 'n', p.n, 1);
  const size = p.groupSize!;
  if (size < n && size % 16 !== 0)
    throw new RangeError(message(kernel, 'groupSize', `multiple of 16, or the whole row (0, or at least ${n})`, size));
  return {
    x: elements(kernel, values, rows, n),
    table: elements(kernel, values === 'x' ? 'thresholds' : 'table', p.tables ? n : 1, 2 ** p.bits!),
    codes: elements(kernel, 'codes', rows, codeBytes(p)),
    scales: p.scale === UNSCALED ? 0 : rows * Math.ceil(n / groupOf(p)),
  };
}

/** Thresholds ascend (none is NaN), and every rank's code has the bits. */
function checkBook(p: Params, { thresholds, order }: Arrays): void {
  const step = p.tables ? p.n! : 1;
  for (let i = step; i < thresholds!.length; i++)
    if (!(thresholds![i]! >= thresholds![i - step]!))
      throw new RangeError(
        message(QUANTIZE, `thresholds[${i}]`, `number not below thresholds[${i - step}]`, thresholds![i]),
      );
  const bad = order?.findIndex((code) => code >= 2 ** p.bits!) ?? -1;
  if (bad >= 0) throw new RangeError(message(QUANTIZE, `order[${bad}]`, `code below ${2 ** p.bits!}`, order![bad]));
}

export const codebook_quantize_f32: Contract<CodebookOptions> = {
  kernel: QUANTIZE,
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    thresholds: { dtype: 'f32', role: 'in' },
    order: { dtype: 'u8', role: 'in', optional: true },
    codes: { dtype: 'u8', role: 'out' },
    scales: { dtype: 'f32', role: 'out', optional: 'empty' },
  },
  params: (o) => params(QUANTIZE, o),
  lengths(p) {
    const { x, table, codes, scales } = lengths(QUANTIZE, 'x', p);
    return { x, thresholds: table, order: table, codes, scales };
  },
  checkData: checkBook,
};

export const codebook_dequantize_f32: Contract<CodebookOptions> = {
  kernel: DEQUANTIZE,
  arrays: {
    codes: { dtype: 'u8', role: 'in' },
    scales: { dtype: 'f32', role: 'in', optional: 'empty' },
    table: { dtype: 'f32', role: 'in' },
    out: { dtype: 'f32', role: 'out' },
  },
  params: (o) => params(DEQUANTIZE, o),
  lengths(p) {
    const { x, table, codes, scales } = lengths(DEQUANTIZE, 'out', p);
    return { codes, scales, table, out: x };
  },
};
