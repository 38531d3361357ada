import { bookOf, type Table, valuesOf } from '../codebook-tables.js';
import {
  type CodebookCodes,
  type CodebookOptions,
  codebook_dequantize_f32,
  codebook_quantize_f32,
} from '../contract/codebook.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/codebook.js';
import { family, type Instance, type InstantiateOptions } from './runtime.js';

export {
  AF4,
  type Codebook,
  type CodebookTable,
  codebook,
  DYNAMIC8,
  DYNAMIC8_UNSIGNED,
  FP4,
  LINEAR8,
  lloydMax,
  NF4,
  type Table,
} from '../codebook-tables.js';
export type { CodebookCodes, CodebookOptions };
export type CodebookKernels = Instance<code.Kernels>;

const codebookFamily = /* @__PURE__ */ family<code.Kernels>(code, { codebook_quantize_f32, codebook_dequantize_f32 });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): CodebookKernels {
  return codebookFamily.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return codebookFamily.preload(options);
}

/**
 * Each value of x [rows, n], divided by its group's scale, as the code of the table's nearest value; ties take the lower value.
 * Table: 2 to 2^bits values, one table or `[n, 2^bits]`; made ready on every call unless `codebook` made it ready once.
 * A group with NaN or infinity: scale NaN, codes 0. A group of zeros (or of denormals): the code nearest to 0.
 */
export function codebookQuantize(
  x: Float32Array,
  table: Table,
  options: CodebookOptions & Out<CodebookCodes>,
): CodebookCodes {
  // The kernel's own words on its options come before the table's.
  codebook_quantize_f32.lengths(codebook_quantize_f32.params(options));
  const { thresholds, order } = bookOf(table, options);
  return codebookFamily.run(codebook_quantize_f32, { x, thresholds, order }, options);
}

/** table[code] · scale. */
export function codebookDequantize(
  quantized: CodebookCodes,
  table: Table,
  options: CodebookOptions & Out<Float32Array>,
): Float32Array {
  codebook_dequantize_f32.lengths(codebook_dequantize_f32.params(options));
  return codebookFamily.run(codebook_dequantize_f32, { ...quantized, table: valuesOf(table, options) }, options);
}
