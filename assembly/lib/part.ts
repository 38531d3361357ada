/** Up to four values at the end of something. */

/** One to three values; missing ones are those of `rest`. */
// @ts-ignore: decorator
@inline
export function loadFew(at: usize, count: u32, rest: v128): v128 {
  let v = v128.load_lane<i32>(at, rest, 0);
  if (count > 1) v = v128.load_lane<i32>(at, v, 1, 4);
  if (count > 2) v = v128.load_lane<i32>(at, v, 2, 8);
  return v;
}

/** One or more: the first four. */
export function loadPart(at: usize, count: u32, rest: v128): v128 {
  return count >= 4 ? v128.load(at) : loadFew(at, count, rest);
}

export function storePart(at: usize, v: v128, count: u32): void {
  if (count >= 4) v128.store(at, v);
  else {
    if (count > 2) v128.store_lane<i32>(at, v, 2, 8);
    if (count > 1) v128.store_lane<i32>(at, v, 1, 4);
    if (count > 0) v128.store_lane<i32>(at, v, 0);
  }
}

/** The same where there are four as a rule. */
// @ts-ignore: decorator
@inline
export function load4(at: usize, count: u32): v128 {
  return count >= 4 ? v128.load(at) : loadPart(at, count, i32x4.splat(0));
}

// @ts-ignore: decorator
@inline
export function store4(at: usize, v: v128, count: u32): void {
  if (count >= 4) v128.store(at, v);
  else storePart(at, v, count);
}
