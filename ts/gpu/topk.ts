import { type TopkOptions, topk_f32 } from '../contract/topk.js';
import { shader } from '../generated/gpu/topk.js';
import { topkOf } from '../gpu-topk.js';
import type { GpuKernelFactory } from './runtime.js';

export type { TopkOptions };

/** The k largest (or smallest) values of each row and their positions: `{ x, values, indices, scratch }` (`topk.scratchBytes`). */
export const topk: GpuKernelFactory<TopkOptions, never> = /* @__PURE__ */ topkOf(topk_f32, shader);
