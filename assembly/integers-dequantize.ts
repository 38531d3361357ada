import { AFFINE, decoded_f32x4, digit_i16x8, isPacked, isSign, loadScale, rowBytes, signBit, third_i16x8 } from './lib/integers';
import { dequantizeIntegerColumns } from './lib/integers-columns';
import { loadPart, store4, storePart } from './lib/part';
import { unpack16, value_f32x4 } from './lib/quantize';
import { held_i32x4 } from './lib/held';

/** Sixteen bits as bytes of 0 or 1. */
// @ts-ignore: decorator
@inline
function spread16(bits: u32): v128 {
  const v = i16x8.splat(<i16>bits);
  const bytes = v128.shuffle<i8>(v, v, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const place = i64x2.splat(0x8040201008040201);
  return v128.and(i8x16.eq(v128.and(bytes, place), place), i8x16.splat(1));
}

/** Block `block` of sixteen codes of a line as bytes; of `count` codes, only the words they lie in are read. */
// @ts-ignore: decorator
@inline
function load16(bits: u32, codes: usize, block: u32, count: u32, by4: v128, by2: v128): v128 {
  if (bits == 3) {
    const run = codes + (block >> 1) * 12;
    const low = unpack16(2, v128.load32_splat(run + 4 * (block & 1)), by4, by2);
    return v128.or(low, i8x16.shl(spread16(load<u16>(run + 8 + 2 * (block & 1))), 2));
  }
  const at = codes + 2 * bits * block;
  if (bits == 1) return spread16(load<u16>(at));
  if (bits == 2) return unpack16(2, v128.load32_splat(at), by4, by2);
  if (bits == 4) return unpack16(4, count > 8 ? v128.load64_splat(at) : v128.load32_splat(at), by4, by2);
  return loadPart(at, (count + 3) >> 2, by4);
}

function dequantizeIntegerRows(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, half: u32, out: usize,
): void {
  const sign = isSign(bits, scheme);
  const packed = isPacked(bits, scheme);
  const lineBytes = rowBytes(n, bits, scheme);
  const step: usize = half ? 2 : 4;
  const by4 = held_i32x4(0x0f0f0f0f);
  const by2 = held_i32x4(0x03030303);
  const top = held_i32x4(signBit(bits, scheme) * 0x0101_0101);
  const offset = held_i32x4(signBit(bits, scheme) * 0x0001_0001);
  const one = held_i32x4(1);
  do {
    for (let at: u32 = 0; at < n; ) {
      const s = f32x4.splat(loadScale(scales, half));
      const m = f32x4.splat(scheme == AFFINE ? loadScale(minima, half) : 0);
      const end = min(n, at + groupSize);
      if (packed) {
        for (; at < end; at += 4) {
          let v = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_splat(codes + (at / 20 << 2))));
          for (let place = at % 20 >> 2; place; place--) v = third_i16x8(v);
          store4(out, value_f32x4(i32x4.sub(digit_i16x8(v), one), s, m), end - at);
          out += 16;
        }
        out -= (at - end) << 2;
        at = end;
      } else {
        for (; at < end; at += 16) {
          const count = end - at;
          const bytes = v128.xor(load16(bits, codes, at >> 4, count, by4, by2), top);
          const ab = i16x8.sub(i16x8.extend_low_i8x16_u(bytes), offset);
          const cd = i16x8.sub(i16x8.extend_high_i8x16_u(bytes), offset);
          const a = decoded_f32x4(i32x4.extend_low_i16x8_s(ab), s, m, sign);
          const b = decoded_f32x4(i32x4.extend_high_i16x8_s(ab), s, m, sign);
          const c = decoded_f32x4(i32x4.extend_low_i16x8_s(cd), s, m, sign);
          const d = decoded_f32x4(i32x4.extend_high_i16x8_s(cd), s, m, sign);
          if (count >= 16) {
            v128.store(out, a);
            v128.store(out, b, 16);
            v128.store(out, c, 32);
            v128.store(out, d, 48);
            out += 64;
          } else {
            storePart(out, a, count);
            if (count > 4) storePart(out + 16, b, count - 4);
            if (count > 8) storePart(out + 32, c, count - 8);
            if (count > 12) storePart(out + 48, d, count - 12);
            out += count << 2;
          }
        }
        at = end;
      }
      scales += step;
      minima += step;
    }
    codes += lineBytes;
  } while (--rows);
}

/**
 * Values from packed integer codes: code · scale + minimum, two roundings, never fused; ternary and symmetric code · scale;
 * 1 bit symmetric ±scale.
 *
 * codes, scales, minima, out: shapes and layout as in quantize_integers_f32, out f32 [rows, n]. Any words, scales and minima
 * are taken as they are: a scale of NaN gives NaN, infinities follow IEEE 754; of packed ternary bytes past 242 the last digit
 * counts modulo 3.
 *
 * The caller guarantees: bits and scheme as there; groupSize 0, a multiple of 16 or at least the axis; out overlaps nothing;
 * minima when affine. Scratch: none.
 *
 * Method: along rows, sixteen codes at a time become bytes, i16, i32, f32; packed ternary four at a time, one digit of a
 * word's bytes, v / 3 being v·171 >> 9. Down columns, four columns at a time.
 */
export function dequantize_integers_f32(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  out: usize, scaleType: u32,
): void {
  if (rows == 0 || n == 0) return;
  const extent = axis ? rows : n;
  if (groupSize == 0 || groupSize > extent) groupSize = extent;
  if (axis) dequantizeIntegerColumns(codes, scales, minima, 0, rows, n, bits, groupSize, scheme, scaleType, out);
  else dequantizeIntegerRows(codes, scales, minima, rows, n, bits, groupSize, scheme, scaleType, out);
}
