import type { Random } from '../../test/lib/random.js';
import type { Arrays } from '../../test/lib/spec.js';
import { readSafetensors } from '../../test/lib/tensors.js';

/** Queries, keys and values of one layer, captured from a small trained transformer (bench/data/README.md). */
export interface Layer {
  /** [4, 1024, 64] after RoPE. */
  q: Float32Array;
  /** [2, 1024, 64] after RoPE. */
  k: Float32Array;
  /** [2, 1024, 64]. */
  v: Float32Array;
}

export function layerFrom(bytes: Uint8Array, file: string): Layer {
  const tensors = readSafetensors(bytes, file);
  return Object.fromEntries(['q', 'k', 'v'].map((name) => [name, tensors.get(name)!.data])) as unknown as Layer;
}

export interface Real {
  layer1: Layer;
  layer4: Layer;
}

/** One row of the table. */
export interface Size<Options = any> {
  /** As the table shows it: `4096 x 128`, `real keys, layer 1`. */
  title: string;
  options: Options;
  inputs(random: Random, real: Real): Arrays;
  /** Kept in `--quick` and on GPU adapters that are CPUs. */
  quick?: true;
  /** Only on GPUs: larger than their caches. */
  device?: true;
}

export interface KernelBench<Options = any> {
  sizes: Size<Options>[];
  /**
   * The same work as a good engineer would write it in plain JavaScript over typed arrays (outputs allocated outside the
   * returned function, which is what is timed).
   */
  javascript(inputs: Arrays, options: Options): () => void;
}

/** `bench/<family>.bench.ts` exports one as default, by kernel name. */
export type FamilyBench = Record<string, KernelBench>;
