import { narrow_i32x4 } from './lib/half';
import { iq4_i8x16 } from './lib/ggml';

/**
 * ggml_quantize_f32: GGUF's block formats, byte for byte as ggml's quantize_row_*_ref writes them.
 *
 *   x      f32 [rows, n]
 *   type   u32                            ggml_type: 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 9 Q8_1, 20 IQ4_NL, 39 MXFP4, 40 NVFP4
 *   blocks u8  [rows, n / block · bytes]  out, at any byte
 *
 * Layouts: ts/reference/ggml.ts. Every operation is a correctly rounded f32 operation in ggml's order, never fused. NaN is
 * passed over when a block's range is found; a code that no integer holds (NaN, infinity) is 0; a NaN scale is stored as 0xfe00.
 * IQ4_NL blocks whose largest magnitude is below 1e-15 are all zero (ggml leaves their codes undefined).
 * The caller guarantees the type, whole blocks and 4-byte alignment of x. Scratch: none.
 *
 * Method: a block of 32 in eight vectors: range, codes four at a time, narrowed to bytes. E2M1 and IQ4 codes count the middles
 * below. IQ4_NL's least-squares sums are taken one value after another, for their order is ggml's.
 * Not done: trunc_sat for the codes and a search for the first of the largest magnitudes in every block (Q4_0 takes 1.1 to 1.4
 * times as long, Q8_0 1.3); E2M1 codes by the distances to all eight numbers (MXFP4 8.8 times), but where rounding makes them equal.
 */
export function ggml_quantize_f32(x: usize, rows: u32, n: u32, type: u32, blocks: usize): void {
  const end = x + ((<usize>rows * n) << 2);
  if (type == 2) for (; x < end; x += 128, blocks += 18) q0(x, 8, blocks, blocks + 2);
  else if (type == 3) for (; x < end; x += 128, blocks += 20) q1(x, 15, blocks, blocks + 4);
  else if (type == 6) for (; x < end; x += 128, blocks += 22) store<u32>(blocks, q0(x, 16, blocks, blocks + 6), 2);
  else if (type == 7) for (; x < end; x += 128, blocks += 24) store<u32>(blocks, q1(x, 31, blocks, blocks + 8), 4);
  else if (type == 8) for (; x < end; x += 128, blocks += 34) q8(x, blocks, blocks + 2, false);
  else if (type == 9) for (; x < end; x += 128, blocks += 36) q8(x, blocks, blocks + 4, true);
  else if (type == 20) for (; x < end; x += 128, blocks += 18) iq4(x, blocks);
  else if (type == 39) for (; x < end; x += 128, blocks += 17) mxfp4(x, blocks);
  else for (; x < end; x += 256, blocks += 36) {
    for (let s: u32 = 0; s < 4; s++) nvfp4(x + (s << 6), blocks + s, blocks + 4 + (s << 3));
  }
}

/** The largest magnitude of `vectors` vectors, in all lanes; NaN is passed over. */
@inline
function most(x: usize, vectors: u32): v128 {
  let a = f32x4.splat(0);
  for (const end = x + (vectors << 4); x < end; x += 16) a = f32x4.pmax(a, f32x4.abs(v128.load(x)));
  return highest(a);
}

@inline
function lowest(v: v128): v128 {
  v = f32x4.pmin(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.pmin(v, v128.shuffle<i32>(v, v, 1, 0, 3, 2));
}

@inline
function highest(v: v128): v128 {
  v = f32x4.pmax(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.pmax(v, v128.shuffle<i32>(v, v, 1, 0, 3, 2));
}

/** The first of 32 values of the largest magnitude; NaN is passed over. */
function furthest(x: usize): f32 {
  let low = f32x4.splat(0), high = f32x4.splat(0);
  for (let p = x, end = x + 128; p < end; p += 16) {
    const v = v128.load(p);
    low = f32x4.pmin(low, v);
    high = f32x4.pmax(high, v);
  }
  low = lowest(low);
  high = highest(high);
  const a = f32x4.extract_lane(low, 0), b = f32x4.extract_lane(high, 0);
  if (-a != b) return -a > b ? a : b;
  return b ? first(x, high, i32x4.splat(0x7fffffff)) : 0;
}

/** The first of 32 values that equals `wanted` in magnitude (`absolute`) or in value; 0 where there is none. */
function first(x: usize, wanted: v128, absolute: v128): f32 {
  for (const end = x + 128; x < end; x += 16) {
    const mask = i32x4.bitmask(f32x4.eq(v128.and(v128.load(x), absolute), wanted));
    if (mask) return load<f32>(x + (ctz(mask) << 2));
  }
  return 0;
}

/** An f16; NaN is what x86 makes of an invalid operation, for hosts do not agree on its sign. */
function storeHalf(p: usize, value: f32): void {
  store<u16>(p, value == value ? <u16>i32x4.extract_lane(narrow_i32x4(f32x4.splat(value)), 0) : <u16>0xfe00);
}

@inline
function inverse(d: f32): f32 {
  return d ? 1 / d : 0;
}

/** Toward zero, below 2^22: integers come out of the sum's last bits (trunc_sat is nine instructions). What is not finite is 0. */
@inline
function truncated(v: v128): v128 {
  const difference = f32x4.sub(v, v);
  const whole = f32x4.add(f32x4.trunc(v), f32x4.splat(12582912));
  return v128.and(i32x4.sub(whole, i32x4.splat(0x4b400000)), f32x4.eq(difference, difference));
}

/** Sixteen codes, 0 to 31, from four vectors. */
@inline
function narrow16(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

/** Codes as nibbles, value j with value j + 16; answers with their fifth bits. */
@inline
function storeNibbles(p: usize, a: v128, b: v128): u32 {
  const low = i8x16.splat(15);
  v128.store(p, v128.or(v128.and(a, low), i8x16.shl(b, 4)));
  return i8x16.bitmask(i8x16.shl(a, 3)) | (i8x16.bitmask(i8x16.shl(b, 3)) << 16);
}

@inline
function codeOf0(x: usize, id: v128, offset: v128, last: v128): v128 {
  return i32x4.min_s(truncated(f32x4.add(f32x4.mul(v128.load(x), id), offset)), last);
}

/** Q4_0 and Q5_0: the value of largest magnitude becomes the code 0. */
function q0(x: usize, center: u32, scale: usize, codes: usize): u32 {
  const d = furthest(x) / -<f32>center;
  storeHalf(scale, d);
  const id = f32x4.splat(inverse(d)), offset = f32x4.splat(<f32>center + 0.5), last = i32x4.splat(2 * center - 1);
  return storeNibbles(
    codes,
    narrow16(codeOf0(x, id, offset, last), codeOf0(x + 16, id, offset, last), codeOf0(x + 32, id, offset, last), codeOf0(x + 48, id, offset, last)),
    narrow16(codeOf0(x + 64, id, offset, last), codeOf0(x + 80, id, offset, last), codeOf0(x + 96, id, offset, last), codeOf0(x + 112, id, offset, last)),
  );
}

@inline
function codeOf1(x: usize, minimum: v128, id: v128, last: v128): v128 {
  const v = f32x4.mul(f32x4.sub(v128.load(x), minimum), id);
  return i32x4.min_s(truncated(f32x4.add(v, f32x4.splat(0.5))), last);
}

/** Q4_1 and Q5_1: the minimum becomes the code 0, the maximum the last. */
function q1(x: usize, last: u32, scale: usize, codes: usize): u32 {
  let low = f32x4.splat(3.4028234663852886e38), high = f32x4.splat(-3.4028234663852886e38);
  for (let p = x, end = x + 128; p < end; p += 16) {
    const v = v128.load(p);
    low = f32x4.pmin(low, v);
    high = f32x4.pmax(high, v);
  }
  let minimum = f32x4.extract_lane(lowest(low), 0);
  // Of zeros of both signs the first counts.
  if (minimum == 0) minimum = first(x, f32x4.splat(0), i32x4.splat(-1));
  const d = (f32x4.extract_lane(highest(high), 0) - minimum) / <f32>last;
  storeHalf(scale, d);
  storeHalf(scale + 2, minimum);
  low = f32x4.splat(minimum);
  const id = f32x4.splat(inverse(d)), last_i32x4 = i32x4.splat(last);
  return storeNibbles(
    codes,
    narrow16(codeOf1(x, low, id, last_i32x4), codeOf1(x + 16, low, id, last_i32x4), codeOf1(x + 32, low, id, last_i32x4), codeOf1(x + 48, low, id, last_i32x4)),
    narrow16(codeOf1(x + 64, low, id, last_i32x4), codeOf1(x + 80, low, id, last_i32x4), codeOf1(x + 96, low, id, last_i32x4), codeOf1(x + 112, low, id, last_i32x4)),
  );
}

/** Half away from zero: the float below a half takes a half, and nothing less, up to the next integer. */
@inline
function rounded(x: usize, id: v128): v128 {
  const v = f32x4.mul(v128.load(x), id);
  return truncated(f32x4.add(v, v128.or(v128.and(v, i32x4.splat(0x80000000)), f32x4.splat(0.49999997))));
}

/** Q8_0, and Q8_1 with the sum of its codes times d. */
function q8(x: usize, scale: usize, codes: usize, sums: bool): void {
  const d = f32x4.extract_lane(most(x, 8), 0) / 127;
  storeHalf(scale, d);
  const id = f32x4.splat(inverse(d));
  let sum = i32x4.splat(0);
  for (let i: usize = 0; i < 32; i += 16) {
    const v = narrow16(rounded(x, id), rounded(x + 16, id), rounded(x + 32, id), rounded(x + 48, id));
    v128.store(codes + i, v);
    if (sums) sum = i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v)));
    x += 64;
  }
  if (!sums) return;
  sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
  storeHalf(scale + 2, <f32>(i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1)) * d);
}

/** Nearest IQ4 codes, the upper of two: one more for each middle that is not above. */
@inline
function nearestIq4(v: v128): v128 {
  let above = f32x4.lt(v, f32x4.splat(-115.5));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(-93.5)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(-74)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(-57)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(-42)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(-28.5)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(-16)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(-4.5)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(7)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(19)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(31.5)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(45.5)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(61)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(79)));
  above = i32x4.add(above, f32x4.lt(v, f32x4.splat(101)));
  return i32x4.add(above, i32x4.splat(15));
}

/** The largest magnitude becomes -127; then d is refitted to the codes by least squares weighted with x². */
function iq4(x: usize, b: usize): void {
  const largest = furthest(x);
  if (abs(largest) < 1e-15) {
    memory.fill(b, 0, 18);
    return;
  }
  const id: f32 = 1 / (largest / -127);
  const id_f32x4 = f32x4.splat(id);
  let xq: f32 = 0, qq: f32 = 0;
  let halves = i32x4.splat(0);
  for (let h: u32 = 0; h < 2; h++, x += 64) {
    const codes = narrow16(
      nearestIq4(f32x4.mul(v128.load(x), id_f32x4)), nearestIq4(f32x4.mul(v128.load(x, 16), id_f32x4)),
      nearestIq4(f32x4.mul(v128.load(x, 32), id_f32x4)), nearestIq4(f32x4.mul(v128.load(x, 48), id_f32x4)),
    );
    v128.store(b, iq4_i8x16(codes), 2);
    for (let i: usize = 0; i < 16; i++) {
      const v = load<f32>(x + (i << 2)), q = <f32>load<i8>(b + i, 2);
      const wq = v * v * q;
      xq += wq * v;
      qq += wq * q;
    }
    halves = h ? v128.or(halves, i8x16.shl(codes, 4)) : codes;
  }
  v128.store(b, halves, 2);
  storeHalf(b, xq / qq);
}

/**
 * Sixteen E2M1 codes nearest to x / d, of two at the same distance the one nearer to 0: how many middles lie below. `largest`
 * is no less than any magnitude there.
 */
function nearestFp4(x: usize, d: f32, largest: f32): v128 {
  if (largest > d * 1048576) return farFp4(x, d);
  const v0 = v128.load(x), v1 = v128.load(x, 16), v2 = v128.load(x, 32), v3 = v128.load(x, 48);
  const a = f32x4.abs(v0), b = f32x4.abs(v1), c = f32x4.abs(v2), e = f32x4.abs(v3);
  let code = above(a, b, c, e, d * 0.5);
  code = i8x16.add(code, above(a, b, c, e, d * 1.5));
  code = i8x16.add(code, above(a, b, c, e, d * 2.5));
  code = i8x16.add(code, above(a, b, c, e, d * 3.5));
  code = i8x16.add(code, above(a, b, c, e, d * 5));
  code = i8x16.add(code, above(a, b, c, e, d * 7));
  code = i8x16.add(code, above(a, b, c, e, d * 10));
  const negative = narrow16(i32x4.shr_s(v0, 31), i32x4.shr_s(v1, 31), i32x4.shr_s(v2, 31), i32x4.shr_s(v3, 31));
  return signedFp4(i8x16.neg(code), negative);
}

/** -1 for what is above. */
@inline
function above(a: v128, b: v128, c: v128, d: v128, middle: f32): v128 {
  const m = f32x4.splat(middle);
  return narrow16(f32x4.gt(a, m), f32x4.gt(b, m), f32x4.gt(c, m), f32x4.gt(d, m));
}

/** Bit 3 for negative values, but for code 0. */
@inline
function signedFp4(code: v128, negative: v128): v128 {
  return v128.or(code, v128.and(v128.and(negative, i8x16.gt_s(code, i8x16.splat(0))), i8x16.splat(8)));
}

/** The same by distances, rounded as ggml's are: where x is far above the largest number, or d is 0, they are equal. */
function farFp4(x: usize, d: f32): v128 {
  const v0 = v128.load(x), v1 = v128.load(x, 16), v2 = v128.load(x, 32), v3 = v128.load(x, 48);
  const negative = narrow16(i32x4.shr_s(v0, 31), i32x4.shr_s(v1, 31), i32x4.shr_s(v2, 31), i32x4.shr_s(v3, 31));
  return signedFp4(narrow16(far4(v0, d), far4(v1, d), far4(v2, d), far4(v3, d)), negative);
}

function far4(v: v128, d: f32): v128 {
  const size = f32x4.abs(v);
  let best = size, code = i32x4.splat(0);
  for (let k: u32 = 1; k < 8; k++) {
    // 1, 2, 3, 4, 6, 8, 12
    const number: u32 = k < 4 ? k : (2 | (k & 1)) << ((k >> 1) - 1);
    const distance = f32x4.abs(f32x4.sub(f32x4.splat(<f32>number * d), size));
    const nearer = f32x4.lt(distance, best);
    best = v128.bitselect(distance, best, nearer);
    code = v128.bitselect(i32x4.splat(k), code, nearer);
  }
  return code;
}

/** floor(log2(x)) of a normal number as ggml has it: log2 is rounded to f32, which takes what is just below 2^k up to it. */
function floorLog2(x: f32): i32 {
  const bits = reinterpret<u32>(x);
  const exponent: i32 = (bits >> 23) - 127;
  // How far below the next power of two, as a share of it.
  const t: f64 = <f64>(0x800000 - (bits & 0x7fffff)) * 5.9604644775390625e-8;
  if (t > 0.001) return exponent;
  const next = exponent + 1;
  return <i32>(<f32>(<f64>next - (t + t * t * (0.5 + t / 3)) * 1.4426950408889634) == <f32>next) + exponent;
}

function mxfp4(x: usize, b: usize): void {
  const size = f32x4.extract_lane(most(x, 8), 0);
  if (size == 0 || size == Infinity) {
    memory.fill(b, 0, 17);
    return;
  }
  const e: u32 = max(0, floorLog2(size) + 125);
  store<u8>(b, <u8>e);
  const d = reinterpret<f32>(e < 2 ? 0x200000 << e : (e - 1) << 23);
  storeNibbles(b + 1, nearestFp4(x, d, size), nearestFp4(x + 64, d, size));
}

/** An unsigned E4M3 number: half up; from 256 on the largest, 448. */
function e4m3Of(x: f32): u32 {
  if (!(x > 0)) return 0;
  if (x >= 256) return 0x7e;
  // Below 2^-6 a multiple of 2^-9; eight of them would be 2^-6, but ggml stops at seven.
  if (x < 0.015625) return min(7, <u32>(x * 512 + 0.5));
  const bits = reinterpret<u32>(x) + 0x80000;
  const code = (bits >> 20) - (120 << 3);
  return code >= 0x78 ? 0x7e : code;
}

function nvfp4(x: usize, scale: usize, codes: usize): void {
  const largest = f32x4.extract_lane(most(x, 4), 0);
  const byte = e4m3Of(largest / 6);
  store<u8>(scale, <u8>byte);
  const exponent = byte >> 3;
  const half: f32 = exponent ? reinterpret<f32>((exponent + 119) << 23 | (byte & 7) << 20) : <f32>byte * 0.0009765625;
  const v = nearestFp4(x, half, largest);
  v128.store64_lane(codes, v128.or(v, i8x16.shl(v128.shuffle<i64>(v, v, 1, 0), 4)), 0);
}
