/** Readers of ggml's blocks of 256 values: layouts in ts/reference/ggml.ts. */
import { fromHalf, iq4_i8x16, lookup_i8x16, store16, store16Affine } from './ggml';
import { held_i8x16 } from './held';

export function q2K(b: usize, count: u32, out: usize): void {
  const two = held_i8x16(3);
  do {
    const d = fromHalf(load<u16>(b, 80));
    const dmin = fromHalf(load<u16>(b, 82));
    for (let half: u32 = 0; half < 2; half++) {
      const codes = b + 32 * half;
      let scales = load<u64>(b + 8 * half);
      for (let shift: i32 = 0; shift < 8; shift += 2) {
        store16Affine(out, v128.and(i16x8.shr_u(v128.load(codes, 16), shift), two),
          f32x4.splat(d * <f32>(<u32>scales & 15)), f32x4.splat(-(dmin * <f32>(<u32>scales >> 4 & 15))));
        store16Affine(out + 64, v128.and(i16x8.shr_u(v128.load(codes, 32), shift), two),
          f32x4.splat(d * <f32>(<u32>scales >> 8 & 15)), f32x4.splat(-(dmin * <f32>(<u32>scales >> 12 & 15))));
        scales >>= 16;
        out += 128;
      }
    }
    b += 84;
  } while (--count);
}

/** The low two bits of a code and its third, less 4. */
// @ts-ignore: decorator
@inline
function code3_i8x16(low: v128, third: v128, shift: i32, bit: i32, two: v128, one: v128, four: v128): v128 {
  const top = i16x8.shl(v128.and(i16x8.shr_u(third, bit), one), 2);
  return i8x16.sub(v128.or(v128.and(i16x8.shr_u(low, shift), two), top), four);
}

export function q3K(b: usize, count: u32, out: usize): void {
  const one = held_i8x16(1);
  const two = held_i8x16(3);
  const four = held_i8x16(4);
  do {
    const d = fromHalf(load<u16>(b, 108));
    const nibbles = load<u64>(b, 96);
    const pairs = <u64>load<u32>(b, 104);
    for (let half: u32 = 0; half < 2; half++) {
      const codes = b + 32 * half;
      // Eight scales: four bits each, and two more from the pairs of this half.
      const upper = (pairs | pairs << 30) >> (4 * half) & 0x03030303_03030303;
      let scales = nibbles >> (4 * half) & 0x0f0f0f0f_0f0f0f0f | upper << 4;
      for (let i: i32 = 0; i < 4; i++) {
        const bit = 4 * half + i;
        store16(out, code3_i8x16(v128.load(codes, 32), v128.load(b), 2 * i, bit, two, one, four),
          f32x4.splat(d * <f32>((<i32>scales & 255) - 32)));
        store16(out + 64, code3_i8x16(v128.load(codes, 48), v128.load(b, 16), 2 * i, bit, two, one, four),
          f32x4.splat(d * <f32>((<i32>scales >> 8 & 255) - 32)));
        scales >>= 16;
        out += 128;
      }
    }
    b += 110;
  } while (--count);
}

/** Eight bytes: the scales (minimum 0) or the minima (minimum 1) in the twelve bytes of Q4_K and Q5_K. */
// @ts-ignore: decorator
@inline
function scales6(q: usize, minimum: u32): u64 {
  const first = load<u32>(q + 4 * minimum);
  const low = load<u32>(q, 8) >> (4 * minimum) & 0x0f0f0f0f;
  return <u64>(first & 0x3f3f3f3f) | <u64>(low | (first >> 2 & 0x30303030)) << 32;
}

export function q4K(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  do {
    const d = fromHalf(load<u16>(b));
    const dmin = fromHalf(load<u16>(b, 2));
    let scales = scales6(b + 4, 0);
    let minima = scales6(b + 4, 1);
    const end = b + 144;
    for (let q = b + 16; q < end; q += 32) {
      let scale = f32x4.splat(d * <f32>(<u32>scales & 255));
      let offset = f32x4.splat(-(dmin * <f32>(<u32>minima & 255)));
      store16Affine(out, v128.and(v128.load(q), nibble), scale, offset);
      store16Affine(out + 64, v128.and(v128.load(q, 16), nibble), scale, offset);
      scale = f32x4.splat(d * <f32>(<u32>scales >> 8 & 255));
      offset = f32x4.splat(-(dmin * <f32>(<u32>minima >> 8 & 255)));
      store16Affine(out + 128, v128.and(i16x8.shr_u(v128.load(q), 4), nibble), scale, offset);
      store16Affine(out + 192, v128.and(i16x8.shr_u(v128.load(q, 16), 4), nibble), scale, offset);
      scales >>= 16;
      minima >>= 16;
      out += 256;
    }
    b = end;
  } while (--count);
}

/** Nibbles with a fifth bit, bit `bit` of the bytes at `fifth`. */
// @ts-ignore: decorator
@inline
function code5_i8x16(low: v128, fifth: v128, bit: i32, nibble: v128, one: v128): v128 {
  return v128.or(v128.and(low, nibble), i16x8.shl(v128.and(i16x8.shr_u(fifth, bit), one), 4));
}

export function q5K(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const one = held_i8x16(1);
  do {
    const d = fromHalf(load<u16>(b));
    const dmin = fromHalf(load<u16>(b, 2));
    let scales = scales6(b + 4, 0);
    let minima = scales6(b + 4, 1);
    let bit = 0;
    const end = b + 176;
    for (let q = b + 48; q < end; q += 32) {
      let scale = f32x4.splat(d * <f32>(<u32>scales & 255));
      let offset = f32x4.splat(-(dmin * <f32>(<u32>minima & 255)));
      store16Affine(out, code5_i8x16(v128.load(q), v128.load(b, 16), bit, nibble, one), scale, offset);
      store16Affine(out + 64, code5_i8x16(v128.load(q, 16), v128.load(b, 32), bit, nibble, one), scale, offset);
      scale = f32x4.splat(d * <f32>(<u32>scales >> 8 & 255));
      offset = f32x4.splat(-(dmin * <f32>(<u32>minima >> 8 & 255)));
      bit++;
      store16Affine(out + 128, code5_i8x16(i16x8.shr_u(v128.load(q), 4), v128.load(b, 16), bit, nibble, one), scale, offset);
      store16Affine(out + 192, code5_i8x16(i16x8.shr_u(v128.load(q, 16), 4), v128.load(b, 32), bit, nibble, one), scale, offset);
      bit++;
      scales >>= 16;
      minima >>= 16;
      out += 256;
    }
    b = end;
  } while (--count);
}

export function q6K(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const pair = held_i8x16(0x30);
  const zero = held_i8x16(32);
  do {
    const d = fromHalf(load<u16>(b, 208));
    // Sixteen of each 32 values of a half at a time.
    for (let part: u32 = 0; part < 4; part++) {
      const low = b + (part >> 1) * 64 + (part & 1) * 16;
      const high = v128.load(b + 16 * part, 128);
      const scales = b + (part >> 1) * 8 + (part & 1);
      const at = out + (part >> 1) * 512 + (part & 1) * 64;
      const p = v128.load(low);
      const q = v128.load(low, 32);
      store16(at, i8x16.sub(v128.or(v128.and(p, nibble), v128.and(i16x8.shl(high, 4), pair)), zero),
        f32x4.splat(d * <f32>load<i8>(scales, 192)));
      store16(at + 128, i8x16.sub(v128.or(v128.and(q, nibble), v128.and(i16x8.shl(high, 2), pair)), zero),
        f32x4.splat(d * <f32>load<i8>(scales, 194)));
      store16(at + 256, i8x16.sub(v128.or(v128.and(i16x8.shr_u(p, 4), nibble), v128.and(high, pair)), zero),
        f32x4.splat(d * <f32>load<i8>(scales, 196)));
      store16(at + 384, i8x16.sub(v128.or(v128.and(i16x8.shr_u(q, 4), nibble), v128.and(i16x8.shr_u(high, 2), pair)), zero),
        f32x4.splat(d * <f32>load<i8>(scales, 198)));
    }
    b += 210;
    out += 1024;
  } while (--count);
}

/** Its scale is an f32. */
export function q8K(b: usize, count: u32, out: usize): void {
  do {
    const d = f32x4.splat(load<f32>(b));
    const end = b + 260;
    for (let q = b + 4; q < end; q += 32) {
      store16(out, v128.load(q), d);
      store16(out + 64, v128.load(q, 16), d);
      out += 128;
    }
    b += 292;
  } while (--count);
}

export function iq4XS(b: usize, count: u32, out: usize): void {
  const nibble = held_i8x16(15);
  const table = iq4_i8x16();
  do {
    const d = fromHalf(load<u16>(b));
    let upper = <i32>load<u16>(b, 2);
    let lower = load<i32>(b, 4);
    const end = b + 136;
    for (let q = b + 8; q < end; q += 16) {
      const scale = f32x4.splat(d * <f32>((lower & 15 | (upper & 3) << 4) - 32));
      store16(out, lookup_i8x16(table, v128.and(v128.load(q), nibble)), scale);
      store16(out + 64, lookup_i8x16(table, v128.and(i16x8.shr_u(v128.load(q), 4), nibble)), scale);
      lower >>= 4;
      upper >>= 2;
      out += 128;
    }
    b = end;
  } while (--count);
}
