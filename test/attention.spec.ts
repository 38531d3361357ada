import {
  type AttentionBlocksparseOptions,
  type AttentionDecodeOptions,
  attention_blocksparse_f32,
  attention_decode_f32,
  type Blocks,
} from '../ts/contract/attention.js';
import type { Params } from '../ts/contract.js';
import { splitsOf } from '../ts/gpu-splits.js';
import {
  type AttentionInputs,
  attentionBlocksparseF64,
  attentionDecodeF64,
  visibleKeys,
} from '../ts/reference/attention.js';
import {
  type Analysis,
  attentionTolerance,
  type Route,
  summed,
  sumsOfValues,
  tileOf,
  tilesOfSplit,
  UNIT,
} from './lib/attention.js';
import { type Random, random } from './lib/random.js';
import type { Arrays, Case, FamilySpec, KernelSpec } from './lib/spec.js';
import { exact } from './lib/tolerance.js';

const HEAD_AXES = {
  heads: 'query heads, a multiple of kvHeads',
  kvHeads: 'key and value heads, 1 or more; query head h reads kv head floor(h / (heads / kvHeads))',
  keys: 'keys per kv head, 0 to 2^30',
  headDim: '1 to 256',
  valueDim: '1 to 256; default headDim',
  scale: 'multiplies q·k; default 1 / sqrt(headDim)',
  softcap: 'scores become softcap · tanh(score / softcap); 0 (default): no cap',
};

const q = (o: AttentionBlocksparseOptions, r: Random, scale = 1) => r.normals(o.heads * o.queries * o.headDim, scale);
const kv = (o: AttentionBlocksparseOptions | AttentionDecodeOptions, r: Random, scale = 1) => ({
  k: r.normals(o.kvHeads * o.keys * o.headDim, scale),
  v: r.normals(o.kvHeads * o.keys * (o.valueDim ?? o.headDim)),
});
const mask = (blocks?: Blocks): Arrays => (blocks ? { indptr: blocks.indptr, indices: blocks.indices } : {});

/** Which key blocks the block row `row` of `head` lists. */
type Listed = (block: number, row: number, head: number, random: Random) => boolean;

/** A block mask in CSR, its lists shuffled. */
function blocksOf(
  o: AttentionBlocksparseOptions,
  blockQueries: number,
  blockKeys: number,
  listed: Listed,
  perHead = false,
): Blocks {
  const source = random(blockQueries * 1000 + blockKeys);
  const indptr: number[] = [];
  const indices: number[] = [];
  for (let head = 0; head < (perHead ? o.heads : 1); head++) {
    indptr.push(indices.length);
    for (let row = 0; row * blockQueries < o.queries; row++) {
      const list: number[] = [];
      for (let block = 0; block * blockKeys < o.keys; block++)
        if (listed(block, row, head, source)) list.splice(source.int(0, list.length), 0, block);
      indices.push(...list);
      indptr.push(indices.length);
    }
  }
  return { indptr: Uint32Array.from(indptr), indices: Uint32Array.from(indices), blockQueries, blockKeys, perHead };
}

function sparse(
  title: string,
  o: AttentionBlocksparseOptions,
  more: Partial<Case<AttentionBlocksparseOptions>> = {},
): Case<AttentionBlocksparseOptions> {
  return { title, options: o, inputs: (r) => ({ q: q(o, r), ...kv(o, r), ...mask(o.blocks) }), ...more };
}

function decode(
  title: string,
  o: AttentionDecodeOptions,
  more: Partial<Case<AttentionDecodeOptions>> = {},
): Case<AttentionDecodeOptions> {
  return { title, options: o, inputs: (r) => ({ q: r.normals(o.heads * o.headDim), ...kv(o, r) }), ...more };
}

/** `indptr` and `indices` are the block mask's, as files or as numbers in its option. */
export const withBlocks: NonNullable<KernelSpec['user']> = {
  call(given, { blocks, ...options }) {
    const { indptr, indices, blockQueries, blockKeys, perHead, ...unknown } = { ...blocks };
    for (const name in unknown)
      throw new Error(`--options: blocks have no "${name}" (blockQueries, blockKeys, perHead, indptr, indices)`);
    const listed = (name: string, list: unknown): Arrays =>
      Array.isArray(list) ? { [name]: Uint32Array.from(list) } : {};
    const inputs = { ...listed('indptr', indptr), ...listed('indices', indices), ...given };
    if (!blocks && !inputs.indptr && !inputs.indices) return { inputs, options };
    const mask = {
      indptr: inputs.indptr,
      indices: inputs.indices,
      blockQueries,
      blockKeys,
      ...(perHead !== undefined && { perHead }),
    };
    return { inputs, options: { ...options, blocks: mask } };
  },
};

const attentionInputs = (arrays: Arrays) => arrays as unknown as AttentionInputs;

function routeOf(p: Params): Route {
  if (p.to === undefined) return { chunk: 64, rescalings: (keys) => Math.ceil(keys / tileOf(p)), merged: false };
  const keys = p.to - p.from!;
  return { chunk: 1024, rescalings: () => tilesOfSplit(keys, p), merged: splitsOf(keys, p) > 1 };
}

/** q·k adds up headDim products of rounded factors: two more roundings. */
function analysisOf(arrays: Arrays, p: Params): Analysis {
  const { q, k, v } = attentionInputs(arrays);
  const n = p.headDim!;
  const decoding = p.to !== undefined && Array.from({ length: p.to - p.from! }, (_, i) => p.from! + i);
  return {
    v,
    keys: p.keys!,
    keysOf: (head, query) => decoding || visibleKeys(p, arrays as { indptr?: Uint32Array }, head, query),
    product(row, key) {
      let [dot, squares] = [0, 0];
      for (let d = 0, a = row * n, b = key * n; d < n; d++) {
        const term = q[a + d]! * k[b + d]!;
        dot += term;
        squares += term * term;
      }
      return { dot, error: UNIT * summed(n + 2, dot, squares) };
    },
    values: sumsOfValues,
  };
}

const tolerance = {
  ...attentionTolerance(analysisOf, routeOf, {
    output:
      'Σ weight·|v − output|·(rounding of the score and of e^score), of p·v, of the sum of weights and of the quotient',
    lse: 'Σ weight·(rounding of the score and of e^score), of the sum of weights and of the result',
  }),
  status: exact,
};

const small = { heads: 2, kvHeads: 1, headDim: 16 };
const banded = { ...small, queries: 80, keys: 80 };
const edges = [1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65];

const blocksparse: KernelSpec<AttentionBlocksparseOptions> = {
  contract: attention_blocksparse_f32,
  summary:
    'Attention with grouped heads under a CSR block mask, causal mask and window, or dense; writes output and log-sum-exp',
  source:
    'Dao et al., FlashAttention (2022), for the running softmax; Milakov and Gimelshein (2018); block masks as in FlashInfer',
  axes: {
    ...HEAD_AXES,
    queries: 'queries per head, 0 to 2^30; query i stands at position i + keys - queries',
    causal: 'a query sees no key after its position',
    window: 'a query sees its position and the window - 1 keys before it; 0 (default): no window',
    blocks:
      'the block mask: indptr, indices, blockQueries and blockKeys (multiples of 16 from 16 to 128), perHead; default dense',
  },
  arrays: {
    q: { shape: '[heads, queries, headDim]', meaning: 'queries' },
    k: { shape: '[kvHeads, keys, headDim]', meaning: 'keys' },
    v: { shape: '[kvHeads, keys, valueDim]', meaning: 'values' },
    indptr: {
      shape: '[queryBlocks + 1] or [heads, queryBlocks + 1]',
      meaning: 'where each block row begins and ends in indices',
    },
    indices: { shape: '[indicesLength]', meaning: 'key blocks of each block row, in any order' },
    output: { shape: '[heads, queries, valueDim]', meaning: 'softmax(scores)·v; 0 where no key is visible' },
    lse: { shape: '[heads, queries]', meaning: 'natural log-sum-exp of the scores; -inf where no key is visible' },
    scratch: { shape: '[attentionScratchBytes / 4]', meaning: 'CPU only' },
    status: { shape: '[1]', meaning: '0, or 1 + the position in indices of a block out of range' },
  },
  user: withBlocks,
  reference: (arrays, o) => ({ ...attentionBlocksparseF64(attentionInputs(arrays), o), status: Uint32Array.of(0) }),
  cases: [
    sparse('one of everything', { heads: 1, kvHeads: 1, queries: 1, keys: 1, headDim: 1 }),
    ...edges.map((n) => sparse(`dense, ${n} queries and keys`, { ...small, queries: n, keys: n })),
    ...[1, 2, 3, 4, 5, 6, 7, 40, 65, 80, 127, 256].map((headDim) =>
      sparse(`headDim ${headDim}`, { heads: 2, kvHeads: 2, queries: 9, keys: 21, headDim, causal: true }),
    ),
    ...[1, 2, 3, 5, 130, 256].map((valueDim) =>
      sparse(`valueDim ${valueDim}`, { heads: 2, kvHeads: 1, queries: 5, keys: 19, headDim: 8, valueDim }),
    ),
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 16].map((group) =>
      sparse(`groups of ${group}, one query`, { heads: 2 * group, kvHeads: 2, queries: 1, keys: 37, headDim: 12 }),
    ),
    sparse('groups of 3, causal', { heads: 6, kvHeads: 2, queries: 33, keys: 33, headDim: 20, causal: true }),
    sparse('causal, more keys than queries', { ...small, queries: 7, keys: 90, causal: true }),
    sparse('causal, more queries than keys: the first see nothing', { ...small, queries: 90, keys: 7, causal: true }),
    sparse('window of 1', { ...banded, window: 1 }),
    sparse('window of 20', { ...banded, window: 20 }),
    sparse('window past the beginning', { ...banded, window: 2 ** 30 }),
    sparse('window, more queries than keys', { ...small, queries: 90, keys: 30, window: 5 }),
    sparse('no queries', { ...small, queries: 0, keys: 5 }),
    sparse('no keys', { ...small, queries: 5, keys: 0 }),
    sparse('several chunks of keys', { heads: 4, kvHeads: 1, queries: 20, keys: 515, headDim: 64 }),
    ...[16, 32, 48, 64, 96, 128].map((size) => {
      const o = { ...small, queries: 200, keys: 300, causal: size % 32 === 0 };
      return sparse(`blocks of ${size}, ragged`, {
        ...o,
        blocks: blocksOf(o, size, size, (_block, _row, _head, r) => r.uniform() < 0.5),
      });
    }),
    ...[
      [16, 128],
      [128, 16],
      [64, 16],
      [48, 80],
    ].map(([blockQueries, blockKeys]) => {
      const o = { heads: 4, kvHeads: 2, queries: 150, keys: 170, headDim: 24, window: 100 };
      return sparse(`blocks of ${blockQueries} × ${blockKeys}, per head`, {
        ...o,
        blocks: blocksOf(o, blockQueries!, blockKeys!, (_block, _row, _head, r) => r.uniform() < 0.4, true),
      });
    }),
    (() => {
      const o = { ...banded, causal: true };
      return sparse('blocks wholly in the future, empty rows', {
        ...o,
        blocks: blocksOf(o, 16, 16, (block, row) => block > row - (row % 2)),
      });
    })(),
    sparse('no blocks at all', { ...banded, blocks: blocksOf(banded, 16, 16, () => false) }),
    (() => {
      const o = { heads: 8, kvHeads: 2, queries: 1, keys: 300, headDim: 64 };
      return sparse('sparse decode', { ...o, blocks: blocksOf(o, 16, 16, (block) => block % 5 !== 1) });
    })(),
    sparse('a block listed twice counts twice', {
      ...small,
      queries: 3,
      keys: 20,
      blocks: { indptr: Uint32Array.of(0, 3), indices: Uint32Array.of(1, 0, 1), blockQueries: 16, blockKeys: 16 },
    }),
    sparse('scale 1', { ...banded, scale: 1 }),
    sparse('negative scale', { ...small, queries: 5, keys: 9, scale: -0.5 }),
    sparse('scale 0: the mean of the values', { ...small, queries: 5, keys: 9, scale: 0 }),
    sparse('soft cap 50', { ...banded, softcap: 50, causal: true }),
    sparse('soft cap that bites', { ...banded, softcap: 0.5, scale: 3 }),
    sparse('soft cap far above the scores', { ...small, queries: 9, keys: 70, softcap: 30000 }),
    ...(
      [
        ['zeros', () => 0],
        ['denormals', () => 1e-42],
        ['equal scores', () => 1],
        ['rising scores', (i: number) => i / 1000],
        ['huge scores', (i: number) => (i % 7) * 1e12],
        ['scores near -2e38', () => -1e19],
      ] as [string, (i: number) => number][]
    ).map(([title, value]) => {
      const o = { ...small, queries: 9, keys: 70, scale: 0.1 };
      return sparse(title, o, {
        inputs: (r) => ({
          q: r.floats(2 * 9 * 16, () => Math.abs(value(3))),
          k: r.floats(70 * 16, value),
          v: r.normals(70 * 16),
        }),
      });
    }),
    sparse(
      'NaN in one query, infinity in another',
      { ...small, queries: 9, keys: 70, causal: true },
      {
        cpuOnly: 'WGSL may assume finite numbers',
        inputs: (r) => {
          const x = q({ ...small, queries: 9, keys: 70 }, r);
          x[3 * 16 + 5] = Number.NaN;
          x[12 * 16] = Infinity;
          return { q: x, ...kv({ ...small, queries: 9, keys: 70 }, r) };
        },
      },
    ),
    sparse(
      'NaN and infinity in keys that nobody sees',
      {
        ...small,
        queries: 4,
        keys: 12,
        blocks: { indptr: Uint32Array.of(0, 1), indices: Uint32Array.of(0), blockQueries: 16, blockKeys: 16 },
        window: 4,
      },
      {
        cpuOnly: 'WGSL may assume finite numbers',
        inputs: (r) => {
          const { k, v } = kv({ ...small, queries: 4, keys: 12 }, r);
          k.fill(Number.NaN, 0, 5 * 16);
          v.fill(Infinity, 0, 5 * 16);
          return {
            q: q({ ...small, queries: 4, keys: 12 }, r),
            k,
            v,
            indptr: Uint32Array.of(0, 1),
            indices: Uint32Array.of(0),
          };
        },
      },
    ),
  ],
  tolerance,
  cost({
    heads,
    kvHeads,
    queries,
    keys,
    headDim,
    valueDim,
    causal,
    window,
    indicesLength,
    blockQueries,
    blockKeys,
    perHead,
  }) {
    // Pairs of a query and a key: those of the listed blocks (an upper bound where blocks are ragged or partly masked), or exactly.
    let pairs = perHead
      ? indicesLength! * blockQueries! * blockKeys!
      : heads! * indicesLength! * blockQueries! * blockKeys!;
    if (blockQueries === 0) {
      pairs = 0;
      for (let i = 0; i < queries!; i++) {
        const end = causal || window ? Math.max(0, i + 1 + keys! - queries!) : keys!;
        pairs += heads! * (window ? Math.min(end, window) : end);
      }
    }
    return {
      bytesRead: 4 * (heads! * queries! * headDim! + kvHeads! * keys! * (headDim! + valueDim!) + indicesLength!),
      bytesWritten: 4 * heads! * queries! * (valueDim! + 1),
      operations: 2 * pairs * (headDim! + valueDim!),
    };
  },
};

const decodeSpec: KernelSpec<AttentionDecodeOptions> = {
  contract: attention_decode_f32,
  summary: 'Attention of one query per head over a range of keys, giving states that softmax_merge_f32 merges',
  source: 'Dao et al., Flash-Decoding (2023): keys split into ranges, states merged',
  axes: { ...HEAD_AXES, from: 'first key attended to; default 0', to: 'one past the last; default keys' },
  arrays: {
    q: { shape: '[heads, headDim]', meaning: 'one query per head' },
    k: { shape: '[kvHeads, keys, headDim]', meaning: 'keys' },
    v: { shape: '[kvHeads, keys, valueDim]', meaning: 'values' },
    output: { shape: '[heads, valueDim]', meaning: 'softmax(scores)·v; 0 when the range is empty' },
    lse: { shape: '[heads]', meaning: 'natural log-sum-exp of the scores; -inf when the range is empty' },
    scratch: { shape: '[attentionScratchBytes / 4]', meaning: 'CPU only' },
  },
  reference: (arrays, o) => ({ ...attentionDecodeF64(attentionInputs(arrays), o) }),
  cases: [
    decode('one of everything', { heads: 1, kvHeads: 1, keys: 1, headDim: 1 }),
    ...edges.map((keys) => decode(`${keys} keys`, { heads: 4, kvHeads: 1, keys, headDim: 16 })),
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 71].map((group) =>
      decode(`groups of ${group}`, { heads: 2 * group, kvHeads: 2, keys: 67, headDim: 20 }),
    ),
    ...[1, 2, 3, 4, 5, 6, 7, 48, 65, 127, 256].map((headDim) =>
      decode(`headDim ${headDim}`, { heads: 3, kvHeads: 1, keys: 33, headDim }),
    ),
    ...[1, 3, 5, 70, 256].map((valueDim) =>
      decode(`valueDim ${valueDim}`, { heads: 8, kvHeads: 2, keys: 33, headDim: 12, valueDim }),
    ),
    ...[4, 5, 6, 7, 80].map((headDim) =>
      decode(`a key head per head, headDim ${headDim}`, {
        heads: 2,
        kvHeads: 2,
        keys: 67 + headDim,
        headDim,
        valueDim: headDim + 1,
      }),
    ),
    decode('a range in the middle', { heads: 4, kvHeads: 2, keys: 300, headDim: 32, from: 101, to: 222 }),
    decode('an empty range', { heads: 4, kvHeads: 2, keys: 30, headDim: 32, from: 7, to: 7 }),
    decode('no keys', { heads: 4, kvHeads: 2, keys: 0, headDim: 32 }),
    decode('many keys', { heads: 4, kvHeads: 1, keys: 4099, headDim: 64 }),
    decode('soft cap 20', { heads: 6, kvHeads: 2, keys: 130, headDim: 64, softcap: 20 }),
    decode(
      'equal scores',
      { heads: 4, kvHeads: 1, keys: 130, headDim: 8 },
      {
        inputs: (r) => ({ q: r.floats(32, () => 1), k: r.floats(130 * 8, () => 2), v: r.normals(130 * 8) }),
      },
    ),
    decode(
      'scores that keep rising',
      { heads: 4, kvHeads: 1, keys: 700, headDim: 8 },
      {
        inputs: (r) => ({ q: r.floats(32, () => 1), k: r.floats(700 * 8, (i) => i / 80), v: r.normals(700 * 8) }),
      },
    ),
    decode(
      'NaN in one head',
      { heads: 4, kvHeads: 2, keys: 30, headDim: 8 },
      {
        cpuOnly: 'WGSL may assume finite numbers',
        inputs: (r) => {
          const x = r.normals(32);
          x[9] = Number.NaN;
          return { q: x, ...kv({ heads: 4, kvHeads: 2, keys: 30, headDim: 8 }, r) };
        },
      },
    ),
  ],
  tolerance: { output: tolerance.output, lse: tolerance.lse },
  cost: ({ heads, kvHeads, headDim, valueDim, from, to }) => ({
    bytesRead: 4 * (heads! * headDim! + kvHeads! * (to! - from!) * (headDim! + valueDim!)),
    bytesWritten: 4 * heads! * (valueDim! + 1),
    operations: 2 * heads! * (to! - from!) * (headDim! + valueDim!),
  }),
};

const spec: FamilySpec = { attention_blocksparse_f32: blocksparse, attention_decode_f32: decodeSpec };
export default spec;
