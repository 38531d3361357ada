/** The works of the comparison: shapes, inputs, and which of lanewise's arrays a peer must reproduce. */
import { random } from '../../test/lib/random.js';
import type { Arrays } from '../../test/lib/spec.js';
import type { Activations, GemmFormat } from '../../ts/contract/gemm.js';
import { pack, type Quantized } from '../../ts/reference/gemm.js';

export interface Work {
  name: string;
  title: string;
  /** Lanewise's kernel and its options. */
  kernel: string;
  options: any;
  inputs(): Arrays;
  /** The output that every contender must agree on: exactly up to ties and one code in a thousand, or to this share of the largest value. */
  compare: { array: string; as: 'codes' | 'values' | 'selection'; within: number };
  /** Whose best time must be how many times ours; `how`: only in ways that begin with it. */
  targets: { who: string; how?: string; ratio: number }[];
  /** Kept in `--quick`. */
  quick?: true;
}

/** Normals by the million: a period of a prime length, so that no two rows are the same. */
function normals(length: number, seed: number): Float32Array {
  const period = random(seed).normals(Math.min(length, 65521));
  const all = new Float32Array(length);
  for (let at = 0; at < length; at += period.length)
    all.set(period.subarray(0, Math.min(period.length, length - at)), at);
  return all;
}

const quantized = { rows: 4096, n: 4096, bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' };

/** Packed codes with a scale and an integral zero point per group: what ONNX can say, and affine minima can say too. */
export function quantizedInputs({
  rows,
  n,
  groupSize,
}: {
  rows: number;
  n: number;
  groupSize: number;
}): Arrays & { zeroPoints: Uint32Array } {
  const r = random(1);
  const codes = new Uint32Array((rows * n) / 8);
  const noise = Uint32Array.from({ length: 65521 }, () => r.int(0, 0xffffffff));
  for (let i = 0; i < codes.length; i++) codes[i] = noise[i % noise.length]!;
  const groups = (rows * n) / groupSize;
  const zeroPoints = new Uint32Array(groups).map((_, i) => noise[i % noise.length]! >>> 28);
  const scales = new Float32Array(groups).map((_, i) => 0.05 + noise[(i + 7) % noise.length]! / 2 ** 34);
  const minima = scales.map((scale, i) => -zeroPoints[i]! * scale);
  return { codes, scales, minima, zeroPoints };
}

export const gemv = { m: 1, n: 4096, k: 4096, bits: 4, groupSize: 32, scheme: 'affine' } as const;

/** A row of activations, and weights as `quantizedInputs` makes them, packed for us too. */
export function gemvInputs({ n, k, bits, groupSize, scheme }: GemmFormat): Arrays {
  const { minima, ...weights } = quantizedInputs({ rows: n, n: k, groupSize });
  const stored = (scheme === 'affine' ? { ...weights, minima } : weights) as unknown as Quantized;
  return { ...stored, x: normals(k, 11), packed: pack(stored, { n, k, bits, groupSize, scheme }) };
}

/**
 * One token through a layer. An error's root mean square (docs/gemm.md) is relative to that of the results, whose largest is
 * more than three times it: ten of them are over thirty sigma, and a wrong layout is off by more than the largest.
 */
const gemvWork = (activations: Activations, error: number, targets: Work['targets']): Work => ({
  name: `gemv-${activations}`,
  title: `one row times 4-bit weights, groups of 32, affine, 4096 x 4096, activations ${activations}`,
  kernel: `gemm_quantized_${activations}`,
  options: gemv,
  inputs: () => gemvInputs(gemv),
  compare: { array: 'out', as: 'values', within: 10 * error },
  targets,
});

const causal = { heads: 8, kvHeads: 8, queries: 1024, keys: 1024, headDim: 64, causal: true };
const decode = { heads: 32, kvHeads: 8, keys: 8192, headDim: 128 };

const attentionInputs = ({
  heads,
  kvHeads,
  queries = 1,
  keys,
  headDim,
}: {
  heads: number;
  kvHeads: number;
  queries?: number;
  keys: number;
  headDim: number;
}): Arrays => ({
  q: normals(heads * queries * headDim, 2),
  k: normals(kvHeads * keys * headDim, 3),
  v: normals(kvHeads * keys * headDim, 4),
});

/** One causal 64×64 block in four (34 of 136): each row of blocks has its own block and others spread over the past. */
export function oneInFour(
  queries = 1024,
  block = 64,
): { indptr: Uint32Array; indices: Uint32Array; blockQueries: number; blockKeys: number } {
  const indptr = [0];
  const indices: number[] = [];
  for (let row = 0; row * block < queries; row++) {
    const count = Math.max(1, Math.ceil((row + 1) / 4 - 0.5));
    for (let i = count - 1; i >= 0; i--) indices.push(row - Math.floor((i * (row + 1)) / count));
    indptr.push(indices.length);
  }
  return {
    indptr: Uint32Array.from(indptr),
    indices: Uint32Array.from(indices),
    blockQueries: block,
    blockKeys: block,
  };
}

const blocks = oneInFour();

export const works: Work[] = [
  {
    name: 'dequantize',
    title: 'dequantize 4 bit, groups of 32, affine, 4096 x 4096',
    kernel: 'dequantize_f32',
    options: quantized,
    inputs: () => quantizedInputs(quantized),
    compare: { array: 'out', as: 'values', within: 1e-5 },
    targets: [
      { who: 'onnxruntime-web (kernel)', ratio: 9 },
      { who: 'JavaScript loop', ratio: 5 },
    ],
  },
  {
    name: 'quantize',
    title: 'quantize 4 bit, groups of 32, affine, 4096 x 4096',
    kernel: 'quantize_f32',
    options: quantized,
    inputs: () => ({ x: normals(4096 * 4096, 5) }),
    compare: { array: 'codes', as: 'codes', within: 1e-3 },
    targets: [
      { who: 'onnxruntime-web (kernel)', ratio: 16 },
      { who: 'JavaScript loop', ratio: 12 },
    ],
  },
  {
    name: 'hadamard-128',
    title: 'Hadamard 4096 rows x 128',
    kernel: 'hadamard_f32',
    options: { rows: 4096, n: 128 },
    inputs: () => ({ x: normals(4096 * 128, 6) }),
    compare: { array: 'out', as: 'values', within: 1e-5 },
    targets: [{ who: 'JavaScript loop', ratio: 22 }],
    quick: true,
  },
  {
    name: 'hadamard-4096',
    title: 'Hadamard 512 rows x 4096',
    kernel: 'hadamard_f32',
    options: { rows: 512, n: 4096 },
    inputs: () => ({ x: normals(512 * 4096, 7) }),
    compare: { array: 'out', as: 'values', within: 1e-5 },
    targets: [{ who: 'JavaScript loop', ratio: 22 }],
  },
  {
    name: 'topk-64',
    title: 'top-64 of 128 rows x 32768',
    kernel: 'topk_f32',
    options: { rows: 128, n: 32768, k: 64 },
    inputs: () => ({ x: normals(128 * 32768, 8) }),
    compare: { array: 'values', as: 'selection', within: 0 },
    targets: [
      { who: 'onnxruntime-web (kernel)', ratio: 10 },
      { who: 'onnxruntime-node (kernel)', ratio: 5 },
    ],
    quick: true,
  },
  {
    name: 'topk-256',
    title: 'top-256 of 131072',
    kernel: 'topk_f32',
    options: { rows: 1, n: 131072, k: 256 },
    // A vocabulary's logits: no period here, it would make ties.
    inputs: () => ({ x: random(9).normals(131072) }),
    compare: { array: 'values', as: 'selection', within: 0 },
    targets: [{ who: 'onnxruntime-web (kernel)', ratio: 9 }],
    quick: true,
  },
  {
    name: 'softmax',
    title: 'softmax 1024 rows x 4096',
    kernel: 'softmax_f32',
    options: { rows: 1024, n: 4096 },
    inputs: () => ({ x: normals(1024 * 4096, 10).map((x) => 4 * x) }),
    compare: { array: 'out', as: 'values', within: 1e-5 },
    targets: [{ who: 'tfjs wasm (kernel)', ratio: 1.3 }],
    quick: true,
  },
  // More targets are in wllama.ts: llama.cpp's product runs in a browser only.
  gemvWork('f32', 5e-7, [{ who: 'onnxruntime-web (kernel)', how: 'MatMul by', ratio: 1.5 }]),
  gemvWork('i16', 2e-5, []),
  gemvWork('i8', 5e-3, []),
  {
    name: 'decode',
    title: 'decode attention, 32 heads on 8, headDim 128, 8192 keys',
    kernel: 'attention_decode_f32',
    options: decode,
    inputs: () => attentionInputs(decode),
    compare: { array: 'output', as: 'values', within: 1e-4 },
    targets: [{ who: 'onnxruntime-web (kernel)', ratio: 3.3 }],
    quick: true,
  },
  {
    name: 'causal',
    title: 'causal attention, 8 heads x 1024 x 64',
    kernel: 'attention_blocksparse_f32',
    options: causal,
    inputs: () => attentionInputs(causal),
    compare: { array: 'output', as: 'values', within: 1e-4 },
    targets: [{ who: 'onnxruntime-web (kernel)', ratio: 3.9 }],
    quick: true,
  },
  {
    name: 'blocksparse',
    title: 'causal attention, 8 heads x 1024 x 64, one 64 x 64 block in four',
    kernel: 'attention_blocksparse_f32',
    options: { ...causal, blocks },
    inputs: () => ({ ...attentionInputs(causal), indptr: blocks.indptr, indices: blocks.indices }),
    compare: { array: 'output', as: 'values', within: 1e-4 },
    targets: [{ who: 'lanewise dense', ratio: 1 / 0.3 }],
  },
];

/** Weights as floats, inputs first `[k, n]`: what a library without 4-bit weights multiplies by. */
export function denseWeights(
  { n, k, groupSize }: { n: number; k: number; groupSize: number },
  { codes, scales, minima }: Record<string, any>,
): Float32Array {
  const weights = new Float32Array(k * n);
  for (let j = 0; j < n; j++)
    for (let l = 0; l < k; l++) {
      const at = j * k + l;
      const group = Math.floor(at / groupSize);
      weights[l * n + j] = ((codes[at >> 3] >>> (4 * (at & 7))) & 15) * scales[group] + minima[group];
    }
  return weights;
}

/** Which keys a query sees: 0 or -infinity, added to scores `[queries, keys]`. */
export function scoreMask({
  queries,
  keys,
  blocks,
}: {
  queries: number;
  keys: number;
  blocks?: ReturnType<typeof oneInFour>;
}): Float32Array {
  const mask = new Float32Array(queries * keys).fill(-Infinity);
  for (let i = 0; i < queries; i++) {
    const row = blocks && Math.floor(i / blocks.blockQueries);
    const seen = blocks && new Set(blocks.indices.subarray(blocks.indptr[row!], blocks.indptr[row! + 1]));
    for (let j = 0; j <= i; j++) if (!seen || seen.has(Math.floor(j / blocks!.blockKeys))) mask[i * keys + j] = 0;
  }
  return mask;
}

/** The orthonormal Hadamard matrix in natural order: what a library without the transform multiplies by. */
export function hadamardMatrix(n: number): Float32Array {
  const matrix = new Float32Array(n * n);
  const one = Math.fround(1 / Math.sqrt(n));
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let bits = i & j;
      bits ^= bits >> 16;
      bits ^= bits >> 8;
      bits ^= bits >> 4;
      bits ^= bits >> 2;
      bits ^= bits >> 1;
      matrix[i * n + j] = bits & 1 ? -one : one;
    }
  return matrix;
}

/** Undefined: `got` is the same work as `want`. */
export function fault(
  { compare: { array, as, within } }: Work,
  got: Record<string, any>,
  want: Record<string, any>,
  inputs: Arrays,
): string | undefined {
  const a = got[array];
  const b = want[array];
  if (!a || a.length !== b.length) return `${array}: ${a?.length} values, expected ${b.length}`;
  if (as === 'codes') {
    const x = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
    const y = new Uint8Array(b.buffer, b.byteOffset, b.byteLength);
    let wrong = 0;
    for (let i = 0; i < x.length; i++)
      if (x[i] !== y[i]) wrong += +((x[i]! ^ y[i]!) > 15) + +(((x[i]! ^ y[i]!) & 15) > 0);
    return wrong > within * 2 * x.length ? `${array}: ${wrong} of ${2 * x.length} codes differ` : undefined;
  }
  let most = 0;
  let off = 0;
  for (let i = 0; i < b.length; i++) {
    most = Math.max(most, Math.abs(b[i]));
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= off)) off = difference;
  }
  if (!(off <= within * most)) return `${array}: off by ${off}, the largest is ${most}`;
  if (as === 'selection' && got.indices) {
    const n = inputs.x!.length / (b.length / want.k);
    for (let i = 0; i < b.length; i++)
      if (inputs.x![Math.floor(i / want.k) * n + Number(got.indices[i])] !== b[i])
        return `indices[${i}]: ${got.indices[i]} does not hold ${b[i]}`;
  }
  return undefined;
}
