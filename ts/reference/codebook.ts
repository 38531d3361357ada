import { bookOf, type Table, valuesOf } from '../codebook-tables.js';
import {
  type CodebookCodes,
  type CodebookOptions,
  codeBytes,
  codebook_dequantize_f32,
  codebook_quantize_f32,
  groupOf,
} from '../contract/codebook.js';
import type { Out, Params } from '../contract.js';
import { run } from './runtime.js';

export {
  AF4,
  type Codebook,
  type CodebookTable,
  codebook,
  DYNAMIC8,
  DYNAMIC8_UNSIGNED,
  FP4,
  LINEAR8,
  lloydMax,
  NF4,
  type Table,
} from '../codebook-tables.js';
export type { CodebookCodes, CodebookOptions };

/** Every operation is one correctly rounded f32 operation: what the codes are made of has to be the same everywhere. */
const f32 = Math.fround;
/** The smallest normal number. A scale below it counts as 0. */
const LEAST = 2 ** -126;

/** Each value, divided by its group's scale, as the code of the table's nearest value. */
export function codebookQuantize(
  x: Float32Array,
  table: Table,
  options: CodebookOptions & Out<CodebookCodes>,
): CodebookCodes {
  codebook_quantize_f32.lengths(codebook_quantize_f32.params(options));
  const { thresholds, order } = bookOf(table, options);
  return run(codebook_quantize_f32, { x, thresholds, order }, options, (p) => encoded(x, thresholds, order, p));
}

function encoded(x: Float32Array, thresholds: Float32Array, order: Uint8Array | undefined, p: Params) {
  const lengths = codebook_quantize_f32.lengths(p);
  const codes = new Uint8Array(lengths.codes!);
  const scales = new Float32Array(lengths.scales!);
  const { rows, n, bits, scale } = p as Record<'rows' | 'n' | 'bits' | 'scale', number>;
  const columns = p.tables ? n : 1;
  const size = groupOf(p);
  for (let row = 0, group = 0; row < rows; row++)
    for (let first = 0; first < n; first += size, group++) {
      const values = x.subarray(row * n + first, row * n + Math.min(first + size, n));
      let inverse = 1;
      if (scales.length) {
        const s = scale ? rootMeanSquare(values) : values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        scales[group] = Number.isFinite(s) ? s : NaN;
        // NaN or infinity in the group: all of it comes back as NaN, and its codes are 0.
        if (!Number.isFinite(s)) continue;
        inverse = s < LEAST ? 0 : f32(1 / s);
      }
      values.forEach((value, i) => {
        const column = p.tables ? first + i : 0;
        const scaled = f32(value * inverse);
        let rank = 0;
        while (scaled > thresholds[rank * columns + column]!) rank++;
        put(codes, p, row, first + i, order ? order[column * 2 ** bits + rank]! : rank);
      });
    }
  return { codes, scales };
}

/** table[code] · scale, rounded to f32. */
export function codebookDequantize(
  quantized: CodebookCodes,
  table: Table,
  options: CodebookOptions & Out<Float32Array>,
): Float32Array {
  codebook_dequantize_f32.lengths(codebook_dequantize_f32.params(options));
  const values = valuesOf(table, options);
  const arrays = { ...quantized, table: values };
  return run(codebook_dequantize_f32, arrays, options, (p) => ({ out: decoded(quantized, values, p) }));
}

function decoded({ codes, scales }: CodebookCodes, values: Float32Array, p: Params): Float32Array {
  const { rows, n, bits } = p as Record<'rows' | 'n' | 'bits', number>;
  const size = groupOf(p);
  return Float32Array.from({ length: rows * n }, (_, at) => {
    const [row, i] = [Math.floor(at / n), at % n];
    const value = values[(p.tables ? i * 2 ** bits : 0) + get(codes, p, row, i)]!;
    return scales?.length ? value * scales[row * Math.ceil(n / size) + Math.floor(i / size)]! : value;
  });
}

/** In f64, four partial sums of every fourth value: an order that four lanes can keep to. */
function rootMeanSquare(values: Float32Array): number {
  const sums = [0, 0, 0, 0];
  values.forEach((value, i) => void (sums[i % 4]! += value * value));
  return f32(Math.sqrt((sums[0]! + sums[2]! + (sums[1]! + sums[3]!)) / values.length));
}

/** Byte and shift of each part of the i-th code of a row: one part, or with 3 bits two. `from` is the part's lowest bit of the code. */
function* places(
  p: Params,
  row: number,
  i: number,
): Generator<[byte: number, shift: number, from: number, bits: number]> {
  const start = row * codeBytes(p);
  const bits = p.bits!;
  if (bits === 3) {
    const run = start + 12 * Math.floor(i / 32);
    yield [run + Math.floor((i % 32) / 4), 2 * (i % 4), 0, 2];
    yield [run + 8 + Math.floor((i % 32) / 8), i % 8, 2, 1];
  } else if (bits > 4) yield [start + i, 0, 0, bits];
  else {
    const perByte = 8 / bits;
    const place = bits === 4 && p.nibbles ? 1 - (i % 2) : i % perByte;
    yield [start + Math.floor(i / perByte), place * bits, 0, bits];
  }
}

function put(codes: Uint8Array, p: Params, row: number, i: number, code: number): void {
  for (const [byte, shift, from, bits] of places(p, row, i))
    codes[byte]! |= ((code >> from) & (2 ** bits - 1)) << shift;
}

/** Bits that a code of 5 to 7 bits leaves unused are ignored. */
function get(codes: Uint8Array, p: Params, row: number, i: number): number {
  let code = 0;
  for (const [byte, shift, from, bits] of places(p, row, i))
    code |= ((codes[byte]! >> shift) & (2 ** bits - 1)) << from;
  return code;
}
