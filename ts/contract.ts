/** Element types of the arrays kernels read and write. */
export type DType = 'f32' | 'f16' | 'u32' | 'i32' | 'i16' | 'u8' | 'i8';

/** What a kernel's values are stored in where it exists for both; it computes in f32. */
export type Float = 'f32' | 'f16';

export type TypedArray = Float32Array | Uint32Array | Int32Array | Uint16Array | Int16Array | Uint8Array | Int8Array;

/** A call's arrays by their names in the contract. */
export type Arrays = Readonly<Record<string, TypedArray | undefined>>;

/** What every typed-array function takes beside its options, `Results` being what it returns. */
export interface Out<Results> {
  /**
   * Where results go: the one array that is returned, or any of those that are, by name. It is filled and returned; what is
   * left out is made new. Never an input's array, save where the function says so.
   */
  out?: (Results extends TypedArray ? Results : { [Name in keyof Results]?: Results[Name] | undefined }) | undefined;
}

/** Where each dtype lives in JavaScript. f16 lies in a Uint16Array as its bits (`toHalves`, `fromHalves`). */
export const ARRAY_OF = {
  f32: Float32Array,
  f16: Uint16Array,
  u32: Uint32Array,
  i32: Int32Array,
  i16: Int16Array,
  u8: Uint8Array,
  i8: Int8Array,
} as const;

/** What scales may be stored in, where a kernel takes either: options `scaleType`, `kScaleType`, `vScaleType`. */
export const SCALE_TYPES = ['f32', 'f16'] as const;

/** The numbers of a kernel's signature by name: axes in elements, switches as 0 or 1, choices as positions in their list. */
export type Params = Readonly<Record<string, number>>;

export interface ArrayContract {
  readonly dtype: DType;
  /** The array is of this dtype instead where the named number is not 0: `{ scaleType: 'f16' }`. See `dtypeOf`. */
  readonly dtypeIf?: Readonly<Record<string, DType>>;
  /** `scratch` is written and read by the kernel; its content means nothing before or after. */
  readonly role: 'in' | 'out' | 'scratch';
  /** May be left out (byte offset 0, or no array): always, or only in calls that give it length 0. */
  readonly optional?: true | 'empty';
  /** May be the same array as this input (never partly overlapping). */
  readonly inPlace?: string;
}

/**
 * What every implementation of a kernel (CPU by arrays or pointers, GPU, reference) shares: its arrays, its numbers
 * and their bounds. Meaning, reference and tolerance are in test/<family>.spec.ts.
 */
export interface Contract<Options = never> {
  readonly kernel: string;
  readonly arrays: Readonly<Record<string, ArrayContract>>;
  /** Options as a user writes them become the named numbers; defaults filled in. Throws TypeError on a wrong kind. */
  params(options: Options): Params;
  /** Every number checked (RangeError), then the length of each array in elements. An optional array has its length if given. */
  lengths(params: Params): Readonly<Record<string, number>>;
  /** Faults in the data that only reading it shows (an index out of range): throws RangeError with the position. */
  checkData?(params: Params, arrays: Arrays): void;
}

/** The dtype of an array in a call with these numbers. */
export function dtypeOf({ dtype, dtypeIf }: ArrayContract, params: Params): DType {
  for (const name in dtypeIf) if (params[name]) return dtypeIf[name]!;
  return dtype;
}
