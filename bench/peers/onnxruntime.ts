/** onnxruntime: WebAssembly in Node as in a browser (onnxruntime-web), and native (onnxruntime-node). One operator, or the few its users need, per model. */
import fs, { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Arrays } from '../../test/lib/spec.js';
import { type Contender, load, type Peer, reason } from './contender.js';
import { DTYPE, type Dtype, type Graph, type Node, onnxModel } from './onnx.js';
import { denseWeights, hadamardMatrix, scoreMask, type Work } from './works.js';

type Feed = { type: Dtype; dims: readonly number[]; data: ArrayBufferView };

interface Way {
  how: string;
  opset?: number;
  nodes: Node[];
  feeds: Record<string, Feed>;
  constants?: Graph['constants'];
  outputs: Graph['outputs'];
  read(outputs: Record<string, any>): Arrays;
  /** Operators that are there only because the JavaScript API takes no 4-bit arrays: not counted in kernel times. */
  uncounted?: string;
  partial?: boolean;
  /** Outputs that lie where an input lies. */
  inPlace?: Record<string, string>;
}

const f32 = (dims: readonly number[], data: ArrayBufferView): Feed => ({ type: 'float32', dims, data });
const node = (op: string, inputs: string, outputs: string, attributes?: Node['attributes'], domain?: string): Node => ({
  op,
  inputs: inputs.split(' ').map((name) => (name === '-' ? '' : name)),
  outputs: outputs.split(' '),
  ...(attributes ? { attributes } : {}),
  ...(domain ? { domain } : {}),
});
const contrib = 'com.microsoft';

/** Four bits a value, low half of a byte first, as in our words. */
function nibbles(values: ArrayLike<number>): Uint8Array {
  const packed = new Uint8Array(values.length / 2);
  for (let i = 0; i < packed.length; i++) packed[i] = values[2 * i]! | (values[2 * i + 1]! << 4);
  return packed;
}

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** [heads, queries, headDim] to [queries, heads·headDim]. */
function interleaved(x: Float32Array, heads: number, queries: number, headDim: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < queries; i++)
      out.set(x.subarray((h * queries + i) * headDim, (h * queries + i + 1) * headDim), (i * heads + h) * headDim);
  return out;
}
const separated = (x: Float32Array, heads: number, queries: number, headDim: number) =>
  interleaved(x, queries, heads, headDim);

/** The one block-sparse operator there is. It writes its caches where it reads them, which only the native API can say. */
function sparse({ heads, keys, headDim, blocks }: any, q: Feed, k: Feed, v: Feed, read: Way['read']): Way {
  const indices = Int32Array.from(blocks.indices);
  for (let row = 0; row + 1 < blocks.indptr.length; row++)
    indices.subarray(blocks.indptr[row], blocks.indptr[row + 1]).sort();
  const int32 = (dims: number[], data: Int32Array): Feed => ({ type: 'int32', dims, data });
  return {
    how: 'SparseAttention',
    nodes: [
      node(
        'SparseAttention',
        'q k v pastK pastV rows columns total lengths',
        'output presentK presentV',
        {
          num_heads: heads,
          kv_num_heads: heads,
          sparse_block_size: blocks.blockKeys,
          scale: { f: 1 / Math.sqrt(headDim) },
        },
        contrib,
      ),
    ],
    feeds: {
      q,
      k,
      v,
      pastK: f32([1, heads, keys, headDim], new Float32Array(heads * keys * headDim)),
      pastV: f32([1, heads, keys, headDim], new Float32Array(heads * keys * headDim)),
      rows: int32([1, blocks.indptr.length], Int32Array.from(blocks.indptr)),
      columns: int32([1, indices.length], indices),
      total: int32([1], Int32Array.of(keys)),
      lengths: int32([1], Int32Array.of(keys)),
    },
    outputs: { output: 'float32', presentK: 'float32', presentV: 'float32' },
    read,
    inPlace: { presentK: 'pastK', presentV: 'pastV' },
  };
}

/** One row times 4-bit weights. `levels`: MatMulNBits's accuracy_level, 4 rounds activations to 8 bits. */
const gemv =
  (...levels: number[]) =>
  (o: any, inputs: any): Way[] => {
    const { n, k, bits, groupSize } = o;
    const blocks = k / groupSize;
    const feeds = { x: f32([1, k], inputs.x) };
    const outputs = { out: 'float32' } as const;
    const read = ({ out }: Record<string, any>) => ({ out });
    const uint8 = (dims: number[], data: Uint8Array): Feed => ({ type: 'uint8', dims, data });
    return [
      ...levels.map((level) => ({
        how: `MatMulNBits, block_size ${groupSize}, integral zero points, accuracy_level ${level}`,
        nodes: [
          node(
            'MatMulNBits',
            'x codes scales zero',
            'out',
            { K: k, N: n, bits, block_size: groupSize, accuracy_level: level },
            contrib,
          ),
        ],
        feeds,
        constants: {
          codes: uint8([n, blocks, (groupSize * bits) / 8], bytesOf(inputs.codes)),
          scales: f32([n * blocks], inputs.scales),
          zero: uint8([(n * blocks) / 2], nibbles(inputs.zeroPoints)),
        },
        outputs,
        read,
      })),
      {
        how: 'MatMul by dense f32 weights, dequantised beforehand',
        nodes: [node('MatMul', 'x weights', 'out')],
        feeds,
        constants: { weights: f32([k, n], denseWeights(o, inputs)) },
        outputs,
        read,
      },
    ];
  };

const WAYS: Record<string, (o: any, inputs: any) => Way[]> = {
  // Eight bits are another result where activations keep more.
  gemm_quantized_f32: gemv(0),
  gemm_quantized_i16: gemv(0),
  gemm_quantized_i8: gemv(0, 4),

  dequantize_f32: ({ rows, n, groupSize }, { codes, scales, zeroPoints }) => [
    {
      how: 'DequantizeLinear, uint4, block_size 32, integral zero points',
      nodes: [node('DequantizeLinear', 'codes scales zero', 'out', { axis: 1, block_size: groupSize })],
      feeds: { scales: f32([rows, n / groupSize], scales) },
      // The native API takes no 4-bit arrays from outside.
      constants: {
        codes: { type: 'uint4', dims: [rows, n], data: bytesOf(codes) },
        zero: { type: 'uint4', dims: [rows, n / groupSize], data: nibbles(zeroPoints) },
      },
      outputs: { out: 'float32' },
      read: ({ out }) => ({ out }),
    },
  ],

  quantize_f32({ rows, n, groupSize }, { x }): Way[] {
    const groups = n / groupSize;
    const outputs = { codes: 'uint8' } as const;
    const shifted = new Float32Array(x.length);
    const scales = new Float32Array(rows * groups);
    for (let g = 0; g < scales.length; g++) {
      const group = x.subarray(g * groupSize, (g + 1) * groupSize);
      const least = group.reduce((a: number, b: number) => Math.min(a, b));
      scales[g] = Math.fround(group.reduce((a: number, b: number) => Math.max(a, b)) - least) / 15;
      for (let i = 0; i < groupSize; i++) shifted[g * groupSize + i] = group[i]! - least;
    }
    const out = node('Cast', 'codes4', 'codes', { to: DTYPE.uint8 });
    const read = ({ codes }: Record<string, any>) => ({ codes: new Uint32Array(nibbles(codes).buffer) });
    const int64 = (...values: number[]) =>
      ({ type: 'int64', dims: [values.length], data: BigInt64Array.from(values, BigInt) }) as const;
    return [
      {
        how: 'ReduceMax, ReduceMin, Sub, Div, Sub, QuantizeLinear to uint4',
        nodes: [
          node('Reshape', 'x grouped', 'g'),
          node('ReduceMax', 'g last', 'max', { keepdims: 1 }),
          node('ReduceMin', 'g last', 'min', { keepdims: 1 }),
          node('Sub', 'max min', 'range'),
          node('Div', 'range fifteen', 'scale3'),
          node('Reshape', 'scale3 flatScale', 'scale'),
          node('Sub', 'g min', 'shifted3'),
          node('Reshape', 'shifted3 flat', 'shifted'),
          node('QuantizeLinear', 'shifted scale', 'codes4', {
            axis: 1,
            block_size: groupSize,
            output_dtype: DTYPE.uint4,
          }),
          out,
        ],
        uncounted: 'Cast',
        feeds: { x: f32([rows, n], x) },
        constants: {
          grouped: int64(rows, groups, groupSize),
          last: int64(2),
          flatScale: int64(rows, groups),
          flat: int64(rows, n),
          fifteen: f32([], Float32Array.of(15)),
        },
        outputs: { ...outputs, scale: 'float32', min: 'float32' },
        read,
      },
      {
        how: 'a part of it: QuantizeLinear to uint4 of x minus minima, scales known',
        partial: true,
        nodes: [
          node('QuantizeLinear', 'shifted scale', 'codes4', {
            axis: 1,
            block_size: groupSize,
            output_dtype: DTYPE.uint4,
          }),
          out,
        ],
        uncounted: 'Cast',
        feeds: { shifted: f32([rows, n], shifted), scale: f32([rows, groups], scales) },
        outputs,
        read,
      },
    ];
  },

  hadamard_f32: ({ rows, n }, { x }) => [
    {
      how: 'MatMul by the dense matrix',
      nodes: [node('MatMul', 'x matrix', 'out')],
      feeds: { x: f32([rows, n], x) },
      constants: { matrix: f32([n, n], hadamardMatrix(n)) },
      outputs: { out: 'float32' },
      read: ({ out }) => ({ out }),
    },
  ],

  topk_f32: ({ rows, n, k }, { x }) => [
    {
      how: 'TopK',
      nodes: [node('TopK', 'x k', 'values indices', { axis: -1, largest: 1, sorted: 1 })],
      feeds: { x: f32([rows, n], x), k: { type: 'int64', dims: [1], data: BigInt64Array.of(BigInt(k)) } },
      outputs: { values: 'float32', indices: 'int64' },
      read: ({ values, indices }) => ({ values, indices }),
    },
  ],

  softmax_f32: ({ rows, n }, { x }) => [
    {
      how: 'Softmax',
      nodes: [node('Softmax', 'x', 'out', { axis: -1 })],
      feeds: { x: f32([rows, n], x) },
      outputs: { out: 'float32' },
      read: ({ out }) => ({ out }),
    },
  ],

  attention_decode_f32({ heads, kvHeads, keys, headDim }, { q, k, v }): Way[] {
    const group = heads / kvHeads;
    const scale = 1 / Math.sqrt(headDim);
    // One token is new: the operator appends it to a cache that holds the others.
    const past = (x: Float32Array) => {
      const out = new Float32Array(kvHeads * (keys - 1) * headDim);
      for (let h = 0; h < kvHeads; h++)
        out.set(x.subarray(h * keys * headDim, (h * keys + keys - 1) * headDim), h * (keys - 1) * headDim);
      return f32([1, kvHeads, keys - 1, headDim], out);
    };
    const last = (x: Float32Array) => {
      const out = new Float32Array(kvHeads * headDim);
      for (let h = 0; h < kvHeads; h++)
        out.set(x.subarray((h * keys + keys - 1) * headDim, (h + 1) * keys * headDim), h * headDim);
      return f32([1, 1, kvHeads * headDim], out);
    };
    const read = ({ output }: Record<string, any>) => ({ output });
    return [
      {
        how: 'GroupQueryAttention',
        nodes: [
          node(
            'GroupQueryAttention',
            'q k v pastK pastV seqlens total',
            'output presentK presentV',
            { num_heads: heads, kv_num_heads: kvHeads, scale: { f: scale } },
            contrib,
          ),
        ],
        feeds: {
          q: f32([1, 1, heads * headDim], q),
          k: last(k),
          v: last(v),
          pastK: past(k),
          pastV: past(v),
          seqlens: { type: 'int32', dims: [1], data: Int32Array.of(keys - 1) },
          total: { type: 'int32', dims: [1], data: Int32Array.of(keys) },
        },
        outputs: { output: 'float32', presentK: 'float32', presentV: 'float32' },
        read,
      },
      {
        how: 'Attention (opset 23)',
        opset: 23,
        nodes: [node('Attention', 'q k v', 'output')],
        feeds: {
          q: f32([1, heads, 1, headDim], q),
          k: f32([1, kvHeads, keys, headDim], k),
          v: f32([1, kvHeads, keys, headDim], v),
        },
        outputs: { output: 'float32' },
        read,
      },
      {
        how: 'MatMul, Softmax, MatMul over groups of heads',
        nodes: [
          node('Transpose', 'k', 'kT', { perm: [0, 2, 1] }),
          node('MatMul', 'q kT', 'products'),
          node('Mul', 'products scale', 'scores'),
          node('Softmax', 'scores', 'p', { axis: -1 }),
          node('MatMul', 'p v', 'output'),
        ],
        feeds: {
          q: f32([kvHeads, group, headDim], q),
          k: f32([kvHeads, keys, headDim], k),
          v: f32([kvHeads, keys, headDim], v),
        },
        constants: { scale: f32([], Float32Array.of(scale)) },
        outputs: { output: 'float32' },
        read,
      },
    ];
  },

  attention_blocksparse_f32(o, { q, k, v }): Way[] {
    const { heads, queries, keys, headDim, blocks } = o;
    const scale = 1 / Math.sqrt(headDim);
    const bnsh = (x: Float32Array) => f32([1, heads, queries, headDim], x);
    const bsh = (x: Float32Array) => f32([1, queries, heads * headDim], interleaved(x, heads, queries, headDim));
    const read = ({ output }: Record<string, any>) => ({ output });
    const readBsh = ({ output }: Record<string, any>) => ({ output: separated(output, heads, queries, headDim) });
    const mask = f32([queries, keys], scoreMask(o));
    const mask4 = f32([1, 1, queries, keys], mask.data);
    const masked: Way[] = [
      {
        how: 'Attention (opset 23), attn_mask',
        opset: 23,
        nodes: [node('Attention', 'q k v mask', 'output')],
        feeds: { q: bnsh(q), k: bnsh(k), v: bnsh(v), mask },
        outputs: { output: 'float32' },
        read,
      },
      {
        how: 'MultiHeadAttention, attention_bias',
        nodes: [
          node('MultiHeadAttention', 'q k v - - bias', 'output', { num_heads: heads, scale: { f: scale } }, contrib),
        ],
        feeds: { q: bsh(q), k: bsh(k), v: bsh(v), bias: mask4 },
        outputs: { output: 'float32' },
        read: readBsh,
      },
      {
        how: 'MatMul, Add mask, Softmax, MatMul',
        nodes: [
          node('Transpose', 'k', 'kT', { perm: [0, 2, 1] }),
          node('MatMul', 'q kT', 'products'),
          node('Mul', 'products scale', 'scores'),
          node('Add', 'scores mask', 'masked'),
          node('Softmax', 'masked', 'p', { axis: -1 }),
          node('MatMul', 'p v', 'output'),
        ],
        feeds: {
          q: f32([heads, queries, headDim], q),
          k: f32([heads, keys, headDim], k),
          v: f32([heads, keys, headDim], v),
          mask,
        },
        constants: { scale: f32([], Float32Array.of(scale)) },
        outputs: { output: 'float32' },
        read,
      },
    ];
    if (blocks) return [sparse(o, bsh(q), bsh(k), bsh(v), readBsh), ...masked];
    return [
      {
        how: 'MultiHeadAttention, unidirectional',
        nodes: [
          node(
            'MultiHeadAttention',
            'q k v',
            'output',
            { num_heads: heads, unidirectional: 1, scale: { f: scale } },
            contrib,
          ),
        ],
        feeds: { q: bsh(q), k: bsh(k), v: bsh(v) },
        outputs: { output: 'float32' },
        read: readBsh,
      },
      {
        how: 'Attention (opset 23), is_causal',
        opset: 23,
        nodes: [node('Attention', 'q k v', 'output', { is_causal: 1 })],
        feeds: { q: bnsh(q), k: bnsh(k), v: bnsh(v) },
        outputs: { output: 'float32' },
        read,
      },
      {
        how: 'GroupQueryAttention, no past',
        nodes: [
          node(
            'GroupQueryAttention',
            'q k v - - seqlens total',
            'output presentK presentV',
            { num_heads: heads, kv_num_heads: heads, scale: { f: scale } },
            contrib,
          ),
        ],
        feeds: {
          q: bsh(q),
          k: bsh(k),
          v: bsh(v),
          seqlens: { type: 'int32', dims: [1], data: Int32Array.of(keys - 1) },
          total: { type: 'int32', dims: [1], data: Int32Array.of(keys) },
        },
        outputs: { output: 'float32', presentK: 'float32', presentV: 'float32' },
        read: readBsh,
      },
      masked[2]!,
    ];
  },
};

/** Milliseconds inside the operators of each run, from onnxruntime's own trace. */
function kernelTimes(trace: string, uncounted = '-'): number[] {
  const runs: number[] = [];
  let micros = 0;
  for (const { cat, name, dur } of JSON.parse(trace) as { cat: string; name: string; dur: number }[]) {
    if (cat === 'Node' && name.endsWith('_kernel_time') && !name.startsWith(uncounted)) micros += dur;
    else if (name === 'model_run') {
      runs.push(micros / 1000);
      micros = 0;
    }
  }
  return runs;
}

function onnxruntime(name: 'onnxruntime-web' | 'onnxruntime-node'): Peer {
  const web = name === 'onnxruntime-web';
  return {
    async prepare(work: Work, inputs: Arrays, threads: number) {
      // In WebAssembly the trace is printed, line by line: we listen.
      let traced: string | undefined;
      const write = fs.writeSync;
      if (web)
        fs.writeSync = ((fd: number, ...rest: any[]) =>
          traced !== undefined && fd === 1 ? (traced += rest[0]).length : (write as any)(fd, ...rest)) as typeof write;
      const ort = await load(name);
      if (web) ort.env.wasm.numThreads = threads;
      const folder = mkdtempSync(join(tmpdir(), 'lanewise-peers-'));
      const contenders: Contender[] = [];
      const failures: string[] = [];
      for (const way of WAYS[work.kernel]!(work.options, inputs)) {
        try {
          const model = onnxModel({
            opset: way.opset ?? 21,
            nodes: way.nodes,
            inputs: way.feeds,
            outputs: way.outputs,
            constants: way.constants ?? {},
          });
          const feeds = Object.fromEntries(
            Object.entries(way.feeds).map(([key, { type, dims, data }]) => [key, new ort.Tensor(type, data, dims)]),
          );
          const fetches = way.inPlace && {
            ...Object.fromEntries(Object.keys(way.outputs).map((key) => [key, null])),
            ...Object.fromEntries(Object.entries(way.inPlace).map(([output, input]) => [output, feeds[input]])),
          };
          for (const time of ['kernel', 'call'] as const) {
            const prefix = `way${contenders.length + failures.length}-`;
            const session = await ort.InferenceSession.create(model, {
              executionProviders: [web ? 'wasm' : 'cpu'],
              // Folding constants would do the work once and for all.
              ...(work.kernel === 'dequantize_f32' ? { graphOptimizationLevel: 'disabled' } : {}),
              intraOpNumThreads: threads,
              interOpNumThreads: 1,
              logSeverityLevel: 3,
              ...(time === 'kernel' ? { enableProfiling: true, profileFilePrefix: join(folder, prefix) } : {}),
            });
            let results: Record<string, any> = {};
            const contender: Contender = {
              who: name,
              how: way.how,
              time,
              ...(way.partial ? { partial: true } : {}),
              async run() {
                results = fetches ? await session.run(feeds, fetches) : await session.run(feeds);
              },
              outputs: () =>
                way.read(Object.fromEntries(Object.entries(results).map(([key, { data }]) => [key, data]))),
            };
            if (time === 'kernel')
              contender.profile = async () => {
                traced = '';
                await session.endProfiling();
                await new Promise(setImmediate);
                const trace = web
                  ? traced
                  : readFileSync(join(folder, readdirSync(folder).find((file) => file.startsWith(prefix))!), 'utf8');
                traced = undefined;
                return kernelTimes(trace, way.uncounted);
              };
            await contender.run();
            contenders.push(contender);
          }
        } catch (error) {
          failures.push(`${way.how}: ${reason(error)}`);
        }
      }
      return { contenders, failures };
    },
  };
}

export const onnxruntimeWeb = onnxruntime('onnxruntime-web');
export const onnxruntimeNode = onnxruntime('onnxruntime-node');
