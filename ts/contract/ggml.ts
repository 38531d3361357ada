import type { Contract, Params } from '../contract.js';
import { message } from '../errors.js';
import { elements, integer, options, word } from '../validate.js';

/** A block format of ggml and GGUF files. */
export interface GgmlFormat {
  /** The number that stands for it in a GGUF file (ggml_type). */
  readonly id: number;
  /** Values per block. */
  readonly block: number;
  /** Bytes per block. */
  readonly bytes: number;
}

/** The formats that can be read, by ggml's own names. */
export const GGML_TYPES = {
  q4_0: { id: 2, block: 32, bytes: 18 },
  q4_1: { id: 3, block: 32, bytes: 20 },
  q5_0: { id: 6, block: 32, bytes: 22 },
  q5_1: { id: 7, block: 32, bytes: 24 },
  q8_0: { id: 8, block: 32, bytes: 34 },
  q8_1: { id: 9, block: 32, bytes: 36 },
  q2_K: { id: 10, block: 256, bytes: 84 },
  q3_K: { id: 11, block: 256, bytes: 110 },
  q4_K: { id: 12, block: 256, bytes: 144 },
  q5_K: { id: 13, block: 256, bytes: 176 },
  q6_K: { id: 14, block: 256, bytes: 210 },
  q8_K: { id: 15, block: 256, bytes: 292 },
  iq4_nl: { id: 20, block: 32, bytes: 18 },
  iq4_xs: { id: 23, block: 256, bytes: 136 },
  tq1_0: { id: 34, block: 256, bytes: 54 },
  tq2_0: { id: 35, block: 256, bytes: 66 },
  mxfp4: { id: 39, block: 32, bytes: 17 },
  nvfp4: { id: 40, block: 64, bytes: 36 },
  q1_0: { id: 41, block: 128, bytes: 18 },
  q2_0: { id: 42, block: 64, bytes: 18 },
} as const satisfies Record<string, GgmlFormat>;

export type GgmlType = keyof typeof GGML_TYPES;

/** Those that can be written too. */
export const GGML_WRITABLE = [
  'q4_0',
  'q4_1',
  'q5_0',
  'q5_1',
  'q8_0',
  'q8_1',
  'iq4_nl',
  'tq1_0',
  'tq2_0',
  'mxfp4',
  'nvfp4',
  'q1_0',
  'q2_0',
] as const satisfies readonly GgmlType[];

export type GgmlWritableType = (typeof GGML_WRITABLE)[number];

export interface GgmlDequantizeOptions {
  /** Rows of values, each a whole number of blocks. One row is as good for a tensor: blocks follow each other without a gap. */
  rows: number;
  /** Values per row: a multiple of the type's block (32, 64, 128 or 256). */
  n: number;
  /** The format by name, or by its number in a GGUF file. */
  type: GgmlType | number;
}

export interface GgmlQuantizeOptions {
  /** Rows of values. */
  rows: number;
  /** Values per row: a multiple of the type's block (32, 64, 128 or 256). */
  n: number;
  /** The format by name, or by its number in a GGUF file. */
  type: GgmlWritableType | number;
}

const READABLE = Object.keys(GGML_TYPES) as GgmlType[];

/** The format that a GGUF number stands for, if it is one of `names`. */
export const ggmlTypeOf = (id: number, names: readonly GgmlType[] = READABLE): GgmlType | undefined =>
  names.find((name) => GGML_TYPES[name].id === id);

/** A GPU kernel compiles before it knows its type; `lengths` asks for it. */
const NO_TYPE = -1;

function params(kernel: string, names: readonly GgmlType[], o: GgmlDequantizeOptions | GgmlQuantizeOptions): Params {
  const { rows, n, type = NO_TYPE } = options(kernel, o);
  return { rows, n, type: typeof type === 'number' ? type : GGML_TYPES[names[word(kernel, 'type', type, names)]!].id };
}

/** The format behind a kernel's number. */
export function formatOf(kernel: string, names: readonly GgmlType[], type: unknown): GgmlFormat {
  if (type === NO_TYPE) word(kernel, 'type', undefined, names);
  const name = ggmlTypeOf(integer(kernel, 'type', type, 0), names);
  if (name) return GGML_TYPES[name];
  const known = names.map((name) => `${GGML_TYPES[name].id} (${name})`);
  throw new RangeError(message(kernel, 'type', known.join(', '), type));
}

/** Every length; `values` is the name of the array that holds the values themselves. */
function lengths(kernel: string, values: 'x' | 'out', names: readonly GgmlType[], p: Params) {
  const { block, bytes } = formatOf(kernel, names, p.type);
  const rows = integer(kernel, 'rows', p.rows, 0);
  const n = integer(kernel, 'n', p.n, 0);
  if (n % block) throw new RangeError(message(kernel, 'n', `multiple of ${block}`, n));
  const x = elements(kernel, values, rows, n);
  return { x, blocks: elements(kernel, 'blocks', x / block, bytes) };
}

const QUANTIZE = 'ggml_quantize_f32';

export const ggml_dequantize_f32: Contract<GgmlDequantizeOptions> = {
  kernel: 'ggml_dequantize_f32',
  arrays: {
    blocks: { dtype: 'u8', role: 'in' },
    out: { dtype: 'f32', role: 'out' },
  },
  params: (o) => params('ggml_dequantize_f32', READABLE, o),
  lengths(p) {
    const { x, blocks } = lengths('ggml_dequantize_f32', 'out', READABLE, p);
    return { blocks, out: x };
  },
};

/** Values made in f32 before they are rounded to f16, at a time: whole blocks of any type. */
const CHUNK = 1024;

export const ggml_dequantize_f16: Contract<GgmlDequantizeOptions> = {
  kernel: 'ggml_dequantize_f16',
  arrays: {
    blocks: { dtype: 'u8', role: 'in' },
    out: { dtype: 'f16', role: 'out' },
    scratch: { dtype: 'f32', role: 'scratch' },
  },
  params: (o) => params('ggml_dequantize_f16', READABLE, o),
  lengths(p) {
    const { x, blocks } = lengths('ggml_dequantize_f16', 'out', READABLE, p);
    return { blocks, out: x, scratch: CHUNK };
  },
};

export const ggml_quantize_f32: Contract<GgmlQuantizeOptions> = {
  kernel: QUANTIZE,
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    blocks: { dtype: 'u8', role: 'out' },
  },
  params: (o) => params(QUANTIZE, GGML_WRITABLE, o),
  lengths(p) {
    const { x, blocks } = lengths(QUANTIZE, 'x', GGML_WRITABLE, p);
    return { x, blocks };
  },
};
