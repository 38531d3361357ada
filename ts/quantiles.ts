import { type IntegerOptions, quantize_integers_f32, type Range } from './contract/integers.js';
import { AXES, groupOf } from './contract/quantize.js';
import { message } from './errors.js';

export interface QuantileOptions extends IntegerOptions {
  /** Share of each group's values that the range spans, in (0, 1]: 0.99 leaves half a hundredth out at either end. */
  keep: number;
  /** One range, of all of x, for every group. Default false. */
  whole?: boolean;
}

/**
 * Ranges that clip outliers, for `quantize`'s `range`: affine from quantile (1 − keep)/2 to 1 − (1 − keep)/2 of a group's
 * values, symmetric up to quantile `keep` of their magnitudes; exact, interpolated linearly between neighbours (as NumPy and
 * PyTorch do). A group with NaN gets NaN. Signs and ternary formats have no range.
 * Method: C. Hooper et al., "KVQuant", 2024 (there over a calibration set: give that as x, and its ranges to later calls).
 */
export function quantileRanges(x: Float32Array, options: QuantileOptions): Range {
  const name = 'quantileRanges';
  const p = quantize_integers_f32.params(options);
  const lengths = quantize_integers_f32.lengths(p);
  const { rows, n, keep, whole = false } = options;
  if (typeof keep !== 'number') throw new TypeError(message(name, 'keep', 'number in (0, 1]', keep));
  if (!(keep > 0 && keep <= 1)) throw new RangeError(message(name, 'keep', 'number in (0, 1]', keep));
  if (options.scheme === 'ternary' || (options.scheme === 'symmetric' && options.bits === 1))
    throw new RangeError(message(name, 'scheme', '"affine", or "symmetric" of 2 bits and more', options.scheme));
  const expected = `Float32Array of length ${lengths.x}`;
  if (!(x instanceof Float32Array)) throw new TypeError(message(name, 'x', expected, x));
  if (x.length !== lengths.x) throw new RangeError(message(name, 'x', expected, x));
  const affine = options.scheme === 'affine';
  const highs = new Float32Array(lengths.scales!);
  const lows = new Float32Array(affine ? highs.length : 0);
  const set = (group: number, values: Float32Array) => {
    // A Float32Array sorts by value, NaN last.
    const sorted = (affine ? values : values.map(Math.abs)).sort();
    highs[group] = quantile(sorted, affine ? (1 + keep) / 2 : keep);
    if (affine) lows[group] = quantile(sorted, (1 - keep) / 2);
  };
  if (whole && highs.length) {
    set(0, x.slice());
    highs.fill(highs[0]!);
    if (affine) lows.fill(lows[0]!);
  } else {
    const column = options.axis === AXES[1];
    const [lines, length] = column ? [n, rows] : [rows, n];
    const size = groupOf(p);
    const groups = Math.ceil(length / size);
    for (let line = 0; line < lines; line++)
      for (let g = 0; g < groups; g++) {
        const [from, to] = [g * size, Math.min(length, (g + 1) * size)];
        const at = (i: number) => (column ? (from + i) * n + line : line * n + from + i);
        set(
          column ? g * n + line : line * groups + g,
          Float32Array.from({ length: to - from }, (_, i) => x[at(i)]!),
        );
      }
  }
  return affine ? { lows, highs } : { highs };
}

function quantile(sorted: Float32Array, q: number): number {
  const last = sorted.length - 1;
  if (Number.isNaN(sorted[last])) return NaN;
  const below = Math.floor(q * last);
  const fraction = q * last - below;
  const low = sorted[below]!;
  return fraction ? low + fraction * (sorted[below + 1]! - low) : low;
}
