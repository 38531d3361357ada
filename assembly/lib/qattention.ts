/**
 * Attention over stored keys, at most 64 of them at a time: their codes become bytes in scratch (a few KiB that stay in the
 * first-level cache: read by every head of the group, and one form for every format; 8 bits along rows are bytes already),
 * scores and outputs are sums of integers over those bytes.
 *
 * Rows are kept in tiles of four as lib/attention.ts lays them out (narrow), so that recent keys in full precision go
 * on where stored ones end. Behind each tile lies what is ours: queries rounded to 16 bits, and the weights.
 */

import { CHUNK_KEYS, attend, begin, finish, rescaleBlocks, weigh } from './attention';
import { fours, foursOfRows } from './qattention-expand';
import { orderQueries, roundQueries, scores, scoresColumns, scoresRows } from './qattention-scores';
import {
  HIGHEST, OFFSETS, ONES, PRODUCTS, RECENT, ROWS, SCALED, Side, TOP, UNIT, WEIGHTS, ZEROS, bring, codeBytes, codesAt, expand, expandFours,
  factorFor, halfOf, kSide, keysOfWord, vSide,
} from './qattention-side';
import {
  W_GROUP, W_OFFSET, addValues, addValuesBytes, roundFours, roundPairs, scaleScales, scaleWeights, weighOffsets,
} from './qattention-values';

/** Rows kept in scratch at a time. */
export const PASS_ROWS: u32 = 32;
const TILE_ROWS: u32 = 4;
/** Keys of a chunk: chunks end where the key's number is a multiple of it. */
const CHUNK: u32 = 64;

// In a tile, behind what lib/attention.ts keeps there:
/** Which column group the queries are rounded for, plus 1; unit of the rounded queries; sums and offsets of 16 groups; weights. */
const Q_UNIT: usize = 16;
const W_UNIT: usize = 48;
const Q_SUMS: usize = 64;
const Q_OFFSETS: usize = Q_SUMS + 16 * 16;
/** Scores, then weights, of 64 keys and a few beside them, which fours of keys read too. */
const P: usize = Q_OFFSETS + 31 * 16;
const QUERIES: usize = P + 80 * 16;

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
  const w = scratch + WEIGHTS, unit = scratch + UNIT;
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
  let p = own + P, w = scratch + WEIGHTS;
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
