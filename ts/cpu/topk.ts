import { type Topk, type TopkOptions, topk_f32, topkScratchBytes } from '../contract/topk.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/topk.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { Topk, TopkOptions };
export { topkScratchBytes };
export type TopkKernels = Instance<code.Kernels>;

const topkFamily = /* @__PURE__ */ family<code.Kernels>(code, { topk_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): TopkKernels {
  return topkFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return topkFamily.preload(options);
}

/** The k largest (or smallest) values of each row and their positions. */
export function topk(x: Float32Array, options: TopkOptions & Out<Topk>): Topk {
  return topkFamily.run(topk_f32, { x }, options);
}
