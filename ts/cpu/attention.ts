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

const attentionFamily = family<code.Kernels>(code, { attention_blocksparse_f32, attention_decode_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `attentionScratchBytes`. */
export const instantiate: (memory: WebAssembly.Memory, options?: InstantiateOptions) => AttentionKernels =
  attentionFamily.instantiate;

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export const preload = attentionFamily.preload;

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
