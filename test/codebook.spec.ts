import {
  AF4,
  bookOf,
  codebook,
  DYNAMIC8,
  DYNAMIC8_UNSIGNED,
  FP4,
  LINEAR8,
  lloydMax,
  NF4,
  valuesOf as valuesOfTable,
} from '../ts/codebook-tables.js';
import {
  type CodebookOptions,
  codebook_dequantize_f32,
  codebook_quantize_f32,
  groupOf,
} from '../ts/contract/codebook.js';
import type { Params } from '../ts/contract.js';
import { type CodebookCodes, codebookDequantize, codebookQuantize } from '../ts/reference/codebook.js';
import type { Random } from './lib/random.js';
import type { Arrays, Case, FamilySpec } from './lib/spec.js';
import { exact, type Tolerance, ulp, ulpOf } from './lib/tolerance.js';

/** Values of x by place. */
type Make = (row: number, column: number, random: Random) => number;
/** The values of every code, for one table or for all columns. */
type MakeTable = (length: number, random: Random) => Float32Array;

const normal: Make = (_, __, random) => random.normal();
const sorted: MakeTable = (length, random) => random.normals(length).sort();
const unsorted: MakeTable = (length, random) => random.normals(length);
const fixed =
  (table: Float32Array): MakeTable =>
  () =>
    table;

interface Input {
  title: string;
  options: CodebookOptions;
  make: Make;
  table: MakeTable;
  cpuOnly?: string;
}

const nameOf = ({ rows, n, bits, groupSize, scale, tables, nibbles }: CodebookOptions) =>
  [
    `${rows} × ${n}, ${bits} bits`,
    groupSize ? `groups of ${groupSize}` : 'one group',
    scale ?? 'absmax',
    ...(tables === 'perColumn' ? ['a table per column'] : []),
    ...(nibbles === 'high' ? ['high nibble first'] : []),
  ].join(', ');

const input = (
  title: string,
  options: CodebookOptions,
  { make = normal, table = sorted, cpuOnly }: { make?: Make; table?: MakeTable; cpuOnly?: string } = {},
): Input => ({
  title: `${title}${title && ', '}${nameOf(options)}`,
  options,
  make,
  table,
  ...(cpuOnly ? { cpuOnly } : {}),
});

const BITS = [1, 2, 3, 4, 5, 6, 7, 8];
const SCALES = ['absmax', 'rms', 'none'] as const;
const TABLES = ['shared', 'perColumn'] as const;
const LENGTHS = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 80, 100];
const INF = Infinity;
const GPU_FLUSHES = 'a GPU may flush denormals';

const nf4 = { bits: 4, groupSize: 64, nibbles: 'high' } as const;
const nf4Table = { table: fixed(NF4) };

/** Every value on a threshold, or next to one. */
const onThresholds =
  (table: Float32Array, bits: number): Make =>
  (row, column) => {
    const { thresholds } = codebook(table, { bits });
    // The first of each group is its largest magnitude, and makes the scale a power of two.
    return column % 64 === 0 ? 1 : thresholds[(row * 17 + column) % (table.length - 1)]!;
  };

const inputs: Input[] = [
  ...LENGTHS.flatMap((n) => [
    input('', { rows: 3, n, bits: 4, groupSize: 32 }),
    input('', { rows: 5, n, bits: 3, groupSize: 16, scale: 'rms' }),
    input('', { rows: 3, n, bits: 2, tables: 'perColumn', scale: 'none' }),
    input('', { rows: 3, n, bits: 8 }),
    input('', { rows: 3, n, bits: 1, groupSize: 32 }),
  ]),
  ...BITS.flatMap((bits) =>
    SCALES.flatMap((scale) =>
      TABLES.flatMap((tables) => [
        input('', { rows: 3, n: 83, bits, groupSize: 32, scale, tables }),
        input('codes out of order', { rows: 2, n: 70, bits, groupSize: 16, scale, tables }, { table: unsorted }),
      ]),
    ),
  ),
  ...[2, 3, 4, 7].map((bits) =>
    input(
      'a short table',
      { rows: 3, n: 70, bits, groupSize: 32 },
      { table: (length, random) => random.normals(length - 1) },
    ),
  ),
  input('NF4', { rows: 9, n: 320, ...nf4 }, nf4Table),
  input('NF4, an odd row', { rows: 5, n: 129, ...nf4 }, nf4Table),
  input('NF4, flattened', { rows: 1, n: 5000, ...nf4 }, nf4Table),
  input('FP4', { rows: 7, n: 192, ...nf4 }, { table: fixed(FP4) }),
  input('dynamic 8 bits', { rows: 3, n: 1000, bits: 8, groupSize: 256 }, { table: fixed(DYNAMIC8) }),
  input(
    'dynamic 8 bits, never negative',
    { rows: 3, n: 300, bits: 8, groupSize: 256 },
    { table: fixed(DYNAMIC8_UNSIGNED), make: (_, __, random) => random.normal() ** 2 },
  ),
  ...[1, 2, 3, 4, 5, 6].map((bits) =>
    input('Lloyd-Max', { rows: 5, n: 128, bits, scale: 'rms' }, { table: fixed(lloydMax(bits)) }),
  ),
  input('Lloyd-Max, long rows', { rows: 2, n: 4099, bits: 4, scale: 'rms' }, { table: fixed(lloydMax(4)) }),
  input('', { rows: 33, n: 512, bits: 4, groupSize: 128, tables: 'perColumn' }),
  input('', { rows: 300, n: 16, bits: 3, scale: 'none', tables: 'perColumn' }),
  input('', { rows: 0, n: 12, bits: 4 }),
  input('a row shorter than its group', { rows: 4, n: 40, bits: 4, groupSize: 100 }),

  // Ties.
  input('on thresholds', { rows: 17, n: 128, ...nf4 }, { table: fixed(NF4), make: onThresholds(NF4, 4) }),
  input('on thresholds, FP4', { rows: 17, n: 128, ...nf4 }, { table: fixed(FP4), make: onThresholds(FP4, 4) }),
  input(
    'on thresholds',
    { rows: 17, n: 128, bits: 8, groupSize: 64 },
    { table: fixed(DYNAMIC8), make: onThresholds(DYNAMIC8, 8) },
  ),
  ...[2, 4, 6].map((bits) =>
    input(
      'integers',
      { rows: 4, n: 64, bits, scale: 'none' },
      {
        table: (length) => Float32Array.from({ length }, (_, i) => i),
        make: (row, column) => ((row * 31 + column * 7) % 140) / 2 - 2,
      },
    ),
  ),
  // Tables that a linear map into buckets does not tell apart.
  ...[1, 2, 3, 4].flatMap((bits) => [
    input(
      'all values equal',
      { rows: 2, n: 64, bits, scale: 'none' },
      { table: (length) => new Float32Array(length).fill(0.25) },
    ),
    input(
      'powers of ten',
      { rows: 2, n: 64, bits, scale: 'none' },
      {
        table: (length) => Float32Array.from({ length }, (_, i) => 10 ** (i - 4) * (i % 2 ? 1 : -1)),
        make: (_, column, random) => 10 ** (random.uniform() * 14 - 5) * (column % 2 ? 1 : -1),
      },
    ),
    input(
      'huge tables',
      { rows: 2, n: 64, bits, scale: 'none' },
      {
        table: (length, random) => random.floats(length, () => 3.4e38 * (2 * random.uniform() - 1)),
        make: (_, __, random) => 3.4e38 * (2 * random.uniform() - 1),
      },
    ),
    input(
      'tiny tables',
      { rows: 2, n: 64, bits, scale: 'none' },
      {
        table: (length, random) => random.floats(length, () => 1e-40 * (2 * random.uniform() - 1)),
        make: (_, __, random) => 1e-40 * (2 * random.uniform() - 1),
      },
    ),
  ]),

  ...SCALES.flatMap((scale) => [
    input('zeros', { rows: 3, n: 70, ...nf4, scale }, { table: fixed(NF4), make: () => 0 }),
    input('zeros', { rows: 3, n: 70, bits: 8, scale }, { table: fixed(DYNAMIC8), make: () => 0 }),
    input('a constant', { rows: 3, n: 70, ...nf4, scale }, { table: fixed(NF4), make: () => -1.7 }),
    input(
      'zeros of both signs',
      { rows: 3, n: 70, ...nf4, scale },
      { table: fixed(FP4), make: (_, i) => (i % 2 ? -0 : 0) },
    ),
    input(
      'huge values',
      { rows: 3, n: 70, ...nf4, scale },
      {
        table: fixed(NF4),
        make: (_, __, random) => 3.4e38 * (2 * random.uniform() - 1),
      },
    ),
    input(
      'tiny values',
      { rows: 3, n: 70, ...nf4, scale },
      {
        table: fixed(NF4),
        make: (_, __, random) => 1e-35 * random.normal(),
      },
    ),
    input(
      'denormals',
      { rows: 3, n: 70, ...nf4, scale },
      {
        table: fixed(NF4),
        make: (_, __, random) => 1e-42 * random.normal(),
        cpuOnly: GPU_FLUSHES,
      },
    ),
    input(
      'half normal, half denormal',
      { rows: 3, n: 64, bits: 4, groupSize: 16, scale },
      {
        table: fixed(NF4),
        make: (_, __, random) => 2e-38 * random.normal(),
        cpuOnly: GPU_FLUSHES,
      },
    ),
  ]),
  ...BITS.flatMap((bits) =>
    SCALES.flatMap((scale) => [
      input(
        'a NaN',
        { rows: 3, n: 75, bits, groupSize: 32, scale },
        {
          make: (row, column, random) => (row === 1 && (column === 20 || column === 74) ? NaN : random.normal()),
        },
      ),
      input(
        'infinities',
        { rows: 3, n: 75, bits, groupSize: 32, scale },
        {
          make: (row, column, random) => (row === 1 && column % 30 === 7 ? (column & 1 ? INF : -INF) : random.normal()),
        },
      ),
    ]),
  ),
  input(
    'a NaN',
    { rows: 3, n: 75, bits: 4, groupSize: 32, tables: 'perColumn' },
    {
      make: (row, column, random) => (row === 1 && column % 40 === 9 ? NaN : random.normal()),
    },
  ),
];

const optionsOf = (p: Params): CodebookOptions => ({
  rows: p.rows!,
  n: p.n!,
  bits: p.bits!,
  groupSize: p.groupSize!,
  scale: SCALES[p.scale!]!,
  tables: TABLES[p.tables!]!,
  nibbles: p.nibbles ? 'high' : 'low',
});

/**
 * Root mean square on a GPU, in ulp: a sum of `n` squares in some order, at most one rounding for each of those an
 * invocation adds and 33 to put them together, halved by the root; the division within 2.5 ulp, halved; the root within
 * 2 + 2.5.
 */
const rmsUlp = (p: Params) => (p.scale === 1 ? (Math.max(groupOf(p) / 256, 4) + 34) / 2 + 6 : 0);

/** A codes array taken apart: the code of each value. */
function codesOf(codes: Uint8Array, p: Params): Uint8Array {
  // The reference's own way back, with the codes as their own table.
  const table = Float32Array.from({ length: 2 ** p.bits! }, (_, i) => i);
  return Uint8Array.from(codebookDequantize({ codes }, table, { ...optionsOf(p), scale: 'none', tables: 'shared' }));
}

const nearestCodes: Tolerance = {
  unit: 'codes',
  reason:
    "WGSL's division is within 2.5 ulp: the neighbour where the exact quotient is within 4 ulp (rms: and the scale's error) of the threshold between",
  error(got, want, inputs, p) {
    if (got.length !== want.length) return Infinity;
    if (got.every((byte, i) => byte === want[i])) return 0;
    const { x, thresholds, order } = inputs as Record<'x' | 'thresholds', Float32Array> & { order?: Uint8Array };
    const [mine, theirs] = [codesOf(got as Uint8Array, p), codesOf(want as Uint8Array, p)];
    const columns = p.tables ? p.n! : 1;
    const size = 2 ** p.bits!;
    let wrong = 0;
    mine.forEach((code, i) => {
      if (code === theirs[i]) return;
      const [row, column] = [Math.floor(i / p.n!), p.tables ? i % p.n! : 0];
      const rank = (c: number) => (order ? order.subarray(column * size, (column + 1) * size).indexOf(c) : c);
      const [a, b] = [rank(code), rank(theirs[i]!)];
      const start = row * p.n! + Math.floor((i % p.n!) / groupOf(p)) * groupOf(p);
      const group = x.subarray(start, Math.min(start + groupOf(p), (row + 1) * p.n!));
      const scale = p.scale
        ? Math.sqrt(group.reduce((sum, v) => sum + v * v, 0) / group.length)
        : group.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      const quotient = x[i]! / scale;
      const threshold = thresholds[Math.min(a, b) * columns + column]!;
      const near = Math.abs(quotient - threshold) <= (4 + rmsUlp(p)) * ulpOf(quotient);
      if (p.scale === 2 || Math.abs(a - b) !== 1 || !near) wrong++;
    });
    // Bits that belong to no code.
    return wrong || (mine.every((code, i) => code === theirs[i]) ? Infinity : 0);
  },
  limit: () => 0,
};

const valuesOf = ({ options: { rows, n }, make }: Input, random: Random) =>
  random.floats(rows * n, (i) => make(Math.floor(i / n), i % n, random));

const bookFor = ({ options, table }: Input, random: Random) => {
  const { bits, tables, n } = options;
  return bookOf(table(2 ** bits * (tables === 'perColumn' ? n : 1), random), options);
};

const quantizeCases: Case<CodebookOptions>[] = inputs.map((one) => ({
  ...one,
  inputs(random) {
    const { thresholds, order } = bookFor(one, random);
    return { x: valuesOf(one, random), thresholds, ...(order ? { order } : {}) } as Arrays;
  },
}));

/** What quantize made, and any bytes at all: dequantize asks nothing of them. */
const dequantizeCases: Case<CodebookOptions>[] = [
  ...inputs.map((one) => ({
    ...one,
    inputs(random: Random) {
      const book = bookFor(one, random);
      return { ...codebookQuantize(valuesOf(one, random), book, one.options), table: book.table } as Arrays;
    },
  })),
  ...BITS.flatMap((bits) =>
    TABLES.map((tables) => {
      const options = { rows: 3, n: 77, bits, groupSize: 32, tables, nibbles: 'high' } as const;
      return {
        title: `any bytes, ${nameOf(options)}`,
        options,
        inputs(random: Random) {
          const lengths = codebook_dequantize_f32.lengths(codebook_dequantize_f32.params(options));
          return {
            codes: random.bytes(lengths.codes!),
            scales: random.normals(lengths.scales!),
            table: random.normals(lengths.table!),
          } as Arrays;
        },
      };
    }),
  ),
];

const source =
  'T. Dettmers et al., "QLoRA", 2023 (NF4); C. Hooper et al., "KVQuant", 2024 (tables per channel); A. Zandieh et al., "TurboQuant", 2025 (Gaussian tables)';
const axes = {
  rows: 'rows of x, 0 or more',
  n: 'values per row, 1 or more',
  bits: 'bits per code, 1 to 8',
  groupSize: 'values that share a scale: a multiple of 16, or the whole row (0, the default, or anything not below n)',
  scale: '`absmax` (default), `rms` (root of the mean square) or `none`',
  tables: '`shared` (default): one table; `perColumn`: one for each column',
  nibbles: '4 bits: the first of two codes in the `low` (default) or the `high` nibble',
};
const x = { shape: '[rows, n]', meaning: 'values' };
const stored = {
  codes: {
    shape: '[rows, codeBytes]',
    meaning: 'codes, from the lowest bits up; 3 bits in three words per 32; 5 to 8 bits a byte each',
  },
  scales: { shape: '[rows, ceil(n/groupSize)]', meaning: 'one per group; none when unscaled' },
};

function bytesOf(params: Params) {
  const { x, codes, scales } = codebook_quantize_f32.lengths(params);
  return { values: 4 * x!, stored: codes! + 4 * scales! };
}

const NAMED: Record<string, Float32Array> = {
  nf4: NF4,
  fp4: FP4,
  af4: AF4,
  dynamic8: DYNAMIC8,
  dynamic8_unsigned: DYNAMIC8_UNSIGNED,
  linear8: LINEAR8,
  ...Object.fromEntries([1, 2, 3, 4, 5, 6].map((bits) => [`lloydmax${bits}`, lloydMax(bits)])),
};

/** Tables that options give by name; undefined ones are left out. */
export function namedTables(options: Record<string, unknown>): Arrays {
  const given = Object.entries(options).filter(([, name]) => name !== undefined);
  return Object.fromEntries(
    given.map(([option, name]) => {
      const table = NAMED[name as string];
      if (table) return [option, table];
      throw new Error(
        `--options: "${option}" expected ${Object.keys(NAMED).join(', ')} or an array of values, got ${JSON.stringify(name)}`,
      );
    }),
  );
}

const TABLE_SHAPE = '[2^bits]; perColumn: [n, 2^bits]';
const tableMeaning = 'the value of each code, up to 2^bits, or in --options the name of a table';

/** A user has a table, or names one; without `bits`, those that its length takes. */
function withTable({ table: given, ...inputs }: Arrays, { table: name, ...options }: any) {
  const table = (given ?? namedTables({ table: name }).table) as Float32Array | undefined;
  const bits = table && Math.ceil(Math.log2(table.length / (options.tables === 'perColumn' ? options.n : 1)));
  return { table, inputs, options: { ...(bits && { bits }), ...options } };
}

const spec: FamilySpec = {
  codebook_quantize_f32: {
    contract: codebook_quantize_f32,
    summary:
      'Codes of 1 to 8 bits into tables of any values (NF4, FP4, dynamic 8 bit, Lloyd-Max, per channel), a scale per group',
    source,
    axes,
    arrays: {
      x,
      thresholds: {
        shape: '[2^bits]; perColumn: [2^bits, n]',
        meaning: 'midpoints of neighbouring values, ascending, then +infinity',
      },
      order: { shape: '[2^bits]; perColumn: [n, 2^bits]', meaning: 'the code of each rank; left out: the rank itself' },
      ...stored,
    },
    user: {
      arrays: {
        table: { dtype: 'f32', shape: TABLE_SHAPE, meaning: `${tableMeaning}; instead of thresholds and order` },
      },
      call(given, o) {
        const { table, inputs, options } = withTable(given, o);
        if (!table && !inputs.thresholds)
          throw new Error(
            `--options '{"table": NAME}' or --input table=FILE is missing (${Object.keys(NAMED).join(', ')})`,
          );
        if (!table) return { inputs, options };
        const { thresholds, order } = bookOf(table, options);
        return { inputs: { ...inputs, thresholds, ...(order && { order }) }, options };
      },
    },
    // The reference takes a table; the kernel what `codebook` makes of it.
    reference: ({ x, thresholds, order }, options: CodebookOptions) => ({
      ...codebookQuantize(
        x as Float32Array,
        {
          bits: options.bits,
          tables: options.tables ?? 'shared',
          table: new Float32Array(thresholds!.length),
          thresholds: thresholds as Float32Array,
          ...(order ? { order: order as Uint8Array } : {}),
        },
        options,
      ),
    }),
    cases: quantizeCases,
    tolerance: {
      codes: { cpu: exact, gpu: nearestCodes },
      scales: { cpu: exact, gpu: ulp(rmsUlp, 'a root mean square is summed in f32; absmax is exact') },
    },
    cost: (params) => ({ bytesRead: bytesOf(params).values, bytesWritten: bytesOf(params).stored }),
  },
  codebook_dequantize_f32: {
    contract: codebook_dequantize_f32,
    summary: 'Values from codes into tables and scales',
    source,
    axes,
    arrays: {
      ...stored,
      table: { shape: TABLE_SHAPE, meaning: 'the value of each code' },
      out: x,
    },
    user: {
      call(given, o) {
        const { table, inputs, options } = withTable(given, o);
        return { inputs: { ...inputs, ...(table && { table: valuesOfTable(table, options) }) }, options };
      },
    },
    reference: ({ codes, scales, table }, options: CodebookOptions) => ({
      out: codebookDequantize({ codes, scales } as CodebookCodes, table as Float32Array, options),
    }),
    cases: dequantizeCases,
    tolerance: { out: exact },
    cost: (params) => ({ bytesRead: bytesOf(params).stored, bytesWritten: bytesOf(params).values }),
  },
};

export default spec;
