import { type GgmlDequantizeOptions, ggml_dequantize_f16 } from '../contract/ggml.js';
import { toHalves } from '../half.js';
import { ggmlDequantize as dequantize } from './ggml.js';
import { checked } from './runtime.js';

export { GGML_TYPES, type GgmlDequantizeOptions, type GgmlType, ggmlTypeOf } from '../contract/ggml.js';

/** Values of rows of blocks, rounded to halves. */
export function ggmlDequantize(blocks: Uint8Array, options: GgmlDequantizeOptions): Uint16Array {
  checked(ggml_dequantize_f16, { blocks }, options);
  return toHalves(dequantize(blocks, options));
}
