import type { Random } from '../test/lib/random.js';
import {
  GGML_TYPES,
  type GgmlDequantizeOptions,
  type GgmlQuantizeOptions,
  type GgmlType,
  type GgmlWritableType,
} from '../ts/contract/ggml.js';
import { fromHalf, toHalf } from '../ts/half.js';
import type { FamilyBench, Real, Size } from './lib/bench.js';

/** What a code of four bits stands for: mxfp4 in halves, iq4_nl. */
const FP4 = Float32Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
const IQ4 = Float32Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

/** Nibbles through a table of 16 floats, by rows of 32. */
function readNibbles(b: Uint8Array, at: number, out: Float32Array, o: number, table: Float32Array, d: number): void {
  for (let j = 0; j < 16; j++) {
    const byte = b[at + j]!;
    out[o + j] = table[byte & 15]! * d;
    out[o + j + 16] = table[byte >> 4]! * d;
  }
}

const half = (b: Uint8Array, at: number) => fromHalf(b[at]! | (b[at + 1]! << 8));
const CENTERED = Float32Array.from({ length: 16 }, (_, i) => i - 8);

/** One block; each format a function of its own, so that every loop sees one layout. */
const readers: Partial<Record<GgmlType, (b: Uint8Array, at: number, out: Float32Array, o: number) => void>> = {
  q4_0: (b, at, out, o) => readNibbles(b, at + 2, out, o, CENTERED, half(b, at)),
  iq4_nl: (b, at, out, o) => readNibbles(b, at + 2, out, o, IQ4, half(b, at)),
  mxfp4: (b, at, out, o) => readNibbles(b, at + 1, out, o, FP4, 2 ** (b[at]! - 128)),
  q8_0(b, at, out, o) {
    const d = half(b, at);
    for (let i = 0; i < 32; i++) out[o + i] = ((b[at + 2 + i]! << 24) >> 24) * d;
  },
  q4_K(b, at, out, o) {
    const [d, dmin] = [half(b, at), half(b, at + 2)];
    for (let g = 0; g < 8; g++) {
      const q = at + 4 + g;
      const scale = g < 4 ? b[q]! & 63 : (b[q + 4]! & 15) | ((b[q - 4]! >> 6) << 4);
      const minimum = g < 4 ? b[q + 4]! & 63 : (b[q + 4]! >> 4) | ((b[q]! >> 6) << 4);
      const [a, m, shift, from] = [d * scale, dmin * minimum, 4 * (g & 1), at + 16 + 32 * (g >> 1)];
      for (let i = 0; i < 32; i++) out[o + 32 * g + i] = a * ((b[from + i]! >> shift) & 15) - m;
    }
  },
  q6_K(b, at, out, o) {
    const d = half(b, at + 208);
    for (let g = 0; g < 16; g++) {
      const [h, k] = [g >> 3, (g >> 1) & 3];
      const scale = d * ((b[at + 192 + g]! << 24) >> 24);
      const low = at + 64 * h + 32 * (k & 1) + 16 * (g & 1);
      const high = at + 128 + 32 * h + 16 * (g & 1);
      for (let i = 0; i < 16; i++)
        out[o + 16 * g + i] =
          scale * ((((b[low + i]! >> (4 * (k >> 1))) & 15) | (((b[high + i]! >> (2 * k)) & 3) << 4)) - 32);
    }
  },
  q8_K(b, at, out, o) {
    const d = new DataView(b.buffer, b.byteOffset).getFloat32(at, true);
    for (let i = 0; i < 256; i++) out[o + i] = ((b[at + 4 + i]! << 24) >> 24) * d;
  },
  tq1_0(b, at, out, o) {
    const d = half(b, at + 52);
    for (let from = at, to = o, run = 32; run >= 4; ) {
      for (let j = 0; j < run; j++)
        for (let k = 0, rest = b[from + j]!; k < (run === 4 ? 4 : 5); k++) {
          out[to + run * k + j] = (((rest * 3) >> 8) - 1) * d;
          rest = (rest * 3) & 255;
        }
      from += run;
      to += 5 * run;
      run = run === 32 ? 16 : run === 16 ? 4 : 0;
    }
  },
  tq2_0(b, at, out, o) {
    const d = half(b, at + 64);
    for (let g = 0; g < 8; g++) {
      const [from, shift] = [at + 32 * (g >> 2), 2 * (g & 3)];
      for (let i = 0; i < 32; i++) out[o + 32 * g + i] = (((b[from + i]! >> shift) & 3) - 1) * d;
    }
  },
  q1_0(b, at, out, o) {
    const d = half(b, at);
    for (let i = 0; i < 128; i++) out[o + i] = (b[at + 2 + (i >> 3)]! >> (i & 7)) & 1 ? d : -d;
  },
  q2_0(b, at, out, o) {
    const d = half(b, at);
    for (let i = 0; i < 64; i++) out[o + i] = (((b[at + 2 + (i >> 2)]! >> (2 * (i & 3))) & 3) - 1) * d;
  },
};

function setHalf(b: Uint8Array, at: number, value: number): void {
  const bits = toHalf(value);
  b[at] = bits;
  b[at + 1] = bits >> 8;
}

/** E2M1: how many boundaries lie below. */
const fp4 = (q: number) =>
  q <= 2.5 ? (q <= 1.25 ? (q <= 0.75 ? +(q > 0.25) : 2) : q <= 1.75 ? 3 : 4) : q <= 3.5 ? 5 : q <= 5 ? 6 : 7;
const fp4Of = (v: number, id: number) => (v < 0 ? fp4(-v * id) | 8 : fp4(v * id));

const writers: Partial<Record<GgmlWritableType, (x: Float32Array, o: number, b: Uint8Array, at: number) => void>> = {
  q4_0(x, o, b, at) {
    let [size, signed] = [0, 0];
    for (let i = o; i < o + 32; i++) {
      const v = x[i]!;
      if (Math.abs(v) > size) {
        size = Math.abs(v);
        signed = v;
      }
    }
    const d = signed / -8;
    const id = d ? 1 / d : 0;
    setHalf(b, at, d);
    for (let j = 0; j < 16; j++) {
      const low = (x[o + j]! * id + 8.5) | 0;
      const high = (x[o + j + 16]! * id + 8.5) | 0;
      b[at + 2 + j] = (low < 15 ? low : 15) | ((high < 15 ? high : 15) << 4);
    }
  },
  q4_1(x, o, b, at) {
    let [low, high] = [Infinity, -Infinity];
    for (let i = o; i < o + 32; i++) {
      const v = x[i]!;
      if (v < low) low = v;
      if (v > high) high = v;
    }
    const d = (high - low) / 15;
    const id = d ? 1 / d : 0;
    setHalf(b, at, d);
    setHalf(b, at + 2, low);
    for (let j = 0; j < 16; j++) {
      const a = ((x[o + j]! - low) * id + 0.5) | 0;
      const c = ((x[o + j + 16]! - low) * id + 0.5) | 0;
      b[at + 4 + j] = (a < 15 ? a : 15) | ((c < 15 ? c : 15) << 4);
    }
  },
  q8_0(x, o, b, at) {
    let size = 0;
    for (let i = o; i < o + 32; i++) size = Math.max(size, Math.abs(x[i]!));
    const d = size / 127;
    const id = d ? 1 / d : 0;
    setHalf(b, at, d);
    for (let i = 0; i < 32; i++) {
      const q = x[o + i]! * id;
      b[at + 2 + i] = (q + (q < 0 ? -0.5 : 0.5)) | 0;
    }
  },
  iq4_nl(x, o, b, at) {
    let [size, signed] = [0, 0];
    for (let i = o; i < o + 32; i++) {
      const v = x[i]!;
      if (Math.abs(v) > size) {
        size = Math.abs(v);
        signed = v;
      }
    }
    const id = signed ? -127 / signed : 0;
    let [xq, qq] = [0, 0];
    for (let i = 0; i < 32; i++) {
      const v = x[o + i]!;
      const scaled = v * id;
      let [low, high] = [0, 15];
      // The table's two entries around the value, by halves.
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (scaled < IQ4[middle]!) high = middle;
        else low = middle;
      }
      const code = scaled - IQ4[low]! < IQ4[high]! - scaled ? low : high;
      const q = IQ4[code]!;
      xq += v * v * q * v;
      qq += v * v * q * q;
      const place = at + 2 + (i & 15);
      b[place] = i < 16 ? code : b[place]! | (code << 4);
    }
    setHalf(b, at, qq ? xq / qq : 0);
  },
  tq2_0(x, o, b, at) {
    let size = 0;
    for (let i = o; i < o + 256; i++) size = Math.max(size, Math.abs(x[i]!));
    const id = size ? 1 / size : 0;
    const code = (i: number) => {
      const q = x[i]! * id;
      return (q + (q < 0 ? -0.5 : 0.5)) | 0;
    };
    for (let j = 0; j < 64; j++) {
      const i = o + (j >> 5) * 128 + (j & 31);
      b[at + j] = code(i) + 1 + ((code(i + 32) + 1) << 2) + ((code(i + 64) + 1) << 4) + ((code(i + 96) + 1) << 6);
    }
    setHalf(b, at + 64, size);
  },
  mxfp4(x, o, b, at) {
    let size = 0;
    for (let i = o; i < o + 32; i++) size = Math.max(size, Math.abs(x[i]!));
    const e = size ? Math.max(0, Math.floor(Math.log2(size)) + 125) : 0;
    const id = 2 ** (127 - e);
    b[at] = e;
    for (let j = 0; j < 16; j++) b[at + 1 + j] = fp4Of(x[o + j]!, id) | (fp4Of(x[o + j + 16]!, id) << 4);
  },
};

type Values = (random: Random, real: Real) => Float32Array;
const normals =
  (rows: number, n: number): Values =>
  (random) =>
    random.normals(rows * n);

const work = <Type extends GgmlType>(rows: number, n: number, type: Type, quick?: true) => ({
  title: `${rows} x ${n}, ${type}`,
  options: { rows, n, type },
  ...(quick ? { quick } : {}),
});

/** Where a block's f16 numbers are, if not at its beginning. */
const HALVES: Partial<Record<GgmlType, number[]>> = {
  q4_K: [0, 2],
  q6_K: [208],
  q8_K: [],
  tq1_0: [52],
  tq2_0: [64],
  mxfp4: [],
};

/** Any codes; scales are small numbers. */
function blocksOf(random: Random, { rows, n, type }: { rows: number; n: number; type: GgmlType }) {
  const { block, bytes } = GGML_TYPES[type];
  const blocks = random.bytes(((rows * n) / block) * bytes);
  const halves = HALVES[type] ?? [0];
  for (let at = 0; at < blocks.length; at += bytes) {
    for (const place of halves) blocks[at + place + 1] = 0x20 + random.int(0, 8);
    if (type === 'mxfp4') blocks[at] = random.int(110, 125);
    if (type === 'q8_K') blocks[at + 3] = 0x3c;
  }
  return { blocks };
}

const reading: Size<GgmlDequantizeOptions>[] = [
  ...(['q4_0', 'q8_0', 'q4_K', 'q6_K', 'iq4_nl', 'tq1_0', 'tq2_0', 'mxfp4', 'q1_0', 'q2_0'] as const).map((type) =>
    work(4096, 4096, type),
  ),
  // In cache: a head's keys.
  ...(['q4_0', 'q8_0', 'mxfp4'] as const).map((type) => work(1024, 128, type, true)),
  ...(['q4_K', 'q6_K', 'q8_K', 'tq1_0', 'tq2_0', 'q1_0', 'q2_0'] as const).map((type) => work(512, 256, type, true)),
].map((one) => ({ ...one, inputs: (random) => blocksOf(random, one.options) }));

const writing: Size<GgmlQuantizeOptions>[] = [
  ...(['q4_0', 'q4_1', 'q8_0', 'iq4_nl', 'mxfp4'] as const).map((type) => ({
    ...work(4096, 4096, type),
    values: normals(4096, 4096),
  })),
  ...(['q4_0', 'q8_0', 'mxfp4'] as const).map((type) => ({
    ...work(1024, 128, type, true),
    values: normals(1024, 128),
  })),
  { ...work(512, 256, 'tq2_0', true), values: normals(512, 256) },
  {
    title: 'real keys, layer 4, 2048 x 64, q8_0',
    options: { rows: 2048, n: 64, type: 'q8_0' as const },
    values: ((_, { layer4 }) => layer4.k) as Values,
    quick: true as const,
  },
].map(({ values, ...one }) => ({ ...one, inputs: (random: Random, real: Real) => ({ x: values(random, real) }) }));

const bench: FamilyBench = {
  ggml_quantize_f32: {
    sizes: writing,
    javascript({ x }, { rows, n, type }: GgmlQuantizeOptions & { type: GgmlWritableType }) {
      const { block, bytes } = GGML_TYPES[type];
      const blocks = new Uint8Array(((rows * n) / block) * bytes);
      const write = writers[type]!;
      return () => {
        for (let o = 0, at = 0; at < blocks.length; o += block, at += bytes) write(x as Float32Array, o, blocks, at);
      };
    },
  },
  ggml_dequantize_f32: {
    sizes: reading,
    javascript({ blocks }, { rows, n, type }: GgmlDequantizeOptions & { type: GgmlType }) {
      const { block, bytes } = GGML_TYPES[type];
      const out = new Float32Array(rows * n);
      const read = readers[type]!;
      return () => {
        for (let o = 0, at = 0; o < out.length; o += block, at += bytes) read(blocks as Uint8Array, at, out, o);
      };
    },
  },
};

export default bench;
