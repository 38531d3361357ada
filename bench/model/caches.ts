/** Attention over a key-value cache kept in a format, through the fused kernels: what `npm run bench:model` compares. */
import { attentionScratchBytes } from '../../ts/contract/attention.js';
import { quantizedAttentionScratchBytes, STORED_SCHEMES } from '../../ts/contract/qattention.js';
import { instantiate } from '../../ts/cpu/attention.js';
import { hadamard } from '../../ts/cpu/hadamard.js';
import { mxQuantize } from '../../ts/cpu/mx.js';
import { instantiate as instantiateQuantized, type Stored } from '../../ts/cpu/qattention.js';
import { quantize } from '../../ts/cpu/quantize.js';
import { parameters } from '../../ts/generated/cpu/qattention.js';
import { type Attention, SHAPE } from './model.js';

/** How keys, or values, are kept. */
export interface Side {
  scheme: 'affine' | 'symmetric' | 'mxfp4';
  bits: number;
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

function encode(x: Float32Array, { scheme, bits, axis = 'row', groupSize }: Side): Stored {
  const shape = { rows: kvHeads * context, n: headDim };
  if (scheme !== 'mxfp4') return quantize(x, { ...shape, bits, groupSize, scheme, axis });
  const { codes, scales } = mxQuantize(x, { ...shape, format: 'mxfp4' });
  return { codes: new Uint32Array(codes.buffer, codes.byteOffset, codes.length / 4), exponents: scales };
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
      const stored = { k: encode(K, keys), v: encode(V, values) };
      const bytes = Object.values(stored).flatMap((side) => Object.values(side) as Uint8Array[]);
      bits = (8 * bytes.reduce((sum, { byteLength }) => sum + byteLength, 0)) / (K.length + V.length);
      const given: Record<string, number> = { heads, kvHeads, headDim, valueDim: headDim, scale, lse, scratch };
      for (const [side, { scheme, bits: width, axis = 'row', groupSize }] of Object.entries({ k: keys, v: values })) {
        const { codes, scales, minima, exponents } = stored[side as 'k' | 'v'];
        given[`${side}Codes`] = arena.place(codes);
        given[`${side}Scales`] = arena.place(scales);
        given[`${side}Minima`] = arena.place(minima);
        given[`${side}Exponents`] = arena.place(exponents);
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
  { name: 'KIVI 2/2', keys: perChannel(2), values: perToken(2), yardstick: 0.05 },
  { name: 'KIVI 2/2, 64 recent in f32', keys: perChannel(2), values: perToken(2), recent: 64 },
  { name: 'KIVI 2/2, 128 recent in f32', keys: perChannel(2), values: perToken(2), recent: 128 },
  {
    name: 'MXFP4',
    keys: { scheme: 'mxfp4', bits: 4, groupSize: 32 },
    values: { scheme: 'mxfp4', bits: 4, groupSize: 32 },
  },
  {
    name: 'MXFP4, rotated',
    keys: { scheme: 'mxfp4', bits: 4, groupSize: 32 },
    values: { scheme: 'mxfp4', bits: 4, groupSize: 32 },
    rotated: true,
  },
  {
    name: '4/4 symmetric, rotated (llama.cpp style)',
    keys: perToken(4, 'symmetric', 32),
    values: perToken(4, 'symmetric', 32),
    rotated: true,
  },
  {
    name: '2/2 bit per token symmetric, rotated',
    keys: perToken(2, 'symmetric', 64),
    values: perToken(2, 'symmetric', 64),
    rotated: true,
    yardstick: 1.08,
  },
];
