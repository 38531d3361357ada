import {
  type AttentionBlocksparseOptions,
  type AttentionDecodeOptions,
  type AttentionInputs,
  type AttentionOutputs,
  attention_blocksparse_f32,
  attention_decode_f32,
  withBlocks,
} from '../contract/attention.js';
import type { Out, Params } from '../contract.js';
import { checked, run } from './runtime.js';

export type {
  AttentionBlocksparseOptions,
  AttentionDecodeOptions,
  AttentionInputs,
  AttentionOutputs,
  Blocks,
} from '../contract/attention.js';

/** Attention under a block mask, a causal mask and a window: softmax(scale·q·k)·v, and the log-sum-exp of each row. */
export function attentionBlocksparse(
  inputs: AttentionInputs,
  options: AttentionBlocksparseOptions & Out<AttentionOutputs>,
): AttentionOutputs {
  const arrays = withBlocks(inputs, options);
  return run(attention_blocksparse_f32, arrays, options, () => attentionBlocksparseF64(inputs, options));
}

/** One query per head against the keys [from, to): a state that softmaxMerge merges with those of other keys. */
export function attentionDecode(
  inputs: AttentionInputs,
  options: AttentionDecodeOptions & Out<AttentionOutputs>,
): AttentionOutputs {
  return run(attention_decode_f32, inputs, options, () => attentionDecodeF64(inputs, options));
}

/** attentionBlocksparse before its results are rounded to f32. */
export function attentionBlocksparseF64(inputs: AttentionInputs, options: AttentionBlocksparseOptions) {
  const arrays = withBlocks(inputs, options);
  const p = checked(attention_blocksparse_f32, arrays, options);
  return attention(inputs, p, (head, query) => visibleKeys(p, arrays, head, query));
}

/** attentionDecode before its results are rounded to f32. */
export function attentionDecodeF64(inputs: AttentionInputs, options: AttentionDecodeOptions) {
  const p = checked(attention_decode_f32, inputs, options);
  const range = Array.from({ length: p.to! - p.from! }, (_, i) => p.from! + i);
  return attention(inputs, { ...p, queries: 1 }, () => range);
}

/**
 * The keys a query of a head attends to: those of its block row's blocks that its position and window let it see, and
 * those of the `recentKeys` after them, which no block lists.
 */
export function visibleKeys(
  p: Params,
  { indptr, indices }: { indptr?: Uint32Array; indices?: Uint32Array },
  head: number,
  query: number,
): number[] {
  const {
    queries,
    keys,
    recentKeys = 0,
    causal,
    window,
    blockQueries,
    blockKeys,
    perHead,
  } = p as Record<string, number>;
  // The last query stands at the last key.
  const all = keys! + recentKeys;
  const position = query + all - queries!;
  const end = causal || window ? position + 1 : all;
  const first = window ? position - window + 1 : 0;
  const visible: number[] = [];
  const see = (from: number, to: number) => {
    for (let key = Math.max(from, first); key < Math.min(to, end); key++) visible.push(key);
  };
  if (!indptr) see(0, keys!);
  else {
    const rows = Math.ceil(queries! / blockQueries!);
    const row = (perHead ? head * (rows + 1) : 0) + Math.floor(query / blockQueries!);
    for (let at = indptr[row]!; at < indptr[row + 1]!; at++)
      see(indices![at]! * blockKeys!, Math.min((indices![at]! + 1) * blockKeys!, keys!));
  }
  see(keys!, all);
  return visible;
}

/** Attention of each query of each head over the keys that `keysOf` lists, in float64. */
export function attention({ q, k, v }: AttentionInputs, p: Params, keysOf: (head: number, query: number) => number[]) {
  const { heads, kvHeads, queries, keys, headDim, valueDim, scale, softcap } = p as Record<string, number>;
  const output = new Float64Array(heads! * queries! * valueDim!);
  const lse = new Float64Array(heads! * queries!);

  for (let head = 0; head < heads!; head++) {
    const kvHead = Math.floor(head / (heads! / kvHeads!));
    for (let query = 0; query < queries!; query++) {
      const row = head * queries! + query;
      const visible = keysOf(head, query).map((key) => kvHead * keys! + key);
      const scores = visible.map((key) => {
        let dot = 0;
        for (let d = 0; d < headDim!; d++) dot += q[row * headDim! + d]! * k[key * headDim! + d]!;
        const score = scale! * dot;
        return softcap! > 0 ? softcap! * Math.tanh(score / softcap!) : score;
      });

      const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
      if (max === -Infinity) {
        // Nothing to see: the empty state.
        lse[row] = -Infinity;
        continue;
      }
      const weights = scores.map((score) => Math.exp(score - max));
      const sum = weights.reduce((a, b) => a + b, 0);
      lse[row] = max + Math.log(sum);
      visible.forEach((key, i) => {
        const weight = weights[i]! / sum;
        for (let c = 0; c < valueDim!; c++) output[row * valueDim! + c]! += weight * v[key * valueDim! + c]!;
      });
    }
  }
  return { output, lse };
}
