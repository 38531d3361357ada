import {
  type AttentionBlocksparseOptions,
  type AttentionDecodeOptions,
  attention_blocksparse_f16,
  attention_decode_f16,
} from '../contract/attention.js';
import { fromHalves, toHalves } from '../half.js';
import { attentionBlocksparseF64, attentionDecodeF64 } from './attention.js';
import { checked } from './runtime.js';

export type { AttentionBlocksparseOptions, AttentionDecodeOptions, Blocks } from '../contract/attention.js';

export interface AttentionHalfInputs {
  q: Uint16Array;
  k: Uint16Array;
  v: Uint16Array;
}

const widened = ({ q, k, v }: AttentionHalfInputs) => ({ q: fromHalves(q), k: fromHalves(k), v: fromHalves(v) });

const narrowed = ({ output, lse }: { output: Float64Array; lse: Float64Array }) => ({
  output: toHalves(output),
  lse: Float32Array.from(lse),
});

/** Attention of halves under a block mask, a causal mask and a window; output in halves. */
export function attentionBlocksparse(
  inputs: AttentionHalfInputs,
  options: AttentionBlocksparseOptions,
): { output: Uint16Array; lse: Float32Array } {
  checked(
    attention_blocksparse_f16,
    { ...inputs, indptr: options?.blocks?.indptr, indices: options?.blocks?.indices },
    options,
  );
  return narrowed(attentionBlocksparseF64(widened(inputs), options));
}

/** One query per head against the keys [from, to), all in halves. */
export function attentionDecode(
  inputs: AttentionHalfInputs,
  options: AttentionDecodeOptions,
): { output: Uint16Array; lse: Float32Array } {
  checked(attention_decode_f16, { ...inputs }, options);
  return narrowed(attentionDecodeF64(widened(inputs), options));
}
