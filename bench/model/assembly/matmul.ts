/**
 * out[row, column] = Σ_i x[row, i] · w[column, i]: the dense layers of the bench's language model. Not part of the
 * library. n is a multiple of 4, rows of 4, columns of 2.
 */
export function matmul(x: usize, w: usize, rows: u32, columns: u32, n: u32, out: usize): void {
  const stride = n << 2;
  for (let row: u32 = 0; row < rows; row += 4, x += stride << 2, out += columns << 4) {
    let weights = w;
    let to = out;
    for (let column: u32 = 0; column < columns; column += 2, weights += stride << 1, to += 8) {
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      let at = x;
      let from = weights;
      const end = weights + stride;
      do {
        const u = v128.load(from), v = v128.load(from + stride);
        const x0 = v128.load(at), x1 = v128.load(at + stride);
        a0 = f32x4.add(a0, f32x4.mul(x0, u));
        b0 = f32x4.add(b0, f32x4.mul(x0, v));
        a1 = f32x4.add(a1, f32x4.mul(x1, u));
        b1 = f32x4.add(b1, f32x4.mul(x1, v));
        const x2 = v128.load(at + (stride << 1)), x3 = v128.load(at + stride * 3);
        a2 = f32x4.add(a2, f32x4.mul(x2, u));
        b2 = f32x4.add(b2, f32x4.mul(x2, v));
        a3 = f32x4.add(a3, f32x4.mul(x3, u));
        b3 = f32x4.add(b3, f32x4.mul(x3, v));
        at += 16;
        from += 16;
      } while (from < end);
      const next = columns << 2;
      store2(to, a0, b0);
      store2(to + next, a1, b1);
      store2(to + (next << 1), a2, b2);
      store2(to + next * 3, a3, b3);
    }
  }
}

/** The sums of two vectors' lanes, side by side. */
// @ts-ignore: decorator
@inline
function store2(to: usize, a: v128, b: v128): void {
  const halves = f32x4.add(
    i32x4.shuffle(a, b, 0, 1, 4, 5),
    i32x4.shuffle(a, b, 2, 3, 6, 7),
  );
  const sums = f32x4.add(i32x4.shuffle(halves, halves, 0, 2, 0, 2), i32x4.shuffle(halves, halves, 1, 3, 1, 3));
  v128.store64_lane(to, sums, 0);
}
