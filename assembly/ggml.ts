import { halfE4M3, halfE8M0, iq4_i8x16, lookup_i8x16, toHalf } from './lib/ggml';
import { bytes_i8x16, inverse, magnitude16, narrowed_i8x16, plusLanes, truncated_i32x4 } from './lib/ggml-codes';
import { writeQ1_0, writeQ2_0, writeTQ1_0, writeTQ2_0 } from './lib/ggml-low';
import { held_f32x4, held_i32x4 } from './lib/held';
import { max_f32x4, min_f32x4 } from './lib/reduce';

// Each writer makes `count` blocks that follow each other. Layouts: ts/reference/ggml.ts.

/** The greatest of `start` and 32 values. pmax keeps its first operand where the second is NaN. */
// @ts-ignore: decorator
@inline
function highest32(x: usize, start: f32): f32 {
  const a = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(held_f32x4(start), v128.load(x)), v128.load(x, 16)), v128.load(x, 32)), v128.load(x, 48));
  const b = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(held_f32x4(start), v128.load(x, 64)), v128.load(x, 80)), v128.load(x, 96)), v128.load(x, 112));
  return max_f32x4(f32x4.pmax(a, b));
}

// @ts-ignore: decorator
@inline
function lowest32(x: usize, start: f32): f32 {
  const a = f32x4.pmin(f32x4.pmin(f32x4.pmin(f32x4.pmin(held_f32x4(start), v128.load(x)), v128.load(x, 16)), v128.load(x, 32)), v128.load(x, 48));
  const b = f32x4.pmin(f32x4.pmin(f32x4.pmin(f32x4.pmin(held_f32x4(start), v128.load(x, 64)), v128.load(x, 80)), v128.load(x, 96)), v128.load(x, 112));
  return min_f32x4(f32x4.pmin(a, b));
}

/** The first of the values that are `value` or its negative. */
function firstOf(x: usize, value: f32): f32 {
  while (f32.abs(load<f32>(x)) != f32.abs(value)) x += 4;
  return load<f32>(x);
}

/** Of 32 values the one of largest magnitude, the first of several; 0 where all are zero or NaN. */
// @ts-ignore: decorator
@inline
function furthest32(x: usize): f32 {
  const high = highest32(x, 0);
  const low = lowest32(x, 0);
  if (high > -low) return high;
  if (high < -low) return low;
  return high == 0 ? 0 : firstOf(x, high);
}

/** (x − minimum)·id + half toward zero, sixteen bytes; NaN gives 0. */
// @ts-ignore: decorator
@inline
function codes_i8x16(x: usize, minimum: v128, id: v128, half: v128): v128 {
  const a = truncated_i32x4(f32x4.add(f32x4.mul(f32x4.sub(v128.load(x), minimum), id), half));
  const b = truncated_i32x4(f32x4.add(f32x4.mul(f32x4.sub(v128.load(x, 16), minimum), id), half));
  const ab = i16x8.narrow_i32x4_s(a, b);
  const c = truncated_i32x4(f32x4.add(f32x4.mul(f32x4.sub(v128.load(x, 32), minimum), id), half));
  const d = truncated_i32x4(f32x4.add(f32x4.mul(f32x4.sub(v128.load(x, 48), minimum), id), half));
  return i8x16.narrow_i16x8_u(ab, i16x8.narrow_i32x4_s(c, d));
}

/** Codes 0 to 31 of 32 values as nibbles, j with j + 16, and (fifth: where to) their fifth bits. */
// @ts-ignore: decorator
@inline
function storeNibbles(b: usize, low: v128, high: v128, fifth: usize): void {
  if (fifth) {
    store<u16>(fifth, i8x16.bitmask(i16x8.shl(low, 3)));
    store<u16>(fifth, i8x16.bitmask(i16x8.shl(high, 3)), 2);
    const nibble = i8x16.splat(15);
    low = v128.and(low, nibble);
    high = v128.and(high, nibble);
  }
  v128.store(b, v128.or(low, i16x8.shl(high, 4)));
}

/** Q4_0 (half 8) and Q5_0 (half 16): the value of largest magnitude becomes code 0. */
// @ts-ignore: decorator
@inline
function signed(half: u32, x: usize, count: u32, b: usize): void {
  // x − 0 is x (−0 too, since subtracting +0 keeps it).
  const none = held_i32x4(0);
  const center = held_f32x4(<f32>half + 0.5);
  do {
    const d = furthest32(x) / -<f32>half;
    store<u16>(b, toHalf(d));
    const id = f32x4.splat(inverse(d));
    const last = i8x16.splat(<i8>(2 * half - 1));
    const low = i8x16.min_u(codes_i8x16(x, none, id, center), last);
    const high = i8x16.min_u(codes_i8x16(x + 64, none, id, center), last);
    if (half == 8) storeNibbles(b + 2, low, high, 0);
    else storeNibbles(b + 6, low, high, b + 2);
    x += 128;
    b += half == 8 ? 18 : 22;
  } while (--count);
}

/** Q4_1 (last 15) and Q5_1 (last 31): the minimum becomes code 0. */
// @ts-ignore: decorator
@inline
function affine(last: u32, x: usize, count: u32, b: usize): void {
  const half = held_f32x4(0.5);
  do {
    const maximum = highest32(x, -f32.MAX_VALUE);
    let minimum = lowest32(x, f32.MAX_VALUE);
    if (minimum == 0) minimum = firstOf(x, 0); // its sign
    const d = (maximum - minimum) / <f32>last;
    store<u16>(b, toHalf(d));
    store<u16>(b, toHalf(minimum), 2);
    const id = f32x4.splat(inverse(d));
    const least = f32x4.splat(minimum);
    const low = codes_i8x16(x, least, id, half);
    const high = codes_i8x16(x + 64, least, id, half);
    if (last == 15) storeNibbles(b + 4, low, high, 0);
    else storeNibbles(b + 8, low, high, b + 4);
    x += 128;
    b += last == 15 ? 20 : 24;
  } while (--count);
}

// @ts-ignore: decorator
@inline
function sum_i32x4(codes: v128): v128 {
  return i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(codes));
}

/** Q8_0 (34 bytes) and Q8_1 (36). */
// @ts-ignore: decorator
@inline
function q8(bytes: u32, x: usize, count: u32, b: usize): void {
  const sign = held_i32x4(0x80000000);
  const half = held_i32x4(0x3effffff);
  do {
    const d = max_f32x4(f32x4.pmax(magnitude16(x), magnitude16(x + 64))) / 127;
    store<u16>(b, toHalf(d));
    const id = f32x4.splat(inverse(d));
    const low = bytes_i8x16(x, id, sign, half);
    const high = bytes_i8x16(x + 64, id, sign, half);
    v128.store(b + bytes - 32, low);
    v128.store(b + bytes - 16, high);
    if (bytes == 36) {
      let sum = i32x4.add(sum_i32x4(low), sum_i32x4(high));
      sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
      sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 1, 0, 3, 2));
      store<u16>(b, toHalf(<f32>i32x4.extract_lane(sum, 0) * d), 2);
    }
    x += 128;
    b += bytes;
  } while (--count);
}

/** Bytes −1 for what is above the boundary. */
// @ts-ignore: decorator
@inline
function above_i8x16(a: v128, b: v128, c: v128, d: v128, boundary: f32): v128 {
  const m = f32x4.splat(boundary);
  return narrowed_i8x16(f32x4.gt(a, m), f32x4.gt(b, m), f32x4.gt(c, m), f32x4.gt(d, m));
}

/** FP4 codes of 16 values: how many of the boundaries lie below |x|, none at it; d times a boundary is exact. */
function fp4(x: usize, d: f32): v128 {
  const v0 = v128.load(x);
  const v1 = v128.load(x, 16);
  const v2 = v128.load(x, 32);
  const v3 = v128.load(x, 48);
  const a = f32x4.abs(v0);
  const b = f32x4.abs(v1);
  const c = f32x4.abs(v2);
  const e = f32x4.abs(v3);
  let below = above_i8x16(a, b, c, e, 0.5 * d);
  below = i8x16.add(below, above_i8x16(a, b, c, e, 1.5 * d));
  below = i8x16.add(below, above_i8x16(a, b, c, e, 2.5 * d));
  below = i8x16.add(below, above_i8x16(a, b, c, e, 3.5 * d));
  below = i8x16.add(below, above_i8x16(a, b, c, e, 5 * d));
  below = i8x16.add(below, above_i8x16(a, b, c, e, 7 * d));
  below = i8x16.add(below, above_i8x16(a, b, c, e, 10 * d));
  const signs = narrowed_i8x16(i32x4.shr_s(v0, 31), i32x4.shr_s(v1, 31), i32x4.shr_s(v2, 31), i32x4.shr_s(v3, 31));
  // Code 0 has no sign.
  return v128.or(i8x16.neg(below), v128.and(v128.and(signs, below), i8x16.splat(8)));
}

/** The same by ggml's own search: where |x| is so large that all distances round alike, or the last codes overflow, the first counts. */
function fp4Far(x: usize, d: f32): v128 {
  let codes = i8x16.splat(0);
  for (let i = 0; i < 16; i++) {
    const value = load<f32>(x + 4 * i);
    let best = f32.abs(value);
    let code = 0;
    for (let k = 1; k < 8; k++) {
      // 1, 2, 3, 4, 6, 8, 12
      const error = f32.abs(<f32>(0xc864_3210 >> (4 * k) & 15) * d - f32.abs(value));
      if (error < best) {
        best = error;
        code = value < 0 ? k + 8 : k;
      }
    }
    codes = v128.shuffle<i8>(codes, i8x16.splat(<i8>code), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
  }
  return codes;
}

/**
 * floor(log2 x) with log2 rounded to f32, as ggml has it: x up to ln 2 · 2^p steps below 2^T gives T, where 2^p is the
 * power of two at or below T's neighbour.
 */
function exponentOf(x: f32): i32 {
  const bits = reinterpret<i32>(x);
  const next = (bits >> 23) - 126;
  const below = 0x800000 - (bits & 0x7fffff);
  if (below > 44) return next - 1; // ln 2 · 64: next is at most 128
  const n = next > 0 ? next - 1 : -next;
  const up = n != 0 && <f32>below < <f32>0.6931472 * <f32>(1 << (31 - clz(n)));
  return next - 1 + i32(up);
}

function mxfp4(x: usize, count: u32, b: usize): void {
  do {
    const largest = max_f32x4(f32x4.pmax(magnitude16(x), magnitude16(x + 64)));
    if (largest == 0 || largest == Infinity) {
      store<u8>(b, 0);
      v128.store(b, i8x16.splat(0), 1);
    } else {
      const e = max(0, exponentOf(largest) + 125);
      const d = halfE8M0(e);
      store<u8>(b, e);
      // 8 · 2^125 and 12 · 2^125 are beyond f32, and ggml does not take them.
      const far = e == 253;
      const low = far ? fp4Far(x, d) : fp4(x, d);
      v128.store(b, v128.or(low, i16x8.shl(far ? fp4Far(x + 64, d) : fp4(x + 64, d), 4)), 1);
    }
    x += 128;
    b += 17;
  } while (--count);
}

/** An unsigned E4M3 number, half up; from 256 on the largest, 448; below 2^-6 at most 7·2^-9. */
// @ts-ignore: decorator
@inline
function toE4M3(x: f32): u32 {
  if (x >= 256) return 0x7e;
  if (x < 0.015625) return min(7, <u32>(x * 512 + 0.5));
  const code = (reinterpret<u32>(x) + 0x80000 >> 20) - (120 << 3);
  return code >= 0x78 ? 0x7e : code;
}

function nvfp4(x: usize, count: u32, b: usize): void {
  do {
    for (let s: u32 = 0; s < 4; s++) {
      const largest = max_f32x4(magnitude16(x));
      const scale = toE4M3(largest / 6);
      const d = halfE4M3(scale);
      store<u8>(b + s, scale);
      const codes = scale == 0 ? i8x16.splat(0) : largest > 24 * d ? fp4Far(x, d) : fp4(x, d);
      v128.store_lane<i64>(b + 8 * s, v128.or(codes, i16x8.shl(v128.shuffle<i64>(codes, codes, 1, 0), 4)), 0, 4);
      x += 64;
    }
    b += 36;
  } while (--count);
}

/** Bytes −1 where id·x is below the boundary. */
// @ts-ignore: decorator
@inline
function below_i8x16(a: v128, b: v128, c: v128, d: v128, boundary: f32): v128 {
  const m = f32x4.splat(boundary);
  return narrowed_i8x16(f32x4.lt(a, m), f32x4.lt(b, m), f32x4.lt(c, m), f32x4.lt(d, m));
}

/** IQ4 codes of 16 values: boundaries lie half way, and at one the upper code counts. NaN gives 15. */
function iq4(x: usize, id: f32): v128 {
  const by = f32x4.splat(id);
  const a = f32x4.mul(v128.load(x), by);
  const b = f32x4.mul(v128.load(x, 16), by);
  const c = f32x4.mul(v128.load(x, 32), by);
  const d = f32x4.mul(v128.load(x, 48), by);
  let index = i8x16.add(i8x16.splat(15), below_i8x16(a, b, c, d, -115.5));
  index = i8x16.add(index, below_i8x16(a, b, c, d, -93.5));
  index = i8x16.add(index, below_i8x16(a, b, c, d, -74));
  index = i8x16.add(index, below_i8x16(a, b, c, d, -57));
  index = i8x16.add(index, below_i8x16(a, b, c, d, -42));
  index = i8x16.add(index, below_i8x16(a, b, c, d, -28.5));
  index = i8x16.add(index, below_i8x16(a, b, c, d, -16));
  index = i8x16.add(index, below_i8x16(a, b, c, d, -4.5));
  index = i8x16.add(index, below_i8x16(a, b, c, d, 7));
  index = i8x16.add(index, below_i8x16(a, b, c, d, 19));
  index = i8x16.add(index, below_i8x16(a, b, c, d, 31.5));
  index = i8x16.add(index, below_i8x16(a, b, c, d, 45.5));
  index = i8x16.add(index, below_i8x16(a, b, c, d, 61));
  index = i8x16.add(index, below_i8x16(a, b, c, d, 79));
  return i8x16.add(index, below_i8x16(a, b, c, d, 101));
}

/** The largest magnitude becomes −127; the scale stored is refitted to the codes, weighted with x². Sums run in order. */
function iq4NL(x: usize, count: u32, b: usize): void {
  const table = iq4_i8x16();
  do {
    const largest = furthest32(x);
    store<u16>(b, 0);
    v128.store(b, i8x16.splat(0), 2);
    if (f32.abs(largest) >= <f32>1e-15) {
      const id = <f32>1 / (largest / -127);
      let xq: f32 = 0;
      let qq: f32 = 0;
      for (let part: u32 = 0; part < 2; part++) {
        const codes = iq4(x, id);
        // The second half's nibbles are the upper ones.
        v128.store(b, v128.or(v128.load(b, 2), i16x8.shl(codes, 4 * part)), 2);
        let numbers = lookup_i8x16(table, codes);
        for (let end = x + 64; x < end; x += 16) {
          const q = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(numbers)));
          const v = v128.load(x);
          const wq = f32x4.mul(f32x4.mul(v, v), q);
          xq = plusLanes(xq, f32x4.mul(wq, v));
          qq = plusLanes(qq, f32x4.mul(wq, q));
          numbers = v128.shuffle<i32>(numbers, numbers, 1, 2, 3, 0);
        }
      }
      store<u16>(b, toHalf(xq / qq));
    } else x += 128;
    b += 18;
  } while (--count);
}

/**
 * ggml_quantize_f32: GGUF's block formats, byte for byte as ggml's quantize_row_*_ref writes them.
 *
 *   x      f32 [rows, n]
 *   type   u32                            ggml_type: 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 9 Q8_1, 20 IQ4_NL, 34 TQ1_0, 35 TQ2_0,
 *                                         39 MXFP4, 40 NVFP4, 41 Q1_0, 42 Q2_0
 *   blocks u8  [rows, n / block · bytes]  out, at any byte
 *
 * Layouts: ts/reference/ggml.ts. Every operation is a correctly rounded f32 operation in ggml's order, never fused; codes come
 * from 1/d with d before it becomes an f16. Of equal magnitudes the first is the largest. NaN is passed over when a block's range
 * is found; a code that no integer holds (NaN, infinity, 1/d that overflows) is 0 (of three levels the middle one,
 * IQ4_NL: 15); a NaN scale is stored as 0xfe00. IQ4_NL blocks whose largest magnitude is below 1e-15 (ggml leaves their codes
 * undefined), MXFP4 blocks with an infinity are all zero.
 * The caller guarantees the type, whole blocks and 4-byte alignment of x. Scratch: none.
 *
 * Method: ranges by pmin and pmax, whose first operand stays where the second is NaN; four codes at a time, narrowed to bytes.
 * E2M1 and IQ4 codes count the boundaries below. IQ4_NL's least-squares sums and Q1_0's mean are taken one value after another,
 * for their order is ggml's.
 *
 * Not done (1 M values, one core, Node 20): truncation by adding 1.5·2^23, 4 % faster without relaxed SIMD for 1,200 bytes;
 * lib/half.ts for single scales, 9 to 50 % slower. K-quants and IQ4_XS (searches whose bytes depend on fused multiply-add); Q8_K (never in files);
 * importance matrices.
 */
export function ggml_quantize_f32(x: usize, rows: u32, n: u32, type: u32, blocks: usize): void {
  const values = rows * n;
  if (values == 0) return;
  const count = values >> 5;
  switch (type) {
    case 2: return signed(8, x, count, blocks);
    case 3: return affine(15, x, count, blocks);
    case 6: return signed(16, x, count, blocks);
    case 7: return affine(31, x, count, blocks);
    case 8: return q8(34, x, count, blocks);
    case 9: return q8(36, x, count, blocks);
    case 20: return iq4NL(x, count, blocks);
    case 34: return writeTQ1_0(x, values >> 8, blocks);
    case 35: return writeTQ2_0(x, values >> 8, blocks);
    case 39: return mxfp4(x, count, blocks);
    case 40: return nvfp4(x, values >> 6, blocks);
    case 41: return writeQ1_0(x, values >> 7, blocks);
    case 42: return writeQ2_0(x, values >> 6, blocks);
  }
}
