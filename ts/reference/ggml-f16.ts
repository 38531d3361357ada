import { type GgmlDequantizeOptions, ggml_dequantize_f16 } from '../contract/ggml.js';
import type { Out } from '../contract.js';
import { decoded } from './ggml.js';
import { run } from './runtime.js';

export { GGML_TYPES, type GgmlDequantizeOptions, type GgmlType, ggmlTypeOf } from '../contract/ggml.js';

/** Values of rows of blocks, rounded to halves. */
export function ggmlDequantize(blocks: Uint8Array, options: GgmlDequantizeOptions & Out<Uint16Array>): Uint16Array {
  return run(ggml_dequantize_f16, { blocks }, options, (p) => ({ out: decoded(blocks, p) }));
}
