/** Integer codes of every format of f16 values, and back: integers.ts's and integers-dequantize.ts's code, computing in f32. */
import { half } from './lib/half';
import { quantizeIntegers } from './integers';
import { dequantizeIntegers } from './integers-dequantize';

/**
 * As quantize_integers_f32 with x f16 [rows, n]: the codes, scales and minima of the widened values, bit for bit. lows and highs
 * stay f32. x is aligned to 2 bytes.
 */
export function quantize_integers_f16(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  codes: usize, scales: usize, minima: usize, scaleType: u32, lows: usize, highs: usize, seed: u32, first: u32,
): void {
  quantizeIntegers<half>(x, rows, n, bits, groupSize, scheme, axis, codes, scales, minima, scaleType, lows, highs, seed, first);
}

/** As dequantize_integers_f32 with out f16 [rows, n]: its f32 values rounded once, ties to even; from 65520 on infinity. */
export function dequantize_integers_f16(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  out: usize, scaleType: u32,
): void {
  dequantizeIntegers<half>(codes, scales, minima, rows, n, bits, groupSize, scheme, axis, out, scaleType);
}
