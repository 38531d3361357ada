import { fromHalf, halfE4M3, halfE8M0, held, held_i8x16, iq4_i8x16, lookup_i8x16 } from './lib/ggml';
import { q2K, q3K, q4K, q5K, q6K, iq4XS } from './lib/ggml-k';
import { store16, store16Affine, fp4_i8x16, fifth_i8x16 } from './lib/ggml-store';

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
 * Values of ggml's blocks.
 *
 *   blocks  u8  [rows, n/block·bytes]  blocks of `type`, one after the other; any alignment
 *   type    u32                        the format's number in GGUF files: ts/contract/ggml.ts
 *   out     f32 [rows, n] out
 *
 * Exactly ggml's dequantize_row_*: scales are read exactly (f16 with subnormals, infinities, NaN; E8M0; E4M3), every product
 * and sum is one rounding, never fused. NaN or infinity in a scale follow IEEE 754: infinity times code 0 is NaN.
 *
 * The caller guarantees: a type of the table, n a multiple of its block, out aligned to 4 bytes and apart from blocks.
 * Scratch: none. Method: sixteen codes at a time become signed bytes, i16, i32, f32; the tables of IQ4 and FP4 are a swizzle.
 *
 * Not done: f16 output; IQ1 to IQ3 (their grids are kilobytes of data); TQ1_0, TQ2_0, Q1_0, Q2_0; Q8_K (never in a file).
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
    case 20: return iq4NL(blocks, count, out);
    case 23: return iq4XS(blocks, superblocks, out);
    case 39: return mxfp4(blocks, count, out);
    case 40: return nvfp4(blocks, values >> 6, out);
  }
}
