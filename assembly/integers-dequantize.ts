import {
  NARROW_EXPONENT, NARROW_LEAST, NARROW_MAGIC, NARROW_NAN, NARROW_SIZE, NARROW_TOP, halves_i32x4, storeBoth4, storeNth8, storeSome,
} from './lib/half';
import { AFFINE, isPacked, isSign, loadScale, loadScales, runCodes, runWords, signBit } from './lib/integers';
import { load4, loadPart } from './lib/part';
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

/** The lowest digits of numbers below 256, and what is left of them: base 3. */
// @ts-ignore: decorator
@inline
function third_i16x8(v: v128): v128 {
  return i16x8.shr_u(i16x8.mul(v, i16x8.splat(171)), 9);
}

// @ts-ignore: decorator
@inline
function digit_i16x8(v: v128): v128 {
  const third = third_i16x8(v);
  return i16x8.sub(v, i16x8.add(third, i16x8.add(third, third)));
}

/** Codes in two's complement, whose sign bit is `top`; others where that is 0. */
// @ts-ignore: decorator
@inline
function signed_i32x4(code: v128, top: v128): v128 {
  return i32x4.sub(v128.xor(code, top), top);
}

/** Values of codes, or of signs. */
// @ts-ignore: decorator
@inline
function decoded_f32x4(code: v128, scale: v128, minimum: v128, sign: bool): v128 {
  return sign ? v128.xor(scale, i32x4.shl(code, 31)) : value_f32x4(code, scale, minimum);
}

function dequantizeIntegerRows<T>(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, half: u32, out: usize,
): void {
  const sign = isSign(bits, scheme);
  const packed = isPacked(bits, scheme);
  const run = runCodes(bits, scheme);
  const lineBytes = ((n + run - 1) / run * runWords(bits)) << 2;
  const step: usize = half ? 2 : 4;
  const size = halves_i32x4<T>(NARROW_SIZE), exponent = halves_i32x4<T>(NARROW_EXPONENT), top = halves_i32x4<T>(NARROW_TOP);
  const nan = halves_i32x4<T>(NARROW_NAN), least = halves_i32x4<T>(NARROW_LEAST), magic = halves_i32x4<T>(NARROW_MAGIC);
  const by4 = held_i32x4(0x0f0f0f0f);
  const by2 = held_i32x4(0x03030303);
  const signBits = held_i32x4(signBit(bits, scheme) * 0x0101_0101);
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
          storeSome<T>(out, value_f32x4(i32x4.sub(digit_i16x8(v), one), s, m), end - at);
          out += 4 * sizeof<T>();
        }
        out -= (at - end) * sizeof<T>();
        at = end;
      } else {
        for (; at < end; at += 16) {
          const count = end - at;
          const bytes = v128.xor(load16(bits, codes, at >> 4, count, by4, by2), signBits);
          const ab = i16x8.sub(i16x8.extend_low_i8x16_u(bytes), offset);
          const cd = i16x8.sub(i16x8.extend_high_i8x16_u(bytes), offset);
          const a = decoded_f32x4(i32x4.extend_low_i16x8_s(ab), s, m, sign);
          const b = decoded_f32x4(i32x4.extend_high_i16x8_s(ab), s, m, sign);
          const c = decoded_f32x4(i32x4.extend_low_i16x8_s(cd), s, m, sign);
          const d = decoded_f32x4(i32x4.extend_high_i16x8_s(cd), s, m, sign);
          if (count >= 16) {
            storeNth8<T>(out, a, b, 0, size, exponent, top, nan, least, magic);
            storeNth8<T>(out, c, d, 1, size, exponent, top, nan, least, magic);
            out += 16 * sizeof<T>();
          } else {
            storeSome<T>(out, a, count);
            if (count > 4) storeSome<T>(out + 4 * sizeof<T>(), b, count - 4);
            if (count > 8) storeSome<T>(out + 8 * sizeof<T>(), c, count - 8);
            if (count > 12) storeSome<T>(out + 12 * sizeof<T>(), d, count - 12);
            out += count * sizeof<T>();
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

function dequantizeIntegerColumns<T>(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, half: u32, out: usize,
): void {
  const sign = isSign(bits, scheme);
  const packed = isPacked(bits, scheme);
  const run = runCodes(bits, scheme);
  const stride: usize = n << 2;
  const outStride: usize = n * sizeof<T>();
  const size = halves_i32x4<T>(NARROW_SIZE), exponent = halves_i32x4<T>(NARROW_EXPONENT), top = halves_i32x4<T>(NARROW_TOP);
  const nan = halves_i32x4<T>(NARROW_NAN), least = halves_i32x4<T>(NARROW_LEAST), magic = halves_i32x4<T>(NARROW_MAGIC);
  const scaleShift: u32 = half ? 1 : 2;
  const zero = i32x4.splat(0);
  const mask = held_i32x4(packed ? 255 : bits == 3 ? 3 : (1 << bits) - 1);
  const width: u32 = packed ? 8 : bits == 3 ? 2 : bits;
  const signBits = held_i32x4(signBit(bits, scheme));
  const four = held_i32x4(4);
  for (let row: u32 = 0; row < rows; row += 4) {
    const group = row / groupSize * n << scaleShift;
    const place = row % run;
    const first = codes + row / run * runWords(bits) * stride;
    const left = min(4, rows - row);
    for (let column: u32 = 0; column < n; column += 4) {
      const lanes = min(4, n - column);
      const at: usize = column << 2;
      const words = first + at;
      const s = loadScales(scales + group + (column << scaleShift), lanes, half);
      const m = scheme == AFFINE ? loadScales(minima + group + (column << scaleShift), lanes, half) : zero;
      let p = out + column * sizeof<T>();
      let word: v128;
      let above = zero;
      if (bits == 3) {
        word = i32x4.shr_u(load4(words + (place >> 4) * stride, lanes), 2 * (place & 15));
        above = i32x4.shr_u(load4(words + 2 * stride, lanes), place);
      } else {
        word = load4(words, lanes);
        if (!packed) word = i32x4.shr_u(word, place * bits);
      }
      if (lanes == 4 && !packed && left == 4) {
        // Third bits in the place of codes' own.
        const a = signed_i32x4(v128.or(v128.and(word, mask), v128.and(i32x4.shl(above, 2), four)), signBits);
        const b = signed_i32x4(v128.or(v128.and(i32x4.shr_u(word, width), mask), v128.and(i32x4.shl(above, 1), four)), signBits);
        const c = signed_i32x4(v128.or(v128.and(i32x4.shr_u(word, 2 * width), mask), v128.and(above, four)), signBits);
        const d = signed_i32x4(v128.or(v128.and(i32x4.shr_u(word, 3 * width), mask), v128.and(i32x4.shr_u(above, 1), four)), signBits);
        storeBoth4<T>(
          p, decoded_f32x4(a, s, m, sign), p + outStride, decoded_f32x4(b, s, m, sign), size, exponent, top, nan, least, magic,
        );
        p += 2 * outStride;
        storeBoth4<T>(
          p, decoded_f32x4(c, s, m, sign), p + outStride, decoded_f32x4(d, s, m, sign), size, exponent, top, nan, least, magic,
        );
        continue;
      }
      for (let j: u32 = 0; j < left; j++) {
        let code = v128.and(word, mask);
        if (packed) {
          for (let k = place >> 2; k; k--) code = third_i16x8(code);
          code = i32x4.sub(digit_i16x8(code), i32x4.splat(1));
        } else {
          code = v128.or(code, v128.and(i32x4.shl(above, 2), four));
          code = signed_i32x4(code, signBits);
        }
        storeSome<T>(p, decoded_f32x4(code, s, m, sign), lanes);
        word = i32x4.shr_u(word, width);
        above = i32x4.shr_u(above, 1);
        p += outStride;
      }
    }
    out += 4 * outStride;
  }
}

function dequantizeIntegers<T>(
  codes: usize, scales: usize, minima: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scheme: u32, axis: u32,
  out: usize, scaleType: u32,
): void {
  if (rows == 0 || n == 0) return;
  const extent = axis ? rows : n;
  if (groupSize == 0 || groupSize > extent) groupSize = extent;
  if (axis) dequantizeIntegerColumns<T>(codes, scales, minima, rows, n, bits, groupSize, scheme, scaleType, out);
  else dequantizeIntegerRows<T>(codes, scales, minima, rows, n, bits, groupSize, scheme, scaleType, out);
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
  dequantizeIntegers<f32>(codes, scales, minima, rows, n, bits, groupSize, scheme, axis, out, scaleType);
}

/** For integers-f16. */
export { dequantizeIntegers };
