import {
  type GgmlDequantizeOptions,
  type GgmlQuantizeOptions,
  ggml_dequantize_f32,
  ggml_quantize_f32,
} from '../contract/ggml.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/ggml.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export {
  GGML_TYPES,
  GGML_WRITABLE,
  type GgmlDequantizeOptions,
  type GgmlFormat,
  type GgmlQuantizeOptions,
  type GgmlType,
  type GgmlWritableType,
  ggmlTypeOf,
} from '../contract/ggml.js';
export type GgmlKernels = Instance<code.Kernels>;

const ggmlFamily = /* @__PURE__ */ family<code.Kernels>(code, { ggml_dequantize_f32, ggml_quantize_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. Blocks may lie at any byte. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): GgmlKernels {
  return ggmlFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return ggmlFamily.preload(options);
}

/** Values of blocks, `[rows, n]`: exactly ggml's. `blocks` may be any part of a file's bytes. */
export function ggmlDequantize(blocks: Uint8Array, options: GgmlDequantizeOptions & Out<Float32Array>): Float32Array {
  return ggmlFamily.run(ggml_dequantize_f32, { blocks }, options);
}

/** Blocks of values, byte for byte what ggml's reference functions write. */
export function ggmlQuantize(x: Float32Array, options: GgmlQuantizeOptions & Out<Uint8Array>): Uint8Array {
  return ggmlFamily.run(ggml_quantize_f32, { x }, options);
}
