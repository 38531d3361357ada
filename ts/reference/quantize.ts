import { dequantize_f32, groupOf, type Quantized, type QuantizeOptions, quantize_f32 } from '../contract/quantize.js';
import type { Out, Params } from '../contract.js';
import { roundTiesEven } from './round.js';
import { run } from './runtime.js';

export type { Quantized, QuantizeOptions } from '../contract/quantize.js';

/** Every operation is one correctly rounded f32 operation: what the codes are made of has to be the same everywhere. */
const f32 = Math.fround;

/** x as integer codes of `bits` bits, a scale (and, when affine, a minimum) for each group. */
export function quantize(x: Float32Array, options: QuantizeOptions & Out<Quantized>): Quantized {
  return run(quantize_f32, { x }, options, (p) => encoded(x, p));
}

/** Codes, scales and minima (none: symmetric) of values. */
export function encoded(x: Float32Array, p: Params) {
  const lengths = quantize_f32.lengths(p);
  const codes = new Uint32Array(lengths.codes!);
  const scales = new Float32Array(lengths.scales!);
  const minima = new Float32Array(lengths.minima!);
  const { groups, valueAt, wordAt, shiftOf } = layoutOf(p);
  const largest = p.scheme ? 2 ** (p.bits! - 1) - 1 : 2 ** p.bits! - 1;
  const smallest = p.scheme ? -largest : 0;
  const mask = 2 ** p.bits! - 1;

  groups((group, line, from, to) => {
    let minimum = p.scheme ? 0 : Infinity;
    let maximum = p.scheme ? 0 : -Infinity;
    for (let i = from; i < to; i++) {
      // NaN makes both NaN.
      const value = x[valueAt(line, i)]!;
      maximum = Math.max(maximum, p.scheme ? Math.abs(value) : value);
      if (!p.scheme) minimum = Math.min(minimum, value);
    }
    let scale = f32(f32(maximum - minimum) / largest);
    // NaN or infinity in the group, or a range that overflows: all of it comes back as NaN.
    if (!Number.isFinite(scale)) scale = minimum = NaN;
    scales[group] = scale;
    if (!p.scheme) minima[group] = minimum;
    // A constant group, or a range too small for f32, keeps the codes 0; so does NaN.
    if (!(scale > 0)) return;
    for (let i = from; i < to; i++) {
      const code = roundTiesEven(f32(f32(x[valueAt(line, i)]! - minimum) / scale));
      codes[wordAt(line, i)]! |= (Math.min(Math.max(code, smallest), largest) & mask) << shiftOf(i);
    }
  });
  return { codes, scales, minima };
}

/** code · scale + minimum (symmetric: code · scale), each operation rounded to f32. */
export function dequantize(quantized: Quantized, options: QuantizeOptions & Out<Float32Array>): Float32Array {
  return run(dequantize_f32, quantized, options, (p) => ({ out: decoded(quantized, p) }));
}

/** The values of codes. */
export function decoded({ codes, scales, minima }: Quantized, p: Params): Float32Array {
  const out = new Float32Array(dequantize_f32.lengths(p).out!);
  const { groups, valueAt, wordAt, shiftOf } = layoutOf(p);
  const half = 2 ** (p.bits! - 1);
  const mask = 2 ** p.bits! - 1;

  groups((group, line, from, to) => {
    const scale = scales[group]!;
    for (let i = from; i < to; i++) {
      const code = (codes[wordAt(line, i)]! >>> shiftOf(i)) & mask;
      out[valueAt(line, i)] = p.scheme
        ? f32((code < half ? code : code - 2 * half) * scale)
        : f32(f32(code * scale) + minima![group]!);
    }
  });
  return out;
}

/** Where things lie. A line is what groups lie along: a row, or a column. */
function layoutOf(p: Params) {
  const { rows, n, bits, axis } = p as { rows: number; n: number; bits: number; axis: number };
  const [lines, length] = axis ? [n, rows] : [rows, n];
  const size = groupOf(p);
  const perWord = 32 / bits;
  const [wordsPerLine, groupsPerLine] = [Math.ceil(length / perWord), Math.ceil(length / size)];
  return {
    /** The i-th value of a line in x. */
    valueAt: (line: number, i: number) => (axis ? i * n + line : line * n + i),
    /** The word that holds its code, and the code's lowest bit there. */
    wordAt(line: number, i: number) {
      const word = Math.floor(i / perWord);
      return axis ? word * n + line : line * wordsPerLine + word;
    },
    shiftOf: (i: number) => (i % perWord) * bits,
    /** Every group by its place in scales: values [from, to) of a line. */
    groups(each: (group: number, line: number, from: number, to: number) => void) {
      for (let line = 0; line < lines; line++)
        for (let g = 0, from = 0; from < length; g++, from += size)
          each(axis ? g * n + line : line * groupsPerLine + g, line, from, Math.min(from + size, length));
    },
  };
}
