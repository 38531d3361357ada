/**
 * Readers and writers of ggml's blocks of few bits, Q1_0, Q2_0, TQ1_0 and TQ2_0: `count` blocks from byte b on, at any byte, to f32
 * values from out on, or from those at x. Layouts: ts/reference/ggml.ts. NaN and infinity: assembly/ggml.ts.
 */
import { fromHalf, scaled_f32x4, store16, toHalf } from './ggml';
import { bytes_i8x16, inverse, magnitude16, narrowed_i8x16, plusLanes } from './ggml-codes';
import { held, held_i32x4, held_i8x16 } from './held';
import { high16, high8, low16, low8 } from './interleave';
import { max_f32x4 } from './reduce';

/** Eight digits in base 3, less 1, times scale: what times 3 carries out of a byte. */
// @ts-ignore: decorator
@inline
function storeDigits(out: usize, rest: v128, three: v128, one: v128, scale: v128): void {
  const digits = i16x8.sub(i16x8.shr_u(i16x8.mul(rest, three), 8), one);
  v128.store(out, scaled_f32x4(i32x4.extend_low_i16x8_s(digits), scale));
  v128.store(out, scaled_f32x4(i32x4.extend_high_i16x8_s(digits), scale), 16);
}

export function tq1_0(b: usize, count: u32, out: usize): void {
  const three = held(i16x8.splat(3));
  const one = held(i16x8.splat(1));
  const byte = held(i16x8.splat(255));
  const powers = held(i16x8(1, 1, 1, 1, 3, 3, 3, 3));
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b, 52)));
    // Sixteen bytes at a time: their first digits are 32 values from their second ones, the last sixteen bytes' 16.
    for (let part: u32 = 0; part < 3; part++) {
      const bytes = v128.load(b + 16 * part);
      const stride: u32 = part == 2 ? 64 : 128;
      let low = i16x8.extend_low_i8x16_u(bytes);
      let high = i16x8.extend_high_i8x16_u(bytes);
      let at = out + (part == 2 ? 640 : 64 * part);
      const end = at + 5 * stride;
      do {
        storeDigits(at, low, three, one, d);
        storeDigits(at + 32, high, three, one, d);
        low = v128.and(i16x8.mul(low, three), byte);
        high = v128.and(i16x8.mul(high, three), byte);
        at += stride;
      } while (at != end);
    }
    // Four bytes of four digits: the first and second ones, then the others.
    const last = v128.load32_splat(b, 48);
    const first = v128.and(i16x8.mul(i16x8.extend_low_i8x16_u(last), powers), byte);
    storeDigits(out + 960, first, three, one, d);
    storeDigits(out + 992, v128.and(i16x8.mul(first, i16x8.splat(9)), byte), three, one, d);
    b += 54;
    out += 1024;
  } while (--count);
}

export function tq2_0(b: usize, count: u32, out: usize): void {
  const two = held_i8x16(3);
  const one = held_i8x16(1);
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b, 64)));
    for (let half: u32 = 0; half < 2; half++) {
      const codes = b + 32 * half;
      for (let shift: i32 = 0; shift < 8; shift += 2) {
        store16(out, i8x16.sub(v128.and(i16x8.shr_u(v128.load(codes), shift), two), one), d);
        store16(out + 64, i8x16.sub(v128.and(i16x8.shr_u(v128.load(codes, 16), shift), two), one), d);
        out += 128;
      }
    }
    b += 66;
  } while (--count);
}

/** Four values d where bit `bit` of their word is 1, -d where it is 0. */
// @ts-ignore: decorator
@inline
function storeSigned(out: usize, words: v128, bit: i32, sign: v128, opposite: v128): void {
  v128.store(out, v128.xor(opposite, v128.and(i32x4.shl(words, 31 - bit), sign)));
}

export function q1_0(b: usize, count: u32, out: usize): void {
  const sign = held_i32x4(0x80000000);
  const align = held(i32x4(8, 4, 2, 1));
  do {
    const opposite = f32x4.splat(-fromHalf(load<u16>(b)));
    const end = b + 18;
    for (let q = b + 2; q < end; q += 4) {
      // Bits 0 to 3, each in a word of its own, become bit 3, the next four bit 7, ...
      const words = i32x4.mul(v128.load32_splat(q), align);
      storeSigned(out, words, 3, sign, opposite);
      storeSigned(out + 16, words, 7, sign, opposite);
      storeSigned(out + 32, words, 11, sign, opposite);
      storeSigned(out + 48, words, 15, sign, opposite);
      storeSigned(out + 64, words, 19, sign, opposite);
      storeSigned(out + 80, words, 23, sign, opposite);
      storeSigned(out + 96, words, 27, sign, opposite);
      storeSigned(out + 112, words, 31, sign, opposite);
      out += 128;
    }
    b = end;
  } while (--count);
}

export function q2_0(b: usize, count: u32, out: usize): void {
  const two = held_i8x16(3);
  const one = held_i8x16(1);
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b)));
    const q = v128.load(b, 2);
    // The first to fourth values of every byte, then two and two of them in turn, then four.
    const v0 = i8x16.sub(v128.and(q, two), one);
    const v1 = i8x16.sub(v128.and(i16x8.shr_u(q, 2), two), one);
    const v2 = i8x16.sub(v128.and(i16x8.shr_u(q, 4), two), one);
    const v3 = i8x16.sub(v128.and(i16x8.shr_u(q, 6), two), one);
    let a = low8(v0, v1), c = low8(v2, v3);
    store16(out, low16(a, c), d);
    store16(out + 64, high16(a, c), d);
    a = high8(v0, v1);
    c = high8(v2, v3);
    store16(out + 128, low16(a, c), d);
    store16(out + 192, high16(a, c), d);
    b += 18;
    out += 256;
  } while (--count);
}

/** The largest magnitude from x to end, whole 64 bytes. */
function magnitude(x: usize, end: usize): f32 {
  let most = magnitude16(x);
  for (x += 64; x != end; x += 64) most = f32x4.pmax(most, magnitude16(x));
  return max_f32x4(most);
}

/** Codes of 16 values: 0, 1 or 2 by the nearest of -d, 0 and d. */
// @ts-ignore: decorator
@inline
function ternary_i8x16(x: usize, id: v128, sign: v128, half: v128, one: v128): v128 {
  return i8x16.add(bytes_i8x16(x, id, sign, half), one);
}

/** Sixteen numbers of five digits in base 3 as fractions: 256 q / 243, up. 34521 is just below 2^23 / 243. */
// @ts-ignore: decorator
@inline
function fractions_i8x16(q: v128): v128 {
  const up = i8x16.splat(<i8>243);
  const by = i16x8.splat(<i16>34521);
  const low = low8(up, q), high = high8(up, q);
  return i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_u(i32x4.shr_u(i32x4.extmul_low_i16x8_u(low, by), 23), i32x4.shr_u(i32x4.extmul_high_i16x8_u(low, by), 23)),
    i16x8.narrow_i32x4_u(i32x4.shr_u(i32x4.extmul_low_i16x8_u(high, by), 23), i32x4.shr_u(i32x4.extmul_high_i16x8_u(high, by), 23)),
  );
}

export function writeTQ1_0(x: usize, count: u32, b: usize): void {
  const sign = held_i32x4(0x80000000);
  const half = held_i32x4(0x3effffff);
  const one = held_i8x16(1);
  do {
    const d = magnitude(x, x + 1024);
    const id = f32x4.splat(inverse(d));
    for (let part: u32 = 0; part < 3; part++) {
      const stride: u32 = part == 2 ? 64 : 128;
      let at = x + (part == 2 ? 640 : 64 * part);
      const end = at + 5 * stride;
      let q = i8x16.splat(0);
      do {
        q = i8x16.add(i8x16.add(q, i8x16.add(q, q)), ternary_i8x16(at, id, sign, half, one));
        at += stride;
      } while (at != end);
      v128.store(b + 16 * part, fractions_i8x16(q));
    }
    // Four times four codes as the first four digits of four bytes: no byte carries.
    const last = ternary_i8x16(x + 960, id, sign, half, one);
    let q = 0;
    q = (q + i32x4.extract_lane(last, 0)) * 3;
    q = (q + i32x4.extract_lane(last, 1)) * 3;
    q = (q + i32x4.extract_lane(last, 2)) * 3;
    q = (q + i32x4.extract_lane(last, 3)) * 3;
    v128.store_lane<i32>(b, fractions_i8x16(i32x4.splat(q)), 0, 48);
    store<u16>(b, toHalf(d), 52);
    x += 1024;
    b += 54;
  } while (--count);
}

export function writeTQ2_0(x: usize, count: u32, b: usize): void {
  const sign = held_i32x4(0x80000000);
  const half = held_i32x4(0x3effffff);
  const one = held_i8x16(1);
  do {
    const d = magnitude(x, x + 1024);
    const id = f32x4.splat(inverse(d));
    for (let part: u32 = 0; part < 4; part++) {
      let at = x + (part >> 1) * 512 + (part & 1) * 64;
      let q = i8x16.splat(0);
      for (let shift: i32 = 0; shift < 8; shift += 2) {
        q = v128.or(q, i16x8.shl(ternary_i8x16(at, id, sign, half, one), shift));
        at += 128;
      }
      v128.store(b + 16 * part, q);
    }
    store<u16>(b, toHalf(d), 64);
    x += 1024;
    b += 66;
  } while (--count);
}

export function writeQ1_0(x: usize, count: u32, b: usize): void {
  const zero = held_i32x4(0);
  do {
    const end = x + 512;
    let sum: f32 = 0;
    for (let at = x; at != end; at += 16) sum = plusLanes(sum, f32x4.abs(v128.load(at)));
    store<u16>(b, toHalf(sum / 128));
    b += 2;
    do {
      const signs = narrowed_i8x16(f32x4.ge(v128.load(x), zero), f32x4.ge(v128.load(x, 16), zero),
        f32x4.ge(v128.load(x, 32), zero), f32x4.ge(v128.load(x, 48), zero));
      store<u16>(b, i8x16.bitmask(signs));
      x += 64;
      b += 2;
    } while (x != end);
  } while (--count);
}

export function writeQ2_0(x: usize, count: u32, b: usize): void {
  const sign = held_i32x4(0x80000000);
  const half = held_i32x4(0x3effffff);
  const one = held_i8x16(1);
  do {
    const d = magnitude(x, x + 256);
    const id = f32x4.splat(inverse(d));
    store<u16>(b, toHalf(d));
    const end = b + 18;
    for (let at = b + 2; at != end; at += 4) {
      // Neighbours two and two, then four in the lowest byte of every i32.
      let q = ternary_i8x16(x, id, sign, half, one);
      q = v128.or(q, i16x8.shr_u(q, 6));
      q = v128.or(q, i32x4.shr_u(q, 12));
      v128.store_lane<i32>(at, v128.shuffle<i8>(q, q, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12), 0);
      x += 64;
    }
    b = end;
  } while (--count);
}
