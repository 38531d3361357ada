import {
  GGML_TYPES,
  type GgmlDequantizeOptions,
  type GgmlQuantizeOptions,
  type GgmlType,
  type GgmlWritableType,
  ggml_dequantize_f32,
  ggml_quantize_f32,
  ggmlTypeOf,
} from '../contract/ggml.js';
import type { Out, Params } from '../contract.js';
import { fromHalf, toHalf } from '../half.js';
import { run } from './runtime.js';

export {
  GGML_TYPES,
  GGML_WRITABLE,
  type GgmlDequantizeOptions,
  type GgmlFormat,
  type GgmlQuantizeOptions,
  type GgmlType,
  type GgmlWritableType,
  ggmlTypeOf,
} from '../contract/ggml.js';

/** Every operation is one correctly rounded f32 operation, in ggml's order; storing into a Float32Array is one too. */
const f32 = Math.fround;

/** Codes of IQ4_NL and IQ4_XS. */
const IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** Codes of MXFP4 and NVFP4: twice the E2M1 numbers, for the scales are kept halved. Code 8 is +0. */
const FP4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

const half = (b: Uint8Array, at: number) => fromHalf(b[at]! | (b[at + 1]! << 8));
const word = (b: Uint8Array, at: number) =>
  (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> 0;
const signed = (byte: number) => (byte << 24) >> 24;

/** Half of 2^(e − 127). */
const halfE8M0 = (e: number) => 2 ** (e - 128);

/** Half of an unsigned E4M3 number (bias 7): bit 7 is ignored, 127 (the NaN of E4M3) is 0. */
function halfE4M3(byte: number): number {
  if (byte === 127) return 0;
  const exponent = (byte >> 3) & 15;
  const fraction = byte & 7;
  return exponent ? (8 + fraction) * 2 ** (exponent - 11) : fraction * 2 ** -10;
}

/** Pairs j with j + 16: the first 16 values are low nibbles, the last 16 high ones. */
function nibbles(b: Uint8Array, from: number, each: (i: number, code: number) => void, pair = 16): void {
  for (let j = 0; j < pair; j++) {
    each(j, b[from + j]! & 15);
    each(j + pair, b[from + j]! >> 4);
  }
}

/** The i-th of the eight 6-bit (scale, minimum) pairs that Q4_K and Q5_K keep in twelve bytes. */
function scaleAndMinimum(q: Uint8Array, i: number): [number, number] {
  if (i < 4) return [q[i]! & 63, q[i + 4]! & 63];
  return [(q[i + 4]! & 15) | ((q[i - 4]! >> 6) << 4), (q[i + 4]! >> 4) | ((q[i]! >> 6) << 4)];
}

/** The byte of TQ1_0 that has value i, and which digit it is: runs of 32, 16 and 4 bytes, first all the first digits. */
function digitPlace(i: number): [byte: number, digit: number] {
  if (i < 160) return [i % 32, Math.floor(i / 32)];
  if (i < 240) return [32 + (i % 16), Math.floor((i - 160) / 16)];
  return [48 + (i % 4), Math.floor((i - 240) / 4)];
}

/** One block's values. Each reader is the layout of its format, first byte to last. */
const readers: Record<GgmlType, (b: Uint8Array, y: Float32Array) => void> = {
  // f16 d | 16 bytes of nibbles: (code − 8) · d
  q4_0(b, y) {
    const d = half(b, 0);
    nibbles(b, 2, (i, code) => {
      y[i] = (code - 8) * d;
    });
  },
  // f16 d | f16 m | 16 bytes of nibbles: code · d + m
  q4_1(b, y) {
    const [d, m] = [half(b, 0), half(b, 2)];
    nibbles(b, 4, (i, code) => {
      y[i] = f32(code * d) + m;
    });
  },
  // f16 d | u32 of fifth bits, value i's is bit i | 16 bytes of nibbles: (code − 16) · d
  q5_0(b, y) {
    const d = half(b, 0);
    const fifth = word(b, 2);
    nibbles(b, 6, (i, code) => {
      y[i] = (code + ((fifth >>> i) & 1) * 16 - 16) * d;
    });
  },
  // f16 d | f16 m | u32 of fifth bits | 16 bytes of nibbles: code · d + m
  q5_1(b, y) {
    const [d, m] = [half(b, 0), half(b, 2)];
    const fifth = word(b, 4);
    nibbles(b, 8, (i, code) => {
      y[i] = f32((code + ((fifth >>> i) & 1) * 16) * d) + m;
    });
  },
  // f16 d | 32 signed bytes: code · d
  q8_0(b, y) {
    const d = half(b, 0);
    for (let i = 0; i < 32; i++) y[i] = signed(b[2 + i]!) * d;
  },
  // f16 d | f16 sum of the codes times d (for dot products) | 32 signed bytes: code · d
  q8_1(b, y) {
    const d = half(b, 0);
    for (let i = 0; i < 32; i++) y[i] = signed(b[4 + i]!) * d;
  },
  // 16 bytes: scale and minimum of 16 values each, 4 bits, low and high | 64 bytes of 2-bit codes | f16 d | f16 dmin.
  // A half of 128 values has 32 bytes of codes: its k-th 32 values are their k-th bit pairs.
  q2_K(b, y) {
    const [d, dmin] = [half(b, 80), half(b, 82)];
    for (let i = 0; i < 256; i++) {
      const [k, scale] = [(i >> 5) & 3, b[i >> 4]!];
      const code = (b[16 + (i >> 7) * 32 + (i & 31)]! >> (2 * k)) & 3;
      y[i] = f32(f32(d * (scale & 15)) * code) - f32(dmin * (scale >> 4));
    }
  },
  // 32 bytes of third bits: value i's is bit i >> 5 of byte i & 31 | 64 bytes of 2-bit codes, as in Q2_K |
  // 12 bytes: 16 scales of 6 bits, less 32 | f16 d. Where the third bit is missing the code is 4 less.
  q3_K(b, y) {
    const d = half(b, 108);
    for (let i = 0; i < 256; i++) {
      const [k, s] = [(i >> 5) & 3, i >> 4];
      const low = (b[96 + (s & 7)]! >> (4 * (s >> 3))) & 15;
      const high = (b[104 + (s & 3)]! >> (2 * (s >> 2))) & 3;
      const third = (b[i & 31]! >> (i >> 5)) & 1;
      const code = ((b[32 + (i >> 7) * 32 + (i & 31)]! >> (2 * k)) & 3) - 4 * (1 - third);
      y[i] = f32(d * ((low | (high << 4)) - 32)) * code;
    }
  },
  // f16 d | f16 dmin | 12 bytes: eight 6-bit scales and minima | 128 bytes of nibbles, j paired with j + 32 in every 64
  q4_K(b, y) {
    const [d, dmin] = [half(b, 0), half(b, 2)];
    for (let i = 0; i < 256; i++) {
      const [scale, minimum] = scaleAndMinimum(b.subarray(4), i >> 5);
      const code = (b[16 + (i >> 6) * 32 + (i & 31)]! >> (4 * ((i >> 5) & 1))) & 15;
      y[i] = f32(f32(d * scale) * code) - f32(dmin * minimum);
    }
  },
  // as Q4_K, with 32 bytes of fifth bits before the nibbles: value i's is bit i >> 5 of byte i & 31
  q5_K(b, y) {
    const [d, dmin] = [half(b, 0), half(b, 2)];
    for (let i = 0; i < 256; i++) {
      const [scale, minimum] = scaleAndMinimum(b.subarray(4), i >> 5);
      const fifth = (b[16 + (i & 31)]! >> (i >> 5)) & 1;
      const code = ((b[48 + (i >> 6) * 32 + (i & 31)]! >> (4 * ((i >> 5) & 1))) & 15) + 16 * fifth;
      y[i] = f32(f32(d * scale) * code) - f32(dmin * minimum);
    }
  },
  // 128 bytes of low nibbles, j paired with j + 64 in every 128 | 64 bytes: the upper two bits of a half's k-th 32 values
  // are its 32 bytes' k-th bit pairs | 16 signed scales of 16 values each | f16 d: (code − 32) · scale · d
  q6_K(b, y) {
    const d = half(b, 208);
    for (let i = 0; i < 256; i++) {
      const [h, k] = [i >> 7, (i >> 5) & 3];
      const low = (b[h * 64 + (i & 63)]! >> (4 * (k >> 1))) & 15;
      const high = (b[128 + h * 32 + (i & 31)]! >> (2 * k)) & 3;
      y[i] = f32(d * signed(b[192 + (i >> 4)]!)) * ((low | (high << 4)) - 32);
    }
  },
  // f32 d | 256 signed bytes | 16 i16: sums of 16 codes each (for dot products): code · d
  q8_K(b, y) {
    const d = new DataView(b.buffer, b.byteOffset).getFloat32(0, true);
    for (let i = 0; i < 256; i++) y[i] = signed(b[4 + i]!) * d;
  },
  // f16 d | 16 bytes of nibbles that stand for the numbers in IQ4
  iq4_nl(b, y) {
    const d = half(b, 0);
    nibbles(b, 2, (i, code) => {
      y[i] = d * IQ4[code]!;
    });
  },
  // f16 d | u16: upper two bits of eight scales | 4 bytes: their lower four | 128 bytes: eight times 32 values as in IQ4_NL
  iq4_xs(b, y) {
    const d = half(b, 0);
    for (let g = 0; g < 8; g++) {
      const scale = ((b[4 + (g >> 1)]! >> (4 * (g & 1))) & 15) | (((word(b, 2) >> (2 * g)) & 3) << 4);
      nibbles(b, 8 + 16 * g, (i, code) => {
        y[32 * g + i] = f32(d * (scale - 32)) * IQ4[code]!;
      });
    }
  },
  // 48 bytes of five digits in base 3, 4 bytes of four | f16 d: (digit − 1) · d. A byte is the fraction 0.abcde (in base 3) of
  // its digits, in 1/256 and rounded up: what times 3 carries out of the byte is the first of them.
  tq1_0(b, y) {
    const d = half(b, 52);
    for (let i = 0; i < 256; i++) {
      const [byte, digit] = digitPlace(i);
      y[i] = (((((b[byte]! * 3 ** digit) & 255) * 3) >> 8) - 1) * d;
    }
  },
  // 64 bytes of 2-bit codes, as in Q2_K | f16 d: (code − 1) · d
  tq2_0(b, y) {
    const d = half(b, 64);
    for (let i = 0; i < 256; i++) y[i] = (((b[(i >> 7) * 32 + (i & 31)]! >> (2 * ((i >> 5) & 3))) & 3) - 1) * d;
  },
  // u8 exponent e of the scale 2^(e − 127) | 16 bytes of E2M1 nibbles
  mxfp4(b, y) {
    const d = halfE8M0(b[0]!);
    nibbles(b, 1, (i, code) => {
      y[i] = FP4[code]! * d;
    });
  },
  // four E4M3 scales | for each 16 values 8 bytes of E2M1 nibbles, j paired with j + 8
  nvfp4(b, y) {
    for (let s = 0; s < 4; s++) {
      const d = halfE4M3(b[s]!);
      nibbles(
        b,
        4 + 8 * s,
        (i, code) => {
          y[16 * s + i] = FP4[code]! * d;
        },
        8,
      );
    }
  },
  // f16 d | 16 bytes: value i is d where bit i is 1, −d where it is 0
  q1_0(b, y) {
    const d = half(b, 0);
    for (let i = 0; i < 128; i++) y[i] = (b[2 + (i >> 3)]! >> (i & 7)) & 1 ? d : -d;
  },
  // f16 d | 16 bytes of 2-bit codes, four neighbours to a byte: (code − 1) · d
  q2_0(b, y) {
    const d = half(b, 0);
    for (let i = 0; i < 64; i++) y[i] = (((b[2 + (i >> 2)]! >> (2 * (i & 3))) & 3) - 1) * d;
  },
};

/** Values of rows of blocks. */
export function ggmlDequantize(blocks: Uint8Array, options: GgmlDequantizeOptions & Out<Float32Array>): Float32Array {
  return run(ggml_dequantize_f32, { blocks }, options, (p) => ({ out: decoded(blocks, p) }));
}

/** The values of blocks. */
export function decoded(blocks: Uint8Array, p: Params): Float32Array {
  const out = new Float32Array(ggml_dequantize_f32.lengths(p).out!);
  const type = ggmlTypeOf(p.type!)!;
  const { block, bytes } = GGML_TYPES[type];
  for (let i = 0; i < out.length / block; i++)
    readers[type](blocks.subarray(i * bytes, (i + 1) * bytes), out.subarray(i * block, (i + 1) * block));
  return out;
}

/** The value of largest magnitude, the first of several; NaN is passed over, and 0 where there is none. */
function furthest(x: Float32Array): number {
  let result = 0;
  for (const value of x) if (Math.abs(value) > Math.abs(result)) result = value;
  return result;
}

/** Least and greatest value; NaN is passed over. Of zeros of both signs the first counts. */
function extremes(x: Float32Array): [number, number] {
  let [minimum, maximum] = [f32(3.4028234663852886e38), f32(-3.4028234663852886e38)];
  for (const value of x) {
    if (value < minimum) minimum = value;
    if (value > maximum) maximum = value;
  }
  return [minimum, maximum];
}

/** 1/d in f32, or 0 for 0. */
const inverse = (d: number) => (d ? f32(1 / d) : 0);

/** Toward zero. NaN and what no integer holds become 0, as the low byte does on x86. */
const truncated = (x: number) => (Number.isFinite(x) ? Math.trunc(x) : 0);

/** Half away from zero. */
const rounded = (x: number) => (Number.isFinite(x) ? Math.sign(x) * Math.floor(Math.abs(x) + 0.5) : 0);

/** d and anything else in f16. NaN is what x86 makes of an invalid operation: hosts do not agree on its sign. */
function setHalf(b: Uint8Array, at: number, value: number): void {
  const bits = value === value ? toHalf(value) : 0xfe00;
  b[at] = bits & 255;
  b[at + 1] = bits >> 8;
}

/** Codes as nibbles, j paired with j + pair; their fifth bits as answer. */
function setNibbles(b: Uint8Array, from: number, codes: readonly number[], pair = 16): number {
  let fifth = 0;
  for (let j = 0; j < pair; j++) b[from + j] = (codes[j]! & 15) | ((codes[j + pair]! & 15) << 4);
  codes.forEach((code, i) => {
    fifth |= (code >> 4) << i;
  });
  return fifth;
}

function setWord(b: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) b[at + i] = value >>> (8 * i);
}

/** Q4_0 and Q5_0: the value of largest magnitude becomes the code 0. */
function signedCodes(x: Float32Array, center: number): [d: number, codes: number[]] {
  const d = f32(furthest(x) / -center);
  const id = inverse(d);
  return [d, Array.from(x, (v) => Math.min(2 * center - 1, truncated(f32(f32(v * id) + (center + 0.5)))))];
}

/** Q4_1 and Q5_1: the minimum becomes the code 0, the maximum the last. */
function affineCodes(x: Float32Array, last: number): [d: number, m: number, codes: number[]] {
  const [minimum, maximum] = extremes(x);
  const d = f32(f32(maximum - minimum) / last);
  const id = inverse(d);
  return [d, minimum, Array.from(x, (v) => Math.min(last, truncated(f32(f32(f32(v - minimum) * id) + 0.5))))];
}

function byteCodes(x: Float32Array): [d: number, codes: number[]] {
  const d = f32(Math.abs(furthest(x)) / 127);
  const id = inverse(d);
  return [d, Array.from(x, (v) => rounded(f32(v * id)))];
}

/** TQ1_0, TQ2_0, Q2_0: 0, 1 or 2 by the nearest of −d, 0 and d, the largest magnitude. */
function ternaryCodes(x: Float32Array): [d: number, codes: number[]] {
  const d = Math.abs(furthest(x));
  const id = inverse(d);
  return [d, Array.from(x, (v) => rounded(f32(v * id)) + 1)];
}

/** The E2M1 code nearest to x/d (twice the number, half the scale); of two at the same distance the first. */
function nearestFp4(x: number, d: number): number {
  let best = 0;
  FP4.forEach((number, code) => {
    if (Math.abs(f32(f32(number * d) - x)) < Math.abs(f32(f32(FP4[best]! * d) - x))) best = code;
  });
  return best;
}

/** The IQ4 code nearest to x, the upper of two. */
const nearestIq4 = (x: number) => IQ4.slice(1).filter((upper, i) => !(x < (IQ4[i]! + upper) / 2)).length;

/** An unsigned E4M3 number: half up; from 256 on the largest, 448. */
function e4m3Of(x: number): number {
  if (!(x > 0)) return 0;
  if (x >= 256) return 0x7e;
  // Below 2^-6 a multiple of 2^-9; 8 of them would be 2^-6, but ggml stops at 7.
  if (x < 2 ** -6) return Math.min(7, Math.floor(f32(x * 512 + 0.5)));
  const exponent = Math.floor(Math.log2(x));
  const code = (exponent + 7) * 8 + Math.floor((x / 2 ** exponent - 1) * 8 + 0.5);
  return Math.min(code, 0x7e) === 0x7e || code >= 0x78 ? 0x7e : code;
}

/** One block from its values: ggml's quantize_row_*_ref. */
const writers: Record<GgmlWritableType, (x: Float32Array, b: Uint8Array) => void> = {
  q4_0(x, b) {
    const [d, codes] = signedCodes(x, 8);
    setHalf(b, 0, d);
    setNibbles(b, 2, codes);
  },
  q4_1(x, b) {
    const [d, m, codes] = affineCodes(x, 15);
    setHalf(b, 0, d);
    setHalf(b, 2, m);
    setNibbles(b, 4, codes);
  },
  q5_0(x, b) {
    const [d, codes] = signedCodes(x, 16);
    setHalf(b, 0, d);
    setWord(b, 2, setNibbles(b, 6, codes));
  },
  q5_1(x, b) {
    const [d, m, codes] = affineCodes(x, 31);
    setHalf(b, 0, d);
    setHalf(b, 2, m);
    setWord(b, 4, setNibbles(b, 8, codes));
  },
  q8_0(x, b) {
    const [d, codes] = byteCodes(x);
    setHalf(b, 0, d);
    b.set(codes, 2);
  },
  q8_1(x, b) {
    const [d, codes] = byteCodes(x);
    setHalf(b, 0, d);
    setHalf(b, 2, f32(codes.reduce((a, code) => a + code, 0) * d));
    b.set(codes, 4);
  },
  // The largest magnitude becomes −127; then d is refitted to the codes by least squares weighted with x².
  iq4_nl(x, b) {
    const largest = furthest(x);
    b.fill(0);
    if (Math.abs(largest) < f32(1e-15)) return;
    const id = f32(1 / f32(largest / IQ4[0]!));
    let [xq, qq] = [0, 0];
    const codes = Array.from(x, (v) => {
      const code = nearestIq4(f32(id * v));
      const q = IQ4[code]!;
      const wq = f32(f32(v * v) * q);
      xq = f32(xq + f32(wq * v));
      qq = f32(qq + f32(wq * q));
      return code;
    });
    setHalf(b, 0, f32(xq / qq));
    setNibbles(b, 2, codes);
  },
  tq1_0(x, b) {
    const [d, codes] = ternaryCodes(x);
    const digits = new Array<number>(52).fill(0);
    codes.forEach((code, i) => {
      const [byte] = digitPlace(i);
      digits[byte] = digits[byte]! * 3 + code;
    });
    b.set(digits.map((number, byte) => Math.ceil(((byte < 48 ? number : 3 * number) * 256) / 243)));
    setHalf(b, 52, d);
  },
  tq2_0(x, b) {
    const [d, codes] = ternaryCodes(x);
    b.fill(0);
    codes.forEach((code, i) => {
      b[(i >> 7) * 32 + (i & 31)]! |= code << (2 * ((i >> 5) & 3));
    });
    setHalf(b, 64, d);
  },
  // ggml takes log2 in f32, which rounds what is just below a power of two up to it.
  mxfp4(x, b) {
    const largest = Math.abs(furthest(x));
    b.fill(0);
    if (largest === 0 || largest === Infinity) return;
    b[0] = Math.max(0, Math.floor(f32(Math.log2(largest))) - 2 + 127);
    const d = halfE8M0(b[0]);
    setNibbles(
      b,
      1,
      Array.from(x, (v) => nearestFp4(v, d)),
    );
  },
  nvfp4(x, b) {
    for (let s = 0; s < 4; s++) {
      const part = x.subarray(16 * s, 16 * s + 16);
      b[s] = e4m3Of(f32(Math.abs(furthest(part)) / 6));
      const d = halfE4M3(b[s]!);
      setNibbles(
        b,
        4 + 8 * s,
        Array.from(part, (v) => nearestFp4(v, d)),
        8,
      );
    }
  },
  // The mean magnitude, summed in order, and the signs; −0 counts as positive.
  q1_0(x, b) {
    b.fill(0);
    setHalf(b, 0, f32(x.reduce((sum, v) => f32(sum + Math.abs(v)), 0) / 128));
    x.forEach((v, i) => {
      if (v >= 0) b[2 + (i >> 3)]! |= 1 << (i & 7);
    });
  },
  q2_0(x, b) {
    const [d, codes] = ternaryCodes(x);
    b.fill(0);
    setHalf(b, 0, d);
    codes.forEach((code, i) => {
      b[2 + (i >> 2)]! |= code << (2 * (i & 3));
    });
  },
};

/** Rows of blocks from values. */
export function ggmlQuantize(x: Float32Array, options: GgmlQuantizeOptions & Out<Uint8Array>): Uint8Array {
  return run(ggml_quantize_f32, { x }, options, (p) => ({ blocks: encoded(x, p) }));
}

function encoded(x: Float32Array, p: Params): Uint8Array {
  const blocks = new Uint8Array(ggml_quantize_f32.lengths(p).blocks!);
  const type = ggmlTypeOf(p.type!) as GgmlWritableType;
  const { block, bytes } = GGML_TYPES[type];
  for (let i = 0; i < x.length / block; i++)
    writers[type](x.subarray(i * block, (i + 1) * block), blocks.subarray(i * bytes, (i + 1) * bytes));
  return blocks;
}
