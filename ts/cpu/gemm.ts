import {
  type Activations,
  contractFor,
  type GemmFormat,
  type GemmOptions,
  gemm_pack_u32,
  gemm_quantized_f32,
  gemm_quantized_i8,
  gemm_quantized_i16,
  packedLength,
} from '../contract/gemm.js';
import type { Quantized } from '../contract/quantize.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/gemm.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { Activations, GemmFormat, GemmOptions, Quantized };
export { packedLength };
export type GemmKernels = Instance<code.Kernels>;

const gemmFamily = /* @__PURE__ */ family<code.Kernels>(code, {
  gemm_pack_u32,
  gemm_quantized_f32,
  gemm_quantized_i16,
  gemm_quantized_i8,
});

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): GemmKernels {
  return gemmFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return gemmFamily.preload(options);
}

/** Bytes of scratch that a pointer call needs, from the options of that call: m (to 64), k, groupSize and activations count. */
export function gemmScratchBytes(given: GemmOptions & { activations: Activations }): number {
  const contract = contractFor(given);
  return 4 * contract.lengths(contract.params(given)).scratch!;
}

/**
 * Quantised weights [n, k], as `quantize` makes them with rows: n, n: k, axis: 'row', in the order that `gemm` reads:
 * once per model. `out` has `packedLength(format)` words.
 */
export function pack(weights: Quantized, format: GemmFormat & Out<Uint32Array>): Uint32Array {
  return gemmFamily.run(gemm_pack_u32, weights, format);
}

/**
 * x [m, k] times the transpose of packed weights [n, k]: [m, n]. `activations` says how x enters: as `f32`, or rounded on
 * the way to integers of 16 bits (`i16`, relative error about 2e-5) or 8 (`i8`, 5e-3), which is two times as
 * fast, 8 bits three times and more where the level and the processor have a dot product of bytes. A row of x with NaN or an infinity gives a row of NaN. The bound of the error is in docs/gemm.md.
 */
export function gemm(
  x: Float32Array,
  packed: Uint32Array,
  given: Omit<GemmOptions, 'outStride'> & { activations: Activations } & Out<Float32Array>,
): Float32Array {
  return gemmFamily.run(contractFor(given), { x, packed }, given);
}
