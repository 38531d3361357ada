import type { Params } from '../contract.js';
import { codeBytes, groupOf as codebookGroupOf, UNSCALED } from './codebook.js';
import { PANEL, packedLayout } from './gemm.js';
import { GGML_TYPES, ggmlTypeOf } from './ggml.js';
import { runOf } from './integers.js';
import { blockOf, widthOf } from './mx.js';
import { formatOf, groupSizeOf, wordsOf } from './qattention.js';
import { groupOf } from './quantize.js';

/**
 * How a kernel's work divides: pieces that write apart and read nothing another writes, so that any number of threads
 * gives the bits that one gives. The thread pool takes it from here; an engine with threads of its own may do the same.
 */
export interface Axis {
  /** Pieces along the axis. */
  readonly units: number;
  /** Bytes from one unit to the next in each array that has this axis. Other arrays are every part's, whole. */
  readonly bytes: Readonly<Record<string, number>>;
  /** Arguments that say how much there is: how much a unit holds, and all of them together (the last may hold less). */
  readonly counts: Readonly<Record<string, readonly [unit: number, all: number]>>;
  /** Arguments that say where a part ends: what a unit adds, all of them together, and what is added to that (not below 0). */
  readonly ends?: Readonly<Record<string, readonly [unit: number, all: number, offset: number]>>;
}

/**
 * The axes along which a call divides, outermost first: a part is one unit of each outer axis and a run of units of the last.
 * No axis: it does not divide. Given the call's arguments by name, and how many threads there are to occupy.
 */
export type Split = (given: Params, threads: number) => readonly Axis[];

/** Independent rows; `bytes` of each array per row. */
const byRows = (rows: number, bytes: Record<string, number>): Axis[] => [
  { units: rows, bytes, counts: { rows: [1, rows] } },
];

/** Along rows for groups in a row; in whole groups of rows, which are whole words too, for groups down a column. */
function quantized({ rows, n, bits, groupSize, axis }: Params, values: string, alone: boolean): Axis[] {
  const size = groupSize || Infinity;
  if (!axis) {
    const scales = 4 * Math.ceil(n! / Math.min(size, n!));
    return byRows(rows!, { [values]: 4 * n!, codes: 4 * Math.ceil((n! * bits!) / 32), scales, minima: scales });
  }
  // A group that spans the column has one scale for all rows: that can be read in parts, but not made in parts.
  const whole = size >= rows!;
  if (whole && alone) return [];
  const unit = whole ? 16 : size;
  const scales = whole ? 0 : 4 * n!;
  return [
    {
      units: Math.ceil(rows! / unit),
      bytes: { [values]: 4 * n! * unit, codes: 4 * n! * ((unit * bits!) / 32), scales, minima: scales },
      counts: { rows: [unit, rows!] },
    },
  ];
}

const microscaled = (given: Params, values: string): Axis[] => {
  const { rows, n } = given as { rows: number; n: number };
  const codes = Math.ceil((n * widthOf(given)) / 8);
  return byRows(rows, { [values]: 4 * n, codes, scales: Math.ceil(n / blockOf(given)) });
};

/** By rows; a single row (blocks in flattened order) by its groups, which are whole bytes of codes. */
function codebook(given: Params, values: string): Axis[] {
  const { rows, n, bits, scale, tables } = given as Record<'rows' | 'n' | 'bits' | 'scale' | 'tables', number>;
  const size = codebookGroupOf(given);
  const scales = scale === UNSCALED ? 0 : 4;
  if (rows !== 1)
    return byRows(rows, { [values]: 4 * n, codes: codeBytes(given), scales: scales * Math.ceil(n / size) });
  // The tables of a column lie together, its thresholds a row apart; a run of 32 codes of 3 bits is one piece.
  if (tables || size % (bits === 3 ? 32 : 16) !== 0) return [];
  return [
    {
      units: Math.ceil(n / size),
      bytes: { [values]: 4 * size, codes: codeBytes({ n: size, bits }), scales },
      counts: { n: [size, n] },
    },
  ];
}

/** As above; what a seed counts goes on from part to part. */
function integers(given: Params, values: string, alone: boolean): Axis[] {
  const { rows, n, axis, groupSize, scaleType } = given as Record<
    'rows' | 'n' | 'axis' | 'groupSize' | 'scaleType',
    number
  >;
  const { codes, words } = runOf(given);
  const scale = scaleType ? 2 : 4;
  const bytesOf = (lines: number, length: number, groups: number) => ({
    [values]: 4 * lines * length,
    codes: 4 * lines * Math.ceil(length / codes) * words,
    scales: scale * lines * groups,
    minima: scale * lines * groups,
    ...(alone && { lows: 4 * lines * groups, highs: 4 * lines * groups, first: lines * length }),
  });
  if (!axis) return byRows(rows, bytesOf(1, n, Math.ceil(n / groupOf(given))));
  const whole = !groupSize || groupSize >= rows;
  if (whole && alone) return [];
  // Whole groups and whole runs of codes.
  let unit = whole ? codes : groupSize;
  while (unit % codes) unit += groupSize;
  return [
    {
      units: Math.ceil(rows / unit),
      bytes: bytesOf(n, unit, whole ? 0 : unit / groupSize),
      counts: { rows: [unit, rows] },
    },
  ];
}

const ggml = ({ rows, n, type }: Params, values: string): Axis[] => {
  const { block, bytes } = GGML_TYPES[ggmlTypeOf(type!)!];
  return byRows(rows!, { [values]: 4 * n!, blocks: (n! / block) * bytes });
};

/** Whole kv heads with the query heads that share them. */
function byKvHeads(
  { heads, kvHeads, keys, headDim, valueDim, queries = 1 }: Params,
  more: Record<string, number> = {},
): Axis {
  const rows = 4 * (heads! / kvHeads!) * queries;
  return {
    units: kvHeads!,
    bytes: {
      q: rows * headDim!,
      k: 4 * keys! * headDim!,
      v: 4 * keys! * valueDim!,
      output: rows * valueDim!,
      lse: rows,
      ...more,
    },
    counts: { heads: [heads! / kvHeads!, heads!], kvHeads: [1, kvHeads!] },
  };
}

/** The same for a quantised cache. */
function byStoredKvHeads(given: Params): Axis {
  const { heads, kvHeads, capacity, recentCapacity, headDim, valueDim } = given as Record<string, number>;
  const side = (name: 'k' | 'v', n: number) => {
    const format = formatOf(given, name);
    const [lines, length] = format.axis ? [n, capacity!] : [capacity!, n];
    const groups = length ? lines * Math.ceil(length / groupSizeOf(format, length)) : 0;
    const scales = (format.scaleType ? 2 : 4) * groups;
    return {
      [`${name}Codes`]: 4 * lines * wordsOf(length, format.bits),
      [`${name}Scales`]: scales,
      [`${name}Minima`]: scales,
      [`${name}Exponents`]: groups,
      [`${name}Recent`]: 4 * recentCapacity! * n,
    };
  };
  const list = given.perHead && given.indptr ? 4 * (Math.ceil(given.queries! / given.blockQueries!) + 1) : 0;
  const more = { ...side('k', headDim!), ...side('v', valueDim!), indptr: list * (heads! / kvHeads!) };
  return byKvHeads({ ...given, keys: 0 }, more);
}

/** assembly/lib/attention.ts: rows of a pass. Rows of a pass are rescaled together, so a part must be whole passes. */
const PASS_ROWS = 64;

function blocksparse(given: Params, threads: number): Axis[] {
  const {
    heads,
    kvHeads,
    queries,
    keys,
    headDim,
    valueDim,
    causal,
    window,
    indptr,
    blockQueries,
    blockKeys,
    perHead,
    status,
  } = given;
  const group = heads! / kvHeads!;
  const sparse = indptr && blockQueries && blockKeys ? 1 : 0;
  const unit = sparse ? blockQueries! : PASS_ROWS;
  const blocks = Math.ceil(queries! / unit);
  const list = sparse && perHead ? 4 * (blocks + 1) : 0;
  const kv = byKvHeads(given, { indptr: list * group });
  // Heads that share a block mask are worked off together, query by query; others can be divided further.
  if (kvHeads! >= 4 * threads || (group > 1 && !list)) return [kv];
  const head: Axis = {
    units: group,
    bytes: { q: 4 * queries! * headDim!, output: 4 * queries! * valueDim!, lse: 4 * queries!, indptr: list },
    counts: { heads: [1, group] },
  };
  const masked = causal || window;
  // A part of the queries leaves out the keys after them, and a status would take their blocks for faults.
  if (blocks < 2 || (sparse && masked && status)) return group > 1 ? [kv, head] : [kv];
  return [
    kv,
    head,
    {
      units: blocks,
      bytes: { q: 4 * unit * headDim!, output: 4 * unit * valueDim!, lse: 4 * unit, indptr: sparse && 4 },
      counts: { queries: [unit, queries!] },
      ends: masked ? { keys: [unit, queries!, keys! - queries!] } : {},
    },
  ];
}

/** The same division of a kernel's f16 twin: these arrays' elements are half as long. */
const halved =
  (split: Split, ...arrays: string[]): Split =>
  (given, threads) =>
    split(given, threads).map((axis) => ({
      ...axis,
      bytes: Object.fromEntries(
        Object.entries(axis.bytes).map(([name, bytes]) => [name, arrays.includes(name) ? bytes / 2 : bytes]),
      ),
    }));
/** Panels of eight outputs; `bytes` of each other array per panel. Parts of rows of out have to be told how long those are. */
function byPanels(given: Params, bytes: Record<string, number>): Axis[] {
  const { panels, panelWords } = packedLayout(given);
  const n = given.n!;
  const ends: NonNullable<Axis['ends']> = given.m === undefined ? {} : { outStride: [0, 0, given.outStride || n] };
  return [{ units: panels, bytes: { packed: 4 * panelWords, ...bytes }, counts: { n: [PANEL, n] }, ends }];
}

const gemm: Split = (given) => byPanels(given, { out: 4 * PANEL });

export const splits: Readonly<Record<string, Split>> = {
  quantize_f32: (given) => quantized(given, 'x', true),
  dequantize_f32: (given) => quantized(given, 'out', false),
  quantize_f16: halved((given) => quantized(given, 'x', true), 'x'),
  dequantize_f16: halved((given) => quantized(given, 'out', false), 'out'),
  codebook_quantize_f32: (given) => codebook(given, 'x'),
  codebook_dequantize_f32: (given) => codebook(given, 'out'),
  outliers_extract_f32: ({ rows, n, k }) => byRows(rows!, { x: 4 * n!, values: 4 * k!, indices: 4 * k!, rest: 4 * n! }),
  outliers_restore_f32: ({ rows, n, k }) =>
    byRows(rows!, { rest: 4 * n!, values: 4 * k!, indices: 4 * k!, out: 4 * n! }),
  quantize_integers_f32: (given) => integers(given, 'x', true),
  dequantize_integers_f32: (given) => integers(given, 'out', false),
  quantize_integers_f16: halved((given) => integers(given, 'x', true), 'x'),
  dequantize_integers_f16: halved((given) => integers(given, 'out', false), 'out'),
  hadamard_f32: ({ rows, n }) => byRows(rows!, { x: 4 * n!, out: 4 * n! }),
  hadamard_f16: ({ rows, n }) => byRows(rows!, { x: 2 * n!, out: 2 * n! }),
  hadamard_mixed_f32: ({ rows, n, inner }) => byRows(rows!, { x: 4 * n! * inner!, out: 4 * n! * inner! }),
  rotate_f32: ({ rows, n }) => byRows(rows!, { x: 4 * n!, out: 4 * n! }),
  rotate_quantize_f32: (given) => quantized({ ...given, axis: 0 }, 'x', true),
  rotate_dequantize_f32: (given) => quantized({ ...given, axis: 0 }, 'out', false),
  topk_f32: ({ rows, n, k }) => byRows(rows!, { x: 4 * n!, values: 4 * k!, indices: 4 * k! }),
  topk_f16: ({ rows, n, k }) => byRows(rows!, { x: 2 * n!, values: 2 * k!, indices: 4 * k! }),
  softmax_f32: ({ rows, n }) => byRows(rows!, { x: 4 * n!, out: 4 * n! }),
  logsumexp_f32: ({ rows, n }) => byRows(rows!, { x: 4 * n!, lse: 4 }),
  softmax_state_f32: ({ rows, n }) => byRows(rows!, { x: 4 * n!, max: 4, sum: 4 }),
  softmax_f16: ({ rows, n }) => byRows(rows!, { x: 2 * n!, out: 2 * n! }),
  logsumexp_f16: ({ rows, n }) => byRows(rows!, { x: 2 * n!, lse: 4 }),
  softmax_state_f16: ({ rows, n }) => byRows(rows!, { x: 2 * n!, max: 4, sum: 4 }),
  softmax_merge_f16: ({ states, rows, n }) =>
    states === 1 ? byRows(rows!, { outputs: 2 * n!, lses: 4, output: 2 * n!, lse: 4 }) : [],
  // A state's rows lie between those of the states before and after it: only a lone state's rows can be taken apart.
  softmax_merge_f32: ({ states, rows, n }) =>
    states === 1 ? byRows(rows!, { outputs: 4 * n!, lses: 4, output: 4 * n!, lse: 4 }) : [],
  mx_quantize_f32: (given) => microscaled(given, 'x'),
  mx_dequantize_f32: (given) => microscaled(given, 'out'),
  ggml_quantize_f32: (given) => ggml(given, 'x'),
  ggml_dequantize_f32: (given) => ggml(given, 'out'),
  ggml_dequantize_f16: halved((given) => ggml(given, 'out'), 'out'),
  attention_blocksparse_f32: blocksparse,
  attention_decode_f32: (given) => [byKvHeads(given)],
  attention_blocksparse_f16: halved(blocksparse, 'q', 'k', 'v', 'output'),
  attention_decode_f16: halved((given) => [byKvHeads(given)], 'q', 'k', 'v', 'output'),
  attention_decode_quantized_f32: (given) => [byStoredKvHeads(given)],
  attention_blocksparse_quantized_f32: (given) => [byStoredKvHeads(given)],
  gemm_quantized_f32: gemm,
  gemm_quantized_i16: gemm,
  gemm_quantized_i8: gemm,
  gemm_pack_u32(given) {
    const { k, bits, groupSize } = given;
    const scales = 4 * PANEL * Math.ceil(k! / Math.min(groupSize || k!, k!));
    return byPanels(given, { codes: 4 * PANEL * Math.ceil((k! * bits!) / 32), scales, minima: scales });
  },
};
