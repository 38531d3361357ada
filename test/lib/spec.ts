import type { Contract, DType, Params, TypedArray } from '../../ts/contract.js';
import type { Random } from './random.js';
import type { Tolerance } from './tolerance.js';

/** Arrays by their contract name. References may answer in float64. */
export type Arrays = Record<string, TypedArray>;
export type ReferenceArrays = Record<string, TypedArray | Float64Array>;

/** One input on which every implementation must agree with the reference. */
export interface Case<Options> {
  title: string;
  options: Options;
  /** The input arrays, made anew from a seeded source for every run. */
  inputs(random: Random): Arrays;
  /** Left out on the GPU, with the reason (WGSL may assume finite numbers and flush denormals). */
  cpuOnly?: string;
}

/** Bytes moved and arithmetic done by one call: what GB/s and GFLOP/s in the tables mean. */
export interface Cost {
  bytesRead: number;
  bytesWritten: number;
  operations?: number;
}

/** A kernel's contract as data: conformance tests, properties, bench rows and the catalogue all come from it. */
export interface KernelSpec<Options = any> {
  contract: Contract<Options>;
  /** One line for the catalogue. */
  summary: string;
  /** The paper or format specification. */
  source: string;
  /** Meaning and bounds of each option. */
  axes: Record<string, string>;
  /** Shape and meaning of each array. */
  arrays: Record<string, { shape: string; meaning: string }>;
  /** Output arrays by name, computed in float64 from the public ts/reference function. */
  reference(inputs: Arrays, options: Options): ReferenceArrays;
  cases: Case<Options>[];
  /** One per output array; `gpu` where a GPU's arithmetic earns another bound. */
  tolerance: Record<string, Tolerance | { cpu: Tolerance; gpu: Tolerance }>;
  cost(params: Params): Cost;
  /** What the typed-array functions do before they call the kernel, for `npm start -- validate`, which calls it likewise. */
  user?: {
    /** Inputs that they take and the kernel does not. */
    arrays?: Record<string, { dtype: DType; shape: string; meaning: string }>;
    /** The kernel's inputs and options from a user's. */
    call(inputs: Arrays, options: any): { inputs: Arrays; options: any };
    /** What others' arrays are held to, where ours hang on an order of operations that is nobody else's. */
    tolerance?: Record<string, Tolerance>;
  };
  /**
   * For kernels that select: what `got` had been, had it chosen as `want` did, and a remark on the difference. Undefined
   * where there is none, or where it is not among equals.
   */
  ties?(
    inputs: Arrays,
    params: Params,
    got: ReferenceArrays,
    want: ReferenceArrays,
  ): { outputs: ReferenceArrays; remark: string } | undefined;
}

/** A family's spec: its kernels by name. `test/<family>.spec.ts` exports one as default. */
export type FamilySpec = Record<string, KernelSpec>;
