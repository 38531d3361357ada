import { MAGIC, MAGIC_BITS } from './lib/quantize';
import {
  blockBytes, codeByte, codeShift, plane_i8x16, rowBytes, thirdBits,
} from './lib/codebook';
import { high16, high8, low16, low8 } from './lib/interleave';
import { held_f32x4, held_i32x4 } from './lib/held';

/** The smallest normal number. A scale below it counts as 0. */
const LEAST: f32 = reinterpret<f32>(0x00800000);
const INFINITE: f32 = reinterpret<f32>(0x7f800000);
/** As many steps as two vectors of 16 bytes tell apart. */
const BUCKETS: f32 = 32;

/** The largest |x|: as integers, so that NaN counts as greater than infinity. */
function largest(x: usize, count: u32): f32 {
  const absolute = held_i32x4(0x7fffffff);
  let a = i32x4.splat(0);
  let b = a;
  const end = x + (count << 2);
  for (; x + 32 <= end; x += 32) {
    a = i32x4.max_s(a, v128.and(v128.load(x), absolute));
    b = i32x4.max_s(b, v128.and(v128.load(x, 16), absolute));
  }
  for (; x < end; x += 4) a = i32x4.max_s(a, v128.and(v128.load32_zero(x), absolute));
  a = i32x4.max_s(a, b);
  a = i32x4.max_s(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  a = i32x4.max_s(a, v128.shuffle<i32>(a, a, 1, 0, 3, 2));
  return f32x4.extract_lane(a, 0);
}

/** The root of the mean square: in f64, four partial sums of every fourth value. */
function rootMeanSquare(x: usize, count: u32): f32 {
  let a = f64x2.splat(0);
  let b = a;
  const end = x + (count << 2);
  const whole = x + ((count & ~3) << 2);
  for (; x < whole; x += 16) {
    const low = f64x2.promote_low_f32x4(v128.load64_zero(x));
    const high = f64x2.promote_low_f32x4(v128.load64_zero(x, 8));
    a = f64x2.add(a, f64x2.mul(low, low));
    b = f64x2.add(b, f64x2.mul(high, high));
  }
  if (x < end) {
    const low = f64x2.promote_low_f32x4(x + 8 <= end ? v128.load64_zero(x) : v128.load32_zero(x));
    a = f64x2.add(a, f64x2.mul(low, low));
    if (x + 12 == end) {
      const high = f64x2.promote_low_f32x4(v128.load32_zero(x, 8));
      b = f64x2.add(b, f64x2.mul(high, high));
    }
  }
  a = f64x2.add(a, b);
  return <f32>sqrt((f64x2.extract_lane(a, 0) + f64x2.extract_lane(a, 1)) / <f64>count);
}

/** How many thresholds (`stride` bytes apart, the last infinite) a value exceeds. NaN exceeds none. */
// @ts-ignore: decorator
@inline
function rankOf(value: f32, thresholds: usize, stride: u32, bits: u32): u32 {
  let rank: u32 = 0;
  for (let half = stride << bits >> 1; half >= stride; half >>= 1) {
    const exceeds = <u32>(value > load<f32>(thresholds + half - stride));
    thresholds += half & -exceeds;
    rank += rank + exceeds;
  }
  return rank;
}

/** One step of a binary search. */
// @ts-ignore: decorator
@inline
function next(value: f32, p: usize, offset: usize, shift: u32): usize {
  return p + (<usize>(value > load<f32>(p + offset)) << shift);
}

/** Values [i, end) of a row by one table of 32 to 256, a code to a byte: four searches side by side. */
function putMany(
  x: usize, i: u32, end: u32, inverse: f32, keep: u32, thresholds: usize, order: usize, bits: u32, codes: usize,
): void {
  for (; i + 4 <= end; i += 4) {
    const p = x + (i << 2);
    const valueA = load<f32>(p) * inverse;
    const valueB = load<f32>(p, 4) * inverse;
    const valueC = load<f32>(p, 8) * inverse;
    const valueD = load<f32>(p, 12) * inverse;
    let a = thresholds;
    let b = thresholds;
    let c = thresholds;
    let d = thresholds;
    if (bits > 7) {
      a = next(valueA, a, 508, 9);
      b = next(valueB, b, 508, 9);
      c = next(valueC, c, 508, 9);
      d = next(valueD, d, 508, 9);
    }
    if (bits > 6) {
      a = next(valueA, a, 252, 8);
      b = next(valueB, b, 252, 8);
      c = next(valueC, c, 252, 8);
      d = next(valueD, d, 252, 8);
    }
    if (bits > 5) {
      a = next(valueA, a, 124, 7);
      b = next(valueB, b, 124, 7);
      c = next(valueC, c, 124, 7);
      d = next(valueD, d, 124, 7);
    }
    a = next(valueA, a, 60, 6);
    b = next(valueB, b, 60, 6);
    c = next(valueC, c, 60, 6);
    d = next(valueD, d, 60, 6);
    a = next(valueA, a, 28, 5);
    b = next(valueB, b, 28, 5);
    c = next(valueC, c, 28, 5);
    d = next(valueD, d, 28, 5);
    a = next(valueA, a, 12, 4);
    b = next(valueB, b, 12, 4);
    c = next(valueC, c, 12, 4);
    d = next(valueD, d, 12, 4);
    a = next(valueA, a, 4, 3);
    b = next(valueB, b, 4, 3);
    c = next(valueC, c, 4, 3);
    d = next(valueD, d, 4, 3);
    a = next(valueA, a, 0, 2);
    b = next(valueB, b, 0, 2);
    c = next(valueC, c, 0, 2);
    d = next(valueD, d, 0, 2);
    a = a - thresholds >> 2;
    b = b - thresholds >> 2;
    c = c - thresholds >> 2;
    d = d - thresholds >> 2;
    if (order) {
      a = load<u8>(order + a);
      b = load<u8>(order + b);
      c = load<u8>(order + c);
      d = load<u8>(order + d);
    }
    store<u32>(codes + i, <u32>(a | b << 8 | c << 16 | d << 24) & keep);
  }
  for (; i < end; i++) {
    let code = rankOf(load<f32>(x + (i << 2)) * inverse, thresholds, 4, bits);
    if (order) code = load<u8>(order + code);
    store<u8>(codes + i, code & keep);
  }
}

/** Adds the i-th code of a row to its byte (with 3 bits, its two), which began as 0. */
// @ts-ignore: decorator
@inline
function put(codes: usize, i: u32, bits: u32, high: u32, code: u32): void {
  if (bits > 4) {
    store<u8>(codes + i, code);
    return;
  }
  const low = bits == 3 ? code & 3 : code;
  const byte = codes + codeByte(i, bits);
  store<u8>(byte, load<u8>(byte) | low << codeShift(i, bits, high));
  if (bits == 3) {
    const third = codes + 12 * (i >> 5) + 8 + (i >> 3 & 3);
    store<u8>(third, load<u8>(third) | code >> 2 << (i & 7));
  }
}

/** Values [i, end) of a row, one at a time: any bits and tables. */
function putValues(
  x: usize, i: u32, end: u32, inverse: f32, keep: u32, thresholds: usize, order: usize, n: u32, bits: u32, tables: u32, high: u32,
  codes: usize,
): void {
  const stride = tables ? n << 2 : 4;
  for (; i < end; i++) {
    const value = load<f32>(x + (i << 2)) * inverse;
    let code = rankOf(value, thresholds + (tables ? i << 2 : 0), stride, bits);
    if (order) code = load<u8>(order + (tables ? i << bits : 0) + code);
    put(codes, i, bits, high, code & keep);
  }
}

/** Sixteen codes, a byte each, packed into place. */
// @ts-ignore: decorator
@inline
function store16(code: v128, i: u32, bits: u32, high: u32, codes: usize): void {
  const to = codes + blockBytes(i, bits);
  if (bits == 4) {
    const pairs = high
      ? v128.or(i16x8.shl(code, 4), i16x8.shr_u(code, 8))
      : v128.or(code, i16x8.shr_u(code, 4));
    const bytes = v128.and(pairs, i16x8.splat(255));
    v128.store64_lane(to, i8x16.narrow_i16x8_u(bytes, bytes), 0);
  } else if (bits == 1) {
    store<u16>(to, i8x16.bitmask(i8x16.shl(code, 7)));
  } else {
    if (bits == 3) store<u16>(codes + thirdBits(i), i8x16.bitmask(i8x16.shl(code, 5)));
    const low = v128.and(code, i8x16.splat(3));
    const pairs = v128.and(v128.or(low, i16x8.shr_u(low, 6)), i16x8.splat(15));
    const nibbles = i8x16.narrow_i16x8_u(pairs, pairs);
    const bytes = v128.and(v128.or(nibbles, i16x8.shr_u(nibbles, 4)), i16x8.splat(255));
    v128.store32_lane(to, i8x16.narrow_i16x8_u(bytes, bytes), 0);
  }
}

/** The bucket of a value as an i32, above 0 (a NaN's is 0). Never lower for a greater value. */
// @ts-ignore: decorator
@inline
function bucket_i32x4(scaled: v128, factor: v128, offset: v128, zero: v128, magic: v128, magicBits: v128): v128 {
  const place = f32x4.pmax(zero, f32x4.add(f32x4.mul(scaled, factor), offset));
  return i32x4.sub(f32x4.add(place, magic), magicBits);
}

// @ts-ignore: decorator
@inline
function narrow_i8x16(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

/** One table of at most 16 values for all columns. */
function quantizeShared(
  x: usize, thresholds: usize, order: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scale: u32, high: u32,
  codes: usize, scales: usize,
): void {
  // Those past the end of a short table are infinite.
  let last: u32 = (1 << bits) - 2;
  while (last && load<f32>(thresholds + (last << 2)) == INFINITE) last--;
  const lowest = load<f32>(thresholds);
  const spread = load<f32>(thresholds + (last << 2)) - lowest;
  // A step that overflows, or nothing to spread over: all in one bucket is slow, and right.
  const steps: f32 = spread > LEAST && spread < INFINITE ? (BUCKETS - 2) / spread : 0;
  const factor = held_f32x4(steps < INFINITE ? steps : 0);
  const offset = held_f32x4(steps < INFINITE ? 1 - lowest * steps : 0);
  const magic = held_f32x4(MAGIC);
  const magicBits = held_i32x4(MAGIC_BITS);
  const zero = held_i32x4(0);
  const most = held_i32x4(0x1f1f1f1f);
  const sixteen = held_i32x4(0x10101010);

  // How many thresholds lie in lower buckets, for each bucket; and the most in one.
  let below = zero;
  let below16 = zero;
  let rounds: u32 = 1;
  let together: u32 = 0;
  let before: i32 = -1;
  const lanes = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (let i: u32 = 0; i <= last; i++) {
    const place = bucket_i32x4(v128.load32_splat(thresholds + (i << 2)), factor, offset, zero, magic, magicBits);
    const bucket = min(i32x4.extract_lane(place, 0), 31);
    together = bucket == before ? together + 1 : 1;
    rounds = max(rounds, together);
    before = bucket;
    below = i8x16.sub(below, i8x16.gt_s(lanes, i8x16.splat(<i8>bucket)));
    below16 = i8x16.sub(below16, i8x16.gt_s(i8x16.add(lanes, sixteen), i8x16.splat(<i8>bucket)));
  }
  const plane0 = plane_i8x16(thresholds, bits, 0);
  const plane1 = plane_i8x16(thresholds, bits, 1);
  const plane2 = plane_i8x16(thresholds, bits, 2);
  const plane3 = plane_i8x16(thresholds, bits, 3);
  let codeOf = lanes;
  if (order) {
    codeOf = bits == 1 ? v128.load16_splat(order) : bits == 2 ? v128.load32_splat(order) : bits == 3 ? v128.load64_splat(order) : v128.load(order);
  }

  const bytes = rowBytes(n, bits);
  while (rows--) {
    clearRest(codes, n, bits, bytes);
    for (let first: u32 = 0; first < n; first += groupSize) {
      const end = min(first + groupSize, n);
      const s = groupScale(x + (first << 2), end - first, scale, scales);
      if (scale != 2) scales += 4;
      const inverse: f32 = s >= LEAST ? 1 / s : 0;
      const keep: u32 = s < INFINITE ? -1 : 0;
      const inverse_f32x4 = f32x4.splat(inverse);
      const keep_i32x4 = i32x4.splat(keep);
      let i = first;
      for (; i + 16 <= end; i += 16) {
        const p = x + (i << 2);
        const a = f32x4.mul(v128.load(p), inverse_f32x4);
        const b = f32x4.mul(v128.load(p, 16), inverse_f32x4);
        const c = f32x4.mul(v128.load(p, 32), inverse_f32x4);
        const d = f32x4.mul(v128.load(p, 48), inverse_f32x4);
        const bucket = i8x16.min_u(
          narrow_i8x16(
            bucket_i32x4(a, factor, offset, zero, magic, magicBits),
            bucket_i32x4(b, factor, offset, zero, magic, magicBits),
            bucket_i32x4(c, factor, offset, zero, magic, magicBits),
            bucket_i32x4(d, factor, offset, zero, magic, magicBits),
          ),
          most,
        );
        let rank = v128.or(i8x16.swizzle(below, bucket), i8x16.swizzle(below16, i8x16.sub(bucket, sixteen)));
        let left = rounds;
        do {
          const low = i8x16.swizzle(plane0, rank);
          const low1 = i8x16.swizzle(plane1, rank);
          const top = i8x16.swizzle(plane2, rank);
          const top1 = i8x16.swizzle(plane3, rank);
          const lowA = low8(low, low1);
          const topA = low8(top, top1);
          const lowB = high8(low, low1);
          const topB = high8(top, top1);
          rank = i8x16.sub(
            rank,
            i8x16.narrow_i16x8_s(
              i16x8.narrow_i32x4_s(f32x4.gt(a, low16(lowA, topA)), f32x4.gt(b, high16(lowA, topA))),
              i16x8.narrow_i32x4_s(f32x4.gt(c, low16(lowB, topB)), f32x4.gt(d, high16(lowB, topB))),
            ),
          );
        } while (--left);
        store16(v128.and(i8x16.swizzle(codeOf, rank), keep_i32x4), i, bits, high, codes);
      }
      if (i < end) putValues(x, i, end, inverse, keep, thresholds, order, n, bits, 0, high, codes);
    }
    x += n << 2;
    codes += bytes;
  }
}

/** The bytes that codes are added to one at a time begin as 0. */
function clearRest(codes: usize, n: u32, bits: u32, bytes: u32): void {
  if (bits > 4) return;
  const from = bits == 3 ? 12 * (n >> 5) : blockBytes(n & ~15, bits);
  memory.fill(codes + from, 0, bytes - from);
}

/** A group's scale, written unless there is none (1). NaN where a value is NaN or infinite. */
function groupScale(x: usize, count: u32, scale: u32, to: usize): f32 {
  if (scale == 2) return 1;
  let s = scale ? rootMeanSquare(x, count) : largest(x, count);
  if (!(s < INFINITE)) s = NaN;
  store<f32>(to, s);
  return s;
}

/** Ranks of four columns of at most 16 values each: compared with every threshold. */
// @ts-ignore: decorator
@inline
function ranks_i32x4(scaled: v128, thresholds: usize, stride: u32, bits: u32): v128 {
  let rank = i32x4.splat(0);
  let p = thresholds;
  for (let left: u32 = (1 << bits) - 1; left; left--) {
    rank = i32x4.sub(rank, f32x4.gt(scaled, v128.load(p)));
    p += stride;
  }
  return rank;
}

/** Tables for each column, or of more than 16 values. */
function quantizeAny(
  x: usize, thresholds: usize, order: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scale: u32, tables: u32, high: u32,
  codes: usize, scales: usize,
): void {
  const bytes = rowBytes(n, bits);
  const vectors = bits <= 4 && !order;
  const stride = n << 2;
  while (rows--) {
    if (vectors) clearRest(codes, n, bits, bytes);
    else memory.fill(codes, 0, bytes);
    for (let first: u32 = 0; first < n; first += groupSize) {
      const end = min(first + groupSize, n);
      const s = groupScale(x + (first << 2), end - first, scale, scales);
      if (scale != 2) scales += 4;
      const inverse: f32 = s >= LEAST ? 1 / s : 0;
      const keep: u32 = s < INFINITE ? -1 : 0;
      let i = first;
      if (vectors) {
        const inverse_f32x4 = f32x4.splat(inverse);
        for (; i + 16 <= end; i += 16) {
          const p = x + (i << 2);
          const t = thresholds + (i << 2);
          const code = narrow_i8x16(
            ranks_i32x4(f32x4.mul(v128.load(p), inverse_f32x4), t, stride, bits),
            ranks_i32x4(f32x4.mul(v128.load(p, 16), inverse_f32x4), t + 16, stride, bits),
            ranks_i32x4(f32x4.mul(v128.load(p, 32), inverse_f32x4), t + 32, stride, bits),
            ranks_i32x4(f32x4.mul(v128.load(p, 48), inverse_f32x4), t + 48, stride, bits),
          );
          store16(v128.and(code, i32x4.splat(keep)), i, bits, high, codes);
        }
      }
      if (bits > 4 && !tables) putMany(x, i, end, inverse, keep, thresholds, order, bits, codes);
      else if (i < end) putValues(x, i, end, inverse, keep, thresholds, order, n, bits, tables, high, codes);
    }
    x += stride;
    codes += bytes;
  }
}

/**
 * Codes of 1 to 8 bits into tables of any values, one scale for each group of a row's values.
 *
 * x          f32 [rows, n]
 * thresholds f32 [2^bits], tables 1: [2^bits, n]: ascending, the last +infinity. A value's rank is how many it exceeds.
 * order      u8 [2^bits], tables 1: [n, 2^bits]: the code of each rank; offset 0: the rank itself.
 * codes      u8 [rows, bytes of n codes] out: from the lowest bits up (4 bits, nibbles 1: from the high nibble down); 3 bits:
 *            runs of 32 in three words, two bits of 16 values, of the other 16, and the third bits of all; 5 to 8 bits: a byte
 *            each. Unused bits are 0.
 * scales     f32 [rows, ceil(n/groupSize)] out; scale 2: none (offset 0).
 *
 * scale 0: a group's largest |x|; 1: the root of the mean of its squares, summed in f64, rounded once; 2: none. Values are
 * multiplied by the rounded inverse of it, as bitsandbytes does, in f32, nothing fused: the codes are the reference's.
 * Ties (a value on a threshold) take the lower value. A scale below the smallest normal number counts as 0: the code that
 * is nearest to 0. NaN or infinity in a group: scale NaN, codes 0, other groups are not touched by it. Without scales
 * infinity takes the last rank, NaN the first.
 * groupSize 0, or longer than a row: the row; the last group of a row may be shorter.
 *
 * The caller guarantees bits 1 to 8, groupSize 0, a multiple of 16 or at least n, order entries below 2^bits, f32 arrays on 4
 * bytes, and that nothing overlaps. Scratch: none.
 *
 * Method: one table of at most 16: a linear map puts a value into one of 32 buckets; i8x16.swizzle looks up how many
 * thresholds lie in lower ones, then the threshold that follows (as four planes of bytes), and the comparison with that
 * settles it: as often as the fullest bucket has thresholds (NF4 and Gaussian tables once, FP4 three times). Any monotone
 * map gives exact ranks. A table for each column, up to 16: comparison with all thresholds, four columns at a time. More
 * than 16: binary search without branches, four values side by side.
 *
 * Not done (16 M values, dynamic 8 bits, against plain JavaScript in the same run, 18 times as fast): searches in a loop, one
 * value at a time (6), unrolled (12). One pass for scales and codes in chunks of a page, as quantize has it: blocks of 64 stay
 * in the first-level cache anyway. A table of buckets for 256 values: it would want scratch.
 */
export function codebook_quantize_f32(
  x: usize, thresholds: usize, order: usize, rows: u32, n: u32, bits: u32, groupSize: u32, scale: u32, tables: u32, nibbles: u32,
  codes: usize, scales: usize,
): void {
  if (rows == 0 || n == 0) return;
  if (groupSize == 0 || groupSize > n) groupSize = n;
  if (bits <= 4 && !tables) quantizeShared(x, thresholds, order, rows, n, bits, groupSize, scale, nibbles, codes, scales);
  else quantizeAny(x, thresholds, order, rows, n, bits, groupSize, scale, tables, nibbles, codes, scales);
}
