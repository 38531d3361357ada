/** Softmax and its states over f16 values: softmax.ts's code, computing in f32. States (lse, max, sum) stay f32. */
import { half } from './lib/half';
import { eachRow, merge } from './softmax';

/**
 * out = softmax(scale·x) along rows, as softmax_f32.
 *
 * x, out: f16 [rows, n]; out may equal x. A weight is its f32 value rounded to f16: below 2^-25 it becomes 0.
 * Offsets are multiples of 2. Exponentials are computed twice (see eachRow): no scratch, and 2.8 (relaxed: 3.3) times the time of
 * softmax_f32 on rows in cache; logsumexp_f16 1.5 times that of logsumexp_f32.
 *
 * Not done: half of a row's exponentials kept as f32 in out (which has room for no more) where out is not x: a quarter less of
 * the last pass at best. All of them in scratch would halve it, but the contract has none.
 */
export function softmax_f16(x: usize, rows: u32, n: u32, scale: f32, out: usize): void {
  eachRow<half>(x, rows, n, scale, out, 0, 0, 0);
}

/** lse = ln Σ exp(scale·x) along rows, as logsumexp_f32. x: f16 [rows, n]; lse: f32 [rows]. */
export function logsumexp_f16(x: usize, rows: u32, n: u32, scale: f32, lse: usize): void {
  eachRow<half>(x, rows, n, scale, 0, 0, 0, lse);
}

/** The state (max, sum) of a chunk of a row, as softmax_state_f32. x: f16 [rows, n]; max, sum: f32 [rows]. */
export function softmax_state_f16(x: usize, rows: u32, n: u32, scale: f32, max: usize, sum: usize): void {
  eachRow<half>(x, rows, n, scale, 0, max, sum, 0);
}

/**
 * States over parts of the same rows merged, as softmax_merge_f32. outputs: f16 [states, rows, n]; lses: f32 [states, rows];
 * output: f16 [rows, n], summed in f32 and rounded once; lse: f32 [rows].
 */
export function softmax_merge_f16(
  outputs: usize, lses: usize, states: u32, rows: u32, n: u32, output: usize, lse: usize,
): void {
  merge<half>(outputs, lses, states, rows, n, output, lse);
}
