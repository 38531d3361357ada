import { type TopkOptions, topk_f32 } from '../ts/contract/topk.js';
import { fromHalves } from '../ts/half.js';
import { topk } from '../ts/reference/topk.js';
import type { Random } from './lib/random.js';
import type { Case, FamilySpec, KernelSpec } from './lib/spec.js';
import { exact } from './lib/tolerance.js';

type Value = (column: number, random: Random, row: number) => number;

const normal: Value = (_, random) => random.normal();

function made(
  title: string,
  rows: number,
  n: number,
  k: number,
  value: Value = normal,
  largest?: boolean,
): Case<TopkOptions> {
  return {
    title: `${title}, ${k} of ${rows} × ${n}${largest === false ? ', smallest' : ''}`,
    options: { rows, n, k, ...(largest === undefined ? {} : { largest }) },
    inputs: (random) => ({ x: random.floats(rows * n, (i) => value(i % n, random, Math.floor(i / n))) }),
  };
}

const both = (title: string, rows: number, n: number, k: number, value?: Value) => [
  made(title, rows, n, k, value),
  made(title, rows, n, k, value, false),
];

const INF = Infinity;

/** Rows on which a selection that trusts its guess goes wrong or slow. */
const shapes: Record<string, Value> = {
  ascending: (column) => column,
  descending: (column) => -column,
  'all equal': () => 2.5,
  'zeros of both signs': (column) => (column % 3 ? -0 : 0),
  'four distinct values': (_, random) => random.int(0, 3),
  'rounded to 1/64': (_, random) => Math.round(64 * random.normal()) / 64,
  'a wave': (column) => Math.sin(column / 100),
  'a hot quarter': (column, random) => random.uniform() + (column & 0x600 ? 0 : 1),
  'forty binades': (_, random) => Math.exp(14 * random.normal()),
  huge: (_, random) => 3e38 * (2 * random.uniform() - 1),
  'infinities of both signs': (column, random) => (column % 5 === 1 ? INF : column % 5 === 3 ? -INF : random.normal()),
  'all -inf': () => -INF,
  'a third NaN': (_, random) => (random.uniform() < 1 / 3 ? NaN : random.normal()),
  'nearly all NaN': (column) => (column % 97 === 13 ? column : NaN),
  'all NaN': () => NaN,
  'NaN among -inf': (column) => (column % 7 === 2 ? NaN : -INF),
};

const cases: Case<TopkOptions>[] = [
  { title: 'no rows', options: { rows: 0, n: 7, k: 3 }, inputs: () => ({ x: new Float32Array(0) }) },
  ...[1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257].flatMap((n) =>
    [...new Set([1, Math.ceil(n / 2), n])].map((k) => made('normal', 3, n, k)),
  ),
  ...[511, 512, 513, 1023, 1024, 1025, 4095, 4099].flatMap((n) =>
    [1, 8, 65, n >> 2].map((k) => made('normal', 2, n, k)),
  ),
  ...[1, 3, 64, 129, 511, 512, 513, 1000].map((k) => made('normal', 1, 20_000 + (k & 1), k, normal, k % 3 === 0)),
  ...both('normal', 1, 20_001, 5000),
  made('normal', 1, 9001, 9001),
  made('normal', 1, 131_072, 256),
  made('normal', 2, 50_001, 40),
  made('normal', 5000, 3, 2),
  made('normal', 200, 128, 8),
  // Ties that reach over what one workgroup of a GPU reads.
  ...['all equal', 'four distinct values', 'all NaN'].map((title) => made(title, 1, 40_000, 700, shapes[title])),
  ...Object.entries(shapes).flatMap(([title, value]) => [
    ...both(title, 2, 37, 5, value),
    made(title, 1, 129, 129, value),
    ...both(title, 1, 5003, 64, value),
    made(title, 1, 5003, 2500, value),
    made(title, 2, 9000, 1, value),
  ]),
  {
    ...made('denormals', 2, 1030, 9, (_, random) => 1e-41 * random.int(-3, 3)),
    cpuOnly: 'equality of denormals is tested as integers there',
  },
];

/** Other indices of equal values, each of a row once. */
const ties: KernelSpec['ties'] = ({ x }, { n, k }, got, want) => {
  const [ours, theirs] = [got.indices!, want.indices];
  if (!theirs || theirs.length !== ours.length) return undefined;
  const values = x instanceof Uint16Array ? fromHalves(x) : x!;
  const same = (a: number, b: number) => a === b || (Number.isNaN(a) && Number.isNaN(b));
  const indices = ours.slice();
  const seen = new Set<number>();
  let count = 0;
  for (const [i, column] of theirs.entries()) {
    const row = Math.floor(i / k!);
    if (i % k! === 0) seen.clear();
    const again = seen.has(column);
    seen.add(column);
    if (column === ours[i] || again || !(column < n!)) continue;
    if (!same(values[row * n! + column]!, values[row * n! + ours[i]!]!)) continue;
    indices[i] = column;
    count++;
  }
  return count ? { outputs: { indices }, remark: `indices: ${count} of equal values, in another order` } : undefined;
};

const spec: FamilySpec = {
  topk_f32: {
    contract: topk_f32,
    summary: 'The k largest or smallest values of each row with their indices: exact, sorted, stable, NaN last',
    source:
      'block maxima and bisection (CPU); T. Alabi et al., "Fast k-selection algorithms for GPUs", 2012 (radix select, GPU)',
    axes: {
      rows: 'independent rows, 0 or more',
      n: 'values per row, 1 to 2^24',
      k: 'values kept per row, 1 to n',
      largest: 'the largest, descending (default), or the smallest, ascending (`smallest` 1)',
    },
    arrays: {
      x: { shape: '[rows, n]', meaning: 'any values' },
      values: { shape: '[rows, k]', meaning: 'the best first, as stored in x; equal values by index, NaN last' },
      indices: { shape: '[rows, k]', meaning: 'position of each in its row' },
      scratch: {
        shape: '[topkScratchBytes / 4]',
        meaning: 'CPU: twice the speed; GPU: only where it says so',
      },
    },
    reference: ({ x }, options: TopkOptions) => ({ ...topk(x as Float32Array, options) }),
    cases,
    tolerance: { values: exact, indices: exact },
    ties,
    cost: ({ rows, n, k }) => ({ bytesRead: 4 * rows! * n!, bytesWritten: 8 * rows! * k! }),
  },
};

export default spec;
