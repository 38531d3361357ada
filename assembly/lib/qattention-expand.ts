/**
 * Codes become bytes: `e` [keys, n], unsigned, in scratch that stays in the first-level cache (64 keys at most). A byte
 * u stands for the code u − half: symmetric codes have their sign bit flipped on the way (`flip`).
 */


import { held_i32x4 } from './held';

// @ts-ignore: decorator
@inline
function low8(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// @ts-ignore: decorator
@inline
function high8(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

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

/** 8 bits along rows. */
function rows8(codes: usize, bytes: u32, flip: u32, e: usize): void {
  const flips = held_i32x4(flip);
  const end = e + bytes;
  do {
    v128.store(e, v128.xor(v128.load(codes), flips));
    codes += 16;
    e += 16;
  } while (e + 16 <= end);
  if (e < end) v128.store64_lane(e, v128.xor(v128.load64_zero(codes), flips), 0);
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

// @ts-ignore: decorator
@inline
function low16(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

// @ts-ignore: decorator
@inline
function high16(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
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
  v128.store(to, v128.shuffle<i32>(a, b, 0, 4, 1, 5));
  v128.store(to, v128.shuffle<i32>(a, b, 2, 6, 3, 7), 16);
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

export function foursOfRows4(codes: usize, count: u32, n: u32, flip: u32, table: usize, to: usize): void {
  if (table) fours4(codes, count, n, 0, v128.load(table), true, to);
  else fours4(codes, count, n, flip, i32x4.splat(0), false, to);
}

/** Keys of codes that lie along rows: `count` rows from `codes` on. `flip` has every code's sign bit, or is 0. */
export function expandRows(codes: usize, count: u32, n: u32, bits: u32, flip: u32, table: usize, e: usize): void {
  if (bits == 8) rows8(codes, count * n, flip, e);
  else if (bits == 4) rows4(codes, count, n, flip, table, e);
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
