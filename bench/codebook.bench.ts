import type { Arrays } from '../test/lib/spec.js';
import { bookOf, DYNAMIC8, FP4, lloydMax, NF4 } from '../ts/codebook-tables.js';
import { type CodebookOptions, codeBytes, codebook_quantize_f32 } from '../ts/contract/codebook.js';
import { codebookQuantize } from '../ts/cpu/codebook.js';
import type { FamilyBench, Real, Size } from './lib/bench.js';

interface Work {
  title: string;
  options: CodebookOptions;
  table(options: CodebookOptions, x: Float32Array): Float32Array;
  values?(real: Real): Float32Array;
  quick?: true;
}

/** KVQuant: a table for each channel. Here evenly spaced values between the channel's extremes. */
function perChannel({ rows, n, bits }: CodebookOptions, x: Float32Array): Float32Array {
  const table = new Float32Array(n * 2 ** bits);
  for (let c = 0; c < n; c++) {
    const column = Float32Array.from({ length: rows }, (_, row) => x[row * n + c]!);
    const [low, high] = [column.reduce((a, b) => Math.min(a, b)), column.reduce((a, b) => Math.max(a, b))];
    for (let i = 0; i < 2 ** bits; i++) table[c * 2 ** bits + i] = low + ((high - low) * i) / (2 ** bits - 1);
  }
  return table;
}

const nf4 = { bits: 4, groupSize: 64, nibbles: 'high' } as const;
const works: Work[] = [
  { title: 'NF4, 4096 x 4096, blocks of 64', options: { rows: 4096, n: 4096, ...nf4 }, table: () => NF4 },
  { title: 'FP4, 1024 x 4096, blocks of 64', options: { rows: 1024, n: 4096, ...nf4 }, table: () => FP4 },
  {
    title: 'dynamic 8 bits, 1024 x 4096, blocks of 256',
    options: { rows: 1024, n: 4096, bits: 8, groupSize: 256 },
    table: () => DYNAMIC8,
  },
  ...[2, 3, 4].map(
    (bits): Work => ({
      title: `Lloyd-Max ${bits} bits, rms, 16384 x 128`,
      options: { rows: 16384, n: 128, bits, scale: 'rms' },
      table: () => lloydMax(bits),
      ...(bits === 3 ? { quick: true } : {}),
    }),
  ),
  { title: 'NF4, 1024 x 4096, blocks of 64', options: { rows: 1024, n: 4096, ...nf4 }, table: () => NF4, quick: true },
  {
    title: 'real keys, layer 4, 2048 x 64, 3 bits, a table per channel',
    options: { rows: 2048, n: 64, bits: 3, scale: 'none', tables: 'perColumn' },
    table: perChannel,
    values: ({ layer4 }) => layer4.k,
    quick: true,
  },
  { title: 'NF4, ragged, 4095 x 1001', options: { rows: 4095, n: 1001, ...nf4 }, table: () => NF4 },
];

const sizes = (make: (x: Float32Array, work: Work) => Arrays): Size<CodebookOptions>[] =>
  works.map((work) => ({
    title: work.title,
    options: work.options,
    ...(work.quick ? { quick: work.quick } : {}),
    inputs: (random, real) => make(work.values?.(real) ?? random.normals(work.options.rows * work.options.n), work),
  }));

/** Codes in a byte as a power of two, their width, and 1 where the high nibble comes first. */
const placesOf = ({ bits, nibbles }: CodebookOptions) => {
  const spread = bits > 4 || bits === 3 ? 0 : 3 - Math.log2(bits);
  return { spread, last: 2 ** spread - 1, width: 8 >> spread, flip: bits === 4 && nibbles === 'high' ? 1 : 0 };
};

const bench: FamilyBench = {
  codebook_quantize_f32: {
    sizes: sizes((x, { options, table }) => {
      const { thresholds, order } = bookOf(table(options, x), options);
      return { x, thresholds, ...(order ? { order } : {}) };
    }),
    /** Largest magnitude, then binary search. With 3 bits: a code to a byte, which is less work than packing. */
    javascript({ x, thresholds, order }, o: CodebookOptions) {
      const { rows, n, bits, scale } = o;
      const size = o.groupSize || n;
      const params = codebook_quantize_f32.params(o);
      const { spread, last, width, flip } = placesOf(o);
      const rowBytes = bits === 3 ? n : codeBytes(params);
      const codes = new Uint8Array(rows * rowBytes);
      const scales = new Float32Array(rows * Math.ceil(n / size));
      const columns = o.tables === 'perColumn' ? n : 1;
      const half = 2 ** (bits - 1);
      return () => {
        codes.fill(0);
        for (let row = 0, group = 0; row < rows; row++)
          for (let first = 0; first < n; first += size, group++) {
            const [from, to] = [row * n + first, row * n + Math.min(first + size, n)];
            let inverse = 1;
            if (scale !== 'none') {
              let s = 0;
              if (scale === 'rms') {
                for (let i = from; i < to; i++) s += x![i]! * x![i]!;
                s = Math.sqrt(s / (to - from));
              } else
                for (let i = from; i < to; i++) {
                  const magnitude = Math.abs(x![i]!);
                  if (magnitude > s) s = magnitude;
                }
              scales[group] = s;
              inverse = s > 0 ? Math.fround(1 / s) : 0;
            }
            for (let i = from; i < to; i++) {
              const value = Math.fround(x![i]! * inverse);
              const column = i - row * n;
              const offset = columns > 1 ? column : 0;
              let rank = 0;
              for (let step = half; step > 0; step >>= 1)
                if (value > thresholds![(rank + step - 1) * columns + offset]!) rank += step;
              const code = order ? order[rank]! : rank;
              codes[row * rowBytes + (column >> spread)]! |= code << (((column & last) ^ flip) * width);
            }
          }
      };
    },
  },
  codebook_dequantize_f32: {
    sizes: sizes((x, { options, table }) => {
      const book = bookOf(table(options, x), options);
      return { ...codebookQuantize(x, book, options), table: book.table };
    }),
    javascript({ codes, scales, table }, o: CodebookOptions) {
      const { rows, n, bits } = o;
      const size = o.groupSize || n;
      const { spread, last, width, flip } = placesOf(o);
      const rowBytes = codeBytes(codebook_quantize_f32.params(o));
      const out = new Float32Array(rows * n);
      const mask = 2 ** bits - 1;
      const perColumn = o.tables === 'perColumn' ? 2 ** bits : 0;
      return () => {
        for (let row = 0, group = 0; row < rows; row++)
          for (let first = 0; first < n; first += size, group++) {
            const s = scales?.[group] ?? 1;
            const end = Math.min(first + size, n);
            for (let i = first; i < end; i++) {
              let code: number;
              if (bits === 3) {
                const run = row * rowBytes + 12 * (i >> 5);
                code = (codes![run + ((i & 31) >> 2)]! >> (2 * (i & 3))) & 3;
                code |= ((codes![run + 8 + ((i & 31) >> 3)]! >> (i & 7)) & 1) << 2;
              } else code = (codes![row * rowBytes + (i >> spread)]! >> (((i & last) ^ flip) * width)) & mask;
              out[row * n + i] = table![perColumn * i + code]! * s;
            }
          }
      };
    },
  },
};

export default bench;
