/** Awkward shapes of our kernels against friendly ones, in turn, as time per element: no cliff. */
import Table from 'cli-table3';
import { cpuImplementation } from '../../test/lib/implementations.js';
import { random } from '../../test/lib/random.js';
import { bestLevel } from '../../ts/cpu/runtime.js';
import { specOf } from './lanewise.js';

interface Group {
  kernel: string;
  /** What one unit of the work is. */
  per: string;
  units(o: any): number;
  /** The first is the friendly shape. */
  shapes: [title: string, options: any][];
}

export interface SkewRow {
  kernel: string;
  shape: string;
  nsPerElement: number;
  /** Over the friendly shape's. */
  ratio: number;
}

const quantized = (more: object) => ({
  rows: 1024,
  n: 4096,
  bits: 4,
  groupSize: 32,
  scheme: 'affine',
  axis: 'row',
  ...more,
});
const QUANTIZED: Group['shapes'] = [
  ['1024 x 4096, groups of 32', quantized({})],
  ['1024 x 4097', quantized({ n: 4097 })],
  ['1024 x 4095', quantized({ n: 4095 })],
  ['1 x 4096', quantized({ rows: 1 })],
  ['65536 x 33', quantized({ rows: 65536, n: 33 })],
  ['groups of 48', quantized({ groupSize: 48 })],
  ['one group a row, n 4097', quantized({ groupSize: 0, n: 4097 })],
  ['column groups, n 4097', quantized({ axis: 'column', n: 4097 })],
];
const topk = (more: object) => ({ rows: 128, n: 32768, k: 64, ...more });
const decode = (more: object) => ({ heads: 32, kvHeads: 8, keys: 2048, headDim: 128, ...more });
const causal = (more: object) => ({
  heads: 8,
  kvHeads: 8,
  queries: 1024,
  keys: 1024,
  headDim: 64,
  causal: true,
  ...more,
});
const rowsOf = ({ rows, n }: { rows: number; n: number }) => rows * n;

const GROUPS: Group[] = [
  { kernel: 'quantize_f32', per: 'value', units: rowsOf, shapes: QUANTIZED },
  { kernel: 'dequantize_f32', per: 'value', units: rowsOf, shapes: QUANTIZED },
  {
    kernel: 'hadamard_f32',
    per: 'value and log2 n',
    units: ({ rows, n }) => rows * n * Math.max(1, Math.log2(n)),
    shapes: [128, 4096]
      .flatMap(
        (n) =>
          [
            [`512 x ${n}`, { rows: 512, n }],
            [`1 x ${n}`, { rows: 1, n }],
          ] as Group['shapes'],
      )
      .concat([
        [`513 x 256`, { rows: 513, n: 256 }],
        [`4096 x 16`, { rows: 4096, n: 16 }],
      ]),
  },
  {
    kernel: 'topk_f32',
    per: 'value',
    units: rowsOf,
    shapes: [
      ['128 x 32768, k 64', topk({})],
      ['n 32769', topk({ n: 32769 })],
      ['1 row', topk({ rows: 1 })],
      ['k 1', topk({ k: 1 })],
      ['k 3', topk({ k: 3 })],
      ['k n/2', topk({ rows: 8, k: 16384 })],
      ['k n/2, n 1025', topk({ rows: 256, n: 1025, k: 512 })],
    ],
  },
  {
    kernel: 'softmax_f32',
    per: 'value',
    units: rowsOf,
    shapes: [
      ['1024 x 4096', { rows: 1024, n: 4096 }],
      ['n 4097', { rows: 1024, n: 4097 }],
      ['n 4095', { rows: 1024, n: 4095 }],
      ['1 row', { rows: 1, n: 4096 }],
      ['1 x 131073', { rows: 1, n: 131073 }],
      ['65536 x 65', { rows: 65536, n: 65 }],
    ],
  },
  {
    kernel: 'attention_decode_f32',
    per: 'head, key and dimension',
    units: ({ heads, keys, headDim }) => heads * keys * headDim,
    shapes: [
      ['32 heads on 8, 2048 keys, headDim 128', decode({})],
      ...[48, 80, 96, 192, 256].map((headDim) => [`headDim ${headDim}`, decode({ headDim })] as [string, object]),
      ...[2047, 2049, 129].map((keys) => [`${keys} keys`, decode({ keys })] as [string, object]),
      ['28 heads on 4', decode({ heads: 28, kvHeads: 4 })],
    ],
  },
  {
    kernel: 'attention_blocksparse_f32',
    per: 'visible score and dimension',
    units: ({ heads, queries, keys, headDim }) => heads * queries * (keys - (queries - 1) / 2) * headDim,
    shapes: [
      ['causal, 8 heads x 1024 x 64', causal({})],
      ...[48, 80, 96, 192, 256].map((headDim) => [`headDim ${headDim}`, causal({ headDim })] as [string, object]),
      ['1023 keys', causal({ queries: 1023, keys: 1023 })],
      ['1025 keys', causal({ queries: 1025, keys: 1025 })],
      ['1 query, 1025 keys', causal({ queries: 1, keys: 1025 })],
      ['17 queries, 1025 keys', causal({ queries: 17, keys: 1025 })],
    ],
  },
];

const LIMIT = 1.6;

/** Any finite numbers will do: what they are does not change the work. */
function arrays(kernel: string, options: any): Record<string, any> {
  const { contract } = specOf(kernel)!;
  const lengths = contract.lengths(contract.params(options));
  const normals = random(1).normals(65521);
  return Object.fromEntries(
    Object.entries(contract.arrays)
      .filter(([name, { role, optional }]) => role === 'in' && !(optional && name !== 'minima'))
      .map(([name, { dtype }]) =>
        dtype === 'f32'
          ? [name, Float32Array.from({ length: lengths[name]! }, (_, i) => normals[i % normals.length]!)]
          : [name, Uint32Array.from({ length: lengths[name]! }, (_, i) => (i * 2654435761) >>> 0)],
      ),
  );
}

export async function skewed(quick: boolean): Promise<{ rows: SkewRow[]; text: string }> {
  const rows: SkewRow[] = [];
  const texts: string[] = [];
  for (const { kernel, per, units, shapes } of GROUPS) {
    if (!specOf(kernel)) {
      texts.push(`${kernel} skipped: not there yet`);
      continue;
    }
    const things: { shape: string; run(): void; units: number; count: number; ns: number[] }[] = [];
    for (const [shape, options] of shapes) {
      const { run } = await cpuImplementation(bestLevel()).prepare(
        specOf(kernel)!.contract,
        options,
        arrays(kernel, options),
      );
      let fastest = Infinity;
      const until = performance.now() + 100;
      for (let n = 0; n < 3 || performance.now() < until; n++) {
        const began = performance.now();
        run();
        fastest = Math.min(fastest, performance.now() - began);
      }
      things.push({
        shape,
        run: run as () => void,
        units: units(options),
        count: Math.max(1, Math.floor(1 / fastest)),
        ns: [],
      });
    }
    for (let turn = 0; turn < (quick ? 3 : 9); turn++)
      for (const { run, count, ns, units } of things) {
        run();
        const until = performance.now() + 10;
        do {
          const began = performance.now();
          for (let n = 0; n < count; n++) run();
          ns.push(((performance.now() - began) * 1e6) / count / units);
        } while (performance.now() < until);
      }
    const median = (ns: number[]) => [...ns].sort((a, b) => a - b)[ns.length >> 1]!;
    const friendly = median(things[0]!.ns);
    const table = new Table({
      head: [kernel, `ns per ${per}`, 'over the first'],
      style: { head: [], border: [], compact: true },
    });
    for (const { shape, ns } of things) {
      const ratio = median(ns) / friendly;
      rows.push({ kernel, shape, nsPerElement: median(ns), ratio });
      table.push([shape, median(ns).toPrecision(3), `${ratio.toFixed(2)}${ratio > LIMIT ? ` > ${LIMIT}` : ''}`]);
    }
    texts.push(table.toString());
  }
  return { rows, text: texts.join('\n') };
}
