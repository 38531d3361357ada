/**
 * The forward pass of the bench's byte-level Llama (bench/data/README.md), layer by layer over a window of
 * text. What the key-value cache holds and how attention reads it is left to the caller; everything else is plain.
 */
import { readFileSync } from 'node:fs';
import { compileAssembly } from '../../scripts/asc.js';
import { read, root } from '../../scripts/house.js';
import { readSafetensors } from '../../test/lib/tensors.js';

export const SHAPE = {
  layers: 6,
  dim: 256,
  heads: 4,
  kvHeads: 2,
  headDim: 64,
  hidden: 704,
  vocabulary: 256,
  context: 1024,
};

/**
 * One layer's attention over one window, causal, scale 1/8: queries [positions, heads, headDim], keys (after rotary
 * embedding) and values [positions, kvHeads, headDim] in; outputs [positions, heads, headDim] written to `out`.
 */
export type Attention = (q: Float32Array, k: Float32Array, v: Float32Array, out: Float32Array) => void;

type Matmul = (x: number, w: number, rows: number, columns: number, n: number, out: number) => void;

async function compileMatmul(memory: WebAssembly.Memory): Promise<Matmul> {
  const file = 'bench/model/assembly/matmul.ts';
  const binary = await compileAssembly(file, read(file), 'simd');
  const { instance } = await WebAssembly.instantiate(binary as BufferSource, { env: { memory } });
  return instance.exports.matmul as Matmul;
}

export interface Model {
  /** Nats per byte of a text of SHAPE.context bytes. */
  natsPerByte(text: Uint8Array, attention: Attention): number;
}

export async function loadModel(): Promise<Model> {
  const file = 'bench/data/bytelm-f16.safetensors';
  const tensors = readSafetensors(readFileSync(`${root}/${file}`), file);
  const memory = new WebAssembly.Memory({ initial: 768 });
  let top = 16;
  const place = (length: number) => {
    const array = new Float32Array(memory.buffer, top, length);
    top += Math.ceil(length / 4) * 16;
    return array;
  };
  const weight = (name: string) => {
    const { data } = tensors.get(name)!;
    const array = place(data.length);
    array.set(data as Float32Array);
    return array;
  };
  const { layers, dim, kvHeads, headDim, hidden, vocabulary, context } = SHAPE;
  const rows = context;
  const emb = weight('emb');
  const nf = weight('nf');
  const head = weight('head');
  const blocks = Array.from({ length: layers }, (_, i) => ({
    n1: weight(`blocks.${i}.n1`),
    wqkv: weight(`blocks.${i}.wqkv`),
    wo: weight(`blocks.${i}.wo`),
    n2: weight(`blocks.${i}.n2`),
    w13: weight(`blocks.${i}.w13`),
    w2: weight(`blocks.${i}.w2`),
  }));
  const kvDim = kvHeads * headDim;
  const x = place(rows * dim);
  const normed = place(rows * dim);
  const width = dim + 2 * kvDim;
  const qkv = place(rows * width);
  const [q, k, v] = [dim, kvDim, kvDim].map((columns) => new Float32Array(rows * columns)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const attended = place(rows * dim);
  const added = place(rows * dim);
  const gates = place(rows * 2 * hidden);
  const inner = place(rows * hidden);
  const logits = place(rows * vocabulary);
  const matmul = await compileMatmul(memory);
  const times = (from: Float32Array, w: Float32Array, columns: number, n: number, to: Float32Array) =>
    matmul(from.byteOffset, w.byteOffset, rows, columns, n, to.byteOffset);

  function norm(weights: Float32Array): void {
    for (let row = 0; row < rows; row++) {
      let squares = 0;
      for (let i = 0; i < dim; i++) squares += x[row * dim + i]! ** 2;
      const factor = 1 / Math.sqrt(squares / dim + 1e-5);
      for (let i = 0; i < dim; i++) normed[row * dim + i] = x[row * dim + i]! * factor * weights[i]!;
    }
  }
  const add = () => {
    for (let i = 0; i < x.length; i++) x[i]! += added[i]!;
  };

  // Rotary embedding, rotate-half: dimension i turns with i + headDim / 2.
  const half = headDim / 2;
  const angle = (position: number, i: number) => position * 10000 ** (-i / half);
  const cos = Float32Array.from({ length: context * half }, (_, at) =>
    Math.cos(angle(Math.floor(at / half), at % half)),
  );
  const sin = Float32Array.from({ length: context * half }, (_, at) =>
    Math.sin(angle(Math.floor(at / half), at % half)),
  );
  function turn(v: Float32Array, position: number): void {
    for (let at = 0; at < v.length; at += headDim)
      for (let i = 0; i < half; i++) {
        const [a, b] = [v[at + i]!, v[at + half + i]!];
        const [c, s] = [cos[position * half + i]!, sin[position * half + i]!];
        v[at + i] = a * c - b * s;
        v[at + half + i] = b * c + a * s;
      }
  }

  return {
    natsPerByte(text, attention) {
      if (text.length !== rows) throw new RangeError(`expected a text of ${rows} bytes, got ${text.length}`);
      // Every sequence begins with byte 0 and predicts its first byte from it.
      for (let row = 0; row < rows; row++) {
        const token = row ? text[row - 1]! : 0;
        x.set(emb.subarray(token * dim, (token + 1) * dim), row * dim);
      }
      for (const { n1, wqkv, wo, n2, w13, w2 } of blocks) {
        norm(n1);
        times(normed, wqkv, width, dim, qkv);
        for (let row = 0; row < rows; row++) {
          const part = (from: number, to: number) => qkv.subarray(row * width + from, row * width + to);
          turn(part(0, dim + kvDim), row);
          q.set(part(0, dim), row * dim);
          k.set(part(dim, dim + kvDim), row * kvDim);
          v.set(part(dim + kvDim, width), row * kvDim);
        }
        attention(q, k, v, attended);
        times(attended, wo, dim, dim, added);
        add();
        norm(n2);
        times(normed, w13, 2 * hidden, dim, gates);
        for (let row = 0; row < rows; row++)
          for (let i = 0; i < hidden; i++) {
            const gate = gates[row * 2 * hidden + i]!;
            inner[row * hidden + i] = (gate / (1 + Math.exp(-gate))) * gates[row * 2 * hidden + hidden + i]!;
          }
        times(inner, w2, dim, hidden, added);
        add();
      }
      norm(nf);
      times(normed, head, vocabulary, dim, logits);
      let nats = 0;
      for (let row = 0; row < rows; row++) {
        const own = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
        const most = own.reduce((a, b) => Math.max(a, b));
        let sum = 0;
        for (const logit of own) sum += Math.exp(logit - most);
        nats += most + Math.log(sum) - own[text[row]!]!;
      }
      return nats / rows;
    },
  };
}
