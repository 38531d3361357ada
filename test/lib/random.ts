import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** A seeded source: the same seed gives the same arrays on every machine. */
export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Standard normal (Box–Muller). */
  normal(): number;
  /** Uniform integer in [from, to]. */
  int(from: number, to: number): number;
  /** Float32Array of normals times `scale`. */
  normals(length: number, scale?: number): Float32Array;
  /** Float32Array filled by position. */
  floats(length: number, value: (index: number) => number): Float32Array;
  /** Int8Array of ±1. */
  signs(length: number): Int8Array;
  /** Uint8Array of any bytes. */
  bytes(length: number): Uint8Array;
  /** Uint32Array of any words. */
  words(length: number): Uint32Array;
}

export function random(seed: number): Random {
  const source = xoroshiro128plus(seed);
  const uniform = () => uniformFloat64(source);
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  // Not TypedArray.from, which takes half as long again for many values.
  return {
    uniform,
    normal,
    int: (from, to) => uniformInt(source, from, to),
    normals: (length, scale = 1) => new Float32Array(length).map(() => scale * normal()),
    floats: (length, value) => new Float32Array(length).map((_, index) => value(index)),
    bytes: (length) => new Uint8Array(length).map(() => uniformInt(source, 0, 255)),
    words: (length) =>
      new Uint32Array(length).map(() => uniformInt(source, 0, 0xffff) * 65536 + uniformInt(source, 0, 0xffff)),
    signs: (length) => new Int8Array(length).map(() => (uniform() < 0.5 ? -1 : 1)),
  };
}
