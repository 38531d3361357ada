/** What both ways of the mx kernels share. Formats are numbered as in ts/contract/mx.ts. */

const INT8: u32 = 5;
const BFP: u32 = 6;
const NVFP4: u32 = 7;

export const E8M0_NAN: u32 = 255;

/** Scales with a mantissa? */
// @ts-ignore: decorator
@inline
export function isNv(format: u32): bool {
  return format >= NVFP4;
}

/** Two's complement? */
// @ts-ignore: decorator
@inline
export function isInteger(format: u32): bool {
  return format == INT8 || format == BFP;
}

/** Bits of an element, sign included. */
// @ts-ignore: decorator
@inline
export function elementBits(format: u32, bits: u32): u32 {
  if (format == BFP) return bits;
  if (isNv(format)) return 4;
  return format == 0 ? 4 : format <= 2 ? 6 : 8;
}

/** Mantissa bits below the leading one: 1, 3, 2, 3, 2; integers have a leading one at most there. */
// @ts-ignore: decorator
@inline
export function mantissaBits(format: u32, bits: u32): u32 {
  if (isInteger(format)) return elementBits(format, bits) - 2;
  if (isNv(format) || format == 0) return 1;
  return 2 + (format & 1);
}

/** Exponent of the least normal element: E2 0, E3 −2, E4 −6, E5 −14; integers 0. */
// @ts-ignore: decorator
@inline
export function minExponent(format: u32): i32 {
  return format == 2 ? -2 : format == 3 ? -6 : format == 4 ? -14 : 0;
}

/** Exponent of the largest element: 2, 2, 4, 8, 15; integers 0. */
// @ts-ignore: decorator
@inline
export function maxExponent(format: u32): i32 {
  if (isInteger(format)) return 0;
  return format == 2 ? 4 : format == 3 ? 8 : format == 4 ? 15 : 2;
}

/** The largest magnitude's code: 7, 31, 31, 0x7e (0x7f is NaN), 0x7b (then come infinity and NaN), 2^(bits−1) − 1. */
// @ts-ignore: decorator
@inline
export function maxCode(format: u32, bits: u32): i32 {
  return format == 3 ? 0x7e : format == 4 ? 0x7b : (1 << (elementBits(format, bits) - 1)) - 1;
}

/** Bits that a code takes in memory: 4, 6 or 8. */
// @ts-ignore: decorator
@inline
export function widthOf(format: u32, bits: u32, unpacked: u32): u32 {
  if (unpacked) return 8;
  return (max(elementBits(format, bits), 4) + 1) & ~1;
}

// @ts-ignore: decorator
@inline
export function blockOf(format: u32, blockSize: u32): u32 {
  return blockSize ? blockSize : isNv(format) ? 16 : 32;
}

/** The scale bytes of nvfp4: E4M3's and UE5M3's exponent bias and NaN. */
// @ts-ignore: decorator
@inline
export function nvBias(format: u32): i32 {
  return format == NVFP4 ? 7 : 15;
}

// @ts-ignore: decorator
@inline
export function nvNan(format: u32): u32 {
  return format == NVFP4 ? 0x7f : 0xff;
}

/** 2^exponent for −149 ≤ exponent ≤ 127. */
// @ts-ignore: decorator
@inline
export function powerOfTwo(exponent: i32): f32 {
  return reinterpret<f32>(exponent < -126 ? 1 << (exponent + 149) : (exponent + 127) << 23);
}

/** What a scale byte stands for; nvfp4: times the tensor's, rounded to f32. E4M3's highest bit is a sign. */
// @ts-ignore: decorator
@inline
export function scaleOf(byte: u32, format: u32, tensorScale: f32): f32 {
  if (!isNv(format)) return byte == E8M0_NAN ? reinterpret<f32>(0x7fc00000) : powerOfTwo(<i32>byte - 127);
  const nan = nvNan(format);
  const bias = nvBias(format);
  const magnitude = byte & nan;
  let value = reinterpret<f32>((magnitude << 20) + ((127 - bias) << 23));
  if (magnitude < 8) value = <f32>magnitude * powerOfTwo(-2 - bias);
  if (magnitude == nan) value = reinterpret<f32>(0x7fc00000);
  return (byte == magnitude ? value : -value) * tensorScale;
}
