/**
 * Codes become bytes, unsigned, in scratch that stays in the first-level cache (64 keys at most): `e` [keys, n]; for
 * products of bytes, fours of keys, [fours][n][4 keys] of values and [fours][n/4][4 keys][4] of keys, whose products are
 * summed along the key. A byte u stands for the code u − half: symmetric codes have their sign bit flipped on the way (`flip`).
 */

import { held_i32x4 } from './held';
import { high16, high32, high64, high8, low16, low32, low64, low8, storeTransposed } from './interleave';

// @ts-ignore: decorator
@inline
function swizzle(table: v128, at: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i8x16.relaxed_swizzle(table, at) : i8x16.swizzle(table, at);
}

/** 32 codes of two bits from the first 8 bytes of v. */
// @ts-ignore: decorator
@inline
function twoBits(v: v128, by4: v128, by2: v128, e: usize): void {
  const nibbles = low8(v128.and(v, by4), v128.and(i16x8.shr_u(v, 4), by4));
  const a = v128.and(nibbles, by2), b = v128.and(i16x8.shr_u(nibbles, 2), by2);
  v128.store(e, low8(a, b));
  v128.store(e, high8(a, b), 16);
}

/** 4 bits along rows of n codes; with a table, its bytes instead of the codes. */
function rows4(codes: usize, rows: u32, n: u32, flip: u32, table: usize, e: usize): void {
  const by4 = held_i32x4(0x0f0f0f0f), flips = held_i32x4(flip);
  if (n & 31) {
    // Sixteen at a time, the last of a row over the one before.
    do {
      let c: u32 = 0;
      do {
        c = min(c, n - 16);
        const v = v128.xor(v128.load64_zero(codes + (c >> 1)), flips);
        let u = low8(v128.and(v, by4), v128.and(i16x8.shr_u(v, 4), by4));
        if (table) u = swizzle(v128.load(table), u);
        v128.store(e + c, u);
        c += 16;
      } while (c < n);
      codes += n >> 1;
      e += n;
    } while (--rows);
    return;
  }
  const end = e + rows * n;
  if (table) {
    const values = v128.load(table);
    do {
      const v = v128.load(codes);
      const a = swizzle(values, v128.and(v, by4)), b = swizzle(values, v128.and(i16x8.shr_u(v, 4), by4));
      v128.store(e, low8(a, b));
      v128.store(e, high8(a, b), 16);
      codes += 16;
      e += 32;
    } while (e < end);
    return;
  }
  do {
    const v = v128.xor(v128.load(codes), flips);
    const a = v128.and(v, by4), b = v128.and(i16x8.shr_u(v, 4), by4);
    v128.store(e, low8(a, b));
    v128.store(e, high8(a, b), 16);
    codes += 16;
    e += 32;
  } while (e < end);
}

/** 2 bits along rows: 32 codes at a time, the last word alone; bytes past a row's end fall into the next. */
function rows2(codes: usize, rows: u32, n: u32, flip: u32, e: usize): void {
  const by4 = held_i32x4(0x0f0f0f0f), by2 = held_i32x4(0x03030303), flips = held_i32x4(flip);
  do {
    let c: u32 = 0;
    for (; c + 32 <= n; c += 32, codes += 8) twoBits(v128.xor(v128.load64_zero(codes), flips), by4, by2, e + c);
    for (; c < n; c += 16, codes += 4) twoBits(v128.xor(v128.load32_zero(codes), flips), by4, by2, e + c);
    e += n;
  } while (--rows);
}

/** 3 bits along rows: runs of 32 codes in three words, the third has their high bits. */
function rows3(codes: usize, rows: u32, n: u32, flip: u32, e: usize): void {
  const by4 = held_i32x4(0x0f0f0f0f), by2 = held_i32x4(0x03030303), four = held_i32x4(0x04040404);
  const bit = v128.xor(held_i32x4(0), i64x2.splat(0x8040_2010_0804_0201));
  do {
    for (let c: u32 = 0; c < n; c += 32, codes += 12) {
      twoBits(v128.load64_zero(codes), by4, by2, e + c);
      const bits = v128.load32_splat(codes + 8);
      const high = v128.xor(bits, i32x4.splat(flip));
      const a = v128.shuffle<i8>(high, high, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
      const b = v128.shuffle<i8>(high, high, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
      v128.store(e + c, v128.or(v128.load(e + c), v128.and(i8x16.eq(v128.and(a, bit), bit), four)));
      v128.store(e + c, v128.or(v128.load(e + c, 16), v128.and(i8x16.eq(v128.and(b, bit), bit), four)), 16);
    }
    e += n;
  } while (--rows);
}

/**
 * Rows of n words become four rows of n bytes each, lowest bytes first: sixteen words at a time, by interleaving halves
 * four times; the last sixteen of a row over those before.
 */
function transpose(words: usize, rows: u32, n: u32, flip: u32, to: usize): void {
  const flips = held_i32x4(flip);
  do {
    let c: u32 = 0;
    do {
      c = min(c, n - 16);
      const from = words + (c << 2);
      let v0 = v128.xor(v128.load(from), flips), v1 = v128.xor(v128.load(from, 16), flips);
      let v2 = v128.xor(v128.load(from, 32), flips), v3 = v128.xor(v128.load(from, 48), flips);
      let w0 = low8(v0, v2), w1 = high8(v0, v2), w2 = low8(v1, v3), w3 = high8(v1, v3);
      v0 = low8(w0, w2); v1 = high8(w0, w2); v2 = low8(w1, w3); v3 = high8(w1, w3);
      w0 = low8(v0, v2); w1 = high8(v0, v2); w2 = low8(v1, v3); w3 = high8(v1, v3);
      const at = to + c;
      v128.store(at, low8(w0, w2));
      v128.store(at + n, high8(w0, w2));
      v128.store(at + 2 * n, low8(w1, w3));
      v128.store(at + 3 * n, high8(w1, w3));
      c += 16;
    } while (c < n);
    words += n << 2;
    to += n << 2;
  } while (--rows);
}

/** Rows of n bytes become 8 / bits rows of codes, low bits first. */
function split(bytes: usize, rows: u32, n: u32, bits: u32, e: usize): void {
  const mask = held_i32x4(((1 << bits) - 1) * 0x0101_0101);
  do {
    let c: u32 = 0;
    do {
      c = min(c, n - 16);
      const v = v128.load(bytes + c);
      let to = e + c;
      v128.store(to, v128.and(v, mask));
      v128.store(to + n, v128.and(i16x8.shr_u(v, bits), mask));
      if (bits == 2) {
        to += 2 * n;
        v128.store(to, v128.and(i16x8.shr_u(v, 4), mask));
        v128.store(to + n, v128.and(i16x8.shr_u(v, 6), mask));
      }
      c += 16;
    } while (c < n);
    bytes += n;
    e += n << (bits == 2 ? 2 : 1);
  } while (--rows);
}

/** 3 bits: of every twelve rows of bytes, eight hold two low bits of four codes each, four the high bits of eight. */
function split3(bytes: usize, runs: u32, n: u32, e: usize): void {
  const by2 = held_i32x4(0x03030303), four = held_i32x4(0x04040404);
  do {
    for (let row: u32 = 0; row < 8; row++) {
      const high = bytes + (8 + (row >> 1)) * n;
      const shift = (row & 1) << 2;
      let c: u32 = 0;
      do {
        c = min(c, n - 16);
        const v = v128.load(bytes + row * n + c);
        const h = i16x8.shr_u(v128.load(high + c), shift);
        let to = e + c;
        v128.store(to, v128.or(v128.and(v, by2), v128.and(i16x8.shl(h, 2), four)));
        to += n;
        v128.store(to, v128.or(v128.and(i16x8.shr_u(v, 2), by2), v128.and(i16x8.shl(h, 1), four)));
        to += n;
        v128.store(to, v128.or(v128.and(i16x8.shr_u(v, 4), by2), v128.and(h, four)));
        to += n;
        v128.store(to, v128.or(v128.and(i16x8.shr_u(v, 6), by2), v128.and(i16x8.shr_u(h, 1), four)));
        c += 16;
      } while (c < n);
      e += n << 2;
    }
    bytes += 12 * n;
  } while (--runs);
}

/** Fours of rows of n bytes become rows of n fours. */
export function fours(e: usize, count: u32, n: u32, to: usize): void {
  do {
    let c: u32 = 0;
    do {
      c = min(c, n - 16);
      const from = e + c;
      const a = v128.load(from), b = v128.load(from + n), x = v128.load(from + 2 * n), y = v128.load(from + 3 * n);
      const ab = low8(a, b), xy = low8(x, y), AB = high8(a, b), XY = high8(x, y);
      const at = to + (c << 2);
      v128.store(at, low16(ab, xy));
      v128.store(at, high16(ab, xy), 16);
      v128.store(at, low16(AB, XY), 32);
      v128.store(at, high16(AB, XY), 48);
      c += 16;
    } while (c < n);
    e += n << 2;
    to += n << 2;
  } while (--count);
}

// @ts-ignore: decorator
@inline
function four(v: v128, by4: v128, table: v128, listed: bool, to: usize): void {
  let a = v128.and(v, by4), b = v128.and(i16x8.shr_u(v, 4), by4);
  if (listed) {
    a = swizzle(table, a);
    b = swizzle(table, b);
  }
  v128.store(to, low32(a, b));
  v128.store(to, high32(a, b), 16);
}

/** 4 bits along rows of 32·k codes straight to fours of keys. */
// @ts-ignore: decorator
@inline
function fours4(codes: usize, count: u32, n: u32, flip: u32, table: v128, listed: bool, to: usize): void {
  const by4 = held_i32x4(0x0f0f0f0f), flips = held_i32x4(flip);
  const step = n >> 1;
  let left: i32 = count;
  do {
    let a = codes;
    const b = left > 1 ? step : 0, x = left > 2 ? step << 1 : 0, y = left > 3 ? step * 3 : 0;
    const end = a + step;
    do {
      const va = v128.load(a), vb = v128.load(a + b), vx = v128.load(a + x), vy = v128.load(a + y);
      const ab = low8(va, vb), xy = low8(vx, vy), AB = high8(va, vb), XY = high8(vx, vy);
      four(v128.xor(low16(ab, xy), flips), by4, table, listed, to);
      four(v128.xor(high16(ab, xy), flips), by4, table, listed, to + 32);
      four(v128.xor(low16(AB, XY), flips), by4, table, listed, to + 64);
      four(v128.xor(high16(AB, XY), flips), by4, table, listed, to + 96);
      a += 16;
      to += 128;
    } while (a < end);
    codes += step << 2;
    left -= 4;
  } while (left > 0);
}

/** Sixteen dimensions of four keys: the first two bits of each in v, a third in bits 0 to 3 of `high` (where `three`). */
// @ts-ignore: decorator
@inline
function sixteen(v: v128, high: v128, three: bool, by2: v128, third: v128, to: usize): void {
  let a = v128.and(v, by2), b = v128.and(i16x8.shr_u(v, 2), by2), c = v128.and(i16x8.shr_u(v, 4), by2), d = v128.and(i16x8.shr_u(v, 6), by2);
  if (three) {
    a = v128.or(a, v128.and(i16x8.shl(high, 2), third));
    b = v128.or(b, v128.and(i16x8.shl(high, 1), third));
    c = v128.or(c, v128.and(high, third));
    d = v128.or(d, v128.and(i16x8.shr_u(high, 1), third));
  }
  storeTransposed(a, b, c, d, to);
}

/** 2 or 3 bits along rows of 32·k codes straight to fours of keys. */
function fours23(codes: usize, count: u32, n: u32, bits: u32, flip: u32, to: usize): void {
  const three = bits == 3;
  const by2 = held_i32x4(0x03030303), third = held_i32x4(0x04040404), flips = held_i32x4(flip), none = held_i32x4(0);
  const step = n * bits >> 3;
  let left: i32 = count;
  do {
    let a = codes;
    const b = left > 1 ? step : 0, x = left > 2 ? step << 1 : 0, y = left > 3 ? step * 3 : 0;
    const end = a + step;
    do {
      const ab = low8(v128.load64_zero(a), v128.load64_zero(a + b)), xy = low8(v128.load64_zero(a + x), v128.load64_zero(a + y));
      const low = low16(ab, xy), high = high16(ab, xy);
      a += 8;
      if (three) {
        // A byte has the third bits of eight dimensions, four of them to a vector of two bits.
        const h = v128.xor(
          low16(low8(v128.load32_zero(a), v128.load32_zero(a + b)), low8(v128.load32_zero(a + x), v128.load32_zero(a + y))), flips,
        );
        const h4 = i16x8.shr_u(h, 4);
        sixteen(low, low32(h, h4), true, by2, third, to);
        sixteen(high, high32(h, h4), true, by2, third, to + 64);
        a += 4;
      } else {
        sixteen(v128.xor(low, flips), none, false, by2, third, to);
        sixteen(v128.xor(high, flips), none, false, by2, third, to + 64);
      }
      to += 128;
    } while (a < end);
    codes += step << 2;
    left -= 4;
  } while (left > 0);
}

/** 2, 3 or 4 bits along rows of 32·k codes straight to fours of keys; with a table, its bytes instead of the codes. */
export function foursOfRows(codes: usize, count: u32, n: u32, bits: u32, flip: u32, table: usize, to: usize): void {
  if (bits < 4) fours23(codes, count, n, bits, flip, to);
  else if (table) fours4(codes, count, n, 0, v128.load(table), true, to);
  else fours4(codes, count, n, flip, i32x4.splat(0), false, to);
}

/** Rows of n bytes become fours of keys, [fours][n/4][4 keys][4]: sixteen bytes of a row at a time, the last over those before. */
function foursOfBytes(e: usize, count: u32, n: u32, to: usize): void {
  let left: i32 = count;
  do {
    const b = left > 1 ? n : 0, c = left > 2 ? n << 1 : 0, d = left > 3 ? n * 3 : 0;
    let at: u32 = 0;
    do {
      at = min(at, n - 16);
      const a = e + at;
      storeTransposed(v128.load(a), v128.load(a + b), v128.load(a + c), v128.load(a + d), to + (at << 2));
      at += 16;
    } while (at < n);
    e += n << 2;
    to += n << 2;
    left -= 4;
  } while (left > 0);
}

/** The same from codes of 4 bits along rows: four dimensions are two apart (see `apartOf`). */
function keyFours4(codes: usize, count: u32, n: u32, flip: u32, table: usize, to: usize): void {
  const by4 = held_i32x4(0x0f0f0f0f), flips = held_i32x4(flip);
  const values = table ? v128.load(table) : flips;
  const step = n >> 1;
  let left: i32 = count;
  do {
    const b = left > 1 ? step : 0, c = left > 2 ? step << 1 : 0, d = left > 3 ? step * 3 : 0;
    let at: u32 = 0;
    do {
      at = min(at, n - 16);
      const a = codes + (at >> 1);
      const ab = low32(v128.load64_zero(a), v128.load64_zero(a + b)), cd = low32(v128.load64_zero(a + c), v128.load64_zero(a + d));
      const v = v128.xor(low64(ab, cd), flips), w = v128.xor(high64(ab, cd), flips);
      let v0 = v128.and(v, by4), v1 = v128.and(i16x8.shr_u(v, 4), by4), w0 = v128.and(w, by4), w1 = v128.and(i16x8.shr_u(w, 4), by4);
      if (table) {
        v0 = swizzle(values, v0); v1 = swizzle(values, v1); w0 = swizzle(values, w0); w1 = swizzle(values, w1);
      }
      const x = to + (at << 2);
      v128.store(x, v0);
      v128.store(x, v1, 16);
      v128.store(x, w0, 32);
      v128.store(x, w1, 48);
      at += 16;
    } while (at < n);
    codes += step << 2;
    to += n << 2;
    left -= 4;
  } while (left > 0);
}

/** The same from 2 bits, n a multiple of 16: four apart. */
function keyFours2(codes: usize, count: u32, n: u32, flip: u32, to: usize): void {
  const by2 = held_i32x4(0x03030303), flips = held_i32x4(flip);
  const step = n >> 2;
  let left: i32 = count;
  do {
    let a = codes;
    const b = left > 1 ? step : 0, c = left > 2 ? step << 1 : 0, d = left > 3 ? step * 3 : 0;
    const end = a + step;
    do {
      const ab = low32(v128.load32_zero(a), v128.load32_zero(a + b)), cd = low32(v128.load32_zero(a + c), v128.load32_zero(a + d));
      const v = v128.xor(low64(ab, cd), flips);
      v128.store(to, v128.and(v, by2));
      v128.store(to, v128.and(i16x8.shr_u(v, 2), by2), 16);
      v128.store(to, v128.and(i16x8.shr_u(v, 4), by2), 32);
      v128.store(to, v128.and(i16x8.shr_u(v, 6), by2), 48);
      a += 4;
      to += 64;
    } while (a < end);
    codes += step << 2;
    left -= 4;
  } while (left > 0);
}

/** How many dimensions apart those lie that `keyFoursOfRows` puts together: neighbours in a byte go to different fours. */
export function apartOf(n: u32, bits: u32): u32 {
  return bits == 4 ? 2 : bits == 2 && !(n & 15) ? 4 : 1;
}

/** Codes of 2, 3 or 4 bits along rows become fours of keys; `e`: scratch, for those that pass through bytes. */
export function keyFoursOfRows(codes: usize, count: u32, n: u32, bits: u32, flip: u32, table: usize, e: usize, to: usize): void {
  if (bits == 4) keyFours4(codes, count, n, table ? 0 : flip, table, to);
  else if (apartOf(n, bits) > 1) keyFours2(codes, count, n, flip, to);
  else {
    expandRows(codes, count, n, bits, flip, 0, e);
    foursOfBytes(e, count, n, to);
  }
}

/**
 * The same down columns, from the first key of `words` rows of words: the bytes of four words, sorted by their place in the
 * word, are four channels of four keys, which lie a byte's keys apart.
 */
export function keyFoursOfColumns(codes: usize, words: u32, n: u32, bits: u32, flip: u32, bytes: usize, e: usize, to: usize): void {
  if (bits == 3) {
    expandColumns(codes, words, n, bits, flip, bytes, e);
    foursOfBytes(e, words << 5, n, to);
    return;
  }
  const order = v128.xor(held_i32x4(0), i8x16(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const mask = held_i32x4(bits == 4 ? 0x0f0f0f0f : 0x03030303), flips = held_i32x4(flip);
  const four: usize = n << 2;
  do {
    const end = codes + four;
    do {
      const v = swizzle(v128.xor(v128.load(codes), flips), order);
      if (bits == 4) {
        const a = v128.and(v, mask), b = v128.and(i16x8.shr_u(v, 4), mask);
        v128.store(to, low32(a, b));
        v128.store(to + four, high32(a, b));
      } else {
        const a = v128.and(v, mask), b = v128.and(i16x8.shr_u(v, 2), mask), c = v128.and(i16x8.shr_u(v, 4), mask), d = v128.and(i16x8.shr_u(v, 6), mask);
        const ab = low32(a, b), cd = low32(c, d), AB = high32(a, b), CD = high32(c, d);
        v128.store(to, low64(ab, cd));
        v128.store(to + four, high64(ab, cd));
        v128.store(to + 2 * four, low64(AB, CD));
        v128.store(to + 3 * four, high64(AB, CD));
      }
      codes += 16;
      to += 16;
    } while (codes < end);
    to += bits == 4 ? four : 3 * four;
  } while (--words);
}

/** Keys of codes of 2, 3 or 4 bits that lie along rows: `count` rows from `codes` on. `flip` has every code's sign bit, or is 0. */
export function expandRows(codes: usize, count: u32, n: u32, bits: u32, flip: u32, table: usize, e: usize): void {
  if (bits == 4) rows4(codes, count, n, flip, table, e);
  else if (bits == 3) rows3(codes, count, n, flip, e);
  else rows2(codes, count, n, flip, e);
}

/** Keys of codes that lie down columns: `words` rows of words from `codes` on (3 bits: of three words). `bytes`: scratch. */
export function expandColumns(codes: usize, words: u32, n: u32, bits: u32, flip: u32, bytes: usize, e: usize): void {
  if (bits == 3) {
    for (let run: u32 = 0; run < words; run++) {
      const from = codes + run * 12 * n, to = bytes + run * 12 * n;
      transpose(from, 2, n, 0, to);
      transpose(from + 8 * n, 1, n, flip, to + 8 * n);
    }
    split3(bytes, words, n, e);
  } else if (bits == 8) transpose(codes, words, n, flip, e);
  else {
    transpose(codes, words, n, flip, bytes);
    split(bytes, 4 * words, n, bits, e);
  }
}
