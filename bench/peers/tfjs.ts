/** TensorFlow.js on its WebAssembly backend (XNNPACK). Tensors stay where they are for `kernel`; `call` starts and ends with typed arrays. */
import type { Arrays } from '../../test/lib/spec.js';
import { type Contender, load, type Peer, reason } from './contender.js';
import { denseWeights, hadamardMatrix, scoreMask, type Work } from './works.js';

interface Way {
  how: string;
  /** What changes with every call, copied in by a call. */
  fresh: Record<string, [data: any, shape: number[], dtype?: string]>;
  /** Weights and caches: there beforehand. */
  resident?: Record<string, [data: any, shape: number[], dtype?: string]>;
  compute(tensors: Record<string, any>): Record<string, any>;
  read(outputs: Record<string, any>): Arrays;
}

function unpacked(codes: Uint32Array): Int32Array {
  const out = new Int32Array(codes.length * 8);
  for (let i = 0; i < out.length; i++) out[i] = (codes[i >> 3]! >>> (4 * (i & 7))) & 15;
  return out;
}
function packed(codes: ArrayLike<number>): Uint32Array {
  const out = new Uint32Array(codes.length / 8);
  for (let i = 0; i < codes.length; i++) out[i >> 3]! |= codes[i]! << (4 * (i & 7));
  return out;
}

const attention = (tf: any, { q, k, v, mask }: Record<string, any>, scale: number) => {
  const scores = tf.mul(tf.matMul(q, k, false, true), scale);
  return { output: tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), v) };
};

const gemv = (tf: any, o: any, inputs: any): Way => ({
  how: 'matMul by dense f32 weights, dequantised beforehand',
  fresh: { x: [inputs.x, [1, o.k]] },
  resident: { weights: [denseWeights(o, inputs), [o.k, o.n]] },
  compute: ({ x, weights }) => ({ out: tf.matMul(x, weights) }),
  read: ({ out }) => ({ out }),
});

const WAYS: Record<string, (tf: any, o: any, inputs: any) => Way> = {
  gemm_quantized_f32: gemv,
  gemm_quantized_i16: gemv,
  gemm_quantized_i8: gemv,
  dequantize_f32: (tf, { rows, n, groupSize }, { codes, scales, minima }) => ({
    how: 'cast, mul, add; one int32 per code (it has no 4-bit type)',
    fresh: {
      codes: [unpacked(codes), [rows, n / groupSize, groupSize], 'int32'],
      scales: [scales, [rows, n / groupSize, 1]],
      minima: [minima, [rows, n / groupSize, 1]],
    },
    compute: ({ codes, scales, minima }) => ({ out: tf.add(tf.mul(tf.cast(codes, 'float32'), scales), minima) }),
    read: ({ out }) => ({ out }),
  }),
  quantize_f32: (tf, { rows, n, groupSize }, { x }) => ({
    how: 'max, min, sub, div, round, cast; one int32 per code (it has no 4-bit type)',
    fresh: { x: [x, [rows, n / groupSize, groupSize]] },
    compute({ x }) {
      const minima = tf.min(x, 2, true);
      const scales = tf.div(tf.sub(tf.max(x, 2, true), minima), 15);
      return { codes: tf.cast(tf.round(tf.div(tf.sub(x, minima), scales)), 'int32'), scales, minima };
    },
    read: ({ codes }) => ({ codes: packed(codes) }),
  }),
  hadamard_f32: (tf, { rows, n }, { x }) => ({
    how: 'matMul by the dense matrix',
    fresh: { x: [x, [rows, n]] },
    resident: { matrix: [hadamardMatrix(n), [n, n]] },
    compute: ({ x, matrix }) => ({ out: tf.matMul(x, matrix) }),
    read: ({ out }) => ({ out }),
  }),
  topk_f32: (tf, { rows, n, k }, { x }) => ({
    how: 'topk',
    fresh: { x: [x, [rows, n]] },
    compute: ({ x }) => tf.topk(x, k),
    read: ({ values, indices }) => ({ values, indices }),
  }),
  softmax_f32: (tf, { rows, n }, { x }) => ({
    how: 'softmax',
    fresh: { x: [x, [rows, n]] },
    compute: ({ x }) => ({ out: tf.softmax(x) }),
    read: ({ out }) => ({ out }),
  }),
  attention_decode_f32: (tf, { heads, kvHeads, keys, headDim }, { q, k, v }) => ({
    how: 'matMul, mul, softmax, matMul over groups of heads',
    fresh: { q: [q, [kvHeads, heads / kvHeads, headDim]] },
    resident: { k: [k, [kvHeads, keys, headDim]], v: [v, [kvHeads, keys, headDim]] },
    compute: (tensors) => attention(tf, tensors, 1 / Math.sqrt(headDim)),
    read: ({ output }) => ({ output }),
  }),
  attention_blocksparse_f32: (tf, o, { q, k, v }) => ({
    how: 'matMul, mul, add mask, softmax, matMul',
    fresh: {
      q: [q, [o.heads, o.queries, o.headDim]],
      k: [k, [o.heads, o.keys, o.headDim]],
      v: [v, [o.heads, o.keys, o.headDim]],
    },
    resident: { mask: [scoreMask(o), [1, o.queries, o.keys]] },
    compute: (tensors) => attention(tf, tensors, 1 / Math.sqrt(o.headDim)),
    read: ({ output }) => ({ output }),
  }),
};

export const tfjs: Peer = {
  unable: (threads) =>
    threads > 1 ? 'its WebAssembly backend turns threads off in Node (WASM_HAS_MULTITHREAD_SUPPORT)' : undefined,
  async prepare(work: Work, inputs: Arrays) {
    const tf = await load('@tensorflow/tfjs');
    await load('@tensorflow/tfjs-backend-wasm');
    await tf.setBackend('wasm');
    await tf.ready();
    const failures: string[] = [];
    const contenders: Contender[] = [];
    const way = WAYS[work.kernel]!(tf, work.options, inputs);
    const tensors = (of: Way['fresh'] = {}) =>
      Object.fromEntries(
        Object.entries(of).map(([name, [data, shape, dtype]]) => [name, tf.tensor(data, shape, dtype ?? 'float32')]),
      );
    const dispose = (of: Record<string, any>) => {
      for (const tensor of Object.values(of)) tensor.dispose();
    };
    const data = (of: Record<string, any>) =>
      Object.fromEntries(Object.entries(of).map(([name, tensor]) => [name, tensor.dataSync()]));
    try {
      const resident = tensors(way.resident);
      const there = { ...resident, ...tensors(way.fresh) };
      let results: Record<string, any> = {};
      const times: number[] = [];
      const kernel: Contender = {
        who: 'tfjs wasm',
        how: way.how,
        time: 'kernel',
        async run() {
          dispose(results);
          const { kernels } = await tf.profile(() => tf.tidy(() => (results = way.compute(there))));
          times.push((await Promise.all(kernels.map((one: any) => one.kernelTimeMs))).reduce((sum, ms) => sum + ms, 0));
        },
        outputs: () => way.read(data(results)),
        profile: () => times,
      };
      let arrays: Record<string, any> = {};
      const call: Contender = {
        who: 'tfjs wasm',
        how: way.how,
        time: 'call',
        run() {
          const fresh = tensors(way.fresh);
          const outputs = tf.tidy(() => way.compute({ ...resident, ...fresh }));
          arrays = data(outputs);
          dispose(fresh);
          dispose(outputs);
        },
        outputs: () => way.read(arrays),
      };
      for (const contender of [kernel, call]) {
        await contender.run();
        contenders.push(contender);
      }
    } catch (error) {
      failures.push(`${way.how}: ${reason(error)}`);
    }
    return { contenders, failures };
  },
};
