import {
  type AttentionBlocksparseOptions,
  type AttentionDecodeOptions,
  type AttentionHalfInputs,
  type AttentionHalfOutputs,
  attention_blocksparse_f16,
  attention_decode_f16,
  attentionHalfScratchBytes,
  withBlocks,
} from '../contract/attention.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/attention-f16.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type {
  AttentionBlocksparseOptions,
  AttentionDecodeOptions,
  AttentionHalfInputs,
  AttentionHalfOutputs,
  Blocks,
} from '../contract/attention.js';
export { attentionHalfScratchBytes as attentionScratchBytes };
export type AttentionHalfKernels = Instance<code.Kernels>;

const attentionFamily = /* @__PURE__ */ family<code.Kernels>(code, { attention_blocksparse_f16, attention_decode_f16 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `attentionScratchBytes`. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): AttentionHalfKernels {
  return attentionFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return attentionFamily.preload(options);
}

/** Attention under a block mask, a causal mask and a window; dense without any. Halves become f32 on the way. */
export function attentionBlocksparse(
  inputs: AttentionHalfInputs,
  options: AttentionBlocksparseOptions & Out<AttentionHalfOutputs>,
): AttentionHalfOutputs {
  return attentionFamily.run(attention_blocksparse_f16, withBlocks(inputs, options), options);
}

/** One query per head against the keys [from, to): a state that softmaxMerge of halves merges with those of other keys. */
export function attentionDecode(
  inputs: AttentionHalfInputs,
  options: AttentionDecodeOptions & Out<AttentionHalfOutputs>,
): AttentionHalfOutputs {
  return attentionFamily.run(attention_decode_f16, inputs, options);
}
