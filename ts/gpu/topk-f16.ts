/** The best of each row of f16 values, compared and moved as integers: no device feature is needed. */
import { type TopkOptions, topk_f16 } from '../contract/topk.js';
import { shader } from '../generated/gpu/topk-f16.js';
import { topkOf } from '../gpu-topk.js';
import type { GpuKernelFactory } from './runtime.js';

export type { TopkOptions };

/** The k largest (or smallest) values of each row and their positions: `{ x, values, indices, scratch }` (`topk.scratchBytes`). */
export const topk: GpuKernelFactory<TopkOptions, never> = /* @__PURE__ */ topkOf(topk_f16, shader);
