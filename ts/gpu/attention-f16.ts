/** Attention with q, k, v and output in f16, computed in f32; lse is f32. Needs a device with `shader-f16`. */
import {
  type AttentionBlocksparseOptions,
  type AttentionDecodeOptions,
  attention_blocksparse_f16,
  attention_decode_f16,
} from '../contract/attention.js';
import { shader as decodeScalar } from '../generated/gpu/attention-decode-f16.js';
import { shader as decodeVec4 } from '../generated/gpu/attention-decode-vec4-f16.js';
import { shader as sparseScalar } from '../generated/gpu/attention-f16.js';
import { shader as sparseVec4 } from '../generated/gpu/attention-vec4-f16.js';
import { blocksparseOf, type Dimensions, decodeOf } from '../gpu-attention.js';
import type { GpuKernelFactory } from './runtime.js';

export type { AttentionBlocksparseOptions, AttentionDecodeOptions };

/** Attention under a block mask, or dense, as attentionBlocksparse of `lanewise/gpu/attention.js`. */
export const attentionBlocksparse: GpuKernelFactory<AttentionBlocksparseOptions, Dimensions> =
  /* @__PURE__ */ blocksparseOf(attention_blocksparse_f16, sparseScalar, sparseVec4);

/** One query per head over keys [from, to), as attentionDecode of `lanewise/gpu/attention.js`; scratch is f32. */
export const attentionDecode: GpuKernelFactory<AttentionDecodeOptions, Dimensions> = /* @__PURE__ */ decodeOf(
  attention_decode_f16,
  decodeScalar,
  decodeVec4,
);
