import { type AttentionOutputs, withBlocks } from '../contract/attention.js';
import {
  type AttentionBlocksparseQuantizedOptions,
  type AttentionDecodeQuantizedOptions,
  attention_blocksparse_quantized_f32,
  attention_decode_quantized_f32,
  cacheArrays,
  formatOf,
  groupSizeOf,
  type QuantizedAttentionInputs,
  wordsOf,
} from '../contract/qattention.js';
import type { Arrays, Out, Params } from '../contract.js';
import { fromHalves } from '../half.js';
import { attention, visibleKeys } from './attention.js';
import { checked, run } from './runtime.js';

export type {
  AttentionBlocksparseQuantizedOptions,
  AttentionDecodeQuantizedOptions,
  QuantizedAttentionInputs,
  Stored,
} from '../contract/qattention.js';

/** One query per head against the stored keys [from, to) and all recent ones: the state of dequantising, then attention. */
export function attentionDecodeQuantized(
  inputs: QuantizedAttentionInputs,
  options: AttentionDecodeQuantizedOptions & Out<AttentionOutputs>,
): AttentionOutputs {
  const arrays = cacheArrays(inputs, options);
  return run(attention_decode_quantized_f32, arrays, options, () => attentionDecodeQuantizedF64(arrays, options));
}

/** Many queries, under a block mask over the stored keys, a causal mask and a window. */
export function attentionBlocksparseQuantized(
  inputs: QuantizedAttentionInputs,
  options: AttentionBlocksparseQuantizedOptions & Out<AttentionOutputs>,
): AttentionOutputs {
  const arrays = cacheArrays(inputs, options);
  return run(attention_blocksparse_quantized_f32, withBlocks(arrays, options), options, () =>
    attentionBlocksparseQuantizedF64(arrays, options),
  );
}

/** attentionDecodeQuantized before its results are rounded to f32, from arrays by their contract names. */
export function attentionDecodeQuantizedF64(arrays: Arrays, options: AttentionDecodeQuantizedOptions) {
  const p = checked(attention_decode_quantized_f32, arrays, options);
  const { keys, recentKeys, from, to } = p as Record<string, number>;
  const seen: number[] = [];
  for (let key = from!; key < to!; key++) seen.push(key);
  for (let key = keys!; key < keys! + recentKeys!; key++) seen.push(key);
  return attention(whole(arrays, p), { ...p, queries: 1, keys: keys! + recentKeys! }, () => seen);
}

/** attentionBlocksparseQuantized before its results are rounded to f32, from arrays by their contract names. */
export function attentionBlocksparseQuantizedF64(arrays: Arrays, options: AttentionBlocksparseQuantizedOptions) {
  const all = withBlocks(arrays, options);
  const p = checked(attention_blocksparse_quantized_f32, all, options);
  return attention(whole(arrays, p), { ...p, keys: p.keys! + p.recentKeys! }, (head, query) =>
    visibleKeys(p, all, head, query),
  );
}

/** The cache as attention without codes takes it: `[kvHeads, keys + recentKeys, n]`. */
export function whole(arrays: Arrays, p: Params): { q: Float32Array; k: Float32Array; v: Float32Array } {
  const { kvHeads, keys, capacity, recentKeys, recentCapacity, headDim, valueDim } = p as Record<string, number>;
  const side = (name: 'k' | 'v', n: number) => {
    const all = dequantized(arrays, p, name, n);
    const recent = arrays[`${name}Recent`] as Float32Array;
    const values = new Float32Array(kvHeads! * (keys! + recentKeys!) * n);
    for (let head = 0; head < kvHeads!; head++) {
      const at = head * (keys! + recentKeys!) * n;
      values.set(all.subarray(head * capacity! * n, (head * capacity! + keys!) * n), at);
      const from = head * recentCapacity! * n;
      if (recentKeys) values.set(recent.subarray(from, from + recentKeys * n), at + keys! * n);
    }
    return values;
  };
  return { q: arrays.q as Float32Array, k: side('k', headDim!), v: side('v', valueDim!) };
}

const f32 = Math.fround;

/** The magnitudes of E2M1, by the low three bits of its codes. */
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** Every code of one side as the value it stands for, `[kvHeads, capacity, n]`: what `dequantize` gives. */
function dequantized(arrays: Arrays, p: Params, name: 'k' | 'v', n: number): Float32Array {
  const { kvHeads, capacity } = p as Record<string, number>;
  const format = formatOf(p, name);
  const { bits, axis } = format;
  const [exponents, table] = [`${name}Exponents`, `${name}Table`].map((part) => arrays[part]!);
  const [scales, minima] = [`${name}Scales`, `${name}Minima`].map((part) =>
    format.scaleType ? fromHalves(arrays[part] ?? []) : arrays[part]!,
  );
  const codes = arrays[`${name}Codes`] as Uint32Array;
  const length = axis ? capacity! : n;
  const size = groupSizeOf(format, length);
  const [words, groups] = [wordsOf(length, bits), Math.ceil(length / size)];
  const sign = 2 ** (bits - 1);

  const decode = [
    (code: number, group: number) => f32(f32(code * scales![group]!) + minima![group]!),
    (code: number, group: number) => f32((code < sign ? code : code - 2 * sign) * scales![group]!),
    (code: number, group: number) => {
      const exponent = exponents![group]!;
      return (code < 8 ? 1 : -1) * E2M1[code & 7]! * (exponent === 255 ? Number.NaN : 2 ** (exponent - 127));
    },
    (code: number, group: number) => f32(table![code]! * scales![group]!),
  ][format.scheme]!;

  // Codes lie along a line: a key's dimensions, or a dimension's keys. Lines of columns lie abreast.
  const lines = axis ? n : capacity!;
  const step = axis ? lines : 1;
  const out = new Float32Array(kvHeads! * capacity! * n);
  for (let head = 0; head < kvHeads!; head++)
    for (let key = 0; key < capacity!; key++)
      for (let d = 0; d < n; d++) {
        const line = axis ? d : key;
        const i = axis ? key : d;
        const first = head * lines * words + (axis ? line : line * words);
        const group = head * lines * groups + (axis ? line : line * groups) + Math.floor(i / size) * step;
        out[(head * capacity! + key) * n + d] = decode(codeAt(codes, first, step, i, bits), group);
      }
  return out;
}

/**
 * The i-th code of a line of words that begins at `first`, low bits first. Three bits: 32 codes in three words, the third
 * has their high bits.
 */
function codeAt(codes: Uint32Array, first: number, step: number, i: number, bits: number): number {
  if (bits !== 3) return (codes[first + ((i * bits) >> 5) * step]! >>> ((i * bits) & 31)) & ((1 << bits) - 1);
  const [run, at] = [first + 3 * (i >> 5) * step, i & 31];
  const low = (codes[run + (at >> 4) * step]! >>> (2 * (at & 15))) & 3;
  return low | (((codes[run + 2 * step]! >>> at) & 1) << 2);
}
