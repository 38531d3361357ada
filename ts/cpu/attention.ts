import {
  type AttentionBlocksparseOptions,
  type AttentionDecodeOptions,
  type AttentionInputs,
  type AttentionOutputs,
  attention_blocksparse_f32,
  attention_decode_f32,
  attentionScratchBytes,
  withBlocks,
} from '../contract/attention.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/attention.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type {
  AttentionBlocksparseOptions,
  AttentionDecodeOptions,
  AttentionInputs,
  AttentionOutputs,
  Blocks,
} from '../contract/attention.js';
export { attentionScratchBytes };
export type AttentionKernels = Instance<code.Kernels>;

const attentionFamily = /* @__PURE__ */ family<code.Kernels>(code, { attention_blocksparse_f32, attention_decode_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `attentionScratchBytes`. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): AttentionKernels {
  return attentionFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return attentionFamily.preload(options);
}

/** Attention under a block mask, a causal mask and a window; dense without any. */
export function attentionBlocksparse(
  inputs: AttentionInputs,
  options: AttentionBlocksparseOptions & Out<AttentionOutputs>,
): AttentionOutputs {
  return attentionFamily.run(attention_blocksparse_f32, withBlocks(inputs, options), options);
}

/** One query per head against the keys [from, to): a state that softmaxMerge merges with those of other keys. */
export function attentionDecode(
  inputs: AttentionInputs,
  options: AttentionDecodeOptions & Out<AttentionOutputs>,
): AttentionOutputs {
  return attentionFamily.run(attention_decode_f32, inputs, options);
}
