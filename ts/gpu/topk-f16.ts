/** The best of each row of f16 values, compared and moved as integers: no device feature is needed. */
import { type TopkOptions, topk_f16 } from '../contract/topk.js';
import { shader } from '../generated/gpu/topk-f16.js';
import type { GpuKernelFactory } from './runtime.js';
import { topkOf } from './topk.js';

export type { TopkOptions };

const HALF = { contract: topk_f16, rankBits: 16, gathers: true };

/** The k largest (or smallest) values of each row and their positions: `{ x, values, indices, scratch }` (`topk.scratchBytes`). */
export const topk: GpuKernelFactory<TopkOptions, never> = topkOf(HALF, shader);
