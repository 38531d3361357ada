/** Tables of values that codes stand for, and what quantising needs to know of a table. */
import { message } from './errors.js';
import { integer, options } from './validate.js';

const f32 = Math.fround;

/** bitsandbytes' and QLoRA's 4-bit NormalFloat: quantiles of the normal distribution, with an exact 0 (code 7). Ascending. */
export const NF4 = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
);

const FP4_MAGNITUDES = [0, 0.0625, 8, 12, 4, 6, 2, 3].map((value) => value / 12);

/** bitsandbytes' 4-bit float, in its order of codes: bit 3 is the sign, and codes do not ascend with values. Not the FP4 of MX. */
export const FP4 = Float32Array.from([...FP4_MAGNITUDES, ...FP4_MAGNITUDES.map((value) => 0 - value)]);

/** bitsandbytes' AbnormalFloat 4 (for blocks of 64), in its order of codes, which descends. */
export const AF4 = Float32Array.of(
  1,
  0.7242486476898193,
  0.5549623370170593,
  0.4256388247013092,
  0.3167566657066345,
  0.2196127474308014,
  0.12934483587741852,
  0.0427316389977932,
  0,
  -0.049348119646310806,
  -0.14982478320598602,
  -0.25607553124427795,
  -0.37369510531425476,
  -0.5124374032020569,
  -0.6944100856781006,
  -1,
);

/**
 * `count` values from `from` to `to` as torch makes them with AVX2, to the last bit: whole runs of sixteen in vectors of
 * eight that count on from their first, and the second half counted from the end.
 */
function linspace(from: number, to: number, count: number): Float32Array {
  const [start, end] = [f32(from), f32(to)];
  const step = f32(f32(end - start) / (count - 1));
  const at = (i: number) => f32(i < Math.floor(count / 2) ? start + step * i : end - step * (count - 1 - i));
  const vectors = count & ~15;
  return Float32Array.from({ length: count }, (_, i) => (i < vectors ? at(i & ~7) + f32(step * (i & 7)) : at(i)));
}

/**
 * T. Dettmers' dynamic 8-bit type (bitsandbytes' create_dynamic_map): seven decades, the upper the finer divided; signed, or
 * for values that are never negative (an optimiser's second moment). Ascending.
 */
function dynamic8(signed: boolean): Float32Array {
  const values = [0, 1];
  for (let decade = 0; decade < 7; decade++) {
    const ends = linspace(0.1, 1, 2 ** (signed ? decade : decade + 1) + 1);
    const unit = f32(10 ** (decade - 6));
    for (let i = 1; i < ends.length; i++) {
      const value = f32(unit * f32(f32(ends[i - 1]! + ends[i]!) / 2));
      values.push(value);
      if (signed) values.push(-value);
    }
  }
  return Float32Array.from(values).sort();
}

/** bitsandbytes' default 8-bit type, also of its nested absmax. Ascending; code 127 is 0. */
export const DYNAMIC8 = dynamic8(true);

/** The same for values that are never negative. Ascending; code 0 is 0. */
export const DYNAMIC8_UNSIGNED = dynamic8(false);

const line = linspace(-1, 1, 255);

/** bitsandbytes' create_linear_map: 255 even steps, and 0 put in the middle (code 127; the next value is -3.7e-9, as torch rounds). */
export const LINEAR8 = Float32Array.of(...line.subarray(0, 127), 0, ...line.subarray(127));

/** The standard normal density, and the share of it between 0 and x. */
const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
function share(x: number): number {
  let term = x;
  let sum = x;
  for (let k = 3; term > 1e-17 * sum; k += 2) sum += term *= (x * x) / k;
  return density(x) * sum;
}

/**
 * The 2^bits values that lose least (mean squared error) of a standard normal: J. Max, "Quantizing for minimum distortion",
 * 1960; S. Lloyd, "Least squares quantization in PCM", 1982. Ascending, symmetric about 0. For rows whose values are
 * nearly normal, as a Hadamard rotation makes them (TurboQuant, PolarQuant), with scale 'rms'.
 * @param bits 1 to 6
 */
export function lloydMax(bits: number): Float32Array {
  integer('lloydMax', 'bits', bits, 1, 6);
  const half = 2 ** (bits - 1);
  // The positive values; each becomes the mean of what is nearest to it, until none moves.
  let values = Float64Array.from({ length: half }, (_, i) => (3 * (i + 0.5)) / half);
  for (let moved = 1; moved > 1e-12; ) {
    const edges = Float64Array.from({ length: half + 1 }, (_, i) =>
      i === 0 ? 0 : i < half ? (values[i - 1]! + values[i]!) / 2 : Infinity,
    );
    const mass = (x: number) => (x === Infinity ? 0.5 : share(x));
    const next = values.map(
      (_, i) => (density(edges[i]!) - density(edges[i + 1]!)) / (mass(edges[i + 1]!) - mass(edges[i]!)),
    );
    moved = Math.max(...next.map((value, i) => Math.abs(value - values[i]!)));
    values = next;
  }
  return Float32Array.of(...[...values].reverse().map((value) => -value), ...values);
}

/** A table (or one per column) as the kernels take it. Make it once, keep it. */
export interface Codebook {
  readonly bits: number;
  readonly tables: 'shared' | 'perColumn';
  /** f32 [2^bits], or [n, 2^bits]: the value of each code. A shorter table's last value is repeated. */
  readonly table: Float32Array;
  /**
   * f32 [2^bits], or [2^bits, n]: the midpoints between neighbouring values, ascending, then +infinity. A value's rank is how
   * many of them it exceeds: a tie goes to the lower value.
   */
  readonly thresholds: Float32Array;
  /** u8 [2^bits], or [n, 2^bits]: the code of each rank. Left out where codes ascend with their values. */
  readonly order?: Uint8Array;
}

export interface CodebookTable {
  /** 1 to 8. */
  bits: number;
  /** One table for all (default), or one for each column, one after the other: `table` is [columns, 2^bits]. */
  tables?: 'shared' | 'perColumn';
}

/** The values of every code: as given, a short table's last value repeated. */
function everyCode(table: Float32Array, { bits, tables }: CodebookTable): Float32Array {
  integer('codebook', 'bits', bits, 1, 8);
  const size = 2 ** bits;
  if (!(table instanceof Float32Array)) throw new TypeError(message('codebook', 'table', 'Float32Array', table));
  const whole = table.length % size === 0 && (tables === 'perColumn' || table.length === size);
  if (!whole && (tables === 'perColumn' || table.length < 2 || table.length > size)) {
    const expected = tables === 'perColumn' ? `tables of ${size} values` : `2 to ${size} values`;
    throw new RangeError(message('codebook', 'table', expected, table));
  }
  return whole ? table : Float32Array.from({ length: size }, (_, code) => table[Math.min(code, table.length - 1)]!);
}

/**
 * What quantising needs to know of a table of 2 to 2^bits values in any order. Midpoints are rounded to f32, as
 * bitsandbytes rounds them. Where values are equal (FP4's two zeros) the lowest code stands for what is nearest from below,
 * the highest for what is nearest from above.
 * Throws RangeError on a length that does not fit, or a value that is not finite.
 */
export function codebook(table: Float32Array, o: CodebookTable): Codebook {
  const { bits, tables = 'shared' } = options('codebook', o);
  const values = everyCode(table, { bits, tables });
  const bad = table.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new RangeError(message('codebook', `table[${bad}]`, 'finite number', table[bad]));
  const size = 2 ** bits;
  // Codes past the end of a short table get no value: their thresholds stay infinite.
  const used = Math.min(size, table.length);
  const columns = values.length / size;
  const thresholds = new Float32Array(values.length).fill(Infinity);
  const order = new Uint8Array(values.length);
  let ascending = true;
  for (let column = 0; column < columns; column++) {
    const mine = values.subarray(column * size, column * size + used);
    const codes = [...mine.keys()].sort((a, b) => mine[a]! - mine[b]! || a - b);
    for (const [rank, code] of codes.entries()) {
      order[column * size + rank] = code;
      if (code !== rank) ascending = false;
      if (rank) thresholds[(rank - 1) * columns + column] = midpoint(mine[codes[rank - 1]!]!, mine[code]!);
    }
  }
  return { bits, tables, table: values, thresholds, ...(ascending ? {} : { order }) };
}

function midpoint(a: number, b: number): number {
  const sum = f32(a + b);
  return Number.isFinite(sum) ? sum / 2 : a / 2 + b / 2;
}

/** A table as callers may give it: bare, or made ready once by `codebook`. */
export type Table = Float32Array | Codebook;

/** Ready to quantise with. */
export function bookOf(table: Table, o: CodebookTable): Codebook {
  if (table instanceof Float32Array) return codebook(table, o);
  if (!(table?.thresholds instanceof Float32Array))
    throw new TypeError(message('codebook', 'table', 'Float32Array or what codebook() made', table));
  if (table.bits !== o.bits) throw new RangeError(message('codebook', 'bits', `${table.bits}, the table's`, o.bits));
  if (table.tables !== (o.tables ?? 'shared'))
    throw new RangeError(message('codebook', 'tables', `"${table.tables}", the table's`, o.tables));
  return table;
}

/** The values of all codes. */
export const valuesOf = (table: Table, o: CodebookTable): Float32Array =>
  table instanceof Float32Array ? everyCode(table, o) : bookOf(table, o).table;
