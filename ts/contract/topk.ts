import type { Contract } from '../contract.js';
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

/** 4-byte words of scratch: one row's work (assembly/topk.ts: select), whatever the number of rows. */
function scratchLength(n: number, k: number): number {
  const vectors = 16 * Math.ceil(n / 1024);
  const candidates = k + Math.min(k, Math.floor(16 * Math.sqrt(n))) + 64;
  return 256 + 8 * vectors + 4 * candidates + 256;
}

/** Bytes of scratch for `topk_f32` in the pointer layer. Without any it works too, at half to a third of the speed (large k: a tenth). */
export function topkScratchBytes({ n, k }: Pick<TopkOptions, 'n' | 'k'>): number {
  checkRow(n, k);
  return 4 * scratchLength(n, k);
}

function checkRow(n: number, k: number): void {
  integer('topk_f32', 'n', n, 1, 2 ** 24);
  integer('topk_f32', 'k', k, 1, n);
}

export const topk_f32: Contract<TopkOptions> = {
  kernel: 'topk_f32',
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    values: { dtype: 'f32', role: 'out' },
    indices: { dtype: 'u32', role: 'out' },
    scratch: { dtype: 'u32', role: 'scratch', optional: true },
  },
  params(o) {
    const { rows, n, k, largest = true } = options('topk_f32', o);
    return { rows, n, k, smallest: 1 - flag('topk_f32', 'largest', largest) };
  },
  lengths({ rows, n, k, smallest }) {
    integer('topk_f32', 'rows', rows, 0);
    checkRow(n!, k!);
    integer('topk_f32', 'smallest', smallest, 0, 1);
    const kept = elements('topk_f32', 'values', rows!, k!);
    return { x: elements('topk_f32', 'x', rows!, n!), values: kept, indices: kept, scratch: scratchLength(n!, k!) };
  },
};
