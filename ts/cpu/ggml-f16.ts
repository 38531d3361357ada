import { type GgmlDequantizeOptions, ggml_dequantize_f16 } from '../contract/ggml.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/ggml-f16.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export { GGML_TYPES, type GgmlDequantizeOptions, type GgmlType, ggmlTypeOf } from '../contract/ggml.js';
export type GgmlHalfKernels = Instance<code.Kernels>;

const ggmlFamily = /* @__PURE__ */ family<code.Kernels>(code, { ggml_dequantize_f16 });

/** The kernel inside your own memory: byte offsets, no copy, no allocation by us. Scratch: 4096 bytes. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): GgmlHalfKernels {
  return ggmlFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return ggmlFamily.preload(options);
}

/** Values of blocks as halves, `[rows, n]`: ggml's f32 values rounded once. `blocks` may be any part of a file's bytes. */
export function ggmlDequantize(blocks: Uint8Array, options: GgmlDequantizeOptions & Out<Uint16Array>): Uint16Array {
  return ggmlFamily.run(ggml_dequantize_f16, { blocks }, options);
}
