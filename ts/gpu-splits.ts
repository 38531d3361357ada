/** How attention on a GPU cuts a range of keys into splits, which workgroups take side by side and a merge puts together. */
import type { Params } from './contract.js';

/** Keys that a workgroup takes at least, workgroups that keep any device busy, the most splits of one call. */
const SPLIT_KEYS = 128;
const WORKGROUPS = 512;
const MOST_SPLITS = 256;
/** Query heads of a workgroup, keys of its tile: wgsl/lib/attention-split.wgsl. */
const SPLIT_HEADS = 4;
const SPLIT_TILE = 64;

/** Workgroups that one part of the keys takes. */
export const sharesOf = ({ heads, kvHeads }: Params): number => kvHeads! * Math.ceil(heads! / kvHeads! / SPLIT_HEADS);

/** Into how many parts a range of keys may be cut: never fewer for a longer one, so that scratch for the longest serves all. */
export const mostSplits = (keys: number, params: Params, most = MOST_SPLITS): number =>
  Math.min(Math.ceil(keys / SPLIT_KEYS), Math.ceil(WORKGROUPS / sharesOf(params)), most);

/** Into how many it is cut: whole tiles each, none empty. Sizes alone decide, so that equal calls give equal bits. */
export function splitsOf(keys: number, params: Params, most = MOST_SPLITS): number {
  const tiles = Math.ceil(keys / SPLIT_TILE);
  return keys ? Math.ceil(tiles / Math.ceil(tiles / mostSplits(keys, params, most))) : 0;
}
