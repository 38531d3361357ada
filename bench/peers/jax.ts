/** jax-js on its WebAssembly backend. It has no profiler: `kernel` is the jitted call on arrays that are there, until they are ready; `call` starts and ends with typed arrays. */
import type { Arrays } from '../../test/lib/spec.js';
import { type Contender, load, type Peer, reason } from './contender.js';
import { denseWeights, hadamardMatrix, scoreMask, type Work } from './works.js';

interface Way {
  how: string;
  fresh: Record<string, [data: any, shape: number[]]>;
  resident?: Record<string, [data: any, shape: number[]]>;
  /** Takes ownership of its arrays, as jax-js wants: `.ref` where one is used again. */
  compute(arrays: Record<string, any>): Record<string, any>;
  read(outputs: Record<string, any>): Arrays;
}

const unpacked = (codes: Uint32Array) =>
  Int32Array.from({ length: codes.length * 8 }, (_, i) => (codes[i >> 3]! >>> (4 * (i & 7))) & 15);
function packed(codes: ArrayLike<number>): Uint32Array {
  const out = new Uint32Array(codes.length / 8);
  for (let i = 0; i < codes.length; i++) out[i >> 3]! |= codes[i]! << (4 * (i & 7));
  return out;
}

const gemv = (jax: any, o: any, inputs: any): Way => ({
  how: 'matmul by dense f32 weights, dequantised beforehand',
  fresh: { x: [inputs.x, [1, o.k]] },
  resident: { weights: [denseWeights(o, inputs), [o.k, o.n]] },
  compute: ({ x, weights }) => ({ out: jax.numpy.matmul(x, weights) }),
  read: ({ out }) => ({ out }),
});

const WAYS: Record<string, (jax: any, o: any, inputs: any) => Way> = {
  gemm_quantized_f32: gemv,
  gemm_quantized_i16: gemv,
  gemm_quantized_i8: gemv,
  dequantize_f32: (jax, { rows, n, groupSize }, { codes, scales, minima }) => ({
    how: 'astype, mul, add; one int32 per code',
    fresh: {
      codes: [unpacked(codes), [rows, n / groupSize, groupSize]],
      scales: [scales, [rows, n / groupSize, 1]],
      minima: [minima, [rows, n / groupSize, 1]],
    },
    compute: ({ codes, scales, minima }) => ({ out: codes.astype(jax.numpy.float32).mul(scales).add(minima) }),
    read: ({ out }) => ({ out }),
  }),
  quantize_f32: (jax, { rows, n, groupSize }, { x }) => ({
    how: 'max, min, sub, div, floor(x + 0.5), astype; one int32 per code',
    fresh: { x: [x, [rows, n / groupSize, groupSize]] },
    compute({ x }) {
      const { numpy: np } = jax;
      const minima = np.min(x.ref, 2, { keepdims: true });
      const scales = np.max(x.ref, 2, { keepdims: true }).sub(minima.ref).div(15);
      const codes = np.floor(x.sub(minima.ref).div(scales.ref).add(0.5)).astype(np.int32);
      return { codes, scales, minima };
    },
    read: ({ codes }) => ({ codes: packed(codes) }),
  }),
  hadamard_f32: (jax, { rows, n }, { x }) => ({
    how: 'matmul by the dense matrix',
    fresh: { x: [x, [rows, n]] },
    resident: { matrix: [hadamardMatrix(n), [n, n]] },
    compute: ({ x, matrix }) => ({ out: jax.numpy.matmul(x, matrix) }),
    read: ({ out }) => ({ out }),
  }),
  topk_f32: (jax, { rows, n, k }, { x }) => ({
    how: 'sort of whole rows, values only (it has no top-k)',
    fresh: { x: [x, [rows, n]] },
    compute: ({ x }) => ({ values: jax.numpy.sort(x, -1) }),
    read: ({ values }) => ({
      values: Float32Array.from({ length: rows * k }, (_, i) => values[Math.floor(i / k) * n + n - 1 - (i % k)]),
    }),
  }),
  softmax_f32: (jax, { rows, n }, { x }) => ({
    how: 'nn.softmax',
    fresh: { x: [x, [rows, n]] },
    compute: ({ x }) => ({ out: jax.nn.softmax(x, -1) }),
    read: ({ out }) => ({ out }),
  }),
  attention_decode_f32: (jax, { heads, kvHeads, keys, headDim }, { q, k, v }) => ({
    how: 'matmul, nn.softmax, matmul over groups of heads',
    fresh: { q: [q, [kvHeads, heads / kvHeads, headDim]] },
    resident: { k: [k, [kvHeads, keys, headDim]], v: [v, [kvHeads, keys, headDim]] },
    compute: ({ q, k, v }) => ({
      output: jax.numpy.matmul(
        jax.nn.softmax(jax.numpy.matmul(q, k.transpose([0, 2, 1])).mul(1 / Math.sqrt(headDim)), -1),
        v,
      ),
    }),
    read: ({ output }) => ({ output }),
  }),
  attention_blocksparse_f32: (jax, o, { q, k, v }) => ({
    how: 'matmul, add mask, nn.softmax, matmul',
    fresh: {
      q: [q, [o.heads, o.queries, o.headDim]],
      k: [k, [o.heads, o.keys, o.headDim]],
      v: [v, [o.heads, o.keys, o.headDim]],
    },
    resident: { mask: [scoreMask(o), [1, o.queries, o.keys]] },
    compute: ({ q, k, v, mask }) => ({
      output: jax.numpy.matmul(
        jax.nn.softmax(
          jax.numpy
            .matmul(q, k.transpose([0, 2, 1]))
            .mul(1 / Math.sqrt(o.headDim))
            .add(mask),
          -1,
        ),
        v,
      ),
    }),
    read: ({ output }) => ({ output }),
  }),
};

export const jax: Peer = {
  unable: (threads) =>
    threads > 1 ? 'its threads are web workers (globalThis.Worker), which Node does not have' : undefined,
  async prepare(work: Work, inputs: Arrays) {
    const jax = await load('@jax-js/jax');
    await jax.init('wasm');
    jax.defaultDevice('wasm');
    const way = WAYS[work.kernel]!(jax, work.options, inputs);
    const contenders: Contender[] = [];
    const failures: string[] = [];
    const arrays = (of: Way['fresh'] = {}) =>
      Object.fromEntries(Object.entries(of).map(([name, [data, shape]]) => [name, jax.numpy.array(data, { shape })]));
    const refs = (of: Record<string, any>) =>
      Object.fromEntries(Object.entries(of).map(([name, array]) => [name, array.ref]));
    try {
      const compiled = jax.jit(way.compute);
      const resident = arrays(way.resident);
      const there = { ...resident, ...arrays(way.fresh) };
      let results: Record<string, any> = {};
      let read: Record<string, any> = {};
      const data = async (of: Record<string, any>) =>
        Object.fromEntries(
          await Promise.all(Object.entries(of).map(async ([name, array]) => [name, await array.data()])),
        );
      const kernel: Contender = {
        who: 'jax-js wasm',
        how: way.how,
        time: 'kernel',
        async run() {
          for (const array of Object.values(results)) array.dispose();
          results = compiled(refs(there));
          await jax.blockUntilReady(results);
        },
        outputs: async () => way.read(await data(refs(results))),
      };
      const call: Contender = {
        who: 'jax-js wasm',
        how: way.how,
        time: 'call',
        async run() {
          read = await data(compiled({ ...refs(resident), ...arrays(way.fresh) }));
        },
        outputs: () => way.read(read),
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
