import { type TopkOptions, topk_f16 } from '../contract/topk.js';
import { fromHalves } from '../half.js';
import { checked } from './runtime.js';
import { taken, topkIndices } from './topk.js';

export type { TopkOptions };

/** The k largest (or smallest) values of each row of halves, bit for bit, and their positions. */
export function topk(x: Uint16Array, options: TopkOptions): { values: Uint16Array; indices: Uint32Array } {
  const params = checked(topk_f16, { x }, options);
  const indices = topkIndices(fromHalves(x), params);
  return { values: taken(x, indices, params, new Uint16Array(indices.length)), indices };
}
