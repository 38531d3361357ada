import {
  type Outliers,
  type OutliersOptions,
  outliers_extract_f32,
  outliers_restore_f32,
} from '../contract/outliers.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/outliers.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export type { Outliers, OutliersOptions };
export type OutliersKernels = Instance<code.Kernels>;

const outliersFamily = /* @__PURE__ */ family<code.Kernels>(code, { outliers_extract_f32, outliers_restore_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): OutliersKernels {
  return outliersFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return outliersFamily.preload(options);
}

/**
 * The k values of largest magnitude of each row of x [rows, n] by ascending index, and the row without them (0 in their place).
 * Equal magnitudes: the lower index is taken. NaN is taken last. `out.rest` may be x itself.
 */
export function outliersExtract(
  x: Float32Array,
  options: OutliersOptions & Out<Outliers & { rest: Float32Array }>,
): Outliers & { rest: Float32Array } {
  return outliersFamily.run(outliers_extract_f32, { x }, options);
}

/** rest with each value added at its index; `out` may be rest itself. Throws RangeError on an index past the row. */
export function outliersRestore(
  rest: Float32Array,
  outliers: Outliers,
  options: OutliersOptions & Out<Float32Array>,
): Float32Array {
  return outliersFamily.run(outliers_restore_f32, { ...outliers, rest }, options);
}
