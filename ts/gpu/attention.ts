import {
  type AttentionBlocksparseOptions,
  type AttentionDecodeOptions,
  attention_blocksparse_f32,
  attention_decode_f32,
} from '../contract/attention.js';
import { shader as sparseScalar } from '../generated/gpu/attention.js';
import { shader as decodeScalar } from '../generated/gpu/attention-decode.js';
import { shader as decodeVec4 } from '../generated/gpu/attention-decode-vec4.js';
import { shader as sparseVec4 } from '../generated/gpu/attention-vec4.js';
import { blocksparseOf, type Dimensions, decodeOf } from '../gpu-attention.js';
import type { GpuKernelFactory } from './runtime.js';

export type { AttentionBlocksparseOptions, AttentionDecodeOptions };

/**
 * Attention under a block mask, or dense: `{ q, k, v, indptr?, indices?, output, lse, status? }`. `status` gets 0, or
 * 1 + the lowest position in `indices` that holds a block out of range (that block is skipped).
 */
export const attentionBlocksparse: GpuKernelFactory<AttentionBlocksparseOptions, Dimensions> =
  /* @__PURE__ */ blocksparseOf(attention_blocksparse_f32, sparseScalar, sparseVec4);

/**
 * One query per head over keys [from, to): `{ q, k, v, output, lse, scratch }`. Long ranges are split over workgroups;
 * `attentionDecode.scratchBytes(options)` says how much scratch that takes: none up to 128 keys.
 */
export const attentionDecode: GpuKernelFactory<AttentionDecodeOptions, Dimensions> = /* @__PURE__ */ decodeOf(
  attention_decode_f32,
  decodeScalar,
  decodeVec4,
);
