/** Attention over a key-value cache kept in a format, through the fused kernels: what `npm run bench:model` compares. */
import { attentionScratchBytes } from '../../ts/contract/attention.js';
import { cacheArrays, quantizedAttentionScratchBytes, STORED_SCHEMES } from '../../ts/contract/qattention.js';
import { instantiate } from '../../ts/cpu/attention.js';
import { codebookQuantize, lloydMax, NF4 } from '../../ts/cpu/codebook.js';
import { hadamard } from '../../ts/cpu/hadamard.js';
import { quantize } from '../../ts/cpu/integers.js';
import { mxQuantize } from '../../ts/cpu/mx.js';
import { instantiate as instantiateQuantized, type Stored, type StoredScheme } from '../../ts/cpu/qattention.js';

import { parameters } from '../../ts/generated/cpu/qattention.js';
import { type Attention, SHAPE } from './model.js';

/** How keys, or values, are kept. */
export interface Side {
  scheme: StoredScheme;
  bits: number;
  /** The values of a codebook's codes; they are scaled by `absmax`, or by `rms`. */
  table?: Float32Array;
  scale?: 'absmax' | 'rms';
  /** `column`: per channel, in runs of groupSize positions. */
  axis?: 'row' | 'column';
  groupSize: number;
}

export interface CacheFormat {
  name: string;
  /** Left out: full precision. */
  keys?: Side;
  values?: Side;
  /** Newest positions in full precision, at least; runs of 32 leave the window together. */
  recent?: number;
  /** Keys and values are Hadamard-transformed first; so are queries, and outputs are turned back. */
  rotated?: boolean;
  /** Nats per byte that ../../shared/data/README.md has for it. */
  yardstick?: number;
}

const { heads, kvHeads, headDim, context } = SHAPE;
const RUN = 32;

/** [positions, heads, headDim] as kernels want it: [heads, positions, headDim]. */
function byHead(x: Float32Array, count: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let position = 0; position < context; position++)
    for (let head = 0; head < count; head++) {
      const at = (position * count + head) * headDim;
      out.set(x.subarray(at, at + headDim), (head * context + position) * headDim);
    }
  return out;
}

function encode(x: Float32Array, { scheme, bits, axis = 'row', groupSize, table, scale }: Side): Stored {
  const shape = { rows: kvHeads * context, n: headDim };
  if (scheme === 'mxfp4') return mxQuantize(x, { ...shape, format: scheme });
  if (scheme === 'codebook') return { ...codebookQuantize(x, table!, { ...shape, bits, groupSize, scale }), table };
  return quantize(x, { ...shape, bits, groupSize, scheme, axis });
}

export interface Measured {
  attention: Attention;
  /** Milliseconds in the attention kernel so far, and positions attended to, all layers counted. */
  spent: { ms: number; positions: number };
  /** Bits per value of what is stored, scales included. */
  bits(): number;
}

/** Places arrays one after another in a memory. */
class Arena {
  readonly memory = new WebAssembly.Memory({ initial: 256 });
  #top = 16;
  reset(): void {
    this.#top = 16;
  }
  reserve(bytes: number): number {
    const at = this.#top;
    this.#top = at + Math.ceil(bytes / 16) * 16;
    const missing = this.#top - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    return at;
  }
  place(array: ArrayBufferView | undefined): number {
    if (!array) return 0;
    const at = this.reserve(array.byteLength);
    new Uint8Array(this.memory.buffer, at).set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return at;
  }
}

/** A format's attention: every position's query against what the cache holds then. */
export function measured({ keys, values, recent = 0, rotated = false }: CacheFormat): Measured {
  const arena = new Arena();
  const plain = instantiate(arena.memory).raw;
  const fused = instantiateQuantized(arena.memory).raw;
  const spent = { ms: 0, positions: 0 };
  let bits = 32;
  const names = parameters.attention_decode_quantized_f32.split(' ');
  const turn = (x: Float32Array) => (rotated ? hadamard(x, { rows: x.length / headDim, n: headDim }) : x);

  const attention: Attention = (q, k, v, out) => {
    arena.reset();
    const [queries, K, V] = [turn(q), turn(byHead(k, kvHeads)), turn(byHead(v, kvHeads))];
    const [qAt, kAt, vAt] = [arena.place(queries), arena.place(K), arena.place(V)];
    const outputBytes = heads * headDim * 4;
    const output = arena.reserve(outputBytes * context);
    const lse = arena.reserve(heads * 4);
    const scratch = arena.reserve(
      Math.max(attentionScratchBytes({ headDim }), quantizedAttentionScratchBytes({ headDim })),
    );
    const scale = 1 / Math.sqrt(headDim);

    let attend: (position: number) => void;
    if (keys && values) {
      const { q: _, ...stored } = cacheArrays(
        { q: queries, k: encode(K, keys), v: encode(V, values) },
        { kScheme: keys.scheme, vScheme: values.scheme },
      );
      const bytes = Object.values(stored).reduce((sum, array) => sum + (array?.byteLength ?? 0), 0);
      bits = (8 * bytes) / (K.length + V.length);
      const given: Record<string, number> = { heads, kvHeads, headDim, valueDim: headDim, scale, lse, scratch };
      for (const [name, array] of Object.entries(stored)) given[name] = arena.place(array);
      for (const [side, { scheme, bits: width, axis = 'row', groupSize }] of Object.entries({ k: keys, v: values })) {
        given[`${side}Scheme`] = STORED_SCHEMES.indexOf(scheme);
        given[`${side}Bits`] = width;
        given[`${side}Axis`] = Number(axis === 'column');
        given[`${side}GroupSize`] = groupSize;
      }
      given.capacity = given.recentCapacity = context;
      attend = (position) => {
        const seen = position + 1;
        const old = recent ? Math.max(0, Math.floor((seen - recent) / RUN) * RUN) : seen;
        given.q = qAt + position * outputBytes;
        given.output = output + position * outputBytes;
        given.keys = given.to = old;
        given.recentKeys = seen - old;
        given.kRecent = kAt + old * headDim * 4;
        given.vRecent = vAt + old * headDim * 4;
        const args = names.map((name) => given[name] ?? 0) as Parameters<typeof fused.attention_decode_quantized_f32>;
        const began = performance.now();
        fused.attention_decode_quantized_f32(...args);
        spent.ms += performance.now() - began;
      };
    } else
      attend = (position) => {
        const [from, to] = [qAt + position * outputBytes, output + position * outputBytes];
        const began = performance.now();
        plain.attention_decode_f32(
          ...[from, kAt, vAt, heads, kvHeads, context, headDim, headDim],
          ...([0, position + 1, scale, 0, to, lse, scratch] as [
            number,
            number,
            number,
            number,
            number,
            number,
            number,
          ]),
        );
        spent.ms += performance.now() - began;
      };
    for (let position = 0; position < context; position++) attend(position);
    spent.positions += context;
    out.set(turn(new Float32Array(arena.memory.buffer, output, out.length).slice()));
  };
  return { attention, spent, bits: () => bits };
}

const perToken = (bits: number, scheme: 'affine' | 'symmetric' = 'affine', groupSize = 32): Side => ({
  scheme,
  bits,
  groupSize,
});
const perChannel = (bits: number): Side => ({ scheme: 'affine', bits, axis: 'column', groupSize: RUN });
const both = (side: Side) => ({ keys: side, values: side });
const nf4: Side = { scheme: 'codebook', bits: 4, table: NF4, groupSize: 64 };
const lloyd: Side = { scheme: 'codebook', bits: 4, table: lloydMax(4), scale: 'rms', groupSize: 64 };
const mxfp4: Side = { scheme: 'mxfp4', bits: 4, groupSize: 32 };
/** Values that cost nothing, beside keys under test. */
const values8 = perToken(8, 'symmetric', 64);

export const cacheFormats: CacheFormat[] = [
  { name: 'K and V f32' },
  { name: 'K and V 8 bit per token', keys: values8, values: values8, yardstick: 0.0001 },
  { name: 'K 4 bit per token symmetric, V 8', keys: perToken(4, 'symmetric', 64), values: values8, yardstick: 0.0042 },
  { name: 'K 4 bit per token affine, V 8', keys: perToken(4, 'affine', 64), values: values8, yardstick: 0.0028 },
  {
    name: 'K 4 bit per token symmetric, V 8, rotated',
    keys: perToken(4, 'symmetric', 64),
    values: values8,
    rotated: true,
    yardstick: 0.0035,
  },
  { name: 'K 4 bit per channel, V 8', keys: perChannel(4), values: values8, yardstick: 0.0009 },
  { name: 'KIVI 4/4', keys: perChannel(4), values: perToken(4), yardstick: 0.0022 },
  { name: 'KIVI 4/4, 64 recent in f32', keys: perChannel(4), values: perToken(4), recent: 64 },
  { name: 'KIVI 3/3', keys: perChannel(3), values: perToken(3) },
  { name: 'KIVI 2/2', keys: perChannel(2), values: perToken(2), yardstick: 0.05 },
  { name: 'KIVI 2/2, 64 recent in f32', keys: perChannel(2), values: perToken(2), recent: 64 },
  { name: 'KIVI 2/2, 128 recent in f32', keys: perChannel(2), values: perToken(2), recent: 128 },
  { name: 'MXFP4', ...both(mxfp4) },
  { name: 'MXFP4, rotated', ...both(mxfp4), rotated: true },
  { name: 'NF4', ...both(nf4) },
  { name: 'Lloyd-Max 4 bit, rotated (TurboQuant style)', ...both(lloyd), rotated: true },
  { name: '4/4 symmetric, rotated (llama.cpp style)', ...both(perToken(4, 'symmetric', 32)), rotated: true },
  {
    name: '3/3 bit per token symmetric, rotated',
    ...both(perToken(3, 'symmetric', 64)),
    rotated: true,
    yardstick: 0.031,
  },
  {
    name: '2/2 bit per token symmetric, rotated',
    keys: perToken(2, 'symmetric', 64),
    values: perToken(2, 'symmetric', 64),
    rotated: true,
    yardstick: 1.08,
  },
];
