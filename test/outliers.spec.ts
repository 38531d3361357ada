import { type OutliersOptions, outliers_extract_f32, outliers_restore_f32 } from '../ts/contract/outliers.js';
import { type Outliers, outliersExtract, outliersRestore } from '../ts/reference/outliers.js';
import type { Random } from './lib/random.js';
import type { Case, FamilySpec, KernelSpec } from './lib/spec.js';
import { exact } from './lib/tolerance.js';

type Value = (column: number, random: Random, row: number) => number;
const INF = Infinity;
const normal: Value = (_, random) => random.normal();

/** Rows on which a selection that trusts its guess goes wrong. */
const shapes: Record<string, Value> = {
  ascending: (column) => column,
  'descending, of both signs': (column) => (column & 1 ? -1 : 1) * (9000 - column),
  'all equal': () => 2.5,
  'one magnitude, both signs': (column) => (column % 3 ? -1 : 1),
  'zeros of both signs': (column) => (column % 3 ? -0 : 0),
  'four distinct values': (_, random) => random.int(-3, 3),
  'forty binades': (_, random) => Math.exp(14 * random.normal()),
  'a few outliers': (column, random) => random.normal() * (column % 61 === 7 ? 1000 : 1),
  huge: (_, random) => 3e38 * (2 * random.uniform() - 1),
  'infinities of both signs': (column, random) => (column % 5 === 1 ? INF : column % 5 === 3 ? -INF : random.normal()),
  'a third NaN': (_, random) => (random.uniform() < 1 / 3 ? NaN : random.normal()),
  'nearly all NaN': (column) => (column % 97 === 13 ? column : NaN),
  'all NaN': () => NaN,
  'NaN among zeros': (column) => (column % 7 === 2 ? NaN : 0),
  denormals: (_, random) => 1e-41 * random.int(-3, 3),
};

interface Input {
  title: string;
  options: OutliersOptions;
  value: Value;
}

const input = (title: string, rows: number, n: number, k: number, value = normal): Input => ({
  title: `${title}, ${k} of ${rows} × ${n}`,
  options: { rows, n, k },
  value,
});

const inputs: Input[] = [
  input('no rows', 0, 7, 3),
  ...[1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 128, 129, 255, 256, 257].flatMap((n) =>
    [...new Set([1, Math.ceil(n / 2), n])].map((k) => input('normal', 3, n, k)),
  ),
  ...[1, 6, 41, 205].flatMap((k) => [input('normal', 2, 4096, k), input('normal', 2, 1027, k)]),
  input('normal', 300, 64, 2),
  input('normal', 1, 20_001, 1000),
  ...Object.entries(shapes).flatMap(([title, value]) => [
    input(title, 3, 37, 5, value),
    input(title, 2, 65, 65, value),
    input(title, 2, 1030, 40, value),
    input(title, 1, 515, 300, value),
  ]),
];

const valuesOf = ({ options: { rows, n }, value }: Input, random: Random) =>
  random.floats(rows * n, (i) => value(i % n, random, Math.floor(i / n)));

const extractCases: Case<OutliersOptions>[] = inputs.map((one) => ({
  ...one,
  inputs: (random) => ({ x: valuesOf(one, random) }),
}));

const restoreCases: Case<OutliersOptions>[] = [
  ...inputs.map((one) => ({
    ...one,
    inputs: (random: Random) => ({ ...outliersExtract(valuesOf(one, random), one.options) }),
    ...(/denormals|infin|NaN/.test(one.title) ? { cpuOnly: 'WGSL may assume finite numbers and flush denormals' } : {}),
  })),
  {
    title: 'onto values, indices in no order',
    options: { rows: 5, n: 70, k: 9 },
    inputs: (random) => ({
      rest: random.normals(350),
      values: random.normals(45),
      indices: Uint32Array.from({ length: 45 }, (_, i) => ((i % 9) * 29 + Math.floor(i / 9)) % 70),
    }),
  },
];

const source = 'C. Hooper et al., "KVQuant", 2024; H. Kang et al., "GEAR", 2024 (dense and sparse)';
const axes = {
  rows: 'independent rows, 0 or more',
  n: 'values per row, 1 to 2^24',
  k: 'values taken out of each row, 1 to n',
};
const taken = {
  values: { shape: '[rows, k]', meaning: 'what was taken out, as stored in x, by ascending index' },
  indices: { shape: '[rows, k]', meaning: 'their positions in the row, ascending' },
};
const rest = { shape: '[rows, n]', meaning: 'the row with 0 in their place' };

/** Other columns of as large magnitudes, each of a row once, in any order: values and rest follow them. */
const ties: KernelSpec['ties'] = ({ x }, { rows, n, k }, got, want) => {
  const [ours, theirs] = [got.indices!, want.indices];
  if (!theirs || theirs.length !== ours.length) return undefined;
  const indices = ours.slice();
  let others = 0;
  let moved = 0;
  for (let row = 0; row < rows!; row++) {
    const part = (array: typeof ours) => array.subarray(row * k!, (row + 1) * k!);
    const magnitudes = (array: typeof ours) =>
      Float64Array.from(part(array), (column) => Math.abs(x![row * n! + column]!)).sort();
    const [mine, chosen] = [new Set(part(ours)), new Set(part(theirs))];
    const legal = chosen.size === k! && magnitudes(theirs).every((size, i) => Object.is(size, magnitudes(ours)[i]));
    if (!legal || part(theirs).every((column, i) => column === part(ours)[i])) continue;
    part(indices).set(part(theirs));
    moved++;
    for (const column of chosen) if (!mine.has(column)) others++;
  }
  if (!moved) return undefined;
  const values = Float32Array.from(indices, (column, i) => x![Math.floor(i / k!) * n! + column]!);
  const rest = Float32Array.from(x!);
  for (const [i, column] of indices.entries()) rest[Math.floor(i / k!) * n! + column] = 0;
  const remark = others ? `${others} others of equal magnitude` : `the same in another order in ${moved} rows`;
  return { outputs: { indices, values, rest }, remark: `indices: ${remark}` };
};

const spec: FamilySpec = {
  outliers_extract_f32: {
    contract: outliers_extract_f32,
    summary:
      'The k values of largest magnitude of each row taken out, with their indices: exact, ties to the lower index',
    source,
    axes,
    arrays: { x: { shape: '[rows, n]', meaning: 'any values' }, ...taken, rest },
    reference: ({ x }, options: OutliersOptions) => ({ ...outliersExtract(x as Float32Array, options) }),
    cases: extractCases,
    tolerance: { values: exact, indices: exact, rest: exact },
    ties,
    cost: ({ rows, n, k }) => ({ bytesRead: 4 * rows! * n!, bytesWritten: 4 * rows! * n! + 8 * rows! * k! }),
  },
  outliers_restore_f32: {
    contract: outliers_restore_f32,
    summary: 'Values added back at their indices',
    source,
    axes,
    arrays: { rest, ...taken, out: { shape: '[rows, n]', meaning: 'rest plus each value at its index' } },
    reference: ({ rest, values, indices }, options: OutliersOptions) => ({
      out: outliersRestore(rest as Float32Array, { values, indices } as Outliers, options),
    }),
    cases: restoreCases,
    tolerance: { out: exact },
    cost: ({ rows, n, k }) => ({ bytesRead: 4 * rows! * n! + 8 * rows! * k!, bytesWritten: 4 * rows! * n! }),
  },
};

export default spec;
