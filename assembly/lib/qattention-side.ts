/** K and V of quantised attention as they are stored: where, in which format, and how they become bytes. Where things stand in scratch. */

import { dotsSaturate } from './dot';
import { widen } from './half';
import { apartOf, expandColumns, expandRows, keyFoursOfColumns, keyFoursOfRows } from './qattention-expand';
import { W_GROUP } from './qattention-values';

const MXFP4: u32 = 2;
const CODEBOOK: u32 = 3;

/** K or V as stored, of one kv head at a time. */
@unmanaged
export class Side {
  codes: usize;
  scales: usize;
  minima: usize;
  exponents: usize;
  /** Scales and minima are halves. */
  halves: u32;
  /** Scales and minima in f32 of the keys at hand: see `bring`. */
  s: usize;
  m: usize;
  /** Values per key. */
  n: u32;
  bits: u32;
  /** 1: codes lie down columns, and so do groups. */
  column: u32;
  /** Values per group. */
  size: u32;
  /** Groups of a line. */
  groups: u32;
  /** Bytes of a key's codes, of a row of words (3 bits: of three). */
  codeStep: u32;
  /** Bytes from one key's scales in f32 to the next; and minima's, or 0. */
  step: u32;
  minStep: u32;
  /** Bytes of a kv head. */
  codeBytes: usize;
  scaleBytes: usize;
  /** Every code's sign bit, or 0. */
  flip: u32;
  /** A byte u stands for u − half, */
  half: i32;
  /** which is `middle` scales above the minimum, times `factor`. */
  middle: f32;
  factor: f32;
  /** Bytes that stand for the 16 codes, or 0. A second table after the first: values are 128·first + second. */
  table: usize;
  two: u32;
  scheme: u32;
  /** Bytes are below 128: products of bytes are exact. Keys, or values, lie in fours then. */
  bytes: u32;
  /** How many products of pairs sums of 16 bits hold, where the host is better off with those; or 0. */
  span: u32;
  /** How many dimensions apart the four of a key lie in fours of keys. */
  apart: u32;
  /** Codes are the bytes, and are read where they are stored. Symmetric ones are signed: no sign bit is flipped, half is 0. */
  stored: u32;

  /** On to the next kv head. */
  next(): void {
    this.codes += this.codeBytes;
    this.scales += this.scaleBytes;
    this.exponents += this.scaleBytes >> 2;
    if (!this.scheme) this.minima += this.scaleBytes;
  }
}

/** Where things stand in scratch. */
const V_SIDE: usize = 128;
const TABLES: usize = 256;
/** Rows' largest scores; what weights are scaled by. */
export const TOP: usize = 320;
export const UNIT: usize = 336;
/** Rounded weights of 16 groups. */
export const WEIGHTS: usize = 352;
export const ONES: usize = WEIGHTS + 16 * W_GROUP;
export const ZEROS: usize = ONES + 1024;
/** Scales that are not stored in f32 as f32, and behind them minima: [64 keys][16 groups]. */
const FLOATS: usize = ZEROS + 1024;
const FLOAT_MINIMA: usize = FLOATS + 4096;
/** Scales for weights to take in, their offsets [64 keys][16 groups] and the largest of each group. */
export const SCALED: usize = FLOAT_MINIMA + 4096;
export const OFFSETS: usize = SCALED + 68 * 64;
export const HIGHEST: usize = OFFSETS + 68 * 64;
/** What `attend` passes scores through. */
export const RECENT: usize = HIGHEST + 64;
/** Sums of products on their way (sumProducts). */
export const PRODUCTS: usize = RECENT;
export const ROWS: usize = RECENT + 2080;

/** What does not change within a call. */
export function prepare(scratch: usize): void {
  for (let i: usize = 0; i < 1024; i += 4) store<f32>(scratch + ONES + i, 1);
  memory.fill(scratch + ZEROS, 0, 1024);
}

export function kSide(scratch: usize): Side {
  return changetype<Side>(scratch);
}

export function vSide(scratch: usize): Side {
  return changetype<Side>(scratch + V_SIDE);
}

export function fill(
  scratch: usize, at: usize, codes: usize, scales: usize, minima: usize, exponents: usize, table: usize,
  n: u32, capacity: u32, scheme: u32, bits: u32, column: u32, groupSize: u32, halves: u32,
): void {
  const side = changetype<Side>(at);
  const length = column ? capacity : n;
  const lines = column ? n : capacity;
  const size = groupSize == 0 || groupSize > length ? length : groupSize;
  const words: u32 = bits == 3 ? (length + 31) / 32 * 3 : (length * bits + 31) >> 5;
  side.codes = codes;
  side.scales = scales;
  side.exponents = exponents;
  side.n = n;
  side.bits = bits;
  side.column = column;
  side.size = size;
  side.groups = size ? (length + size - 1) / size : 0;
  side.codeStep = column ? n * (bits == 3 ? 12 : 4) : words << 2;
  side.step = side.groups << 2;
  side.codeBytes = <usize>lines * words << 2;
  side.halves = halves;
  side.scaleBytes = <usize>lines * side.groups << (2 - halves);
  const symmetric = scheme == 1;
  side.flip = !symmetric ? 0 : bits == 3 ? -1 : <u32>-1 / ((1 << bits) - 1) << (bits - 1);
  side.half = 1 << (bits - 1);
  side.middle = symmetric ? 0 : <f32>side.half;
  side.factor = 1;
  side.table = 0;
  side.two = 0;
  side.scheme = scheme;
  side.minima = minima;
  side.m = scratch + ZEROS;
  side.minStep = scheme ? 0 : side.step;
  if (scheme >= MXFP4) {
    side.middle = 0;
    side.table = at == scratch ? scratch + TABLES : scratch + TABLES + 32;
  }
  if (scheme == MXFP4) {
    // Twice the values of E2M1, and 12.
    side.half = 12;
    side.factor = 0.5;
    store<u64>(side.table, 0x18_14_12_10_0f_0e_0d_0c);
    store<u64>(side.table, 0x00_04_06_08_09_0a_0b_0c, 8);
  }
  if (scheme == CODEBOOK) {
    let largest: f32 = 1e-30;
    for (let i: usize = 0; i < 16; i++) largest = max(largest, abs(load<f32>(table + (i << 2))));
    side.factor = largest / 8191;
    side.two = 1;
    for (let i: usize = 0; i < 16; i++) {
      const value: i32 = <i32>nearest(load<f32>(table + (i << 2)) / side.factor);
      store<u8>(side.table + i, (value >> 7) + 64);
      store<u8>(side.table + i, value & 127, 16);
    }
  }
  side.bytes = 0;
  side.span = 0;
  if (ASC_FEATURE_RELAXED_SIMD && bits < 8) {
    const saturates = dotsSaturate();
    // A codebook's bytes are too large for sums of 16 bits: pairs of i16 take less then.
    side.bytes = saturates && scheme == CODEBOOK ? 0 : 1;
    // The largest byte that stands for a code, times 2·128.
    if (saturates) side.span = 127 / (scheme == MXFP4 ? 24 : (1 << bits) - 1);
  }
  side.apart = side.bytes && !column ? apartOf(n, bits) : 1;
  side.stored = bits == 8 && !column ? 1 : 0;
  if (side.stored && symmetric) side.half = 0;
}

/** What a byte stands for, of a codebook's first or second table. */
// @ts-ignore: decorator
@inline
export function factorFor(side: Side, second: u32): f32 {
  return side.two && !second ? 128 * side.factor : side.factor;
}

// @ts-ignore: decorator
@inline
export function halfOf(side: Side, second: u32): i32 {
  return second ? 0 : side.two ? 64 : side.half;
}

/** Keys of a row of words (3 bits: of three). */
// @ts-ignore: decorator
@inline
export function keysOfWord(side: Side): u32 {
  return side.bits == 3 ? 32 : 32 / side.bits;
}

/** Where the codes of a key begin, and how many bytes those of `count` keys take. */
// @ts-ignore: decorator
@inline
export function codesAt(side: Side, key: u32): usize {
  return side.codes + <usize>(side.column ? key / keysOfWord(side) : key) * side.codeStep;
}

// @ts-ignore: decorator
@inline
export function codeBytes(side: Side, count: u32): usize {
  return <usize>(side.column ? count / keysOfWord(side) : count) * side.codeStep;
}

/** Codes of keys [from, from + count) become bytes at `e`, unless they are; answers with where key `from` stands. */
export function expand(side: Side, from: u32, count: u32, table: usize, bytes: usize, e: usize): usize {
  if (!side.column) {
    const codes = side.codes + <usize>from * side.codeStep;
    if (side.stored) return codes;
    expandRows(codes, count, side.n, side.bits, side.flip, table, e);
    return e;
  }
  const perWord = keysOfWord(side);
  const first = from / perWord;
  const words = (from + count + perWord - 1) / perWord - first;
  expandColumns(side.codes + <usize>first * side.codeStep, words, side.n, side.bits, side.flip, bytes, e);
  return e + (from - first * perWord) * side.n;
}

/** The same in fours of keys, at `f`. */
export function expandFours(side: Side, from: u32, count: u32, table: usize, bytes: usize, e: usize, f: usize): void {
  if (!side.column) {
    keyFoursOfRows(side.codes + <usize>from * side.codeStep, count, side.n, side.bits, side.flip, table, e, f);
    return;
  }
  const perWord = keysOfWord(side), first = from / perWord;
  const words = (from + count + perWord - 1) / perWord - first;
  keyFoursOfColumns(side.codes + <usize>first * side.codeStep, words, side.n, side.bits, side.flip, bytes, e, f);
}

/** E8M0's powers of two: 0 is 2^-127, subnormal, and 255 NaN. */
// @ts-ignore: decorator
@inline
function powers_f32x4(bytes: v128): v128 {
  const exponents = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
  const special = v128.or(i32x4.eq(exponents, i32x4.splat(0)), i32x4.eq(exponents, i32x4.splat(255)));
  return v128.or(i32x4.shl(exponents, 23), v128.and(special, i32x4.splat(0x400000)));
}

/** Brings scales, and minima where there are any, number `at` to `at` + `count`: in place when they are stored in f32. */
export function bring(scratch: usize, side: Side, at: usize, count: u32): void {
  const affine = !side.scheme;
  if (side.scheme == MXFP4 || side.halves) {
    let to = scratch + FLOATS;
    side.s = to;
    if (side.halves) {
      widen(side.scales + (at << 1), count, to);
      if (affine) widen(side.minima + (at << 1), count, (side.m = scratch + FLOAT_MINIMA));
      return;
    }
    at += side.exponents;
    const end = at + count;
    for (; at + 4 <= end; at += 4, to += 16) v128.store(to, powers_f32x4(v128.load32_zero(at)));
    for (; at < end; at++, to += 4) v128.store32_lane(to, powers_f32x4(v128.load8_splat(at)), 0);
    return;
  }
  side.s = side.scales + (at << 2);
  if (affine) side.m = side.minima + (at << 2);
}
