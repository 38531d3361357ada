/**
 * Attention over stored keys, at most 64 of them at a time: their codes become bytes in scratch (a few KiB that stay in the
 * first-level cache: read by every head of the group, and one form for every format; 8 bits along rows are bytes already),
 * scores and outputs are sums of integers over those bytes.
 *
 * Rows are kept in tiles of four as lib/attention.ts lays them out (narrow), so that recent keys in full precision go
 * on where stored ones end. Behind each tile lies what is ours: queries rounded to 16 bits, and the weights.
 */

import { CHUNK_KEYS, attend, begin, finish, rescaleBlocks, weigh } from './attention';
import { dotsSaturate } from './dot';
import { widen } from './half';
import { apartOf, expandColumns, expandRows, fours, foursOfRows, keyFoursOfColumns, keyFoursOfRows } from './qattention-expand';
import { orderQueries, roundQueries, scores, scoresColumns, scoresRows } from './qattention-scores';
import {
  W_GROUP, W_OFFSET, addValues, addValuesBytes, roundFours, roundPairs, scaleScales, scaleWeights, weighOffsets,
} from './qattention-values';

/** Rows kept in scratch at a time. */
export const PASS_ROWS: u32 = 32;
const TILE_ROWS: u32 = 4;
/** Keys of a chunk: chunks end where the key's number is a multiple of it. */
const CHUNK: u32 = 64;

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
const TOP: usize = 320;
const UNIT: usize = 336;
/** Of 16 groups. */
const WPRODUCTSS: usize = 352;
const ONES: usize = WPRODUCTSS + 16 * W_GROUP;
const ZEROS: usize = ONES + 1024;
/** Scales that are not stored in f32 as f32, and behind them minima: [64 keys][16 groups]. */
const FLOATS: usize = ZEROS + 1024;
const FLOAT_MINIMA: usize = FLOATS + 4096;
/** Scales for weights to take in, their offsets [64 keys][16 groups] and the largest of each group. */
const SCALED: usize = FLOAT_MINIMA + 4096;
const OFFSETS: usize = SCALED + 68 * 64;
const HIGHEST: usize = OFFSETS + 68 * 64;
/** What `attend` passes scores through. */
const RECENT: usize = HIGHEST + 64;
/** Sums of products on their way (sumProducts). */
const PRODUCTS: usize = RECENT;
const ROWS: usize = RECENT + 2080;

// In a tile, behind what lib/attention.ts keeps there:
/** Which column group the queries are rounded for, plus 1; unit of the rounded queries; sums and offsets of 16 groups; weights. */
const Q_UNIT: usize = 16;
const W_UNIT: usize = 48;
const Q_SUMS: usize = 64;
const Q_OFFSETS: usize = Q_SUMS + 16 * 16;
/** Scores, then weights, of 64 keys and a few beside them, which fours of keys read too. */
const P: usize = Q_OFFSETS + 31 * 16;
const QUERIES: usize = P + 80 * 16;

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

/** What does not change within a call. */
export function prepare(scratch: usize): void {
  for (let i: usize = 0; i < 1024; i += 4) store<f32>(scratch + ONES + i, 1);
  memory.fill(scratch + ZEROS, 0, 1024);
}

// @ts-ignore: decorator
@inline
function tileBytes(headDim: u32, valueDim: u32): usize {
  return QUERIES + ((4 + headDim + valueDim) << 4) + (headDim << 4) + ((headDim + 15 & ~15) << 3);
}

// @ts-ignore: decorator
@inline
function ours(tile: usize, headDim: u32, valueDim: u32): usize {
  return tile + ((4 + headDim + valueDim) << 4);
}

// @ts-ignore: decorator
@inline
function tilesAt(scratch: usize, headDim: u32, valueDim: u32): usize {
  return scratch + ROWS + 164 * max(headDim, valueDim) + 64;
}

/** Rows [row, end) of a pass, as in lib/attention.ts. */
export function beginPass(
  scratch: usize, q: usize, queries: u32, keys: u32, headDim: u32, valueDim: u32, factor: f32, causal: u32, window: u32,
  head: u32, group: u32, query: u32, row: u32, end: u32,
): void {
  const k = kSide(scratch);
  for (let tile = tilesAt(scratch, headDim, valueDim); row < end; row += TILE_ROWS) {
    begin<f32>(q, queries, keys, headDim, valueDim, factor, causal, window, head, group, query, row, min(row + TILE_ROWS, end), tile);
    const own = ours(tile, headDim, valueDim);
    orderQueries(tile + 64, headDim, k.apart, own + QUERIES);
    store<u32>(own, 0);
    if (!k.column) {
      roundQueries(
        own + QUERIES, scratch + ONES, scratch + ONES, 0, headDim, k.size, k.bytes,
        own + QUERIES + (headDim << 4), own + Q_UNIT, own + Q_SUMS, own + Q_OFFSETS,
      );
      if (ASC_FEATURE_RELAXED_SIMD && k.bytes) {
        // As scoresRows takes them.
        const inverse = v128.load(own + Q_UNIT, 16);
        for (let at = own + Q_OFFSETS, end = at + (k.groups << 4); at < end; at += 16) v128.store(at, f32x4.mul(v128.load(at), inverse));
      }
    }
    tile += tileBytes(headDim, valueDim);
  }
}

/** The newest keys, then outputs and their log-sum-exp. k and v as if stored keys lay before the recent ones. */
export function endPass(
  scratch: usize, kRecent: usize, vRecent: usize, stored: u32, keys: u32, cap: f32, output: usize, lse: usize,
  queries: u32, headDim: u32, valueDim: u32, head: u32, group: u32, query: u32, row: u32, end: u32,
): void {
  for (let tile = tilesAt(scratch, headDim, valueDim); row < end; row += TILE_ROWS) {
    const to = min(row + TILE_ROWS, end);
    attend<f32>(kRecent, vRecent, headDim, valueDim, cap, to - row, stored, keys, CHUNK_KEYS, tile, scratch + RECENT);
    finish<f32>(output, lse, queries, headDim, valueDim, head, group, query, row, to, tile);
    tile += tileBytes(headDim, valueDim);
  }
}

/** Keys of a row of words (3 bits: of three). */
// @ts-ignore: decorator
@inline
function keysOfWord(side: Side): u32 {
  return side.bits == 3 ? 32 : 32 / side.bits;
}

/** Where the codes of a key begin, and how many bytes those of `count` keys take. */
// @ts-ignore: decorator
@inline
function codesAt(side: Side, key: u32): usize {
  return side.codes + <usize>(side.column ? key / keysOfWord(side) : key) * side.codeStep;
}

// @ts-ignore: decorator
@inline
function codeBytes(side: Side, count: u32): usize {
  return <usize>(side.column ? count / keysOfWord(side) : count) * side.codeStep;
}

/** Codes of keys [from, from + count) become bytes at `e`, unless they are; answers with where key `from` stands. */
function expand(side: Side, from: u32, count: u32, table: usize, bytes: usize, e: usize): usize {
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
function expandFours(side: Side, from: u32, count: u32, table: usize, bytes: usize, e: usize, f: usize): void {
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
function bring(scratch: usize, side: Side, at: usize, count: u32): void {
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

/** Scores of keys from some of their dimensions. */
// @ts-ignore: decorator
@inline
function score(
  k: Side, e: usize, count: u32, x: usize, width: u32, sums: usize, unit: usize, second: u32, offsets: usize,
  s: usize, step: u32, m: usize, minStep: u32, middle: f32, add: bool, p: usize, next: usize, nextEnd: usize,
): void {
  const nextStep = touched(count, next, nextEnd);
  const factor = factorFor(k, second), half = halfOf(k, second);
  if (k.stored && k.flip) scores<i8>(e, k.n, count, x, width, sums, half, unit, factor, offsets, s, step, m, minStep, middle, add, p, next, nextStep, nextEnd);
  else scores<u8>(e, k.n, count, x, width, sums, half, unit, factor, offsets, s, step, m, minStep, middle, add, p, next, nextStep, nextEnd);
}

/** What a byte stands for, of a codebook's first or second table. */
// @ts-ignore: decorator
@inline
function factorFor(side: Side, second: u32): f32 {
  return side.two && !second ? 128 * side.factor : side.factor;
}
// @ts-ignore: decorator
@inline
function halfOf(side: Side, second: u32): i32 {
  return second ? 0 : side.two ? 64 : side.half;
}

/** Bytes to touch with two keys. */
// @ts-ignore: decorator
@inline
function touched(count: u32, next: usize, nextEnd: usize): u32 {
  return (nextEnd - next) / ((count + 1) >> 1);
}

/** Scores of keys [from, to) of a chunk that begins with `first` (in columns, at e with `base`), for one tile, whose queries have been rounded or are now. */
function scoreTile(scratch: usize, own: usize, e: usize, base: u32, first: u32, from: u32, to: u32, second: u32, next: usize, nextEnd: usize): void {
  const k = kSide(scratch);
  const n = k.n;
  const x = own + QUERIES + (n << 4), unit = own + Q_UNIT, ones = scratch + ONES, products = scratch + PRODUCTS;
  let sums = own + Q_SUMS, offsets = own + Q_OFFSETS;
  let p = own + P;
  if (k.column) {
    while (from < to) {
      const run = from / k.size;
      const end = min(to, (run + 1) * k.size);
      if (load<u32>(own) != run + 1) {
        bring(scratch, k, <usize>run * n, n);
        roundQueries(own + QUERIES, k.s, k.m, k.middle, n, n, k.bytes, x, unit, sums, offsets);
        store<u32>(own, run + 1);
      }
      const count = end - from, nextStop = end == to ? nextEnd : next + (nextEnd - next >> 1);
      if (ASC_FEATURE_RELAXED_SIMD && k.bytes) {
        const lead = from - base & 3, at = e + (from - base - lead) * n, nextStep = touched(count, next, nextStop);
        scoresColumns(at, n, lead, lead + count, x, sums, k.half, unit, offsets, p - (lead << 4), products, k.span, next, nextStep, nextStop);
      } else score(k, e + (from - base) * n, count, x, n, sums, unit, 0, offsets, ones, 0, ones, 0, 0, false, p, next, nextStop);
      next += nextEnd - next >> 1;
      p += (end - from) << 4;
      from = end;
    }
    return;
  }
  let scales = k.s + (from - first) * k.step, minima = k.m + (from - first) * k.minStep;
  const count = to - from;
  if (ASC_FEATURE_RELAXED_SIMD && k.bytes) {
    const lead = from - first & 3, at = e + (from - first - lead) * n, nextStep = touched(count, next, nextEnd);
    const factor = factorFor(k, second), half = halfOf(k, second);
    scales -= lead * k.step;
    minima -= lead * k.minStep;
    p -= lead << 4;
    scoresRows(
      at, n, lead, lead + count, x, k.size, sums, half, unit, factor, offsets,
      scales, k.step, minima, k.minStep, k.middle, second > 0, p, products, k.span, next, nextStep, nextEnd,
    );
    return;
  }
  e += (from - first) * n;
  for (let c: u32 = 0; c < n; c += k.size) {
    score(
      k, e + c, count, x + (c << 3), min(k.size, n - c), sums, unit, second, second ? scratch + ZEROS : offsets,
      scales, k.step, minima, k.minStep, k.middle, c > 0 || second > 0, p, next, nextEnd,
    );
    next = nextEnd;
    sums += 16;
    offsets += 16;
    scales += 4;
    if (k.minStep) minima += 4;
  }
}

/** Weights of keys, from row `row` of those expanded on, take in scales and are rounded. */
// @ts-ignore: decorator
@inline
function round(v: Side, row: u32, count: u32, p: usize, scaled: usize, offsets: usize, step: u32, w: usize): void {
  weighOffsets(p, count, offsets, step, w + W_OFFSET);
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (v.bytes) {
      const lead = row & 3;
      roundFours(p - (lead << 4), lead, lead + count, scaled - lead * step, step, w);
      return;
    }
  }
  roundPairs(p, count, scaled, step, w);
}

/** Their values are added to the outputs. */
// @ts-ignore: decorator
@inline
function add(
  v: Side, scratch: usize, e: usize, row: u32, count: u32, size: u32, highest: usize, second: u32, s: usize, m: usize, o: usize,
  next: usize, nextEnd: usize,
): void {
  const n = v.n;
  const nextStep: u32 = (nextEnd - next) / (n >> 3);
  const factor = factorFor(v, second), half = halfOf(v, second);
  const w = scratch + WPRODUCTSS, unit = scratch + UNIT;
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (v.bytes) {
      const lead = row & 3;
      const fours = (lead + count + 3) >> 2;
      e += (row - lead) * n;
      addValuesBytes(e, n, fours, w, size, half, unit, factor, highest, 1 - second, s, m, v.middle, o, scratch + PRODUCTS, v.span, next, nextStep, nextEnd);
      return;
    }
  }
  if (v.stored && v.flip) addValues<i8>(e + row * n, n, count, w, size, half, unit, factor, highest, 1 - second, s, m, v.middle, o, next, nextStep, nextEnd);
  else addValues<u8>(e + row * n, n, count, w, size, half, unit, factor, highest, 1 - second, s, m, v.middle, o, next, nextStep, nextEnd);
}

/**
 * Outputs of one tile take up the values of keys [from, to), of which the first is row `row` of those expanded and, of
 * those whose scales are at hand, number `at`.
 */
function addTile(
  scratch: usize, own: usize, o: usize, e: usize, row: u32, at: u32, from: u32, to: u32, second: u32, next: usize, nextEnd: usize,
): void {
  const v = vSide(scratch);
  const n = v.n;
  const ones = scratch + ONES;
  let p = own + P, w = scratch + WPRODUCTSS;
  if (v.column) {
    while (from < to) {
      const end = min(to, (from / v.size + 1) * v.size);
      bring(scratch, v, <usize>(from / v.size) * n, n);
      round(v, row, end - from, p, ones, ones, 0, w);
      add(v, scratch, e, row, end - from, n, ones, 0, v.s, v.m, o, next, nextEnd);
      next = nextEnd;
      row += end - from;
      p += (end - from) << 4;
      from = end;
    }
    return;
  }
  let scaled = scratch + SCALED + at * v.step, offsets = scratch + OFFSETS + at * v.step;
  for (let g = v.groups; g; g--) {
    round(v, row, to - from, p, scaled, offsets, v.step, w);
    scaled += 4;
    offsets += 4;
    w += W_GROUP;
  }
  add(v, scratch, e, row, to - from, v.size, scratch + HIGHEST, second, 0, 0, o, next, nextEnd);
}

/** The largest score of each row. */
function largest(p: usize, count: u32, top: usize): void {
  const end = p + (count << 4);
  let high = f32x4.splat(-Infinity);
  do {
    high = f32x4.pmax(high, v128.load(p));
    p += 16;
  } while (p < end);
  v128.store(top, high);
}

/** The tiles of a pass of `rows` rows attend to stored keys [first, end). */
export function attendStored(scratch: usize, first: u32, end: u32, rows: u32, headDim: u32, valueDim: u32, cap: f32): void {
  const k = kSide(scratch), v = vSide(scratch);
  const bytes = scratch + ROWS;
  const e = bytes + 32 * max(headDim, valueDim), f = e + 66 * max(headDim, valueDim);
  const tiles = tilesAt(scratch, headDim, valueDim);
  const tileStep = tileBytes(headDim, valueDim);
  const tilesEnd = tiles + (rows + TILE_ROWS - 1) / TILE_ROWS * tileStep;
  while (first < end) {
    const chunkEnd = min((first & -CHUNK) + CHUNK, end);
    const count = chunkEnd - first;
    if (!k.column) bring(scratch, k, <usize>first * k.groups, count * k.groups);
    let part: u32 = 0;
    // Codes of these keys' values come near while scores are computed, those of the next keys with the outputs.
    let next = codesAt(v, first), nextEnd = next + codeBytes(v, count);
    do {
      const table = k.table ? k.table + (part << 4) : 0;
      let at = f, base = first;
      if (ASC_FEATURE_RELAXED_SIMD && k.bytes) {
        expandFours(k, first, count, table, bytes, e, f);
        if (k.column) base -= first % keysOfWord(k);
      } else at = expand(k, first, count, table, bytes, e);
      for (let tile = tiles; tile < tilesEnd; tile += tileStep) {
        const from = max(first, load<u32>(tile)), to = min(chunkEnd, load<u32>(tile, 28));
        if (from < to)
          scoreTile(scratch, ours(tile, headDim, valueDim), at, base, first, from, to, part, next, nextEnd);
        next = nextEnd;
      }
    } while (part++ < k.two);

    for (let tile = tiles; tile < tilesEnd; tile += tileStep) {
      const from = max(first, load<u32>(tile)), to = min(chunkEnd, load<u32>(tile, 28));
      if (from >= to) continue;
      const p = ours(tile, headDim, valueDim) + P;
      const masked = from < load<u32>(tile, 12) || to > load<u32>(tile, 16);
      largest(p, to - from, scratch + TOP);
      if (weigh(p, to - from, 16, tile, scratch + TOP, from, masked, cap)) rescaleBlocks(tile + ((4 + headDim) << 4), valueDim, scratch + TOP);
    }

    if (!v.column) {
      bring(scratch, v, <usize>first * v.groups, count * v.groups);
      scaleScales(v.s, v.m, v.minStep, v.middle, count, v.groups, scratch + SCALED, scratch + OFFSETS, scratch + HIGHEST);
    }
    part = 0;
    next = codesAt(k, chunkEnd);
    nextEnd = next + codeBytes(k, min(end - chunkEnd, CHUNK));
    do {
      const table = v.table ? v.table + (part << 4) : 0;
      let row: u32 = 0, from = f;
      if (ASC_FEATURE_RELAXED_SIMD && v.bytes && !v.column && !(v.n & 31))
        foursOfRows(v.codes + <usize>first * v.codeStep, count, v.n, v.bits, v.flip, table, f);
      else {
        from = expand(v, first, count, table, bytes, e);
        if (!v.stored) {
          row = (from - e) / v.n;
          from = e;
        }
        if (v.bytes) {
          fours(e, (row + count + 3) >> 2, v.n, f);
          from = f;
        }
      }
      for (let tile = tiles; tile < tilesEnd; tile += tileStep) {
        const key = max(first, load<u32>(tile)), to = min(chunkEnd, load<u32>(tile, 28));
        if (key >= to) continue;
        const own = ours(tile, headDim, valueDim);
        // A tile's weights are scaled once.
        if (!part) scaleWeights(own + P, to - key, own + W_UNIT);
        v128.store(scratch + UNIT, v128.load(own + W_UNIT));
        addTile(scratch, own, tile + ((4 + headDim) << 4), from, row + key - first, key - first, key, to, part, next, nextEnd);
        next = nextEnd;
      }
    } while (part++ < v.two);
    first = chunkEnd;
  }
}
