/** How far attention's outputs may lie from float64: rounding error analysis of each output from its own inputs. */
import type { Params } from '../../ts/contract.js';
import { splitsOf } from '../../ts/gpu-splits.js';
import type { Arrays } from './spec.js';
import { relativeTo, type Tolerance } from './tolerance.js';

/** One rounding in f32, relative: half an ulp. Errors below are in this unit unless they say otherwise. */
export const UNIT = 2 ** -24;
/** Weights and products below this may be flushed to 0. */
const FLUSHED = 2 ** -126;

/**
 * What independent errors come to, of whose largest sizes these are the sum and the sum of squares: the sum at most, and four roots of
 * the squares (Hoeffding 1963): seven standard deviations where each is spread evenly.
 */
export const together = (sum: number, squares: number) => Math.min(sum, 4 * Math.sqrt(squares));

/**
 * A sum over dimensions by n roundings, each half an ulp of a partial sum. In an order that knows nothing of the terms, squares of
 * partial sums average to a third of total² (it grows evenly) and a sixth of the terms' squares (the rest comes and goes); the
 * other sixth is for roundings of the terms.
 */
export const summed = (n: number, total: number, squares: number) =>
  together(n, n / 3) * Math.sqrt(total * total + squares);

/** The same over keys, which may be thousands and alike: equal terms round alike, so what grows counts n times. */
export const accumulated = (n: number, total: number, squares: number) => n * Math.abs(total) + summed(n, 0, squares);

/** The arithmetic of a backend, beyond its sums and products. `range`: largest score less the smallest. */
interface Arithmetic {
  /** Relative to a score: what scale is multiplied by. */
  factor(capped: boolean): number;
  /** The same: tanh, cap·log2(e) and their product. */
  tanh: number;
  /** Relative to the weight e^-d of a row of `keys` keys with scores up to `max`. */
  weight(d: number, range: number, keys: number, max: number): number;
  /** Relative to the sum of weights: additions on the way of one, all of which may round alike. */
  sum(keys: number): number;
  /** Relative to an output: divisions and what follows, and one rounding of a reference in f32. */
  rest: number;
  /** Of the log-sum-exp, absolute, beyond the weights'. */
  lse(lse: number, keys: number): number;
}

/** What becomes of a row: keys of a chunk (CPU); how often its sums are rescaled, whether states of parts of the keys are merged (GPU). */
export interface Route {
  chunk: number;
  rescalings(keys: number): number;
  merged: boolean;
}

/** assembly/lib/exp.ts: 2^t within 1.08 ulp, tanh 3.1. Weights are added up in chunks of keys, of 16 at least where blocks are that short. */
const cpu = ({ chunk }: Route): Arithmetic => ({
  factor: () => 1.3, // log2(e) in f32 (0.2) and the product
  tanh: 8.5,
  // t is rounded, 1 of d; the maximum lags by 2^8 at most, which adds to d; a rescaling, 3.2, comes with a d of as much.
  weight: (d, range) => 2.2 + 1.6 * d + Math.min(range, 8 * Math.LN2),
  sum: (keys) => Math.min(keys, chunk) + keys / 16,
  rest: 3,
  lse: (lse) => 2 * Math.abs(lse) + 1,
});

/** Keys of a tile (wgsl/lib/attention-tile.wgsl), after which a row's sums may be rescaled. */
export const tileOf = ({ blockKeys }: Params) => Math.min(blockKeys || 32, 32);

/** Tiles of a split (wgsl/lib/attention-split.wgsl). */
export const tilesOfSplit = (keys: number, p: Params, most?: number) =>
  keys && Math.ceil(Math.ceil(keys / 64) / splitsOf(keys, p, most));

/**
 * WGSL: exp2(t) within 3 + 2|t| ulp, with t rounded 6 + 6.8|ln 2·t|; log2 2^-21 or 3 ulp, 6 + 6·ln of the sum; division 2.5 ulp.
 * Merging states takes another of each: their log-sum-exps (as large as max + ln keys), exp2 of differences, division.
 */
const gpu = ({ rescalings, merged }: Route): Arithmetic => ({
  factor: (capped) => (capped ? 6 : 1.3),
  tanh: 20, // lib/logits.wgsl: worst at its seam, where 1 - 2 / (exp2 + 1) loses a bit
  weight: (d, _, keys, max) =>
    6 +
    7 * d +
    7 * together(rescalings(keys), rescalings(keys)) +
    (merged ? 18 + d + 14 * Math.log(keys) + Math.abs(max) : 0),
  sum: (keys) => 16 + keys / 16, // an invocation has every eighth key or fewer of a tile
  rest: merged ? 15 : 7,
  lse: (lse, keys) => (merged ? 2 : 1) * (6 + 6 * Math.log(keys) + 3 * Math.abs(lse)),
});

/** A case's numbers, and what its two products are off by. */
export interface Analysis {
  /** Of all kv heads, `keys` each. */
  v: ArrayLike<number>;
  keys: number;
  keysOf(head: number, query: number): number[];
  /** q·k of a row and a key (counted over all kv heads), and what it is off by, absolute. */
  product(row: number, key: number): { dot: number; error: number };
  /** Joins to `bounds` what p·v is off by, absolute. Keys of a kv head whose first is `base`; `squares` of its terms. */
  values(
    bounds: Float64Array,
    of: { base: number; keys: number[]; weights: Float64Array; output: Float64Array; squares: Float64Array },
  ): void;
}

interface Bounds {
  output: Float64Array;
  lse: Float64Array;
}

/**
 * A weight is off by the factor e^±e: score's error, then the exponential's. That moves an output by Σ w·e·|v − output|, as
 * weights are divided by their own sum; the log-sum-exp by Σ w·e.
 */
function boundsOf({ v, keys: perHead, keysOf, product, values }: Analysis, p: Params, arithmetic: Arithmetic): Bounds {
  const { heads, kvHeads, queries = 1, valueDim, scale, softcap } = p as Record<string, number>;
  const n = valueDim!;
  const result = { output: new Float64Array(heads! * queries * n), lse: new Float64Array(heads! * queries) };
  const factor = arithmetic.factor(softcap! > 0);
  for (let head = 0; head < heads!; head++) {
    const base = Math.floor(head / (heads! / kvHeads!)) * perHead;
    for (let query = 0; query < queries; query++) {
      const row = head * queries + query;
      const keys = keysOf(head, query);
      if (!keys.length) continue;
      const scores = new Float64Array(keys.length);
      const errors = new Float64Array(keys.length);
      let [max, min] = [-Infinity, Infinity];
      keys.forEach((key, i) => {
        const { dot, error } = product(row, base + key);
        let score = scale! * dot;
        let off = Math.abs(scale!) * error + factor * UNIT * Math.abs(score);
        if (softcap! > 0) {
          const t = Math.tanh(score / softcap!);
          score = softcap! * t;
          off = (1 - t * t) * off + arithmetic.tanh * UNIT * Math.abs(score);
        }
        scores[i] = score;
        errors[i] = off;
        max = Math.max(max, score);
        min = Math.min(min, score);
      });
      const lse = max + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - max), 0));
      let mean = 0;
      const weights = scores.map((score) => Math.exp(score - lse));
      const offs = weights.map((weight, i) => {
        const score = scores[i]!;
        if (score === -Infinity) return 0; // in any arithmetic
        const error = errors[i]! + UNIT * arithmetic.weight(max - score, max - min, keys.length, max);
        mean += weight * error;
        return Math.min(1, Math.exp(score - lse + error)) - weight + FLUSHED;
      });
      const sumError = arithmetic.sum(keys.length);
      result.lse[row] = mean + UNIT * (sumError + arithmetic.lse(lse, keys.length));

      const [output, squares] = [new Float64Array(n), new Float64Array(n)];
      const bounds = result.output.subarray(row * n, (row + 1) * n);
      keys.forEach((key, i) => {
        const weight = weights[i]!;
        for (let c = 0, at = (base + key) * n; c < n; c++) {
          const term = weight * v[at + c]!;
          output[c]! += term;
          squares[c]! += term * term;
        }
      });
      keys.forEach((key, i) => {
        const off = offs[i]!;
        for (let c = 0, at = (base + key) * n; c < n; c++) bounds[c]! += off * Math.abs(v[at + c]! - output[c]!);
      });
      for (let c = 0; c < n; c++)
        bounds[c]! += UNIT * (sumError + arithmetic.rest) * Math.abs(output[c]!) + 2 * keys.length * FLUSHED;
      values(bounds, { base, keys, weights, output, squares });
    }
  }
  return result;
}

/** p·v of values as they are: a product and an addition for each key. */
export const sumsOfValues: Analysis['values'] = (bounds, { keys, output, squares }) => {
  for (let c = 0; c < bounds.length; c++) bounds[c]! += UNIT * accumulated(keys.length + 1, output[c]!, squares[c]!);
};

/** Each output within its own bound. The bounds of one call are computed once. */
export function attentionTolerance(
  analysis: (inputs: Arrays, p: Params, kind: 'cpu' | 'gpu') => Analysis,
  route: (p: Params) => Route,
  reasons: Record<keyof Bounds, string>,
) {
  const known = new WeakMap<Arrays, { of: string; bounds: Bounds }>();
  const of = (name: keyof Bounds, kind: 'cpu' | 'gpu'): Tolerance => ({
    ...relativeTo(
      (inputs, p) => {
        const of = JSON.stringify([kind, p]);
        let last = known.get(inputs);
        if (last?.of !== of) {
          const arithmetic = (kind === 'cpu' ? cpu : gpu)(route(p));
          last = { of, bounds: boundsOf(analysis(inputs, p, kind), p, arithmetic) };
          known.set(inputs, last);
        }
        return last.bounds[name];
      },
      1,
      reasons[name],
    ),
    unit: 'of its bound',
  });
  const both = (name: keyof Bounds) => ({ cpu: of(name, 'cpu'), gpu: of(name, 'gpu') });
  return { output: both('output'), lse: both('lse') };
}
