import { half, load1 } from './lib/half';
import { fp4_i8x16, iq4_i8x16 } from './lib/ggml';

/**
 * ggml_dequantize_f32: values of GGUF's block formats, exactly as ggml's dequantize_row_* gives them.
 *
 *   blocks u8  [rows, n / block · bytes]  blocks one after another, at any byte
 *   type   u32                            ggml_type: 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 9 Q8_1, 10 Q2_K, 11 Q3_K, 12 Q4_K,
 *                                         13 Q5_K, 14 Q6_K, 20 IQ4_NL, 23 IQ4_XS, 39 MXFP4, 40 NVFP4
 *   out    f32 [rows, n]
 *
 * Layouts: ts/reference/ggml.ts, one line each. Every product and sum is a correctly rounded f32 operation in ggml's order,
 * never fused, so all levels give the same bits. Scales that are infinite or NaN give what the formula gives.
 * The caller guarantees the type, whole blocks and 4-byte alignment of out. Scratch: none.
 *
 * Method: 16 codes at a time as bytes, widened, converted, one multiplication (and addition) each. Tables of 16 entries are
 * one swizzle.
 */
export function ggml_dequantize_f32(blocks: usize, rows: u32, n: u32, type: u32, out: usize): void {
  const end = out + ((<usize>rows * n) << 2);
  if (type == 2) for (; out < end; out += 128, blocks += 18) {
    const v = v128.load(blocks, 2), d = scaleAt(blocks);
    put(out, i8x16.sub(low(v), i8x16.splat(8)), d);
    put(out + 64, i8x16.sub(i8x16.shr_u(v, 4), i8x16.splat(8)), d);
  }
  else if (type == 3) for (; out < end; out += 128, blocks += 20) {
    const v = v128.load(blocks, 4), d = scaleAt(blocks), m = scaleAt(blocks + 2);
    putOver(out, low(v), d, m);
    putOver(out + 64, i8x16.shr_u(v, 4), d, m);
  }
  else if (type == 6) for (; out < end; out += 128, blocks += 22) {
    const v = v128.load(blocks, 6), d = scaleAt(blocks), fifth = load<u32>(blocks, 2);
    put(out, i8x16.sub(v128.or(low(v), bits16(fifth)), i8x16.splat(16)), d);
    put(out + 64, i8x16.sub(v128.or(i8x16.shr_u(v, 4), bits16(fifth >> 16)), i8x16.splat(16)), d);
  }
  else if (type == 7) for (; out < end; out += 128, blocks += 24) {
    const v = v128.load(blocks, 8), d = scaleAt(blocks), m = scaleAt(blocks + 2), fifth = load<u32>(blocks, 4);
    putOver(out, v128.or(low(v), bits16(fifth)), d, m);
    putOver(out + 64, v128.or(i8x16.shr_u(v, 4), bits16(fifth >> 16)), d, m);
  }
  else if (type == 8 || type == 9) for (const head: usize = type == 8 ? 2 : 4; out < end; out += 128, blocks += 32 + head) {
    const d = scaleAt(blocks);
    put(out, v128.load(blocks + head), d);
    put(out + 64, v128.load(blocks + head, 16), d);
  }
  else if (type == 10) for (; out < end; out += 1024, blocks += 84) q2(blocks, out);
  else if (type == 11) for (; out < end; out += 1024, blocks += 110) q3(blocks, out);
  else if (type == 12) for (; out < end; out += 1024, blocks += 144) q45(blocks, blocks + 16, 0, out);
  else if (type == 13) for (; out < end; out += 1024, blocks += 176) q45(blocks, blocks + 48, blocks + 16, out);
  else if (type == 14) for (; out < end; out += 1024, blocks += 210) q6(blocks, out);
  else if (type == 20) for (; out < end; out += 128, blocks += 18) {
    const v = v128.load(blocks, 2), d = scaleAt(blocks);
    put(out, iq4_i8x16(low(v)), d);
    put(out + 64, iq4_i8x16(i8x16.shr_u(v, 4)), d);
  }
  else if (type == 23) for (; out < end; out += 1024, blocks += 136) iq4xs(blocks, out);
  else if (type == 39) for (; out < end; out += 128, blocks += 17) {
    const e: u32 = load<u8>(blocks), v = v128.load(blocks, 1);
    // Half of 2^(e - 127).
    const d = i32x4.splat(e < 2 ? 0x200000 << e : (e - 1) << 23);
    put(out, fp4_i8x16(low(v)), d);
    put(out + 64, fp4_i8x16(i8x16.shr_u(v, 4)), d);
  }
  else for (; out < end; out += 256, blocks += 36) {
    for (let s: u32 = 0; s < 4; s++) {
      const v = v128.load64_zero(blocks + 4 + (s << 3));
      const codes = v128.shuffle<i64>(low(v), i8x16.shr_u(v, 4), 0, 2);
      put(out + (s << 6), fp4_i8x16(codes), f32x4.splat(halfE4M3(load<u8>(blocks + s))));
    }
  }
}

/** An f16 in all lanes. */
@inline
function scaleAt(p: usize): v128 {
  return f32x4.splat(load1<half>(p));
}

@inline
function low(v: v128): v128 {
  return v128.and(v, i8x16.splat(15));
}

/** Bits 0 to 15 as bytes of 16 or 0. */
@inline
function bits16(bits: u32): v128 {
  const bytes = i8x16.swizzle(i32x4.splat(bits), i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const mask = i64x2.splat(0x8040201008040201);
  return v128.and(i8x16.eq(v128.and(bytes, mask), mask), i8x16.splat(16));
}

/** Half of an unsigned E4M3 number (bias 7): bit 7 is ignored, 127 (the NaN of E4M3) is 0. */
function halfE4M3(byte: u32): f32 {
  const exponent: u32 = (byte >> 3) & 15, fraction: u32 = byte & 7;
  if ((byte & 127) == 127 && byte == 127) return 0;
  if (!exponent) return <f32>fraction * 0.0009765625;
  return reinterpret<f32>((exponent + 119) << 23 | fraction << 20);
}

/** Sixteen signed bytes times d. */
@inline
function put(out: usize, codes: v128, d: v128): void {
  const a = i16x8.extend_low_i8x16_s(codes), b = i16x8.extend_high_i8x16_s(codes);
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(a)), d));
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(a)), d), 16);
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(b)), d), 32);
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(b)), d), 48);
}

/** Sixteen bytes times d, plus m. */
@inline
function putOver(out: usize, codes: v128, d: v128, m: v128): void {
  const a = i16x8.extend_low_i8x16_u(codes), b = i16x8.extend_high_i8x16_u(codes);
  v128.store(out, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(a)), d), m));
  v128.store(out, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(a)), d), m), 16);
  v128.store(out, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(b)), d), m), 32);
  v128.store(out, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(b)), d), m), 48);
}

/** The codes' bit pairs number k as bytes of 0 to 3. */
@inline
function pairs(v: v128, k: u32): v128 {
  return v128.and(i8x16.shr_u(v, k << 1), i8x16.splat(3));
}

function q2(b: usize, out: usize): void {
  const d = load1<half>(b + 80), dmin = load1<half>(b + 82);
  for (let i: u32 = 0; i < 16; i++, out += 64) {
    const scale: u32 = load<u8>(b + i);
    const v = v128.load(b + 16 + ((i >> 3) << 5) + ((i & 1) << 4));
    putOver(out, pairs(v, (i >> 1) & 3), f32x4.splat(d * <f32>(scale & 15)), f32x4.splat(-(dmin * <f32>(scale >> 4))));
  }
}

function q3(b: usize, out: usize): void {
  const d = load1<half>(b + 108);
  for (let i: u32 = 0; i < 16; i++, out += 64) {
    const scale: i32 = ((<u32>load<u8>(b + 96 + (i & 7)) >> ((i >> 3) << 2)) & 15)
      | (((<u32>load<u8>(b + 104 + (i & 3)) >> ((i >> 2) << 1)) & 3) << 4);
    const v = v128.load(b + 32 + ((i >> 3) << 5) + ((i & 1) << 4));
    // Where the third bit is missing the code is 4 less.
    const third = v128.and(i8x16.shr_u(v128.load(b + ((i & 1) << 4)), i >> 1), i8x16.splat(1));
    const codes = i8x16.sub(v128.or(pairs(v, (i >> 1) & 3), i8x16.shl(third, 2)), i8x16.splat(4));
    put(out, codes, f32x4.splat(d * <f32>(scale - 32)));
  }
}

/** Q4_K; with a place of fifth bits Q5_K. */
function q45(b: usize, nibbles: usize, fifths: usize, out: usize): void {
  const d = load1<half>(b), dmin = load1<half>(b + 2);
  for (let i: u32 = 0; i < 8; i++, out += 128) {
    const q = b + 4 + i;
    const scale: u32 = i < 4 ? load<u8>(q) & 63 : (load<u8>(q + 4) & 15) | ((load<u8>(q - 4) >> 6) << 4);
    const minimum: u32 = i < 4 ? load<u8>(q + 4) & 63 : (load<u8>(q + 4) >> 4) | ((load<u8>(q) >> 6) << 4);
    const d_f32x4 = f32x4.splat(d * <f32>scale), m_f32x4 = f32x4.splat(-(dmin * <f32>minimum));
    const p = nibbles + ((i >> 1) << 5);
    const shift = (i & 1) << 2;
    let v0 = low(i8x16.shr_u(v128.load(p), shift)), v1 = low(i8x16.shr_u(v128.load(p, 16), shift));
    if (fifths) {
      v0 = v128.or(v0, i8x16.shl(v128.and(i8x16.shr_u(v128.load(fifths), i), i8x16.splat(1)), 4));
      v1 = v128.or(v1, i8x16.shl(v128.and(i8x16.shr_u(v128.load(fifths, 16), i), i8x16.splat(1)), 4));
    }
    putOver(out, v0, d_f32x4, m_f32x4);
    putOver(out + 64, v1, d_f32x4, m_f32x4);
  }
}

function q6(b: usize, out: usize): void {
  const d = load1<half>(b + 208);
  for (let i: u32 = 0; i < 16; i++, out += 64) {
    const k = (i >> 1) & 3;
    const lowAt = b + ((i >> 3) << 6) + ((k & 1) << 5) + ((i & 1) << 4);
    const highAt = b + 128 + ((i >> 3) << 5) + ((i & 1) << 4);
    const code = v128.or(
      low(i8x16.shr_u(v128.load(lowAt), (k >> 1) << 2)),
      i8x16.shl(pairs(v128.load(highAt), k), 4),
    );
    put(out, i8x16.sub(code, i8x16.splat(32)), f32x4.splat(d * <f32>load<i8>(b + 192 + i)));
  }
}

function iq4xs(b: usize, out: usize): void {
  const d = load1<half>(b);
  const high: u32 = load<u16>(b, 2);
  for (let g: u32 = 0; g < 8; g++, out += 128) {
    const scale: i32 = ((<u32>load<u8>(b + 4 + (g >> 1)) >> ((g & 1) << 2)) & 15) | (((high >> (g << 1)) & 3) << 4);
    const v = v128.load(b + 8 + (g << 4)), s = f32x4.splat(d * <f32>(scale - 32));
    put(out, iq4_i8x16(low(v)), s);
    put(out + 64, iq4_i8x16(i8x16.shr_u(v, 4)), s);
  }
}
