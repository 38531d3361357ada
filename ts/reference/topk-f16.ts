import { type TopkHalf, type TopkOptions, topk_f16 } from '../contract/topk.js';
import type { Out } from '../contract.js';
import { fromHalves } from '../half.js';
import { run } from './runtime.js';
import { taken, topkIndices } from './topk.js';

export type { TopkHalf, TopkOptions };

/** The k largest (or smallest) values of each row of halves, bit for bit, and their positions. */
export function topk(x: Uint16Array, options: TopkOptions & Out<TopkHalf>): TopkHalf {
  return run(topk_f16, { x }, options, (params) => {
    const indices = topkIndices(fromHalves(x), params);
    return { values: taken(x, indices, params, new Uint16Array(indices.length)), indices };
  });
}
