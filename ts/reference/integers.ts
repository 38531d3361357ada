import {
  dequantize_integers_f32,
  type IntegerOptions,
  type QuantizedIntegers,
  type QuantizeIntegersOptions,
  quantize_integers_f32,
  type Range,
  runOf,
} from '../contract/integers.js';
import { groupOf } from '../contract/quantize.js';
import type { Out, Params } from '../contract.js';
import { fromHalf, toHalf } from '../half.js';
import { roundTiesEven } from './round.js';
import { run } from './runtime.js';

export type { IntegerOptions, QuantizedIntegers, QuantizeIntegersOptions, Range } from '../contract/integers.js';

/** Every operation is one correctly rounded f32 operation: what the codes are made of has to be the same everywhere. */
const f32 = Math.fround;

/** x as integer codes, a scale (and, when affine, a minimum) for each group. */
export function quantize(
  x: Float32Array,
  options: QuantizeIntegersOptions & { range?: Range | undefined } & Out<QuantizedIntegers>,
): QuantizedIntegers {
  const range = options?.range;
  return run(quantize_integers_f32, { x, ...range }, options, (p) => encoded(x, p, range));
}

/** Codes, scales and minima (none unless affine) of values. */
export function encoded(x: Float32Array, p: Params, range: Range | undefined) {
  const lengths = quantize_integers_f32.lengths(p);
  const Stored = p.scaleType ? Uint16Array : Float32Array;
  const codes = new Uint32Array(lengths.codes!);
  const scales = new Stored(lengths.scales!);
  const minima = new Stored(lengths.minima!);
  const { affine, sign, lowest, highest } = formatOf(p);
  const { groups, valueAt, put } = layoutOf(p, codes);
  const store = (value: number) => (p.scaleType ? toHalf(value) : value);

  groups((group, line, from, to) => {
    let minimum: number;
    let scale: number;
    if (range) {
      minimum = affine ? range.lows![group]! : 0;
      scale = f32(f32(range.highs[group]! - minimum) / (usesMean(p) ? 1 : highest));
    } else if (usesMean(p)) {
      minimum = 0;
      scale = f32(magnitudes(from, to, (i) => x[valueAt(line, i)]!) / f32(to - from));
    } else {
      minimum = affine ? Infinity : 0;
      let maximum = affine ? -Infinity : 0;
      for (let i = from; i < to; i++) {
        // NaN makes both NaN.
        const value = x[valueAt(line, i)]!;
        maximum = Math.max(maximum, affine ? value : Math.abs(value));
        if (affine) minimum = Math.min(minimum, value);
      }
      scale = f32(f32(maximum - minimum) / highest);
    }
    if (p.scaleType) [scale, minimum] = [fromHalf(toHalf(scale)), fromHalf(toHalf(minimum))];
    // NaN or infinity in the group, a range that overflows or runs backwards: all of it comes back as NaN.
    if (!(scale >= 0 && scale < Infinity && Number.isFinite(minimum))) scale = minimum = NaN;
    scales[group] = store(scale);
    if (affine) minima[group] = store(minimum);
    for (let i = from; i < to; i++) {
      const at = valueAt(line, i);
      const value = x[at]!;
      // A constant group, or a range too small for its type, keeps the codes 0; so does NaN.
      let code = 0;
      if (scale > 0) {
        const quotient = f32(f32(value - minimum) / scale);
        if (sign && !p.seed) code = value < 0 ? 1 : 0;
        else if (!Number.isNaN(quotient)) {
          const place = clamp(sign ? f32(0.5 - 0.5 * quotient) : quotient, lowest, highest);
          code = p.seed ? roundAtRandom(place, uniform(p.seed, at + p.first!)) : roundTiesEven(place);
        }
      }
      put(line, i, code);
    }
  });
  return { codes, scales, minima };
}

/** code · scale + minimum (not affine: code · scale; 1 bit symmetric: ±scale), each operation rounded to f32. */
export function dequantize(quantized: QuantizedIntegers, options: IntegerOptions & Out<Float32Array>): Float32Array {
  return run(dequantize_integers_f32, quantized, options, (p) => ({ out: decoded(quantized, p) }));
}

/** The values of codes. */
export function decoded({ codes, scales, minima }: QuantizedIntegers, p: Params): Float32Array {
  const out = new Float32Array(dequantize_integers_f32.lengths(p).out!);
  const { affine, sign } = formatOf(p);
  const { groups, valueAt, get } = layoutOf(p, codes);
  const load = (array: ArrayLike<number>, i: number) => (p.scaleType ? fromHalf(array[i]!) : array[i]!);

  groups((group, line, from, to) => {
    const scale = load(scales, group);
    const minimum = affine ? load(minima!, group) : 0;
    for (let i = from; i < to; i++) {
      const code = get(line, i);
      out[valueAt(line, i)] = sign ? (code ? -scale : scale) : f32(f32(code * scale) + minimum);
    }
  });
  return out;
}

/** The code of each value of x, as the words hold them. */
export function unpackCodes(codes: Uint32Array, options: IntegerOptions): Int16Array {
  const p = dequantize_integers_f32.params(options);
  const out = new Int16Array(dequantize_integers_f32.lengths(p).out!);
  const { groups, valueAt, get } = layoutOf(p, codes);
  groups((_, line, from, to) => {
    for (let i = from; i < to; i++) out[valueAt(line, i)] = get(line, i);
  });
  return out;
}

/** Words that hold the given code for each value of x. */
export function packCodes(values: ArrayLike<number>, options: IntegerOptions): Uint32Array {
  const p = dequantize_integers_f32.params(options);
  const codes = new Uint32Array(dequantize_integers_f32.lengths(p).codes!);
  const { groups, valueAt, put } = layoutOf(p, codes);
  groups((_, line, from, to) => {
    for (let i = from; i < to; i++) put(line, i, values[valueAt(line, i)]!);
  });
  return codes;
}

/** Ternary and sign formats take the mean of |x| for their scale. */
const usesMean = ({ bits, scheme }: Params) => scheme === 2 || (scheme === 1 && bits === 1);

function formatOf(p: Params) {
  const affine = p.scheme === 0;
  const sign = p.scheme === 1 && p.bits === 1;
  const highest = p.scheme === 2 ? 1 : sign ? 1 : 2 ** (p.bits! - p.scheme!) - 1;
  return { affine, sign, highest, lowest: affine || sign ? 0 : -highest };
}

/**
 * The sum of |x| in one fixed order of f32 additions: within each 256 values of the group, value i joins sum i mod 4; the
 * four fold as (s0 + s2) + (s1 + s3) and join the total.
 */
function magnitudes(from: number, to: number, value: (i: number) => number): number {
  let total = 0;
  for (let start = from; start < to; start += 256) {
    const s = [0, 0, 0, 0];
    for (let i = start; i < Math.min(start + 256, to); i++)
      s[(i - from) % 4] = f32(s[(i - from) % 4]! + Math.abs(value(i)));
    total = f32(total + f32(f32(s[0]! + s[2]!) + f32(s[1]! + s[3]!)));
  }
  return total;
}

const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);

/** Up with the probability of the fraction: floor(x + u) without that sum's rounding, for u that is as likely as 1 − u. */
const roundAtRandom = (x: number, u: number) => Math.floor(x) + (u < f32(x - Math.floor(x)) ? 1 : 0);

/**
 * Counter-based: number `index` of the sequence of a seed, uniform in [0, 1), a multiple of 2^-24. It is SplitMix on 32
 * bits (G. Steele et al., 2014) with C. Wellons' mixer lowbias32; the seed goes through the mixer too.
 */
export function uniform(seed: number, index: number): number {
  return (mixed(Math.imul(index, 0x9e3779b9) + mixed(seed)) >>> 8) * 2 ** -24;
}

function mixed(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Where things lie. A line is what groups lie along: a row, or a column. */
function layoutOf(p: Params, codes: Uint32Array) {
  const { rows, n, bits, scheme, axis } = p as Record<'rows' | 'n' | 'bits' | 'scheme' | 'axis', number>;
  const [lines, length] = axis ? [n, rows] : [rows, n];
  const size = groupOf(p);
  const run = runOf(p);
  const wordsPerLine = Math.ceil(length / run.codes) * run.words;
  const groupsPerLine = Math.ceil(length / size);
  const wordAt = (line: number, word: number) => (axis ? word * n + line : line * wordsPerLine + word);
  const packed = scheme === 2 && bits === 1;
  const mask = 2 ** bits - 1;
  const half = scheme && !(scheme === 1 && bits === 1) ? 2 ** (bits - 1) : 0;
  return {
    /** The i-th value of a line in x. */
    valueAt: (line: number, i: number) => (axis ? i * n + line : line * n + i),
    /** Its code goes into words that were 0. */
    put(line: number, i: number, code: number) {
      const word = Math.floor(i / run.codes) * run.words;
      const j = i % run.codes;
      if (packed) codes[wordAt(line, word)]! += ((code + 1) * 3 ** (j >> 2)) << (8 * (j & 3));
      else if (bits === 3) {
        codes[wordAt(line, word + (j >> 4))]! |= (code & 3) << (2 * (j & 15));
        codes[wordAt(line, word + 2)]! |= ((code >> 2) & 1) << j;
      } else codes[wordAt(line, word)]! |= (code & mask) << (j * bits);
    },
    get(line: number, i: number): number {
      const word = Math.floor(i / run.codes) * run.words;
      const j = i % run.codes;
      const at = (w: number) => codes[wordAt(line, w)]!;
      if (packed) return (Math.floor(((at(word) >>> (8 * (j & 3))) & 255) / 3 ** (j >> 2)) % 3) - 1;
      const code =
        bits === 3
          ? ((at(word + (j >> 4)) >>> (2 * (j & 15))) & 3) | (((at(word + 2) >>> j) & 1) << 2)
          : (at(word) >>> (j * bits)) & mask;
      return (code ^ half) - half;
    },
    /** Every group by its place in scales: values [from, to) of a line. */
    groups(each: (group: number, line: number, from: number, to: number) => void) {
      for (let line = 0; line < lines; line++)
        for (let g = 0, from = 0; from < length; g++, from += size)
          each(axis ? g * n + line : line * groupsPerLine + g, line, from, Math.min(from + size, length));
    },
  };
}
