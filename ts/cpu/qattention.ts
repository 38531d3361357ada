import { type AttentionOutputs, withBlocks } from '../contract/attention.js';
import {
  type AttentionBlocksparseQuantizedOptions,
  type AttentionDecodeQuantizedOptions,
  attention_blocksparse_quantized_f32,
  attention_decode_quantized_f32,
  cacheArrays,
  type QuantizedAttentionInputs,
  quantizedAttentionScratchBytes,
} from '../contract/qattention.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/qattention.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type {
  AttentionBlocksparseQuantizedOptions,
  AttentionDecodeQuantizedOptions,
  QuantizedAttentionInputs,
  QuantizedAttentionOptions,
  Stored,
  StoredScheme,
} from '../contract/qattention.js';
export type { AttentionOutputs };
export { quantizedAttentionScratchBytes };
export type QuantizedAttentionKernels = Instance<code.Kernels>;

const qattentionFamily = /* @__PURE__ */ family<code.Kernels>(code, {
  attention_decode_quantized_f32,
  attention_blocksparse_quantized_f32,
});

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Scratch: `quantizedAttentionScratchBytes`. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): QuantizedAttentionKernels {
  return qattentionFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return qattentionFamily.preload(options);
}

/**
 * One query per head against a quantised cache: the stored keys [from, to) and all recent ones, a state that softmaxMerge
 * merges with those of other keys. NaN scales give NaN as dequantising would.
 */
export function attentionDecodeQuantized(
  inputs: QuantizedAttentionInputs,
  options: AttentionDecodeQuantizedOptions & Out<AttentionOutputs>,
): AttentionOutputs {
  return qattentionFamily.run(attention_decode_quantized_f32, cacheArrays(inputs, options), options);
}

/** Many queries, or chosen blocks, of a quantised cache: under a block mask over stored keys, a causal mask and a window. */
export function attentionBlocksparseQuantized(
  inputs: QuantizedAttentionInputs,
  options: AttentionBlocksparseQuantizedOptions & Out<AttentionOutputs>,
): AttentionOutputs {
  return qattentionFamily.run(
    attention_blocksparse_quantized_f32,
    withBlocks(cacheArrays(inputs, options), options),
    options,
  );
}
