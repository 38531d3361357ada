/** Tables of ggml's 4-bit codes as bytes. */

/** Codes of IQ4_NL and IQ4_XS. */
// @ts-ignore: decorator
@inline
export function iq4_i8x16(codes: v128): v128 {
  return i8x16.swizzle(i8x16(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113), codes);
}

/** Codes of MXFP4 and NVFP4: twice the E2M1 numbers, for the scales are kept halved. Code 8 is +0. */
// @ts-ignore: decorator
@inline
export function fp4_i8x16(codes: v128): v128 {
  return i8x16.swizzle(i8x16(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12), codes);
}
