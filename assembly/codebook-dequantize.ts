import {
  blockBytes, codeByte, codeShift, plane_i8x16, rowBytes, thirdBits,
} from './lib/codebook';
import { high16, high8, low16, low8 } from './lib/interleave';
import { held_i32x4 } from './lib/held';

/** Each byte's bit of sixteen as 0 or 1 in a byte of its own. */
// @ts-ignore: decorator
@inline
function spreadBits(p: usize, places: v128, one: v128): v128 {
  const pair = v128.load16_splat(p);
  const bytes = v128.shuffle<i8>(pair, pair, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  return v128.and(i8x16.eq(v128.and(bytes, places), places), one);
}

/** The i-th code of a row. */
// @ts-ignore: decorator
@inline
function get(codes: usize, i: u32, bits: u32, high: u32): u32 {
  if (bits > 4) return load<u8>(codes + i) & ((1 << bits) - 1);
  const mask: u32 = bits == 3 ? 3 : (1 << bits) - 1;
  const code = <u32>load<u8>(codes + codeByte(i, bits)) >> codeShift(i, bits, high) & mask;
  if (bits != 3) return code;
  return code | (<u32>load<u8>(codes + 12 * (i >> 5) + 8 + (i >> 3 & 3)) >> (i & 7) & 1) << 2;
}

/** Sixteen codes as bytes. */
// @ts-ignore: decorator
@inline
function load16(codes: usize, i: u32, bits: u32, high: u32, places: v128, one: v128, three: v128, fifteen: v128): v128 {
  const p = codes + blockBytes(i, bits);
  if (bits == 4) {
    const bytes = v128.load64_zero(p);
    const low = v128.and(bytes, fifteen);
    const top = v128.and(i16x8.shr_u(bytes, 4), fifteen);
    return high ? low8(top, low) : low8(low, top);
  }
  if (bits == 1) return spreadBits(p, places, one);
  const bytes = v128.load32_zero(p);
  const nibbles = low8(v128.and(bytes, fifteen), v128.and(i16x8.shr_u(bytes, 4), fifteen));
  const code = low8(v128.and(nibbles, three), v128.and(i16x8.shr_u(nibbles, 2), three));
  if (bits == 2) return code;
  const third = spreadBits(codes + thirdBits(i), places, one);
  return v128.or(code, i8x16.shl(third, 2));
}

/** One table of at most 16 values. */
function dequantizeShared(
  codes: usize, scales: usize, table: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scale: u32, high: u32, out: usize,
): void {
  const plane0 = plane_i8x16(table, bits, 0);
  const plane1 = plane_i8x16(table, bits, 1);
  const plane2 = plane_i8x16(table, bits, 2);
  const plane3 = plane_i8x16(table, bits, 3);
  const one = held_i32x4(0x01010101);
  const three = held_i32x4(0x03030303);
  const fifteen = held_i32x4(0x0f0f0f0f);
  const places = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  const bytes = rowBytes(n, bits);
  while (rows--) {
    for (let first: u32 = 0; first < n; first += groupSize) {
      const end = min(first + groupSize, n);
      const s: f32 = scale == 2 ? 1 : load<f32>(scales);
      if (scale != 2) scales += 4;
      const s_f32x4 = f32x4.splat(s);
      let i = first;
      for (; i + 16 <= end; i += 16) {
        const code = load16(codes, i, bits, high, places, one, three, fifteen);
        const low = i8x16.swizzle(plane0, code);
        const low1 = i8x16.swizzle(plane1, code);
        const top = i8x16.swizzle(plane2, code);
        const top1 = i8x16.swizzle(plane3, code);
        const lowA = low8(low, low1);
        const topA = low8(top, top1);
        const lowB = high8(low, low1);
        const topB = high8(top, top1);
        const p = out + (i << 2);
        v128.store(p, f32x4.mul(low16(lowA, topA), s_f32x4));
        v128.store(p, f32x4.mul(high16(lowA, topA), s_f32x4), 16);
        v128.store(p, f32x4.mul(low16(lowB, topB), s_f32x4), 32);
        v128.store(p, f32x4.mul(high16(lowB, topB), s_f32x4), 48);
      }
      for (; i < end; i++) store<f32>(out + (i << 2), load<f32>(table + (get(codes, i, bits, high) << 2)) * s);
    }
    codes += bytes;
    out += n << 2;
  }
}

/** The values of four codes, a byte each, from tables `step` bytes apart. */
// @ts-ignore: decorator
@inline
function four_f32x4(code: u32, mask: u32, table: usize, step: u32): v128 {
  let v = v128.load32_zero(table + ((code & mask) << 2));
  v = v128.load32_lane(table + step + ((code >> 8 & mask) << 2), v, 1);
  v = v128.load32_lane(table + 2 * step + ((code >> 16 & mask) << 2), v, 2);
  return v128.load32_lane(table + 3 * step + ((code >> 24 & mask) << 2), v, 3);
}

/** Any table. */
function dequantizeAny(
  codes: usize, scales: usize, table: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scale: u32, tables: u32, high: u32,
  out: usize,
): void {
  const one = held_i32x4(0x01010101);
  const three = held_i32x4(0x03030303);
  const fifteen = held_i32x4(0x0f0f0f0f);
  const places = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  const bytes = rowBytes(n, bits);
  const step: u32 = tables ? 4 << bits : 0;
  const mask: u32 = (1 << bits) - 1;
  while (rows--) {
    for (let first: u32 = 0; first < n; first += groupSize) {
      const end = min(first + groupSize, n);
      const s: f32 = scale == 2 ? 1 : load<f32>(scales);
      if (scale != 2) scales += 4;
      const s_f32x4 = f32x4.splat(s);
      let own = table + first * step;
      let i = first;
      for (; i + 16 <= end; i += 16) {
        const code = bits > 4 ? v128.load(codes + i) : load16(codes, i, bits, high, places, one, three, fifteen);
        const p = out + (i << 2);
        v128.store(p, f32x4.mul(four_f32x4(i32x4.extract_lane(code, 0), mask, own, step), s_f32x4));
        own += 4 * step;
        v128.store(p, f32x4.mul(four_f32x4(i32x4.extract_lane(code, 1), mask, own, step), s_f32x4), 16);
        own += 4 * step;
        v128.store(p, f32x4.mul(four_f32x4(i32x4.extract_lane(code, 2), mask, own, step), s_f32x4), 32);
        own += 4 * step;
        v128.store(p, f32x4.mul(four_f32x4(i32x4.extract_lane(code, 3), mask, own, step), s_f32x4), 48);
        own += 4 * step;
      }
      for (; i < end; i++) {
        store<f32>(out + (i << 2), load<f32>(own + (get(codes, i, bits, high) << 2)) * s);
        own += step;
      }
    }
    codes += bytes;
    out += n << 2;
  }
}

/**
 * Values from codes into a table: table[code] · scale, rounded once.
 *
 * codes f32 as in codebook_quantize_f32; any bytes at all. Bits that a code of 5 to 7 bits leaves unused are ignored.
 * scales f32 [rows, ceil(n/groupSize)]; scale 2: none (offset 0), values are the table's.
 * table f32 [2^bits], tables 1: [n, 2^bits]: the value of each code, in any order.
 * out f32 [rows, n]. A scale of NaN gives NaN; infinities follow IEEE 754.
 *
 * The caller guarantees what it guarantees to codebook_quantize_f32. Scratch: none.
 *
 * Method: up to 16 values, one table: four i8x16.swizzle look up the four bytes of sixteen values. Otherwise sixteen codes become bytes, and
 * values are loaded lane by lane.
 */
export function codebook_dequantize_f32(
  codes: usize, scales: usize, table: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scale: u32, tables: u32, nibbles: u32,
  out: usize,
): void {
  if (rows == 0 || n == 0) return;
  if (groupSize == 0 || groupSize > n) groupSize = n;
  if (bits <= 4 && !tables) dequantizeShared(codes, scales, table, rows, n, bits, groupSize, scale, nibbles, out);
  else dequantizeAny(codes, scales, table, rows, n, bits, groupSize, scale, tables, nibbles, out);
}
