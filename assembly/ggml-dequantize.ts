import { fifth_i8x16, fp4_i8x16, fromHalf, halfE4M3, halfE8M0, iq4_i8x16, lookup_i8x16, store16, store16Affine } from './lib/ggml';
import { iq4XS, q2K, q3K, q4K, q5K, q6K, q8K } from './lib/ggml-k';
import { q1_0, q2_0, tq1_0, tq2_0 } from './lib/ggml-low';
import { held_i8x16 } from './lib/held';

// Each reader works off `count` blocks that follow each other. Layouts: ts/reference/ggml.ts.

function q4_0(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const eight = held_i8x16(8);
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b)));
    const q = v128.load(b, 2);
    store16(out, i8x16.sub(v128.and(q, nibble), eight), d);
    store16(out + 64, i8x16.sub(v128.and(i16x8.shr_u(q, 4), nibble), eight), d);
    b += 18;
    out += 128;
  } while (--count);
}

function q4_1(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b)));
    const m = f32x4.splat(fromHalf(load<u16>(b, 2)));
    const q = v128.load(b, 4);
    store16Affine(out, v128.and(q, nibble), d, m);
    store16Affine(out + 64, v128.and(i16x8.shr_u(q, 4), nibble), d, m);
    b += 20;
    out += 128;
  } while (--count);
}

function q5_0(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const sixteen = held_i8x16(16);
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b)));
    const fifth = v128.load32_splat(b, 2);
    const q = v128.load(b, 6);
    const low = v128.or(v128.and(q, nibble), v128.and(fifth_i8x16(fifth, 0), sixteen));
    store16(out, i8x16.sub(low, sixteen), d);
    const high = v128.or(v128.and(i16x8.shr_u(q, 4), nibble), v128.and(fifth_i8x16(fifth, 2), sixteen));
    store16(out + 64, i8x16.sub(high, sixteen), d);
    b += 22;
    out += 128;
  } while (--count);
}

function q5_1(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const sixteen = held_i8x16(16);
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b)));
    const m = f32x4.splat(fromHalf(load<u16>(b, 2)));
    const fifth = v128.load32_splat(b, 4);
    const q = v128.load(b, 8);
    const low = v128.or(v128.and(q, nibble), v128.and(fifth_i8x16(fifth, 0), sixteen));
    store16Affine(out, low, d, m);
    const high = v128.or(v128.and(i16x8.shr_u(q, 4), nibble), v128.and(fifth_i8x16(fifth, 2), sixteen));
    store16Affine(out + 64, high, d, m);
    b += 24;
    out += 128;
  } while (--count);
}

/** `bytes` from block to block, the codes being the last 32: Q8_0 and Q8_1. */
function q8(b: usize, bytes: u32, count: u32, out: usize): void {
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b)));
    const codes = b + bytes - 32;
    store16(out, v128.load(codes), d);
    store16(out + 64, v128.load(codes, 16), d);
    b += bytes;
    out += 128;
  } while (--count);
}

function iq4NL(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const table = iq4_i8x16();
  do {
    const d = f32x4.splat(fromHalf(load<u16>(b)));
    const q = v128.load(b, 2);
    store16(out, lookup_i8x16(table, v128.and(q, nibble)), d);
    store16(out + 64, lookup_i8x16(table, v128.and(i16x8.shr_u(q, 4), nibble)), d);
    b += 18;
    out += 128;
  } while (--count);
}

function mxfp4(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const table = fp4_i8x16();
  do {
    const d = f32x4.splat(halfE8M0(load<u8>(b)));
    const q = v128.load(b, 1);
    store16(out, lookup_i8x16(table, v128.and(q, nibble)), d);
    store16(out + 64, lookup_i8x16(table, v128.and(i16x8.shr_u(q, 4), nibble)), d);
    b += 17;
    out += 128;
  } while (--count);
}

/** By parts of 16 values. */
function nvfp4(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const table = fp4_i8x16();
  do {
    for (let s: u32 = 0; s < 4; s++) {
      const d = f32x4.splat(halfE4M3(load<u8>(b + s)));
      const q = v128.load64_splat(b + 8 * s, 4);
      const codes = v128.and(v128.shuffle<i64>(q, i16x8.shr_u(q, 4), 0, 3), nibble);
      store16(out, lookup_i8x16(table, codes), d);
      out += 64;
    }
    b += 36;
  } while (--count);
}

/**
 * ggml_dequantize_f32: values of GGUF's block formats, exactly as ggml's dequantize_row_* gives them.
 *
 *   blocks u8  [rows, n / block · bytes]  blocks one after another, at any byte
 *   type   u32                            ggml_type: 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 9 Q8_1, 10 Q2_K, 11 Q3_K, 12 Q4_K,
 *                                         13 Q5_K, 14 Q6_K, 15 Q8_K, 20 IQ4_NL, 23 IQ4_XS, 34 TQ1_0, 35 TQ2_0, 39 MXFP4,
 *                                         40 NVFP4, 41 Q1_0, 42 Q2_0
 *   out    f32 [rows, n]
 *
 * Layouts: ts/reference/ggml.ts, one line each. Every product and sum is a correctly rounded f32 operation in ggml's order,
 * never fused, so all levels give the same bits. Scales that are infinite or NaN give what the formula gives.
 * The caller guarantees the type, whole blocks and 4-byte alignment of out. Scratch: none.
 *
 * Method: 16 codes at a time as bytes, widened, converted, one multiplication (and addition) each. Tables of 16 entries are
 * one swizzle. A loop for each type, its constants held in registers; bytes are shifted as i16 and masked, for x86 has no
 * shift of bytes.
 *
 * Not done (1 M values, one core): lib/half.ts for the scales, 20 to 55 % slower (a block has one or two, and a vector's
 * constants are rebuilt for each); K-quants by one function for every 16 or 32 values, 1.3 to 3 times slower.
 */
export function ggml_dequantize_f32(blocks: usize, rows: u32, n: u32, type: u32, out: usize): void {
  const values = rows * n;
  if (values == 0) return;
  const count = values >> 5;
  const superblocks = values >> 8;
  switch (type) {
    case 2: return q4_0(blocks, count, out);
    case 3: return q4_1(blocks, count, out);
    case 6: return q5_0(blocks, count, out);
    case 7: return q5_1(blocks, count, out);
    case 8: return q8(blocks, 34, count, out);
    case 9: return q8(blocks, 36, count, out);
    case 10: return q2K(blocks, superblocks, out);
    case 11: return q3K(blocks, superblocks, out);
    case 12: return q4K(blocks, superblocks, out);
    case 13: return q5K(blocks, superblocks, out);
    case 14: return q6K(blocks, superblocks, out);
    case 15: return q8K(blocks, superblocks, out);
    case 20: return iq4NL(blocks, count, out);
    case 23: return iq4XS(blocks, superblocks, out);
    case 34: return tq1_0(blocks, superblocks, out);
    case 35: return tq2_0(blocks, superblocks, out);
    case 39: return mxfp4(blocks, count, out);
    case 40: return nvfp4(blocks, values >> 6, out);
    case 41: return q1_0(blocks, values >> 7, out);
    case 42: return q2_0(blocks, values >> 6, out);
  }
}
