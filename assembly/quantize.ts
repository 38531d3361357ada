import { WIDEN_DOWN, WIDEN_FIELDS, WIDEN_UP, halves_i32x4, loadNthFinite4, load4, loadSome, splat1, widen_f32x4 } from './lib/half';
import { loadFew } from './lib/part';
import { MAGIC, MAGIC_BITS, SAFE_SCALE, code_f32x4, codeBytes, group, halfOf, scale } from './lib/quantize';
import { quantizeColumns } from './lib/quantize-columns';
import { held_f32x4, held_i32x4 } from './lib/held';
import { maxAcross_f32x4, minAcross_f32x4 } from './lib/reduce';

/** Blocks of 16 values worked off together: a page of them. */
// @ts-ignore: decorator
@inline
function chunkOf<T>(): u32 {
  return 256 / sizeof<T>();
}

/** The same code at every place of a word. */
// @ts-ignore: decorator
@inline
function repeated(bits: u32, code: i32): i32 {
  return code * (bits == 8 ? 0x01010101 : bits == 4 ? 0x11111111 : 0x55555555);
}

/** a0 + w·a1, a2 + w·a3, ... of sixteen i16 as eight i16: neighbours joined in one. `weights` is (1, w). */
// @ts-ignore: decorator
@inline
function join_i16x8(a: v128, b: v128, weights: v128): v128 {
  return i16x8.narrow_i32x4_s(i32x4.dot_i16x8_s(a, weights), i32x4.dot_i16x8_s(b, weights));
}

/** Sixteen codes in two vectors of i16 as bits/2 words in the first lanes. */
// @ts-ignore: decorator
@inline
function pack16(bits: u32, a: v128, b: v128, by4: v128, by16: v128): v128 {
  if (bits == 8) return i8x16.narrow_i16x8_u(a, b);
  if (bits == 4) {
    const bytes = join_i16x8(a, b, by16);
    return i8x16.narrow_i16x8_u(bytes, bytes);
  }
  const nibbles = join_i16x8(a, b, by4);
  const bytes = join_i16x8(nibbles, nibbles, by16);
  return i8x16.narrow_i16x8_u(bytes, bytes);
}

/** The least and the greatest of four lanes; symmetric: the greatest magnitude. */
// @ts-ignore: decorator
@inline
function storeExtremes(low: v128, high: v128, symmetric: u32, scales: usize, minima: usize): void {
  low = minAcross_f32x4(low);
  high = maxAcross_f32x4(high);
  if (symmetric) high = f32x4.pmax(f32x4.abs(high), f32x4.abs(low));
  else v128.store_lane<f32>(minima, low, 0);
  v128.store_lane<f32>(scales, high, 0);
}

/**
 * Groups follow each other without a seam and lie in rows of `row` blocks of 16 values; a group has `size` blocks, or what
 * is left of its row. `rest` blocks are left of the first group's row. After each row, `skip` bytes of x are passed over, and
 * one scale and minimum if there are any.
 *
 * The least value of each group into `minima`, the greatest into `scales`; symmetric: the greatest |x| into `scales`. NaN is
 * passed over, or is greatest.
 */
function extremes<T>(
  x: usize, groups: u32, size: u32, row: u32, rest: u32, skip: u32, symmetric: u32, scales: usize, minima: usize,
): void {
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  const slot: u32 = skip ? 4 : 0;
  do {
    let low = v128.load(x);
    let high = low;
    let blocks = min(size, rest);
    rest -= blocks;
    if (sizeof<T>() == 4) {
      do {
        const a = v128.load(x);
        const b = v128.load(x, 16);
        const c = v128.load(x, 32);
        const d = v128.load(x, 48);
        low = f32x4.pmin(low, f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d)));
        high = f32x4.pmax(high, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)));
        x += 64;
      } while (--blocks);
    } else {
      // Halves as integers: those with a sign are the greatest without regard to it, the largest of them first.
      let unsigned = low;
      do {
        const a = v128.load(x);
        const b = v128.load(x, 16);
        low = i16x8.min_u(low, i16x8.min_u(a, b));
        high = i16x8.max_s(high, i16x8.max_s(a, b));
        unsigned = i16x8.max_u(unsigned, i16x8.max_u(a, b));
        x += 32;
      } while (--blocks);
      const lowest = v128.bitselect(unsigned, low, i16x8.shr_s(unsigned, 15));
      const highest = v128.bitselect(low, high, i16x8.shr_s(high, 15));
      low = f32x4.pmin(widen_f32x4(i32x4.extend_low_i16x8_s(lowest), fields, up, down), widen_f32x4(i32x4.extend_high_i16x8_s(lowest), fields, up, down));
      high = f32x4.pmax(widen_f32x4(i32x4.extend_low_i16x8_s(highest), fields, up, down), widen_f32x4(i32x4.extend_high_i16x8_s(highest), fields, up, down));
    }
    storeExtremes(low, high, symmetric, scales, minima);
    minima += 4;
    scales += 4;
    if (!rest) {
      rest = row;
      x += skip;
      minima += slot;
      scales += slot;
    }
  } while (--groups);
}

/**
 * The codes of groups whose scales are known. Those that are not plain (constant, denormal, NaN) are done again. After each
 * row, `codeSkip` bytes of codes are passed over too. Four: an integer of the size of four codes.
 *
 * Next, if it is f32: in passing, the extremes of as many groups behind them, which divisions leave time for. Rows hold whole
 * groups then, and nothing is skipped.
 */
// @ts-ignore: decorator
@inline
function pack<T, Four, Next>(
  x: usize, groups: u32, size: u32, row: u32, rest: u32, skip: u32, codeSkip: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  const bits: u32 = 2 * sizeof<Four>();
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP);
  const half = halfOf(bits, symmetric);
  const magic = held_f32x4(MAGIC + <f32>half);
  const magicBits = held_i32x4(MAGIC_BITS);
  const by4 = held_i32x4(0x0004_0001);
  const by16 = held_i32x4(0x0010_0001);
  const flip = i32x4.splat(repeated(bits, half));
  const impossible = held_i32x4(~(((1 << bits) - 1) * 0x0001_0001));
  const slot: u32 = skip ? 4 : 0;
  const ahead = <usize>(groups * size) << 6;
  const aheadSlots = <usize>groups << 2;
  do {
    const s = v128.load32_splat(scales);
    const minimum = symmetric ? i32x4.splat(0) : v128.load32_splat(minima);
    let odd = i32x4.splat(0);
    const all = isFloat<Next>() ? size : min(size, rest);
    rest -= all;
    let blocks = all;
    let low = isFloat<Next>() ? v128.load(x + ahead) : odd;
    let high = low;
    do {
      const a = i32x4.sub(code_f32x4(loadNthFinite4<T>(x, 0, fields, up), minimum, s, magic), magicBits);
      const b = i32x4.sub(code_f32x4(loadNthFinite4<T>(x, 1, fields, up), minimum, s, magic), magicBits);
      const ab = i16x8.narrow_i32x4_s(a, b);
      if (isFloat<Next>()) {
        const next0 = v128.load(x + ahead);
        const next1 = v128.load(x + ahead, 16);
        low = f32x4.pmin(low, f32x4.pmin(next0, next1));
        high = f32x4.pmax(high, f32x4.pmax(next0, next1));
      }
      const c = i32x4.sub(code_f32x4(loadNthFinite4<T>(x, 2, fields, up), minimum, s, magic), magicBits);
      const d = i32x4.sub(code_f32x4(loadNthFinite4<T>(x, 3, fields, up), minimum, s, magic), magicBits);
      const cd = i16x8.narrow_i32x4_s(c, d);
      if (isFloat<Next>()) {
        const next2 = v128.load(x + ahead, 32);
        const next3 = v128.load(x + ahead, 48);
        low = f32x4.pmin(low, f32x4.pmin(next2, next3));
        high = f32x4.pmax(high, f32x4.pmax(next2, next3));
      }
      odd = v128.or(odd, v128.or(ab, cd)); // NaN saturates
      const words = v128.xor(pack16(bits, ab, cd, by4, by16), flip);
      if (bits == 2) v128.store_lane<i32>(codes, words, 0);
      else if (bits == 4) v128.store_lane<i64>(codes, words, 0);
      else v128.store(codes, words);
      x += 16 * sizeof<T>();
      codes += 2 * bits;
    } while (--blocks);
    if (isFloat<Next>()) storeExtremes(low, high, symmetric, scales + aheadSlots, minima + aheadSlots);
    if (!(load<f32>(scales) >= SAFE_SCALE) || v128.any_true(v128.and(odd, impossible)))
      group<T>(x - all * (16 * sizeof<T>()), sizeof<T>(), all << 4, bits, symmetric, codes - all * 2 * bits, 4, scales, minima);
    scales += 4;
    minima += 4;
    if (!isFloat<Next>() && !rest) {
      rest = row;
      x += skip;
      codes += codeSkip;
      scales += slot;
      minima += slot;
    }
  } while (--groups);
}

function packGroups<T, Next>(
  x: usize, groups: u32, size: u32, row: u32, rest: u32, skip: u32, codeSkip: u32, bits: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  if (bits == 2) pack<T, u8, Next>(x, groups, size, row, rest, skip, codeSkip, symmetric, codes, scales, minima);
  else if (bits == 4) pack<T, u16, Next>(x, groups, size, row, rest, skip, codeSkip, symmetric, codes, scales, minima);
  else pack<T, u32, Next>(x, groups, size, row, rest, skip, codeSkip, symmetric, codes, scales, minima);
}

/** From here on, blocks of a row's last group are worth a call of their own. */
const LONG: u32 = 64;

/** The extremes of the last groups of rows `stride` bytes apart, which end within a block. */
function foldLast<T>(
  x: usize, stride: u32, rows: u32, length: u32, symmetric: u32, scales: usize, minima: usize, slots: u32,
): void {
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  const blocks = length >= LONG ? length >> 4 : 0;
  do {
    let low = splat1<T>(x);
    let high = low;
    if (blocks) {
      extremes<T>(x, 1, blocks, blocks, blocks, 0, symmetric, scales, minima);
      high = v128.load32_splat(scales);
      low = symmetric ? high : v128.load32_splat(minima);
    }
    for (let i: u32 = length < 4 ? 1 : blocks << 4; i < length; i += length < 4 ? 1 : 4) {
      // The last four values, some of them again; of fewer, each one.
      const v = length < 4 ? splat1<T>(x + sizeof<T>() * i) : load4<T>(x + sizeof<T>() * min(i, length - 4), fields, up, down);
      low = f32x4.pmin(low, v);
      high = f32x4.pmax(high, v);
    }
    storeExtremes(low, high, symmetric, scales, minima);
    x += stride;
    scales += slots;
    minima += slots;
  } while (--rows);
}

/** Fewer than four values; the others are those of `rest`. */
// @ts-ignore: decorator
@inline
function few<T>(x: usize, count: u32, rest: v128): v128 {
  if (sizeof<T>() == 4) return loadFew(x, count, rest);
  return v128.bitselect(loadSome<T>(x, count), rest, i32x4.gt_s(i32x4.splat(count), i32x4(0, 1, 2, 3)));
}

/** The codes of those groups, four at a time; what is not plain is done again as in `pack`. */
function packLast<T>(
  x: usize, stride: u32, rows: u32, length: u32, bits: u32, symmetric: u32, codes: usize, codeStride: u32,
  scales: usize, minima: usize, slots: u32,
): void {
  const fields = halves_i32x4<T>(WIDEN_FIELDS), up = halves_i32x4<T>(WIDEN_UP), down = halves_i32x4<T>(WIDEN_DOWN);
  const half = halfOf(bits, symmetric);
  const magic = held_f32x4(MAGIC + <f32>half);
  const magicBits = held_i32x4(MAGIC_BITS);
  const impossible = held_i32x4(~((1 << bits) - 1));
  // Bytes join to pairs, pairs to four codes.
  const pairs: u32 = ((1 << (2 * bits)) - 1) * 0x0001_0001;
  const fours = <u32>((<u64>1 << (4 * bits)) - 1);
  const flip = fours & repeated(bits, half);
  const blocks = length >= LONG ? length >> 4 : 0;
  do {
    const scale = load<f32>(scales);
    // A constant group: every quotient is 0, or NaN.
    const s = f32x4.splat(scale == 0 ? 1 : scale);
    const minimum = symmetric ? i32x4.splat(0) : v128.load32_splat(minima);
    let odd = i32x4.splat(0);
    if (blocks) packGroups<T, bool>(x, 1, blocks, blocks, blocks, 0, 0, bits, symmetric, codes, scales, minima);
    let at = codes + blocks * 2 * bits;
    let word: u32 = 0;
    let shift: u32 = 0;
    for (let i = blocks << 4; i < length; i += 4) {
      const left = length - i;
      // Missing ones get code 0.
      const v = left < 4 ? few<T>(x + sizeof<T>() * i, left, minimum) : load4<T>(x + sizeof<T>() * i, fields, up, down);
      const code = i32x4.sub(code_f32x4(v, minimum, s, magic), magicBits);
      odd = v128.or(odd, code);
      const narrow = i16x8.narrow_i32x4_s(code, code);
      const bytes: u32 = i32x4.extract_lane(i8x16.narrow_i16x8_u(narrow, narrow), 0);
      const pair = (bytes | (bytes >> (8 - bits))) & pairs;
      word |= ((pair | (pair >> (16 - 2 * bits))) & fours ^ flip) << shift;
      shift += 4 * bits;
      if (shift == 32 || left <= 4) {
        store<u32>(at, word);
        at += 4;
        word = 0;
        shift = 0;
      }
    }
    // Blocks that were not plain were done for themselves, and left a scale of NaN or one too small to be safe.
    const now = load<f32>(scales);
    if (!(now >= SAFE_SCALE || (now == 0 && !blocks)) || v128.any_true(v128.and(odd, impossible)))
      group<T>(x, sizeof<T>(), length, bits, symmetric, codes, 4, scales, minima);
    x += stride;
    codes += codeStride;
    scales += slots;
    minima += slots;
  } while (--rows);
}

/** Whole blocks of 16 in rows of `row` blocks. */
function quantizeBlocks<T>(
  x: usize, rows: u32, row: u32, size: u32, bits: u32, symmetric: u32, codes: usize, scales: usize, minima: usize,
): void {
  const perRow = (row + size - 1) / size;
  const chunk = max(1, chunkOf<T>() / size);
  const chunkBytes = <usize>(chunk * size) * (16 * sizeof<T>());
  let rest = row;
  const uniform = row % size == 0;
  let known = false;
  for (let left = rows * perRow; left; ) {
    const groups = min(left, chunk);
    if (!known) {
      extremes<T>(x, groups, size, row, rest, 0, symmetric, scales, minima);
      scale(groups, bits, symmetric, scales, minima);
    }
    known = sizeof<T>() == 4 && uniform && left >= 2 * chunk;
    // Prefetching ends with a page: the one after the next begins to come near while this one is worked off.
    if (left >= 4 * chunk) load<u8>(x + 2 * chunkBytes);
    if (known) packGroups<T, f32>(x, groups, size, row, rest, 0, 0, bits, symmetric, codes, scales, minima);
    else packGroups<T, bool>(x, groups, size, row, rest, 0, 0, bits, symmetric, codes, scales, minima);
    // Blocks done: whole rows, and what the first and the last of them hold of this chunk.
    const before = (row - rest) / size;
    const after = before + groups;
    const blocks = after / perRow * row + after % perRow * size - before * size;
    rest = row - after % perRow * size;
    x += blocks * (16 * sizeof<T>());
    codes += blocks * 2 * bits;
    scales += 4 * groups;
    minima += 4 * groups;
    left -= groups;
    if (known) scale(groups, bits, symmetric, scales, minima);
  }
}

function quantizeRows<T>(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, symmetric: u32, codes: usize, scales: usize, minima: usize,
): void {
  if (!(n & 15)) {
    quantizeBlocks<T>(x, rows, n >> 4, groupSize >> 4, bits, symmetric, codes, scales, minima);
    return;
  }
  // Each row: groups of whole blocks, then one that ends with less than a block.
  const groups = groupSize & 15 ? 0 : n / groupSize;
  const whole = groups * groupSize;
  const length = n - whole;
  const wholeBytes = codeBytes(whole, bits);
  const lastBytes = codeBytes(length, bits);
  const row = whole >> 4;
  const size = groupSize >> 4;
  // Short rows go several at a time through the same loops, long ones by themselves through many rounds of them.
  const chunk = max(1, (chunkOf<T>() << 4) / n);
  while (rows) {
    const count = min(rows, chunk);
    const last = x + sizeof<T>() * whole;
    const slot = 4 * groups;
    if (chunk > 1 && groups) extremes<T>(x, count * groups, size, row, row, sizeof<T>() * length, symmetric, scales, minima);
    else if (groups) quantizeBlocks<T>(x, 1, row, size, bits, symmetric, codes, scales, minima);
    foldLast<T>(last, sizeof<T>() * n, count, length, symmetric, scales + slot, minima + slot, slot + 4);
    if (chunk > 1) scale(count * (groups + 1), bits, symmetric, scales, minima);
    else scale(1, bits, symmetric, scales + slot, minima + slot);
    if (chunk > 1 && groups)
      packGroups<T, bool>(x, count * groups, size, row, row, sizeof<T>() * length, lastBytes, bits, symmetric, codes, scales, minima);
    packLast<T>(
      last, sizeof<T>() * n, count, length, bits, symmetric, codes + wholeBytes, wholeBytes + lastBytes, scales + slot, minima + slot, slot + 4,
    );
    x += sizeof<T>() * n * count;
    codes += (wholeBytes + lastBytes) * count;
    scales += (slot + 4) * count;
    minima += (slot + 4) * count;
    rows -= count;
  }
}

function quantize<T>(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  if (rows == 0 || n == 0) return;
  const length = axis ? rows : n;
  if (groupSize == 0 || groupSize > length) groupSize = length;
  if (axis) quantizeColumns<T>(x, rows, n, bits, groupSize, scheme, codes, scales, minima);
  else quantizeRows<T>(x, rows, n, bits, groupSize, scheme, codes, scales, minima);
}

/**
 * Integer codes of 2, 4 or 8 bits with one scale (and, when affine, one minimum) per group of values.
 *
 * x f32 [rows, n].
 * axis 0, groups along a row: codes u32 [rows, ceil(n·bits/32)], each row starts a word;
 *   scales, minima f32 [rows, ceil(n/groupSize)].
 * axis 1, groups down a column: codes u32 [ceil(rows·bits/32), n], word w of column c holds rows w·32/bits and following;
 *   scales, minima f32 [ceil(rows/groupSize), n].
 * Codes lie in a word low bits first, unused high bits are 0. groupSize 0, or longer than the axis: the whole axis; the
 * last group may be shorter. scheme 0 affine: scale = (max − min) / (2^bits − 1), code = round((x − min) / scale); back
 * code·scale + min. scheme 1 symmetric: scale = max|x| / (2^(bits−1) − 1), code = round(x / scale) in two's complement;
 * back code·scale; no minima (offset 0).
 *
 * Every operation is one correctly rounded f32 operation, divisions are divisions, rounding is to nearest, ties to even,
 * and nothing is fused at any level: the codes are the reference's (and KIVI's) bit for bit.
 * Scale 0 (a constant group, a range too small for f32): codes 0. NaN, infinity or a range that overflows: scale NaN,
 * minimum NaN, codes 0; other groups are not touched by it. −0 as a minimum may become +0.
 *
 * The caller guarantees: bits 2, 4 or 8; groupSize 0, a multiple of 16 or at least the axis; arrays that do not overlap;
 * minima when affine. Scratch: none (extremes wait in scales and minima until they become those).
 *
 * Method: Z. Liu et al., "KIVI", 2024, for format and layout. Rows go in chunks of 4 KB (a page: hardware prefetching ends
 * there) through three small loops: extremes of each group, four scales at a time, codes. Where groups are all alike, the loop
 * of codes finds the next chunk's extremes while it waits for divisions: 8 to 20 % less time. Adding 1.5·2^23 rounds;
 * neighbours are joined by i32x4.dot_i16x8_s with weights (1, 2^bits). Columns go four rows at a time (in the search for extremes
 * rows far apart: 2 to 18 % less time than neighbours): codes are joined by multiplications in whole registers. Loops take plain
 * groups for granted; the few that are not (constant, NaN, denormal scale) are found out by their codes or scale and done again by
 * `group`, one value at a time. Short rows that end within a block go through the same loops several at a time, passing over
 * their last groups, which have loops of their own: rows of 33 take 0.60 ns a value instead of 1.09.
 *
 * Not done (16 M values, 4 bits, groups of 32, one Zen 4 core): one pass per group instead of chunks, 7.0 ms instead of 5.8, 5.9
 * when software-pipelined; chunks of 2, 8, 64 KB, 6.5, 6.8, 8.7 ms; clamping every quotient, +0.5 ms; NaN by x − x in the search,
 * +0.8 ms; one loop for all bits, +0.9 ms; reading every line ahead by hand, +1.1 ms (one Intel Xeon core: +5 ms, two bytes of
 * each page 0, one, as is done, −1.1 of 11 ms); two neighbouring pages in turn, 512 bytes to 2 KB each, a byte of each coming
 * page touched (16 M values: that Xeon −14 to −17 %, a Zen 3 +17 to +35 %, without touching too); multiplying by reciprocals,
 * −1.2 ms, but other codes next to ties; the same and division only where a product comes near a tie (bits behind the point kept
 * in 16-bit lanes; one Zen 3 core, fused multiply-add, 2.3 % of groups of 32 done again), groups of 128 −8 %, of 32 +6 %, less
 * than finding extremes in passing gains; `bits` as an argument of `pack` instead of a type: binaryen makes the loops of 4 and 8
 * bits one again, 3 to 6 % slower from the cache, 240 bytes less. Columns in tiles of 256 to 2048, +3 to +40 %.
 */
export function quantize_f32(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  quantize<f32>(x, rows, n, bits, groupSize, scheme, axis, codes, scales, minima);
}

/** For quantize-f16; and for rotate, row by row. */
export { quantize, quantizeRows };
