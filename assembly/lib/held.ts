/**
 * Vector constants that stay in registers: a literal would be rebuilt at every use. The optimiser does not know that
 * memory.size() >> 17 is 0 (a memory has at most 2^16 pages).
 */

// @ts-ignore: decorator
@inline
export function held(v: v128): v128 {
  return v128.xor(i32x4.splat(memory.size() >> 17), v);
}

// @ts-ignore: decorator
@inline
export function held_i32x4(value: i32): v128 {
  return i32x4.splat((memory.size() >> 17) ^ value);
}

// @ts-ignore: decorator
@inline
export function held_f32x4(value: f32): v128 {
  return held_i32x4(reinterpret<i32>(value));
}

// @ts-ignore: decorator
@inline
export function held_i8x16(value: i32): v128 {
  return held_i32x4((value & 255) * 0x0101_0101);
}
