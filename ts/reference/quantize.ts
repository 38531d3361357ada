import { dequantize_f32, groupOf, type QuantizeOptions, quantize_f32 } from '../contract/quantize.js';
import type { Params } from '../contract.js';
import { checked } from './runtime.js';

export type { QuantizeOptions } from '../contract/quantize.js';

export interface Quantized {
  /** Row groups: `[rows, ceil(n·bits/32)]`. Column groups: `[ceil(rows·bits/32), n]`. */
  codes: Uint32Array;
  /** Row groups: `[rows, ceil(n/groupSize)]`. Column groups: `[ceil(rows/groupSize), n]`. */
  scales: Float32Array;
  /** As scales; affine only. */
  minima?: Float32Array;
}

/** Every operation is one correctly rounded f32 operation: what the codes are made of has to be the same everywhere. */
const f32 = Math.fround;

/** x as integer codes of `bits` bits, a scale (and, when affine, a minimum) for each group. */
export function quantize(x: Float32Array, options: QuantizeOptions): Quantized {
  const lengths = quantize_f32.lengths(quantize_f32.params(options));
  const codes = new Uint32Array(lengths.codes!);
  const scales = new Float32Array(lengths.scales!);
  const minima = new Float32Array(lengths.minima!);
  const p = checked(quantize_f32, { x, codes, scales, minima }, options);
  const mask = 2 ** p.bits! - 1;

  for (const { values, group, words } of groups(p)) {
    const { scale, minimum, codeOf } = formatOf(
      values.map((at) => x[at]!),
      p,
    );
    scales[group] = scale;
    if (!p.scheme) minima[group] = minimum;
    values.forEach((at, i) => {
      const { word, shift } = words(i);
      codes[word]! |= (codeOf(x[at]!) & mask) << shift;
    });
  }
  return p.scheme ? { codes, scales } : { codes, scales, minima };
}

/** code · scale + minimum (symmetric: code · scale), each operation rounded to f32. */
export function dequantize({ codes, scales, minima }: Quantized, options: QuantizeOptions): Float32Array {
  const p = checked(dequantize_f32, { codes, scales, minima }, options);
  const out = new Float32Array(dequantize_f32.lengths(p).out!);

  for (const { values, group, words } of groups(p)) {
    values.forEach((at, i) => {
      const { word, shift } = words(i);
      const unsigned = (codes[word]! >>> shift) & (2 ** p.bits! - 1);
      const signed = unsigned >= 2 ** (p.bits! - 1) ? unsigned - 2 ** p.bits! : unsigned;
      out[at] = p.scheme ? f32(signed * scales[group]!) : f32(f32(unsigned * scales[group]!) + minima![group]!);
    });
  }
  return out;
}

/** A group's scale and minimum, and the code each of its values gets. */
function formatOf(
  group: number[],
  { bits, scheme }: Params,
): { scale: number; minimum: number; codeOf(x: number): number } {
  const largest = scheme ? 2 ** (bits! - 1) - 1 : 2 ** bits! - 1;
  const smallest = scheme ? -largest : 0;
  const minimum = scheme ? 0 : group.reduce((a, b) => Math.min(a, b));
  const maximum = group.reduce((a, b) => Math.max(a, scheme ? Math.abs(b) : b), scheme ? 0 : -Infinity);
  const scale = f32(f32(maximum - minimum) / largest);

  // NaN or infinity in the group, or a range that overflows: all of it comes back as NaN.
  if (!Number.isFinite(scale)) return { scale: NaN, minimum: NaN, codeOf: () => 0 };
  // A constant group, or a range too small for f32.
  if (scale === 0) return { scale, minimum, codeOf: () => 0 };
  return { scale, minimum, codeOf: (x) => clamp(roundTiesEven(f32(f32(x - minimum) / scale)), smallest, largest) };
}

function roundTiesEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

const clamp = (x: number, smallest: number, largest: number) => Math.min(Math.max(x, smallest), largest);

/** Every group: where its values lie in x, its place in scales, and the word and bit of its i-th code. */
function* groups(p: Params) {
  const { rows, n, bits, axis } = p as Record<string, number>;
  const [lines, length] = axis ? [n!, rows!] : [rows!, n!];
  const size = groupOf(p);
  const perWord = 32 / bits!;
  const wordsPerLine = Math.ceil(length / perWord);
  const groupsPerLine = Math.ceil(length / size);
  for (let line = 0; line < lines; line++) {
    for (let from = 0; from < length; from += size) {
      const members = Array.from({ length: Math.min(size, length - from) }, (_, i) => from + i);
      const group = from / size;
      yield {
        values: members.map((i) => (axis ? i * n! + line : line * n! + i)),
        group: axis ? group * n! + line : line * groupsPerLine + group,
        words: (i: number) => {
          const word = Math.floor((from + i) / perWord);
          return { word: axis ? word * n! + line : line * wordsPerLine + word, shift: ((from + i) % perWord) * bits! };
        },
      };
    }
  }
}
