import {
  blockOf,
  type Element,
  elementOf,
  isNv,
  type MxOptions,
  type MxQuantized,
  mx_dequantize_f32,
  mx_quantize_f32,
  ROUNDINGS,
  scaleOf,
  widthOf,
} from '../contract/mx.js';
import type { Out, Params } from '../contract.js';
import { roundTiesEven } from './round.js';
import { run } from './runtime.js';

export type { MxFormat, MxOptions, MxQuantized } from '../contract/mx.js';

const E8M0_NAN = 255;
const [EVEN, AWAY] = [ROUNDINGS.indexOf('even'), ROUNDINGS.indexOf('away')];
const f32 = Math.fround;

/** x as elements of a few bits and a scale byte for each block along its rows. */
export function mxQuantize(x: Float32Array, options: MxOptions & Out<MxQuantized>): MxQuantized {
  return run(mx_quantize_f32, { x }, options, (p) => encoded(x, p));
}

function encoded(x: Float32Array, p: Params) {
  const lengths = mx_quantize_f32.lengths(p);
  const codes = new Uint8Array(lengths.codes!);
  const scales = new Uint8Array(lengths.scales!);
  const [element, width] = [elementOf(p), widthOf(p)];
  const maximum = elementValue(element.maxCode, element);

  eachBlock(p, (block, row, from, to) => {
    const values = x.subarray(row * p.n! + from, row * p.n! + to);
    let largest = 0;
    for (const value of values) largest = Math.max(largest, Math.abs(value));
    scales[block] = isNv(p.format!) ? nvScale(largest, p) : powerScale(largest, p);
    const scale = scaleValue(scales[block]!, p);
    // NaN or infinity in the block: all of it comes back as NaN, with codes 0.
    if (Number.isNaN(scale)) return;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      // Dividing by a power of two is exact in float64; by an nvfp4 scale it is one f32 division.
      const quotient = isNv(p.format!) ? f32(Math.abs(value) / scale) : Math.abs(value) / scale;
      const magnitude = quotient > maximum ? element.maxCode : magnitudeCode(quotient, element, p.rounding!);
      const negative = value < 0 || Object.is(value, -0);
      const code = !negative ? magnitude : element.integer ? -magnitude : magnitude | (1 << (element.bits - 1));
      put(codes, width, p.n!, row, from + i, code);
    }
  });
  return { codes, scales };
}

/** element · scale, for nvfp4 element · f32(scale · tensorScale). */
export function mxDequantize(quantized: MxQuantized, options: MxOptions & Out<Float32Array>): Float32Array {
  return run(mx_dequantize_f32, quantized, options, (p) => ({ out: decoded(quantized, p) }));
}

function decoded({ codes, scales }: MxQuantized, p: Params): Float32Array {
  const out = new Float32Array(mx_dequantize_f32.lengths(p).out!);
  const [element, width] = [elementOf(p), widthOf(p)];
  eachBlock(p, (block, row, from, to) => {
    const scale = scaleValue(scales[block]!, p);
    for (let i = from; i < to; i++)
      out[row * p.n! + i] = elementValue(get(codes, element, width, p.n!, row, i), element) * scale;
  });
  return out;
}

/** Every block by its place in scales: values [from, to) of a row. */
function eachBlock(p: Params, each: (block: number, row: number, from: number, to: number) => void): void {
  const size = blockOf(p);
  for (let row = 0, block = 0; row < p.rows!; row++)
    for (let from = 0; from < p.n!; from += size) each(block++, row, from, Math.min(from + size, p.n!));
}

const double = new DataView(new ArrayBuffer(8));

/** floor(log2 x) of a positive number: the exponent field of its float64, in which no f32 is denormal. */
function exponentOf(x: number): number {
  double.setFloat64(0, x);
  return (double.getUint16(0) >> 4) - 1023;
}

/** E8M0: 2^(byte − 127), the power of two that brings the largest magnitude into the element's range. */
function powerScale(largest: number, p: Params): number {
  if (!Number.isFinite(largest)) return E8M0_NAN;
  if (largest === 0) return 0;
  const element = elementOf(p);
  const { mantissa, maxExponent } = element;
  const maximum = elementValue(element.maxCode, element);
  // The fields of the f32, as torchao reads them: a denormal's exponent is -127.
  const denormal = largest < 2 ** -126;
  let exponent = denormal ? -127 : exponentOf(largest);
  const significand = denormal ? 1 + largest / 2 ** -126 : largest / 2 ** exponent;
  if (p.scaling === 1 && significand > 1) exponent++;
  if (p.scaling === 2 && significand + 2 ** -(mantissa + 1) >= 2) exponent++;
  if (p.scaling === 3 && significand > maximum / 2 ** maxExponent) exponent++;
  return Math.min(Math.max(exponent - maxExponent + 127, 0), E8M0_NAN - 1);
}

/** E4M3 or UE5M3: largest / 6, within the normal range of scales, rounded to nearest, ties to even. */
function nvScale(largest: number, p: Params): number {
  const { min, max, bias, nan } = scaleOf(p);
  if (!Number.isFinite(largest)) return nan;
  const scale = Math.min(Math.max(f32(f32(largest / 6) / p.tensorScale!), min), max);
  const exponent = exponentOf(scale);
  return roundTiesEven(scale * 2 ** (3 - exponent)) - 8 + ((exponent + bias) << 3);
}

/** What a scale byte stands for; nvfp4: times the tensor's scale, rounded to f32. */
function scaleValue(byte: number, p: Params): number {
  if (!isNv(p.format!)) return byte === E8M0_NAN ? NaN : 2 ** (byte - 127);
  const { bias, nan } = scaleOf(p);
  // The bit above E4M3 is a sign, which quantization never sets.
  const magnitude = byte & nan;
  if (magnitude === nan) return NaN;
  const value = floatValue(magnitude, 3, 1 - bias);
  return f32((byte === magnitude ? value : -value) * p.tensorScale!);
}

/** A float of `mantissa` bits whose exponents begin at `minExponent`, gradual underflow below. */
function floatValue(code: number, mantissa: number, minExponent: number): number {
  const exponent = code >> mantissa;
  const fraction = code & (2 ** mantissa - 1);
  if (exponent === 0) return fraction * 2 ** (minExponent - mantissa);
  return (2 ** mantissa + fraction) * 2 ** (minExponent - mantissa + exponent - 1);
}

/** What a code stands for: a float with its sign, or an integer's value as `get` gives it. */
function elementValue(code: number, { bits, mantissa, minExponent, integer }: Element): number {
  if (integer) return code * 2 ** -mantissa;
  const sign = code >> (bits - 1) ? -1 : 1;
  const magnitude = code & (2 ** (bits - 1) - 1);
  if (bits === 8 && mantissa === 3 && magnitude === 0x7f) return NaN;
  if (bits === 8 && mantissa === 2 && magnitude >= 0x7c) return magnitude === 0x7c ? sign * Infinity : NaN;
  return sign * floatValue(magnitude, mantissa, minExponent);
}

/** The code of a quotient from 0 to the element's maximum. */
function magnitudeCode(quotient: number, element: Element, rounding: number): number {
  const { mantissa, minExponent } = element;
  if (quotient === 0) return 0;
  const exponent = Math.max(exponentOf(quotient), minExponent);
  const steps = quotient * 2 ** (mantissa - exponent);
  const below = Math.floor(steps);
  const up = rounding === EVEN ? roundTiesEven(steps) > below : rounding === AWAY && steps - below >= 0.5;
  const rounded = up ? below + 1 : below;
  return rounded + (exponent - minExponent) * 2 ** mantissa;
}

/** Where the i-th code of a row lies: its first byte, and the bit there. */
const byteOf = (width: number, n: number, row: number, i: number) =>
  row * Math.ceil((n * width) / 8) + ((i * width) >> 3);
const bitOf = (width: number, i: number) => (i * width) & 7;

function put(codes: Uint8Array, width: number, n: number, row: number, i: number, code: number): void {
  const [at, shift] = [byteOf(width, n, row, i), bitOf(width, i)];
  const placed = (code & ((1 << width) - 1)) << shift;
  codes[at]! |= placed;
  if (shift + width > 8) codes[at + 1]! |= placed >> 8;
}

/** The i-th code of a row; integers with their sign. */
function get(codes: Uint8Array, { bits, integer }: Element, width: number, n: number, row: number, i: number): number {
  const [at, shift] = [byteOf(width, n, row, i), bitOf(width, i)];
  const word = codes[at]! | (shift + width > 8 ? codes[at + 1]! << 8 : 0);
  const code = (word >> shift) & ((1 << width) - 1);
  if (integer) return code < 2 ** (width - 1) ? code : code - 2 ** width;
  return code & (2 ** bits - 1);
}
