import {
  type AttentionBlocksparseOptions,
  type AttentionDecodeOptions,
  type AttentionHalfInputs,
  type AttentionHalfOutputs,
  attention_blocksparse_f16,
  attention_decode_f16,
  withBlocks,
} from '../contract/attention.js';
import type { Out } from '../contract.js';
import { fromHalves } from '../half.js';
import { attentionBlocksparseF64, attentionDecodeF64 } from './attention.js';
import { run } from './runtime.js';

export type {
  AttentionBlocksparseOptions,
  AttentionDecodeOptions,
  AttentionHalfInputs,
  AttentionHalfOutputs,
  Blocks,
} from '../contract/attention.js';

const widened = ({ q, k, v }: AttentionHalfInputs) => ({ q: fromHalves(q), k: fromHalves(k), v: fromHalves(v) });

/** Attention of halves under a block mask, a causal mask and a window; output in halves. */
export function attentionBlocksparse(
  inputs: AttentionHalfInputs,
  options: AttentionBlocksparseOptions & Out<AttentionHalfOutputs>,
): AttentionHalfOutputs {
  const arrays = withBlocks(inputs, options);
  return run(attention_blocksparse_f16, arrays, options, () => attentionBlocksparseF64(widened(inputs), options));
}

/** One query per head against the keys [from, to), all in halves. */
export function attentionDecode(
  inputs: AttentionHalfInputs,
  options: AttentionDecodeOptions & Out<AttentionHalfOutputs>,
): AttentionHalfOutputs {
  return run(attention_decode_f16, inputs, options, () => attentionDecodeF64(widened(inputs), options));
}
