/** What a kernel must reach on a GPU, as a share of its roofline (or of another row's time). Said after the table wherever there is a GPU. */
import type { Row } from './table.js';

interface Target {
  what: string;
  of(row: Row): boolean;
  /** Time over the yardstick's, at most. */
  most: number;
  /** The yardstick, in words. */
  beside: string;
  ratio(row: Row, rows: readonly Row[]): number | undefined;
}

const MIB64 = 2 ** 26;
const copied = ({ copyRatio }: Row) => copyRatio;

/** The first that fits a row is its own. */
const TARGETS: Target[] = [
  {
    what: 'causal attention',
    of: ({ kernel, size }) => /^attention_blocksparse_f/.test(kernel) && /^causal, (8|2) heads x/.test(size),
    most: 1 / 0.35,
    beside: 'the f32 rate',
    ratio: ({ f32Ratio }) => f32Ratio,
  },
  {
    what: 'decode attention',
    of: ({ kernel, size }) => /^attention_decode_f/.test(kernel) && /x 819[12] x/.test(size),
    most: 1 / 0.7,
    beside: 'a copy',
    ratio: copied,
  },
  {
    what: 'decode attention that reads 4-bit codes',
    of: ({ kernel, size }) => kernel === 'attention_decode_quantized_f32' && /^KIVI 4 bit, groups of 128/.test(size),
    most: 0.45,
    beside: 'decode of the same cache in f16',
    ratio: ({ implementation, medianMs }, rows) => {
      const f16 = rows.find(
        (row) =>
          row.kernel === 'attention_decode_f16' &&
          row.implementation === implementation &&
          row.size === '32 heads on 8 x 8192 x 128',
      );
      return f16 && medianMs / f16.medianMs;
    },
  },
  {
    what: 'top-k',
    of: ({ kernel, size }) => /^topk_/.test(kernel) && size.endsWith('of 128 x 32768'),
    most: 3,
    beside: 'a copy',
    ratio: copied,
  },
  {
    what: 'memory-bound, 64 MiB and more',
    of: ({ kernel, bytes = 0 }) => !/^(attention|gemm|topk)/.test(kernel) && bytes >= MIB64,
    most: 1 / 0.8,
    beside: 'a copy',
    ratio: copied,
  },
];

/** Adapters that are CPUs prove answers, not speed. */
export const isSoftware = (implementation: string): boolean => /SwiftShader|lavapipe|llvmpipe/.test(implementation);

/** A line for each row of a GPU that has a target; none where there is no GPU. */
export function targetLines(rows: readonly Row[]): string[] {
  return rows.flatMap((row) => {
    if (!row.implementation.startsWith('gpu ') || isSoftware(row.implementation)) return [];
    const target = TARGETS.find(({ of }) => of(row));
    const ratio = target?.ratio(row, rows);
    if (!target || !ratio) return [];
    const met = ratio <= target.most ? 'met' : 'NOT MET';
    const of = `${row.kernel} ${row.size} (${row.implementation}), ${target.what}`;
    return [
      `${of}: ${ratio.toPrecision(3)} of the time of ${target.beside}, target ${target.most.toPrecision(3)}: ${met}`,
    ];
  });
}
