import type { Contract, Params } from '../contract.js';
import { message } from '../errors.js';
import { elements, integer, options } from '../validate.js';

/**
 * The k values of largest magnitude of each row, by ascending index, kept apart from the rest of it:
 *
 *     x, rest, out     [rows, n]
 *     values, indices  [rows, k]   indices[r, i] is the column of values[r, i], below n
 */
export interface OutliersOptions {
  /** Independent rows. */
  rows: number;
  /** Values per row, 1 to 2^24. */
  n: number;
  /** How many to take out of each row, 1 to n. */
  k: number;
}

export interface Outliers {
  /** `[rows, k]`: what was taken out, as stored in x, by ascending index. */
  values: Float32Array;
  /** `[rows, k]`: their positions in the row, ascending. */
  indices: Uint32Array;
}

function params(kernel: string, o: OutliersOptions): Params {
  const { rows, n, k } = options(kernel, o);
  return { rows, n, k };
}

function lengths(kernel: string, { rows, n, k }: Params): { row: number; taken: number } {
  integer(kernel, 'rows', rows, 0);
  integer(kernel, 'n', n, 1, 2 ** 24);
  integer(kernel, 'k', k, 1, n);
  return { row: elements(kernel, 'x', rows!, n!), taken: elements(kernel, 'values', rows!, k!) };
}

const EXTRACT = 'outliers_extract_f32';
const RESTORE = 'outliers_restore_f32';

export const outliers_extract_f32: Contract<OutliersOptions> = {
  kernel: EXTRACT,
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    values: { dtype: 'f32', role: 'out' },
    indices: { dtype: 'u32', role: 'out' },
    rest: { dtype: 'f32', role: 'out', inPlace: 'x' },
  },
  params: (o) => params(EXTRACT, o),
  lengths(p) {
    const { row, taken } = lengths(EXTRACT, p);
    return { x: row, values: taken, indices: taken, rest: row };
  },
};

export const outliers_restore_f32: Contract<OutliersOptions> = {
  kernel: RESTORE,
  arrays: {
    rest: { dtype: 'f32', role: 'in' },
    values: { dtype: 'f32', role: 'in' },
    indices: { dtype: 'u32', role: 'in' },
    out: { dtype: 'f32', role: 'out', inPlace: 'rest' },
  },
  params: (o) => params(RESTORE, o),
  lengths(p) {
    const { row, taken } = lengths(RESTORE, p);
    return { rest: row, values: taken, indices: taken, out: row };
  },
  checkData({ n }, { indices }) {
    const bad = indices?.findIndex((index) => index >= n!) ?? -1;
    if (bad >= 0) throw new RangeError(message(RESTORE, `indices[${bad}]`, `index in [0, ${n! - 1}]`, indices![bad]));
  },
};
