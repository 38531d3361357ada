import type { Arrays } from '../test/lib/spec.js';
import type { AttentionBlocksparseOptions, AttentionDecodeOptions, Blocks } from '../ts/contract/attention.js';
import type { FamilyBench, Layer, Size } from './lib/bench.js';

/** Block rows of 64 queries that list the blocks of 64 keys up to their own that `keep` chooses. */
function causalBlocks(n: number, keep: (block: number, row: number) => boolean): Blocks {
  const indptr = [0];
  const indices: number[] = [];
  for (let row = 0; row < Math.ceil(n / 64); row++) {
    for (let block = 0; block <= row; block++) if (keep(block, row)) indices.push(block);
    indptr.push(indices.length);
  }
  return { indptr: Uint32Array.from(indptr), indices: Uint32Array.from(indices), blockQueries: 64, blockKeys: 64 };
}

const mask = (blocks: Blocks | undefined): Arrays => (blocks ? { indptr: blocks.indptr, indices: blocks.indices } : {});

const prefill = (
  title: string,
  heads: number,
  n: number,
  headDim: number,
  more: Partial<AttentionBlocksparseOptions> = {},
  quick?: true,
): Size<AttentionBlocksparseOptions> => {
  const options = { heads, kvHeads: heads, queries: n, keys: n, headDim, causal: true, ...more };
  return {
    title,
    options,
    inputs: (random) => ({
      q: random.normals(heads * n * headDim),
      k: random.normals(options.kvHeads * n * headDim),
      v: random.normals(options.kvHeads * n * headDim),
      ...mask(options.blocks),
    }),
    ...(quick ? { quick } : {}),
  };
};

const decode = (
  title: string,
  heads: number,
  kvHeads: number,
  keys: number,
  headDim: number,
  quick?: true,
): Size<AttentionDecodeOptions> => ({
  title,
  options: { heads, kvHeads, keys, headDim },
  inputs: (random) => ({
    q: random.normals(heads * headDim),
    k: random.normals(kvHeads * keys * headDim),
    v: random.normals(kvHeads * keys * headDim),
  }),
  ...(quick ? { quick } : {}),
});

// The captured layers: 4 heads on 2, 1024 positions, headDim 64.
const REAL = { heads: 4, kvHeads: 2, queries: 1024, keys: 1024, headDim: 64 };
const sinksAndNeighbours = causalBlocks(1024, (block, row) => block === 0 || row - block < 3);

/** The queries of the last position. */
const lastQueries = ({ q }: Layer) =>
  Float32Array.from({ length: 4 * 64 }, (_, i) => q[((i >> 6) * 1024 + 1023) * 64 + (i & 63)]!);

interface Shape {
  headDim: number;
  valueDim: number;
  scale: number;
}

/** One query over the keys that `ranges` lists, two numbers a range. */
function attend(
  q: Float32Array,
  qAt: number,
  k: Float32Array,
  kAt: number,
  v: Float32Array,
  vAt: number,
  { headDim, valueDim, scale }: Shape,
  ranges: number[],
  weights: Float32Array,
  output: Float32Array,
  oAt: number,
): number {
  let max = -Infinity;
  let count = 0;
  for (let r = 0; r < ranges.length; r += 2) {
    for (let key = ranges[r]!; key < ranges[r + 1]!; key++) {
      const at = kAt + key * headDim;
      let a = 0;
      let b = 0;
      let c = 0;
      let e = 0;
      let d = 0;
      for (; d + 3 < headDim; d += 4) {
        a += q[qAt + d]! * k[at + d]!;
        b += q[qAt + d + 1]! * k[at + d + 1]!;
        c += q[qAt + d + 2]! * k[at + d + 2]!;
        e += q[qAt + d + 3]! * k[at + d + 3]!;
      }
      for (; d < headDim; d++) a += q[qAt + d]! * k[at + d]!;
      const score = (a + b + c + e) * scale;
      weights[count++] = score;
      if (score > max) max = score;
    }
  }
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const weight = Math.exp(weights[i]! - max);
    weights[i] = weight;
    sum += weight;
  }
  output.fill(0, oAt, oAt + valueDim);
  count = 0;
  for (let r = 0; r < ranges.length; r += 2) {
    for (let key = ranges[r]!; key < ranges[r + 1]!; key++) {
      const weight = weights[count++]! / sum;
      const at = vAt + key * valueDim;
      for (let c = 0; c < valueDim; c++) output[oAt + c]! += weight * v[at + c]!;
    }
  }
  return max + Math.log(sum);
}

const bench: FamilyBench = {
  attention_blocksparse_f32: {
    sizes: [
      prefill('causal, 8 heads x 1024 x 64', 8, 1024, 64),
      prefill('the same, one block in four', 8, 1024, 64, {
        blocks: causalBlocks(1024, (block, row) => (row - block) % 4 === 0),
      }),
      prefill('the same, dense', 8, 1024, 64, { causal: false }),
      prefill('the same, window of 256', 8, 1024, 64, { window: 256 }),
      prefill('causal, 8 heads on 2 x 1000 x 64', 8, 1000, 64, { kvHeads: 2 }),
      ...[48, 80, 96, 128, 192, 256].map((headDim) => prefill(`causal, 2 heads x 1023 x ${headDim}`, 2, 1023, headDim)),
      prefill('causal, 1 head x 256 x 64', 1, 256, 64, {}, true),
      { title: 'real layer 1, causal', options: { ...REAL, causal: true }, inputs: (_, { layer1 }) => ({ ...layer1 }) },
      {
        title: 'real layer 4, first and nearest blocks',
        options: { ...REAL, causal: true, blocks: sinksAndNeighbours },
        inputs: (_, { layer4 }) => ({ ...layer4, ...mask(sinksAndNeighbours) }),
        quick: true,
      },
    ],
    javascript(arrays, o: AttentionBlocksparseOptions) {
      const [q, k, v] = [arrays.q, arrays.k, arrays.v] as [Float32Array, Float32Array, Float32Array];
      const {
        heads,
        kvHeads,
        queries,
        keys,
        headDim,
        valueDim = headDim,
        causal = false,
        window = 0,
        blocks,
        scale = 1 / Math.sqrt(headDim),
      } = o;
      const shape = { headDim, valueDim, scale };
      const output = new Float32Array(heads * queries * valueDim);
      const lse = new Float32Array(heads * queries);
      const weights = new Float32Array(keys);
      const ranges: number[] = [];
      return () => {
        for (let head = 0; head < heads; head++) {
          const kvHead = Math.floor(head / (heads / kvHeads));
          for (let i = 0; i < queries; i++) {
            const position = i + keys - queries;
            const first = window ? Math.max(0, position - window + 1) : 0;
            const end = causal || window ? position + 1 : keys;
            ranges.length = 0;
            if (!blocks) ranges.push(first, end);
            else {
              const row = Math.floor(i / blocks.blockQueries);
              for (let at = blocks.indptr[row]!; at < blocks.indptr[row + 1]!; at++) {
                const key = blocks.indices[at]! * blocks.blockKeys;
                ranges.push(Math.max(key, first), Math.min(key + blocks.blockKeys, keys, end));
              }
            }
            const at = head * queries + i;
            const kvAt = kvHead * keys;
            lse[at] = attend(
              q,
              at * headDim,
              k,
              kvAt * headDim,
              v,
              kvAt * valueDim,
              shape,
              ranges,
              weights,
              output,
              at * valueDim,
            );
          }
        }
      };
    },
  },
  attention_decode_f32: {
    sizes: [
      decode('32 heads on 8 x 8192 x 128', 32, 8, 8192, 128),
      decode('8 heads on 8 x 8192 x 128', 8, 8, 8192, 128),
      decode('64 heads on 8 x 8191 x 128', 64, 8, 8191, 128),
      decode('24 heads on 8 x 8192 x 80', 24, 8, 8192, 80),
      decode('16 heads on 4 x 4095 x 256', 16, 4, 4095, 256),
      decode('32 heads on 8 x 512 x 128', 32, 8, 512, 128, true),
      decode('12 heads on 12 x 512 x 64', 12, 12, 512, 64),
      {
        title: 'real layer 4, last position',
        options: { heads: 4, kvHeads: 2, keys: 1024, headDim: 64 },
        inputs: (_, { layer4 }) => ({ q: lastQueries(layer4), k: layer4.k, v: layer4.v }),
        quick: true,
      },
    ],
    javascript(arrays, o: AttentionDecodeOptions) {
      const [q, k, v] = [arrays.q, arrays.k, arrays.v] as [Float32Array, Float32Array, Float32Array];
      const {
        heads,
        kvHeads,
        keys,
        headDim,
        valueDim = headDim,
        from = 0,
        to = keys,
        scale = 1 / Math.sqrt(headDim),
      } = o;
      const shape = { headDim, valueDim, scale };
      const output = new Float32Array(heads * valueDim);
      const lse = new Float32Array(heads);
      const weights = new Float32Array(keys);
      const ranges = [from, to];
      return () => {
        for (let head = 0; head < heads; head++) {
          const kvAt = Math.floor(head / (heads / kvHeads)) * keys;
          lse[head] = attend(
            q,
            head * headDim,
            k,
            kvAt * headDim,
            v,
            kvAt * valueDim,
            shape,
            ranges,
            weights,
            output,
            head * valueDim,
          );
        }
      };
    },
  },
};

export default bench;
