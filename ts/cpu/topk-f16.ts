import { type TopkHalf, type TopkOptions, topk_f16, topkHalfScratchBytes } from '../contract/topk.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/topk-f16.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { TopkHalf, TopkOptions };
export { topkHalfScratchBytes as topkScratchBytes };
export type TopkHalfKernels = Instance<code.Kernels>;

const topkFamily = /* @__PURE__ */ family<code.Kernels>(code, { topk_f16 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `topkScratchBytes`. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): TopkHalfKernels {
  return topkFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return topkFamily.preload(options);
}

/** The k largest (or smallest) values of each row of halves, bit for bit, and their positions. */
export function topk(x: Uint16Array, options: TopkOptions & Out<TopkHalf>): TopkHalf {
  return topkFamily.run(topk_f16, { x }, options);
}
