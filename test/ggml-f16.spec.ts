import * as contract from '../ts/contract/ggml.js';
import spec from './ggml.spec.js';
import { halfSpec } from './lib/half.js';

const halves = halfSpec(spec, contract);
const kernel = halves.ggml_dequantize_f16!;

export default {
  ggml_dequantize_f16: { ...kernel, arrays: { ...kernel.arrays, scratch: { shape: '[1024]', meaning: 'CPU only' } } },
};
