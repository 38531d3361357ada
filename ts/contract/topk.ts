import type { Contract, Float } from '../contract.js';
import { elements, flag, integer, options } from '../validate.js';

export interface TopkOptions {
  /** Independent rows. */
  rows: number;
  /** Values per row, 1 to 2^24. */
  n: number;
  /** How many to keep per row, 1 to n. */
  k: number;
  /** The largest (default) or the smallest. */
  largest?: boolean;
}

export interface Topk {
  /** `[rows, k]`: the best first, as stored in x. */
  values: Float32Array;
  /** `[rows, k]`: the position of each in its row. */
  indices: Uint32Array;
}

/** The same of halves, as their bits. */
export interface TopkHalf {
  values: Uint16Array;
  indices: Uint32Array;
}

/** 4-byte words of scratch: one row's work (assembly/lib/topk.ts: select), whatever the number of rows. */
function scratchLength(n: number, k: number): number {
  const vectors = 16 * Math.ceil(n / 1024);
  const candidates = k + Math.min(k, Math.floor(16 * Math.sqrt(n))) + 64;
  return 256 + 8 * vectors + 4 * candidates + 256;
}

function scratchBytes(dtype: Float, size: Pick<TopkOptions, 'n' | 'k'>): number {
  const { n, k } = options(`topk_${dtype}`, size);
  checkRow(`topk_${dtype}`, n, k);
  return 4 * scratchLength(n, k);
}

/** Bytes of scratch for `topk_f32` in the pointer layer. Without any it works too, at half to a third of the speed (large k: a tenth). */
export const topkScratchBytes = (size: Pick<TopkOptions, 'n' | 'k'>): number => scratchBytes('f32', size);

/** Bytes of scratch that `topk_f16` needs in the pointer layer. */
export const topkHalfScratchBytes = (size: Pick<TopkOptions, 'n' | 'k'>): number => scratchBytes('f16', size);

function checkRow(kernel: string, n: number, k: number): void {
  integer(kernel, 'n', n, 1, 2 ** 24);
  integer(kernel, 'k', k, 1, n);
}

function topkOf(dtype: Float): Contract<TopkOptions> {
  const kernel = `topk_${dtype}`;
  return {
    kernel,
    arrays: {
      x: { dtype, role: 'in' },
      values: { dtype, role: 'out' },
      indices: { dtype: 'u32', role: 'out' },
      scratch: { dtype: 'u32', role: 'scratch', ...(dtype === 'f32' && { optional: true }) },
    },
    params(o) {
      const { rows, n, k, largest = true } = options(kernel, o);
      return { rows, n, k, smallest: 1 - flag(kernel, 'largest', largest) };
    },
    lengths({ rows, n, k, smallest }) {
      integer(kernel, 'rows', rows, 0);
      checkRow(kernel, n!, k!);
      integer(kernel, 'smallest', smallest, 0, 1);
      const kept = elements(kernel, 'values', rows!, k!);
      const x = elements(kernel, 'x', rows!, n!);
      return { x, values: kept, indices: kept, scratch: scratchLength(n!, k!) };
    },
  };
}

export const topk_f32: Contract<TopkOptions> = topkOf('f32');
export const topk_f16: Contract<TopkOptions> = topkOf('f16');
