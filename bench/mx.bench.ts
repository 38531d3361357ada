import type { FamilyBench } from './lib/bench.js';

const bench: FamilyBench = {
  mx_quantize_f32: { sizes: [], javascript: () => () => {} },
  mx_dequantize_f32: { sizes: [], javascript: () => () => {} },
};
export default bench;
