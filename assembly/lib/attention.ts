/**
 * Attention, with q, k, v and outputs in f32 or in halves (T), over a *tile* of query rows, four or eight of them in the
 * lanes of one or two vectors of scores and weights. Keys and values are used as they lie, whatever the dimensions and
 * key counts are: nothing is transposed or padded.
 *
 * A tile lives in scratch, 4·V rows to a slot (V vectors): first key visible to each row, one past the last (i32), the
 * running maximum m (in log2 units) and sum l, then the queries and the unnormalised outputs. A row's keys ascend with
 * its number. Scores pass through `p`, [keys of a chunk][4·V].
 *
 * Wide tiles (V = 2) hold queries and outputs by dimension, [dim][8 rows]; narrow ones (V = 1) in blocks of four
 * dimensions, [dim / 4][4 rows][4], as keys are read: nothing is splat, and a score is summed across lanes once.
 * When the dimension is no multiple of four a narrow tile's last block overlaps the one before (it begins at dim - 4):
 * the overlapped queries are 0, the overlapped outputs come out twice. Wide tiles overlap the last four output slots
 * only. Dimensions below 4 take wide tiles.
 */

import {
  EXP2_C1, EXP2_C2, EXP2_C3, EXP2_C4, EXP2_C5, EXP2_C6, EXP2_LOWEST, EXP2_MAGIC, LN2, LOG2E, TANH_LIMIT, TANH_SCALE, exp2_f32x4, ln_f64, tanh_f32x4,
} from './exp';
import { HALF_QUERIES, addNarrow, addOne, addWide, addWideCached, bytesOf, roundUp4, scoresNarrow, scoresOne, scoresWide } from './attention-products';
import { WIDEN_DOWN, WIDEN_FIELDS, WIDEN_UP, halves_i32x4, load1, load4, store1, store4, widen } from './half';
import { held_f32x4 } from './held';
import { high32, high64, low32, low64 } from './interleave';

/** Keys scored at a time: their K and V stay in the first-level cache while all tiles of a pass use them. */
export const CHUNK_KEYS: u32 = 64;
/** The same where a pass is one tile, or two of halves: long streams. */
const STREAMED_KEYS: u32 = 1024;
/** Rows kept in scratch at a time. */
export const PASS_ROWS: u32 = 64;

/** Where scores stand in scratch; the maxima of one tile and then the tiles follow. */
export const TILES_AT: usize = (CHUNK_KEYS + 1) << 5;

const LOWEST: f32 = -3.4028234663852886e38;
/** The running maximum may lag by this much (log2), which spares most rescaling of the outputs. */
const SLACK: f32 = 8;

/**
 * What queries are multiplied by, so that a product is a score in log2 units, or tanh's argument when there is a cap.
 */
// @ts-ignore: decorator
@inline
export function factorOf(scale: f32, cap: f32): f32 {
  return cap > 0 ? <f32>(<f64>scale / cap * TANH_SCALE) : scale * LOG2E;
}

/** First key visible to the query at `position` (its own key's number). */
// @ts-ignore: decorator
@inline
export function firstKey(position: i32, window: u32): i32 {
  return window ? max(position + 1 - <i32>window, 0) : 0;
}

/** One past the last key visible to the query at `position`. */
// @ts-ignore: decorator
@inline
export function endKey(position: i32, keys: u32, causal: u32, window: u32): i32 {
  return causal | window ? max(position + 1, 0) : keys;
}

/**
 * Scores of one vector of rows become weights: cap and mask (where `masked` says that a row sees only part of
 * [first, first + count)), the maximum brought up to date, p = 2^(score - m), l in step. `top` holds the rows' largest
 * scores, and afterwards, when the answer is true, what the outputs are to be multiplied by.
 */
export function weigh(p: usize, count: u32, stride: u32, state: usize, top: usize, first: u32, masked: bool, cap: f32): bool {
  const lowest = held_f32x4(EXP2_LOWEST), magic = held_f32x4(EXP2_MAGIC), one = held_f32x4(1);
  const c1 = held_f32x4(EXP2_C1), c2 = held_f32x4(EXP2_C2), c3 = held_f32x4(EXP2_C3), c4 = held_f32x4(EXP2_C4), c5 = held_f32x4(EXP2_C5), c6 = held_f32x4(EXP2_C6);
  const end = p + count * stride;
  let high = v128.load(top);
  let x = p;
  if (cap > 0) {
    high = f32x4.splat(-Infinity);
    const limit = held_f32x4(TANH_LIMIT), capLog2 = f32x4.splat(cap * LOG2E);
    do {
      const s = f32x4.mul(capLog2, tanh_f32x4(v128.load(x), limit, magic, one, c1, c2, c3, c4, c5, c6));
      v128.store(x, s);
      high = f32x4.pmax(high, s);
      x += stride;
    } while (x < end);
    x = p;
  }
  if (masked) {
    high = f32x4.splat(-Infinity);
    const lo = v128.load(state), hi = v128.load(state + stride);
    let key = i32x4.splat(first);
    do {
      const visible = v128.andnot(i32x4.lt_s(key, hi), i32x4.lt_s(key, lo));
      const s = v128.bitselect(v128.load(x), f32x4.splat(-Infinity), visible);
      v128.store(x, s);
      high = f32x4.pmax(high, s);
      key = i32x4.add(key, i32x4.splat(1));
      x += stride;
    } while (x < end);
    x = p;
  }

  const mAt = state + (stride << 1), lAt = mAt + stride;
  let m = v128.load(mAt), l = v128.load(lAt);
  const grown = v128.any_true(f32x4.gt(high, f32x4.add(m, f32x4.splat(SLACK))));
  if (grown) {
    high = f32x4.pmax(m, high);
    const shrink = exp2_f32x4(f32x4.sub(m, high), lowest, magic, one, c1, c2, c3, c4, c5, c6);
    m = high;
    v128.store(mAt, m);
    l = f32x4.mul(l, shrink);
    v128.store(top, shrink);
  }
  let sum = f32x4.splat(0);
  do {
    const weight = exp2_f32x4(f32x4.sub(v128.load(x), m), lowest, magic, one, c1, c2, c3, c4, c5, c6);
    v128.store(x, weight);
    sum = f32x4.add(sum, weight);
    x += stride;
  } while (x < end);
  v128.store(lAt, f32x4.add(l, sum));
  for (; count & 3; count++) {
    v128.store(x, f32x4.splat(0));
    x += stride;
  }
  return grown;
}

/** Outputs of four rows of a wide tile times each row's `shrink`. */
function rescale(o: usize, slots: u32, shrink: usize): void {
  const factors = v128.load(shrink);
  for (const end = o + (slots << 5); o < end; o += 32) v128.store(o, f32x4.mul(v128.load(o), factors));
}

/** The same of a narrow tile. */
export function rescaleBlocks(o: usize, slots: u32, shrink: usize): void {
  const f0 = v128.load32_splat(shrink), f1 = v128.load32_splat(shrink, 4), f2 = v128.load32_splat(shrink, 8), f3 = v128.load32_splat(shrink, 12);
  for (const end = o + (slots << 4); o < end; o += 64) {
    v128.store(o, f32x4.mul(v128.load(o), f0));
    v128.store(o, f32x4.mul(v128.load(o, 16), f1), 16);
    v128.store(o, f32x4.mul(v128.load(o, 32), f2), 32);
    v128.store(o, f32x4.mul(v128.load(o, 48), f3), 48);
  }
}

/** Dimensions below 4 take wide tiles: a narrow one has no room for its overlapping step. */
// @ts-ignore: decorator
@inline
function narrow(left: u32, headDim: u32, valueDim: u32): bool {
  return left <= 4 && headDim >= 4 && valueDim >= 4;
}

/** Halves of a pass with so many rows become f32 in registers, all its tiles are narrow. Other passes find them widened. */
// @ts-ignore: decorator
@inline
function inRegisters<T>(rows: u32, headDim: u32, valueDim: u32): bool {
  return sizeof<T>() == 2 && rows <= 8 && headDim >= 4 && valueDim >= 4;
}

/** Which query row r of a pass is, counted over heads: query `query` + floor(r / group) of head `head` + r mod group. */
// @ts-ignore: decorator
@inline
function queryAt(r: u32, queries: u32, head: u32, group: u32, query: u32): usize {
  return <usize>(head + r % group) * queries + query + r / group;
}

/**
 * A pass: rows [row, end), at most PASS_ROWS, of a block of queries, in tiles. Row r is query `query` + floor(r /
 * group) of head `head` + r mod group, so that the heads that share keys share their reading too. Lanes past the end
 * repeat the last row.
 */
export function begin<T>(
  q: usize, queries: u32, keys: u32, headDim: u32, valueDim: u32, factor: f32, causal: u32, window: u32,
  head: u32, group: u32, query: u32, row: u32, end: u32, tile: usize,
): void {
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  const registers = inRegisters<T>(end - row, headDim, valueDim);
  if (registers) factor *= HALF_QUERIES;
  const factor_f32x4 = f32x4.splat(factor);
  const rowBytes = bytesOf<T>(headDim);
  while (row < end) {
    const wide: bool = !registers && !narrow(end - row, headDim, valueDim);
    const lanes: u32 = wide ? 8 : 4;
    const stride: u32 = lanes << 2;
    const queriesAt = tile + (stride << 2);
    const outputsAt = queriesAt + roundUp4(headDim) * stride;
    const next = outputsAt + roundUp4(valueDim) * stride;
    memory.fill(tile, 0, next - tile);
    for (let lane: u32 = 0; lane < lanes; lane++) {
      const at = tile + (lane << 2);
      const position: i32 = query + min(row + lane, end - 1) / group + keys - queries;
      store<i32>(at, firstKey(position, window));
      store<i32>(at + stride, endKey(position, keys, causal, window));
      store<f32>(at + (stride << 1), LOWEST);
      const from = q + queryAt(min(row + lane, end - 1), queries, head, group, query) * rowBytes;
      if (headDim >= 4) store<u32>(outputsAt + (lane << 2), from); // until it has been read
      else {
        for (let d: u32 = 0; d < headDim; d++) store<f32>(at + (4 + d << 5), load1<T>(from + bytesOf<T>(d)) * factor);
      }
    }
    for (let lane: u32 = 0; headDim >= 4 && lane < lanes; lane += 4) {
      const rows = outputsAt + (lane << 2);
      const r0: usize = load<u32>(rows), r1: usize = load<u32>(rows, 4), r2: usize = load<u32>(rows, 8), r3: usize = load<u32>(rows, 12);
      v128.store(rows, i32x4.splat(0));
      for (let c: u32 = 0; c < headDim; c += 4) {
        const d = min(c, headDim - 4), at = bytesOf<T>(d);
        const x0 = f32x4.mul(load4<T>(r0 + at, fields, up, down), factor_f32x4);
        const x1 = f32x4.mul(load4<T>(r1 + at, fields, up, down), factor_f32x4);
        const x2 = f32x4.mul(load4<T>(r2 + at, fields, up, down), factor_f32x4);
        const x3 = f32x4.mul(load4<T>(r3 + at, fields, up, down), factor_f32x4);
        if (wide) {
          const to = queriesAt + (d << 5) + (lane << 2);
          const low01 = low32(x0, x1), low23 = low32(x2, x3), high01 = high32(x0, x1), high23 = high32(x2, x3);
          v128.store(to, low64(low01, low23)); v128.store(to, high64(low01, low23), 32);
          v128.store(to, low64(high01, high23), 64); v128.store(to, high64(high01, high23), 96);
        } else {
          // Of a last block, what the one before holds too is 0.
          const fresh = i32x4.ge_s(i32x4(0, 1, 2, 3), i32x4.splat(c - d)), to = queriesAt + (c << 4);
          v128.store(to, v128.and(x0, fresh)); v128.store(to, v128.and(x1, fresh), 16);
          v128.store(to, v128.and(x2, fresh), 32); v128.store(to, v128.and(x3, fresh), 48);
        }
      }
    }
    tile = next;
    row += lanes;
  }
}

/** Bytes of a tile of eight rows. */
// @ts-ignore: decorator
@inline
function wideBytes(headDim: u32, valueDim: u32): usize {
  return (4 + roundUp4(headDim) + roundUp4(valueDim)) << 5;
}

/** A pass of one tile leaves room for more scores behind it, unless dimensions are few. */
// @ts-ignore: decorator
@inline
export function attendStreamed<T>(
  k: usize, v: usize, headDim: u32, valueDim: u32, cap: f32, rows: u32, first: u32, end: u32, tiles: usize, p: usize,
): void {
  const tile = wideBytes(headDim, valueDim);
  const room = (PASS_ROWS / 8 - 1) * tile;
  const chunk = min((room >> 5) - 1 & ~3, STREAMED_KEYS);
  if ((sizeof<T>() == 4 ? rows <= 8 : inRegisters<T>(rows, headDim, valueDim)) && chunk >= STREAMED_KEYS / 2) attend<T>(k, v, headDim, valueDim, cap, rows, first, end, chunk, tiles, tiles + tile);
  else attend<T>(k, v, headDim, valueDim, cap, rows, first, end, CHUNK_KEYS, tiles, p);
}

/** q·k of a narrow tile, of whose pass `left` rows are left. True: keys taken for finite (i16) were not. */
function narrowScores<T>(left: i32, q: usize, k: usize, headDim: u32, count: u32, p: usize, top: usize): bool {
  return left == 1 ? scoresOne<T>(q, k, headDim, count, p, top) : scoresNarrow<T>(q, k, headDim, count, p, top);
}

/** The same of p·v. */
function narrowAdd<T>(left: i32, p: usize, v: usize, valueDim: u32, count: u32, o: usize): bool {
  return left == 1 ? addOne<T>(p, v, valueDim, count, o) : addNarrow<T>(p, v, valueDim, count, o);
}

/** narrowAdd of halves taken for finite; true: they were not, and the outputs are as before. They wait in `room` meanwhile. */
function addFinite(left: i32, p: usize, v: usize, valueDim: u32, count: u32, o: usize, room: usize): bool {
  const bytes = roundUp4(valueDim) << 4;
  memory.copy(room, o, bytes);
  const odd = narrowAdd<i16>(left, p, v, valueDim, count, o);
  if (odd) memory.copy(o, room, bytes);
  return odd;
}

/** The tiles of a pass attend to keys [first, end) of one kv head, `chunk` at a time. */
export function attend<T>(
  k: usize, v: usize, headDim: u32, valueDim: u32, cap: f32, rows: u32, first: u32, end: u32, chunk: u32, tiles: usize, p: usize,
): void {
  if (sizeof<T>() == 2 && !inRegisters<T>(rows, headDim, valueDim)) {
    attendWidened(k, v, headDim, valueDim, cap, rows, first, end, tiles, p);
    return;
  }
  const kBytes = bytesOf<T>(headDim), vBytes = bytesOf<T>(valueDim);
  const outputSlots = valueDim < 4 ? valueDim : roundUp4(valueDim);
  const top = p + (chunk << 5);
  for (; first < end; first += chunk) {
    const chunkEnd = min(first + chunk, end);
    let tile = tiles;
    for (let left: i32 = rows; left > 0; ) {
      const wide: bool = sizeof<T>() == 4 && !narrow(left, headDim, valueDim);
      const lanes: u32 = wide ? 8 : 4;
      const stride: u32 = lanes << 2;
      const queriesAt = tile + (stride << 2);
      const outputsAt = queriesAt + roundUp4(headDim) * stride;
      // Keys ascend with the row: the first lane has the lowest bounds, the last lane the highest.
      const highest = tile + stride - 4;
      const from = max(first, load<u32>(tile));
      const to = min(chunkEnd, load<u32>(highest + stride));
      if (from < to) {
        const count = to - from;
        const masked = from < load<u32>(highest) || to > load<u32>(tile + stride);
        const kAt = k + from * kBytes;
        const vAt = v + from * vBytes;
        if (wide) {
          scoresWide(queriesAt, kAt, headDim, count, p, top);
          for (let half: usize = 0; half < 32; half += 16)
            if (weigh(p + half, count, 32, tile + half, top + half, from, masked, cap)) rescale(outputsAt + half, outputSlots, top + half);
          if (rows <= 8 || valueDim < 4) addWide(p, vAt, valueDim, count, outputsAt);
          else addWideCached(p, vAt, valueDim, count, outputsAt);
        } else {
          if (sizeof<T>() == 4 || narrowScores<i16>(left, queriesAt, kAt, headDim, count, p, top)) narrowScores<T>(left, queriesAt, kAt, headDim, count, p, top);
          if (weigh(p, count, 16, tile, top, from, masked, cap)) rescaleBlocks(outputsAt, outputSlots, top);
          // Room behind the scores, which are half as many as a wide tile's, or behind the tiles.
          const room = p > tiles ? p + (chunk << 4) : tiles + wideBytes(headDim, valueDim);
          if (sizeof<T>() == 4 || addFinite(left, p, vAt, valueDim, count, outputsAt, room)) narrowAdd<T>(left, p, vAt, valueDim, count, outputsAt);
        }
      }
      tile = outputsAt + roundUp4(valueDim) * stride;
      left -= lanes;
    }
  }
}

/** Keys and values in halves of passes with more rows: they become f32 behind the tiles, a chunk at a time. */
function attendWidened(
  k: usize, v: usize, headDim: u32, valueDim: u32, cap: f32, rows: u32, first: u32, end: u32, tiles: usize, p: usize,
): void {
  const kWide = tiles + PASS_ROWS / 8 * wideBytes(headDim, valueDim), vWide = kWide + CHUNK_KEYS * (headDim << 2);
  for (; first < end; first += CHUNK_KEYS) {
    const count = min(CHUNK_KEYS, end - first);
    widen(k + first * (headDim << 1), count * headDim, kWide);
    widen(v + first * (valueDim << 1), count * valueDim, vWide);
    attend<f32>(
      kWide - first * (headDim << 2), vWide - first * (valueDim << 2), headDim, valueDim, cap, rows, first, first + count, CHUNK_KEYS, tiles, p,
    );
  }
}

/** The rows of a pass are divided by their sums and written where they belong. */
export function finish<T>(
  output: usize, lse: usize, queries: u32, headDim: u32, valueDim: u32,
  head: u32, group: u32, query: u32, row: u32, end: u32, tile: usize,
): void {
  const rowBytes = bytesOf<T>(valueDim);
  const registers = inRegisters<T>(end - row, headDim, valueDim);
  while (row < end) {
    const wide: bool = !registers && !narrow(end - row, headDim, valueDim);
    const lanes: u32 = wide ? 8 : 4;
    const stride: u32 = lanes << 2;
    const outputsAt = tile + (4 + roundUp4(headDim)) * stride;
    for (let lane: u32 = 0; lane < lanes && row < end; lane += 4, row += 4) {
      const states = tile + (lane << 2);
      for (let r: u32 = 0; r < 4; r++) {
        const at = queryAt(min(row + r, end - 1), queries, head, group, query), state = states + (r << 2);
        const m = load<f32>(state + (stride << 1)), l = load<f32>(state + 3 * stride);
        if (row + r < end) store<f32>(lse + (at << 2), l > 0 ? <f32>(<f64>m * LN2 + ln_f64(l)) : l == 0 ? -Infinity : l);
        const to = output + at * rowBytes;
        store<u32>(state, to);
        if (valueDim < 4 && row + r < end)
          for (let c: u32 = 0; c < valueDim; c++)
            store1<T>(to + bytesOf<T>(c), load<f32>(outputsAt + (c << 5) + (lane + r << 2)) * (l == 0 ? 0 : 1 / l));
      }
      if (valueDim < 4) continue;
      const l = v128.load(states + 3 * stride);
      const inverse = v128.andnot(f32x4.div(f32x4.splat(1), l), f32x4.eq(l, f32x4.splat(0)));
      const i0 = v128.shuffle<f32>(inverse, inverse, 0, 0, 0, 0), i1 = v128.shuffle<f32>(inverse, inverse, 1, 1, 1, 1);
      const i2 = v128.shuffle<f32>(inverse, inverse, 2, 2, 2, 2), i3 = v128.shuffle<f32>(inverse, inverse, 3, 3, 3, 3);
      const o0: usize = load<u32>(states), o1: usize = load<u32>(states, 4), o2: usize = load<u32>(states, 8), o3: usize = load<u32>(states, 12);
      for (let c: u32 = 0; c < valueDim; c += 4) {
        const at = bytesOf<T>(min(c, valueDim - 4));
        const from = wide ? outputsAt + (c << 5) + (lane << 2) : outputsAt + (c << 4);
        const step: usize = wide ? 32 : 16;
        let x0 = v128.load(from), x1 = v128.load(from + step), x2 = v128.load(from + 2 * step), x3 = v128.load(from + 3 * step);
        if (wide) {
          const low01 = low32(x0, x1), low23 = low32(x2, x3), high01 = high32(x0, x1), high23 = high32(x2, x3);
          x0 = low64(low01, low23); x1 = high64(low01, low23); x2 = low64(high01, high23); x3 = high64(high01, high23);
        }
        // Rows past the end are the last one again, whose own comes last.
        store4<T>(o3 + at, f32x4.mul(x3, i3));
        store4<T>(o2 + at, f32x4.mul(x2, i2));
        store4<T>(o1 + at, f32x4.mul(x1, i1));
        store4<T>(o0 + at, f32x4.mul(x0, i0));
      }
    }
    tile = outputsAt + roundUp4(valueDim) * stride;
  }
}
