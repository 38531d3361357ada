/**
 * Integer codes of 2, 4 or 8 bits with one scale (and, when affine, one minimum) per group of values.
 *
 * x, out f32 [rows, n].
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
 * there) through three small loops: extremes of each group, four scales at a time, codes. Adding 1.5·2^23 rounds;
 * neighbours are joined by i32x4.dot_i16x8_s with weights (1, 2^bits). Columns go four rows at a time: codes are joined by
 * multiplications in whole registers. Loops take plain groups for granted; the few that are not (constant, NaN, denormal
 * scale) are found out by their codes or scale and done again by `group`, one value at a time.
 *
 * Not done (16 M values, 4 bits, groups of 32, one Zen 4 core): one pass per group instead of chunks, 7.0 ms instead of
 * 5.8, 5.9 when software-pipelined; chunks of 2, 8, 64 KB, 6.5, 6.8, 8.7 ms; clamping every quotient, +0.5 ms; NaN by x − x
 * in the search, +0.8 ms; one loop for all bits, +0.9 ms; reading ahead by hand, +1.1 ms; multiplying by reciprocals,
 * −1.2 ms, but other codes next to ties. Columns in tiles of 256 to 2048, +3 to +40 %.
 */

/** 1.5·2^23: adding it rounds to an integer, ties to even, and leaves that integer above MAGIC_BITS in the number's bits. */
const MAGIC: f32 = 12582912.0;
const MAGIC_BITS: i32 = 0x4b400000;

/** From here on, range / scale cannot round to a code past the last: no clamp is needed. */
const SAFE_SCALE: f32 = 1e-37;

/** Blocks of 16 values worked off together: a page. */
const CHUNK: u32 = 64;

/** A splat that stays in a register (a literal would be rebuilt at every use): memory.size() >> 17 is always 0. */
// @ts-ignore: decorator
@inline
function held_i32x4(value: i32): v128 {
  return i32x4.splat((memory.size() >> 17) ^ value);
}

// @ts-ignore: decorator
@inline
function held_f32x4(value: f32): v128 {
  return held_i32x4(reinterpret<i32>(value));
}

/** The largest code: 3, 15, 255; symmetric 1, 7, 127. */
// @ts-ignore: decorator
@inline
function levels(bits: u32, symmetric: u32): f32 {
  return <f32>((1 << (bits - symmetric)) - 1);
}

/** Symmetric codes are computed plus `half`, which is their sign bit: flipping that bit gives two's complement. */
// @ts-ignore: decorator
@inline
function halfOf(bits: u32, symmetric: u32): i32 {
  return symmetric << (bits - 1);
}

/** Bytes of `length` codes in whole words. */
// @ts-ignore: decorator
@inline
function codeBytes(length: u32, bits: u32): u32 {
  const perWord = 5 - ctz(bits); // as a power of two
  return ((length + (1 << perWord) - 1) >> perWord) << 2;
}

/** The same code at every place of a word. */
// @ts-ignore: decorator
@inline
function repeated(bits: u32, code: i32): i32 {
  return code * (bits == 8 ? 0x01010101 : bits == 4 ? 0x11111111 : 0x55555555);
}

/** `x` as MAGIC_BITS + half + code where the quotient is in range; anything where the scale is 0 or NaN. */
// @ts-ignore: decorator
@inline
function code_f32x4(x: v128, minimum: v128, scale: v128, magic: v128): v128 {
  return f32x4.add(f32x4.div(f32x4.sub(x, minimum), scale), magic);
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

// ------------------------------------------------------------------------------------------------ groups along rows

/**
 * Groups follow each other without a seam and lie in rows of `row` blocks of 16 values; a group has `size` blocks, or what
 * is left of its row. `rest` blocks are left of the first group's row.
 *
 * The least value of each group into `minima`, the greatest into `scales`. NaN is passed over.
 */
function extremes(x: usize, groups: u32, size: u32, row: u32, rest: u32, scales: usize, minima: usize): void {
  do {
    let low = v128.load(x);
    let high = low;
    let blocks = min(size, rest);
    rest -= blocks;
    if (!rest) rest = row;
    do {
      const a = v128.load(x);
      const b = v128.load(x, 16);
      const c = v128.load(x, 32);
      const d = v128.load(x, 48);
      low = f32x4.pmin(low, f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d)));
      high = f32x4.pmax(high, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)));
      x += 64;
    } while (--blocks);
    low = f32x4.pmin(low, v128.shuffle<i32>(low, low, 2, 3, 0, 1));
    high = f32x4.pmax(high, v128.shuffle<i32>(high, high, 2, 3, 0, 1));
    low = f32x4.pmin(low, v128.shuffle<i32>(low, low, 1, 0, 3, 2));
    high = f32x4.pmax(high, v128.shuffle<i32>(high, high, 1, 0, 3, 2));
    v128.store_lane<f32>(minima, low, 0);
    v128.store_lane<f32>(scales, high, 0);
    minima += 4;
    scales += 4;
  } while (--groups);
}

/** The greatest |x| of each group into `scales`: as integers, so that NaN counts as greater than infinity. */
function magnitudes(x: usize, groups: u32, size: u32, row: u32, rest: u32, scales: usize): void {
  const absolute = held_i32x4(0x7fffffff);
  do {
    let high = i32x4.splat(0);
    let blocks = min(size, rest);
    rest -= blocks;
    if (!rest) rest = row;
    do {
      const a = v128.and(v128.load(x), absolute);
      const b = v128.and(v128.load(x, 16), absolute);
      const c = v128.and(v128.load(x, 32), absolute);
      const d = v128.and(v128.load(x, 48), absolute);
      high = i32x4.max_s(high, i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d)));
      x += 64;
    } while (--blocks);
    high = i32x4.max_s(high, v128.shuffle<i32>(high, high, 2, 3, 0, 1));
    high = i32x4.max_s(high, v128.shuffle<i32>(high, high, 1, 0, 3, 2));
    v128.store_lane<f32>(scales, high, 0);
    scales += 4;
  } while (--groups);
}

/** Greatest values become scales, in place; scale and minimum become NaN where the scale would not be finite. */
function scale(count: u32, bits: u32, symmetric: u32, scales: usize, minima: usize): void {
  const highest = levels(bits, symmetric);
  const highest_f32x4 = held_f32x4(highest);
  for (let vectors = count >> 2; vectors; vectors--) {
    const low = symmetric ? i32x4.splat(0) : v128.load(minima);
    const s = f32x4.div(f32x4.sub(v128.load(scales), low), highest_f32x4);
    const odd = f32x4.sub(s, s); // 0, or NaN
    v128.store(scales, f32x4.add(s, odd));
    if (!symmetric) v128.store(minima, f32x4.add(low, odd));
    scales += 16;
    minima += 16;
  }
  for (let left = count & 3; left; left--) {
    const low: f32 = symmetric ? 0 : load<f32>(minima);
    const s = (load<f32>(scales) - low) / highest;
    store<f32>(scales, s + (s - s));
    if (!symmetric) store<f32>(minima, low + (s - s));
    scales += 4;
    minima += 4;
  }
}

/**
 * The codes of groups whose scales are known. Those that are not plain (constant, denormal, NaN) are done again, with the
 * `more` values that follow the blocks.
 */
// @ts-ignore: decorator
@inline
function pack(
  bits: u32, x: usize, groups: u32, size: u32, row: u32, rest: u32, more: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  const half = halfOf(bits, symmetric);
  const magic = held_f32x4(MAGIC + <f32>half);
  const magicBits = held_i32x4(MAGIC_BITS);
  const by4 = held_i32x4(0x0004_0001);
  const by16 = held_i32x4(0x0010_0001);
  const flip = i32x4.splat(repeated(bits, half));
  const impossible = held_i32x4(~(((1 << bits) - 1) * 0x0001_0001));
  do {
    const s = v128.load32_splat(scales);
    const minimum = symmetric ? i32x4.splat(0) : v128.load32_splat(minima);
    let odd = i32x4.splat(0);
    const all = min(size, rest);
    rest -= all;
    if (!rest) rest = row;
    let blocks = all;
    do {
      const a = i32x4.sub(code_f32x4(v128.load(x), minimum, s, magic), magicBits);
      const b = i32x4.sub(code_f32x4(v128.load(x, 16), minimum, s, magic), magicBits);
      const ab = i16x8.narrow_i32x4_s(a, b);
      const c = i32x4.sub(code_f32x4(v128.load(x, 32), minimum, s, magic), magicBits);
      const d = i32x4.sub(code_f32x4(v128.load(x, 48), minimum, s, magic), magicBits);
      const cd = i16x8.narrow_i32x4_s(c, d);
      odd = v128.or(odd, v128.or(ab, cd)); // NaN saturates
      const words = v128.xor(pack16(bits, ab, cd, by4, by16), flip);
      if (bits == 2) v128.store_lane<i32>(codes, words, 0);
      else if (bits == 4) v128.store_lane<i64>(codes, words, 0);
      else v128.store(codes, words);
      x += 64;
      codes += 2 * bits;
    } while (--blocks);
    if (!(load<f32>(scales) >= SAFE_SCALE) || v128.any_true(v128.and(odd, impossible)))
      group(x - (all << 6), 4, (all << 4) + more, bits, symmetric, codes - all * 2 * bits, 4, scales, minima);
    scales += 4;
    minima += 4;
  } while (--groups);
}

function packGroups(
  x: usize, groups: u32, size: u32, row: u32, rest: u32, more: u32, bits: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  if (bits == 2) pack(2, x, groups, size, row, rest, more, symmetric, codes, scales, minima);
  else if (bits == 4) pack(4, x, groups, size, row, rest, more, symmetric, codes, scales, minima);
  else pack(8, x, groups, size, row, rest, more, symmetric, codes, scales, minima);
}

/** Values [from, length) of a group, `step` bytes apart, into its extremes; from 0 on they start anew. One at a time, all lanes alike. */
function foldRest(x: usize, step: u32, from: u32, length: u32, symmetric: u32, scales: usize, minima: usize): void {
  x += from * step;
  const absolute = held_i32x4(symmetric ? 0x7fffffff : -1);
  let low = v128.and(v128.load32_splat(x), absolute);
  let high = low;
  if (from) {
    high = v128.load32_splat(scales);
    if (!symmetric) low = v128.load32_splat(minima);
  }
  let odd = i32x4.splat(0);
  for (let left = length - from; left; left--) {
    const value = v128.and(v128.load32_splat(x), absolute);
    odd = v128.or(odd, f32x4.sub(value, value)); // NaN from the first NaN or infinity on
    high = f32x4.pmax(high, value);
    low = f32x4.pmin(low, value);
    x += step;
  }
  v128.store_lane<f32>(scales, f32x4.add(high, odd), 0);
  if (!symmetric) v128.store_lane<f32>(minima, low, 0);
}

/** The codes of values [from, length), whatever they are; `codes` is the word of the first, words lie `wordStep` apart. */
function packRest(
  x: usize, step: u32, from: u32, length: u32, bits: u32, symmetric: u32, codes: usize, wordStep: u32, scales: usize, minima: usize,
): void {
  x += from * step;
  const s = load<f32>(scales);
  const minimum: f32 = symmetric ? 0 : load<f32>(minima);
  const highest = levels(bits, symmetric);
  const lowest: f32 = symmetric ? -highest : 0;
  let word = 0;
  let shift: u32 = 0;
  for (let left = length - from; left; ) {
    if (s > 0) {
      const quotient = (load<f32>(x) - minimum) / s;
      const code = nearest(quotient < lowest ? lowest : quotient > highest ? highest : quotient);
      word |= (<i32>code & ((1 << bits) - 1)) << shift;
    }
    x += step;
    shift += bits;
    if (--left == 0 || shift == 32) {
      store<i32>(codes, word);
      codes += wordStep;
      word = 0;
      shift = 0;
    }
  }
}

/** One group of any length and content. */
function group(
  x: usize, step: u32, length: u32, bits: u32, symmetric: u32, codes: usize, wordStep: u32, scales: usize, minima: usize,
): void {
  foldRest(x, step, 0, length, symmetric, scales, minima);
  scale(1, bits, symmetric, scales, minima);
  packRest(x, step, 0, length, bits, symmetric, codes, wordStep, scales, minima);
}

/** Whole blocks of 16 in rows of `row` blocks. */
function quantizeBlocks(
  x: usize, rows: u32, row: u32, size: u32, bits: u32, symmetric: u32, codes: usize, scales: usize, minima: usize,
): void {
  const perRow = (row + size - 1) / size;
  const chunk = max(1, CHUNK / size);
  let rest = row;
  for (let left = rows * perRow; left; ) {
    const groups = min(left, chunk);
    if (symmetric) magnitudes(x, groups, size, row, rest, scales);
    else extremes(x, groups, size, row, rest, scales, minima);
    scale(groups, bits, symmetric, scales, minima);
    packGroups(x, groups, size, row, rest, 0, bits, symmetric, codes, scales, minima);
    // Blocks done: whole rows, and what the first and the last of them hold of this chunk.
    const before = (row - rest) / size;
    const after = before + groups;
    const blocks = after / perRow * row + after % perRow * size - before * size;
    rest = row - after % perRow * size;
    x += blocks << 6;
    codes += blocks * 2 * bits;
    scales += 4 * groups;
    minima += 4 * groups;
    left -= groups;
  }
}

function quantizeRows(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, symmetric: u32, codes: usize, scales: usize, minima: usize,
): void {
  if (!(n & 15)) {
    quantizeBlocks(x, rows, n >> 4, groupSize >> 4, bits, symmetric, codes, scales, minima);
    return;
  }
  // Each row: groups of whole blocks, then one that ends with less than a block.
  const groups = groupSize & 15 ? 0 : n / groupSize;
  const whole = groups * groupSize;
  const length = n - whole;
  const blocks = length >> 4;
  const wholeBytes = codeBytes(whole, bits);
  const lastBytes = codeBytes(length, bits);
  while (rows--) {
    if (groups) quantizeBlocks(x, 1, whole >> 4, groupSize >> 4, bits, symmetric, codes, scales, minima);
    x += 4 * whole;
    codes += wholeBytes;
    scales += 4 * groups;
    minima += 4 * groups;
    if (blocks) {
      if (symmetric) magnitudes(x, 1, blocks, blocks, blocks, scales);
      else extremes(x, 1, blocks, blocks, blocks, scales, minima);
      foldRest(x, 4, blocks << 4, length, symmetric, scales, minima);
      scale(1, bits, symmetric, scales, minima);
      packGroups(x, 1, blocks, blocks, blocks, length & 15, bits, symmetric, codes, scales, minima);
      packRest(x, 4, blocks << 4, length, bits, symmetric, codes + blocks * 2 * bits, 4, scales, minima);
    } else {
      group(x, 4, length, bits, symmetric, codes, 4, scales, minima);
    }
    x += 4 * length;
    codes += lastBytes;
    scales += 4;
    minima += 4;
  }
}

// -------------------------------------------------------------------------------------------- groups down columns

// @ts-ignore: decorator
@inline
function least_f32x4(low: v128, a: v128, b: v128, c: v128, d: v128): v128 {
  return f32x4.pmin(low, f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d)));
}

/** NaN where any is NaN or infinite, or their sum overflows; `high` comes first in pmax, which then keeps it. */
// @ts-ignore: decorator
@inline
function greatest_f32x4(high: v128, a: v128, b: v128, c: v128, d: v128): v128 {
  const sum = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
  return f32x4.add(f32x4.pmax(high, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d))), f32x4.sub(sum, sum));
}

// @ts-ignore: decorator
@inline
function magnitude_f32x4(high: v128, a: v128, b: v128, c: v128, d: v128, absolute: v128): v128 {
  const ab = i32x4.max_s(v128.and(a, absolute), v128.and(b, absolute));
  return i32x4.max_s(high, i32x4.max_s(ab, i32x4.max_s(v128.and(c, absolute), v128.and(d, absolute))));
}

/**
 * Four rows at a time are four streams too short for a hardware prefetcher when rows are of middling length. Reading one
 * word per cache line of the four rows after them keeps it on track: 64 bytes per vector, or 0 where it would not help.
 */
// @ts-ignore: decorator
@inline
function stepAhead(n: u32): usize {
  return n >= 96 && n <= 512 ? 64 : 0;
}

/** Folds up to four rows into the extremes of their columns; rows past the last repeat it. */
function foldRows(
  x: usize, x1: usize, x2: usize, x3: usize, ahead: usize, step: usize, vectors: u32, first: u32, symmetric: u32,
  scales: usize, minima: usize,
): void {
  const absolute = held_i32x4(0x7fffffff);
  // The first rows of a group meet themselves instead of what lies in the outputs.
  const high = first ? x : scales;
  const low = first ? x : minima;
  let at: usize = 0;
  if (symmetric) {
    do {
      const h = v128.and(v128.load(high + at), absolute);
      const a = v128.load(x + at);
      const b = v128.load(x1 + at);
      const c = v128.load(x2 + at);
      const d = v128.load(x3 + at);
      v128.store(scales + at, magnitude_f32x4(h, a, b, c, d, absolute));
      load<u32>(ahead);
      ahead += step;
      at += 16;
    } while (--vectors);
  } else {
    do {
      const h = v128.load(high + at);
      const l = v128.load(low + at);
      const a = v128.load(x + at);
      const b = v128.load(x1 + at);
      const c = v128.load(x2 + at);
      const d = v128.load(x3 + at);
      v128.store(minima + at, least_f32x4(l, a, b, c, d));
      v128.store(scales + at, greatest_f32x4(h, a, b, c, d));
      load<u32>(ahead);
      ahead += step;
      at += 16;
    } while (--vectors);
  }
}

/** The codes of up to four rows into bits [shift, shift + rows·bits) of their columns' words; those above become 0. */
function packRows(
  x: usize, x1: usize, x2: usize, x3: usize, rows: u32, vectors: u32, bits: u32, symmetric: u32, shift: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  const half = halfOf(bits, symmetric);
  const ones = 1 + (1 << bits) + (1 << (2 * bits)) + (1 << (3 * bits));
  const magic = held_f32x4(MAGIC + <f32>half);
  const base = held_i32x4(1 << bits);
  const magicBits = held_i32x4(MAGIC_BITS * ones);
  const flip = held_i32x4(half * ones);
  const mask = held_i32x4(<i32>((<u64>1 << (rows * bits)) - 1));
  const zero = held_i32x4(0);
  const keep = held_i32x4(shift ? -1 : 0);
  const used = held_i32x4(symmetric - 1);
  if (symmetric) minima = scales; // anything readable: `used` makes it 0
  let at: usize = 0;
  do {
    const s = v128.load(scales + at);
    const minimum = v128.and(v128.load(minima + at), used);
    let word = code_f32x4(v128.load(x3 + at), minimum, s, magic);
    word = i32x4.add(i32x4.mul(word, base), code_f32x4(v128.load(x2 + at), minimum, s, magic));
    word = i32x4.add(i32x4.mul(word, base), code_f32x4(v128.load(x1 + at), minimum, s, magic));
    word = i32x4.add(i32x4.mul(word, base), code_f32x4(v128.load(x + at), minimum, s, magic));
    word = v128.and(v128.xor(i32x4.sub(word, magicBits), flip), v128.and(mask, f32x4.gt(s, zero)));
    v128.store(codes + at, v128.or(i32x4.shl(word, shift), v128.and(v128.load(codes + at), keep)));
    at += 16;
  } while (--vectors);
}

function quantizeColumns(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, symmetric: u32, codes: usize, scales: usize, minima: usize,
): void {
  const stride = n << 2;
  const vectors = n >> 2;
  const step = stepAhead(n);
  while (rows) {
    const length = min(rows, groupSize);
    if (vectors) {
      for (let row: u32 = 0; row < length; row += 4) {
        const p = x + row * stride;
        const last = min(3, length - row - 1) * stride;
        foldRows(
          p, p + min(stride, last), p + min(2 * stride, last), p + last, rows - row < 8 ? p : p + 4 * stride, step,
          vectors, u32(row == 0), symmetric, scales, minima,
        );
      }
      scale(n & ~3, bits, symmetric, scales, minima);
      for (let row: u32 = 0; row < length; row += 4) {
        const p = x + row * stride;
        const last = min(3, length - row - 1) * stride;
        packRows(
          p, p + min(stride, last), p + min(2 * stride, last), p + last, min(4, length - row), vectors, bits, symmetric,
          row * bits & 31, codes + (row * bits >> 5) * stride, scales, minima,
        );
      }
    }
    // Columns past the last whole vector, and those that are not plain: NaN, denormal.
    for (let column: u32 = 0; column < n; column++) {
      const at = column << 2;
      if (column < (n & ~3)) {
        const s = load<f32>(scales + at);
        if (s == 0 || s >= SAFE_SCALE) continue;
      }
      group(x + at, stride, length, bits, symmetric, codes + at, stride, scales + at, minima + at);
    }
    x += length * stride;
    codes += (codeBytes(length, bits) >> 2) * stride;
    scales += stride;
    minima += stride;
    rows -= length;
  }
}

export function quantize_f32(
  x: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  codes: usize, scales: usize, minima: usize,
): void {
  if (rows == 0 || n == 0) return;
  const length = axis ? rows : n;
  if (groupSize == 0 || groupSize > length) groupSize = length;
  if (axis) quantizeColumns(x, rows, n, bits, groupSize, scheme, codes, scales, minima);
  else quantizeRows(x, rows, n, bits, groupSize, scheme, codes, scales, minima);
}

// ------------------------------------------------------------------------------------------------------ dequantize

/** Bits in pairs: each byte's lower and upper part as two bytes. */
// @ts-ignore: decorator
@inline
function split_i8x16(v: v128, shift: i32, mask: v128): v128 {
  const low = v128.and(v, mask);
  const high = v128.and(i16x8.shr_u(v, shift), mask);
  return v128.shuffle<i8>(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** The sixteen codes in the first bits/2 words, as bytes. */
// @ts-ignore: decorator
@inline
function unpack16(bits: u32, v: v128, by4: v128, by2: v128): v128 {
  if (bits == 8) return v;
  const nibbles = split_i8x16(v, 4, by4);
  return bits == 4 ? nibbles : split_i8x16(nibbles, 2, by2);
}

/** code · scale + minimum, two roundings. */
// @ts-ignore: decorator
@inline
function value_f32x4(code: v128, scale: v128, minimum: v128): v128 {
  return f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(code), scale), minimum);
}

/** The code at bit `shift` of a word, sign-extended as (u ^ half) − half, and its value. */
// @ts-ignore: decorator
@inline
function value_f32(word: u32, shift: u32, mask: u32, half: i32, scale: f32, minimum: f32): f32 {
  return <f32>(<i32>(word >> shift & mask ^ half) - half) * scale + minimum;
}

/** Groups in rows of blocks, as in `extremes`; `more` values follow the last. */
// @ts-ignore: decorator
@inline
function unpack(
  bits: u32, groups: u32, size: u32, row: u32, more: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize, out: usize,
): void {
  const half = halfOf(bits, symmetric);
  const by4 = held_i32x4(0x0f0f0f0f);
  const by2 = held_i32x4(0x03030303);
  const sign = held_i32x4(half * 0x0101_0101);
  const offset = held_i32x4(half * 0x0001_0001);
  const used = held_i32x4(symmetric - 1);
  if (symmetric) minima = scales; // anything readable: `used` makes it 0
  let rest = row;
  do {
    const s = v128.load32_splat(scales);
    const minimum = v128.and(v128.load32_splat(minima), used);
    let blocks = min(size, rest);
    rest -= blocks;
    if (!rest) rest = row;
    if (blocks) {
      do {
        const words = bits == 2 ? v128.load32_splat(codes) : bits == 4 ? v128.load64_splat(codes) : v128.load(codes);
        const bytes = v128.xor(unpack16(bits, words, by4, by2), sign);
        const ab = i16x8.sub(i16x8.extend_low_i8x16_u(bytes), offset);
        const cd = i16x8.sub(i16x8.extend_high_i8x16_u(bytes), offset);
        v128.store(out, value_f32x4(i32x4.extend_low_i16x8_s(ab), s, minimum));
        v128.store(out, value_f32x4(i32x4.extend_high_i16x8_s(ab), s, minimum), 16);
        v128.store(out, value_f32x4(i32x4.extend_low_i16x8_s(cd), s, minimum), 32);
        v128.store(out, value_f32x4(i32x4.extend_high_i16x8_s(cd), s, minimum), 48);
        codes += 2 * bits;
        out += 64;
      } while (--blocks);
    }
    scales += 4;
    minima += 4;
  } while (--groups);
  if (more) unpackRest(bits, more, symmetric, codes, load<f32>(scales - 4), symmetric ? 0 : load<f32>(minima - 4), out);
}

function unpackRest(bits: u32, count: u32, symmetric: u32, codes: usize, scale: f32, minimum: f32, out: usize): void {
  let shift: u32 = 0;
  do {
    store<f32>(out, value_f32(load<u32>(codes), shift, (1 << bits) - 1, halfOf(bits, symmetric), scale, minimum));
    shift += bits;
    codes += shift >> 5 << 2;
    shift &= 31;
    out += 4;
  } while (--count);
}

function unpackGroups(
  groups: u32, size: u32, row: u32, more: u32, bits: u32, symmetric: u32,
  codes: usize, scales: usize, minima: usize, out: usize,
): void {
  if (bits == 2) unpack(2, groups, size, row, more, symmetric, codes, scales, minima, out);
  else if (bits == 4) unpack(4, groups, size, row, more, symmetric, codes, scales, minima, out);
  else unpack(8, groups, size, row, more, symmetric, codes, scales, minima, out);
}

function dequantizeRows(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, symmetric: u32, out: usize,
): void {
  if (!(n & 15)) {
    unpackGroups(rows * ((n + groupSize - 1) / groupSize), groupSize >> 4, n >> 4, 0, bits, symmetric, codes, scales, minima, out);
    return;
  }
  const groups = groupSize & 15 ? 0 : n / groupSize;
  const whole = groups * groupSize;
  const length = n - whole;
  const wholeBytes = codeBytes(whole, bits);
  const lastBytes = codeBytes(length, bits);
  while (rows--) {
    if (groups) unpackGroups(groups, groupSize >> 4, whole >> 4, 0, bits, symmetric, codes, scales, minima, out);
    codes += wholeBytes;
    scales += 4 * groups;
    minima += 4 * groups;
    out += 4 * whole;
    unpackGroups(1, length >> 4, length >> 4, length & 15, bits, symmetric, codes, scales, minima, out);
    codes += lastBytes;
    scales += 4;
    minima += 4;
    out += 4 * length;
  }
}

/** The value of a code, sign-extended as (u ^ half) − half. */
// @ts-ignore: decorator
@inline
function signed_f32x4(code: v128, half: v128, scale: v128, minimum: v128): v128 {
  return value_f32x4(i32x4.sub(v128.xor(code, half), half), scale, minimum);
}

/** Up to four rows from bits [shift, shift + rows·bits) of their columns' words. */
function unpackRows(
  vectors: u32, bits: u32, symmetric: u32, shift: u32, codes: usize, scales: usize, minima: usize,
  out: usize, out1: usize, out2: usize, out3: usize, ahead: usize, step: usize,
): void {
  const half = held_i32x4(halfOf(bits, symmetric));
  const mask = held_i32x4((1 << bits) - 1);
  const used = held_i32x4(symmetric - 1);
  if (symmetric) minima = scales; // anything readable: `used` makes it 0
  let at: usize = 0;
  do {
    const s = v128.load(scales + at);
    const minimum = v128.and(v128.load(minima + at), used);
    const words = i32x4.shr_u(v128.load(codes + at), shift);
    // The last first: rows past the end are written where the first then goes.
    v128.store(out3 + at, signed_f32x4(v128.and(i32x4.shr_u(words, 3 * bits), mask), half, s, minimum));
    v128.store(out2 + at, signed_f32x4(v128.and(i32x4.shr_u(words, 2 * bits), mask), half, s, minimum));
    v128.store(out1 + at, signed_f32x4(v128.and(i32x4.shr_u(words, bits), mask), half, s, minimum));
    v128.store(out + at, signed_f32x4(v128.and(words, mask), half, s, minimum));
    load<u32>(ahead);
    ahead += step;
    at += 16;
  } while (--vectors);
}

function dequantizeColumns(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, symmetric: u32, out: usize,
): void {
  const stride = n << 2;
  const vectors = n >> 2;
  const half = halfOf(bits, symmetric);
  for (let row: u32 = 0; row < rows; row += 4) {
    const shift = row * bits & 31;
    const left = rows - row;
    if (vectors) {
      const out1 = left > 1 ? out + stride : out;
      const out2 = left > 2 ? out + 2 * stride : out;
      const out3 = left > 3 ? out + 3 * stride : out;
      const ahead = left < 8 ? out : out + 4 * stride;
      unpackRows(vectors, bits, symmetric, shift, codes, scales, minima, out, out1, out2, out3, ahead, stepAhead(n));
    }
    for (let at = vectors << 4; at < stride; at += 4) {
      const minimum: f32 = symmetric ? 0 : load<f32>(minima + at);
      for (let i: u32 = 0; i < min(left, 4); i++) {
        const value = value_f32(load<u32>(codes + at), shift + i * bits, (1 << bits) - 1, half, load<f32>(scales + at), minimum);
        store<f32>(out + i * stride + at, value);
      }
    }
    out += 4 * stride;
    if (shift + 4 * bits == 32) codes += stride;
    if ((row + 4) % groupSize == 0) {
      scales += stride;
      minima += stride;
    }
  }
}

export function dequantize_f32(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  out: usize,
): void {
  if (rows == 0 || n == 0) return;
  const extent = axis ? rows : n;
  if (groupSize == 0 || groupSize > extent) groupSize = extent;
  if (axis) dequantizeColumns(codes, scales, minima, rows, n, bits, groupSize, scheme, out);
  else dequantizeRows(codes, scales, minima, rows, n, bits, groupSize, scheme, out);
}
