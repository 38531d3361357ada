import type { Random } from '../test/lib/random.js';
import type { Arrays } from '../test/lib/spec.js';
import type { QuantizeOptions } from '../ts/contract/quantize.js';
import { quantize } from '../ts/reference/quantize.js';
import type { FamilyBench, Real, Size } from './lib/bench.js';

type Values = (random: Random, real: Real) => Float32Array;

interface Work {
  title: string;
  options: QuantizeOptions;
  values: Values;
  quick?: true;
}

const rule = (bits: number, groupSize: number, scheme: QuantizeOptions['scheme'], axis: QuantizeOptions['axis']) => ({
  bits,
  groupSize,
  scheme,
  axis,
});

function generated(rows: number, n: number, format: Omit<QuantizeOptions, 'rows' | 'n'>, quick?: true): Work {
  const { bits, groupSize, scheme, axis } = format;
  return {
    title: `${rows} x ${n}, ${bits} bits, ${groupSize ? `groups of ${groupSize}` : 'one group'} per ${axis}, ${scheme}`,
    options: { rows, n, ...format },
    values: (random) => random.normals(rows * n),
    ...(quick ? { quick } : {}),
  };
}

const works: Work[] = [
  generated(4096, 4096, rule(4, 32, 'affine', 'row')),
  generated(4096, 4096, rule(4, 32, 'symmetric', 'row')),
  generated(4096, 4096, rule(2, 32, 'affine', 'row')),
  generated(4096, 4096, rule(8, 32, 'affine', 'row')),
  generated(4096, 4096, rule(4, 128, 'affine', 'row')),
  generated(4096, 4096, rule(8, 0, 'symmetric', 'row')),
  generated(4096, 4096, rule(4, 32, 'affine', 'column')),
  generated(4096, 4096, rule(2, 32, 'affine', 'column')),
  generated(8192, 128, rule(4, 32, 'affine', 'row'), true),
  generated(8192, 128, rule(2, 32, 'affine', 'column'), true),
  // Ragged: groups, words and vectors all end early.
  generated(4096, 1000, rule(4, 32, 'affine', 'row')),
  generated(8192, 80, rule(4, 32, 'affine', 'row')),
  generated(4095, 1001, rule(4, 64, 'affine', 'column')),
  {
    title: 'real keys, layer 4, 2048 x 64, 2 bits, groups of 32 per column, affine',
    options: { rows: 2048, n: 64, ...rule(2, 32, 'affine', 'column') },
    values: (_, { layer4 }) => layer4.k,
    quick: true,
  },
  {
    title: 'real values, layer 4, 2048 x 64, 2 bits, groups of 32 per row, affine',
    options: { rows: 2048, n: 64, ...rule(2, 32, 'affine', 'row') },
    values: (_, { layer4 }) => layer4.v,
    quick: true,
  },
];

const sizes = (inputs: (x: Float32Array, options: QuantizeOptions) => Arrays): Size<QuantizeOptions>[] =>
  works.map(({ values, ...work }) => ({
    ...work,
    inputs: (random, real) => inputs(values(random, real), work.options),
  }));

/** Adding and taking away 1.5·2^52 rounds a double, ties to even. */
const ROUND = 6755399441055744;

const levelsOf = ({ bits, scheme }: QuantizeOptions) => {
  const largest = scheme === 'affine' ? 2 ** bits - 1 : 2 ** (bits - 1) - 1;
  return { largest, smallest: scheme === 'affine' ? 0 : -largest, mask: 2 ** bits - 1 };
};

/** Rows [from, from + length) of n columns share scales: the extremes, then the codes, row by row. */
function quantizeColumns(
  x: Float32Array,
  options: QuantizeOptions,
  codes: Uint32Array,
  scales: Float32Array,
  minima?: Float32Array,
) {
  const { rows, n, bits, scheme } = options;
  const groupSize = options.groupSize || rows;
  const { largest, smallest, mask } = levelsOf(options);
  const low = new Float32Array(n);
  const high = new Float32Array(n);
  return () => {
    codes.fill(0);
    for (let from = 0, group = 0; from < rows; from += groupSize, group += n) {
      const to = Math.min(from + groupSize, rows);
      low.fill(scheme === 'affine' ? Infinity : 0);
      high.fill(scheme === 'affine' ? -Infinity : 0);
      for (let row = from; row < to; row++)
        for (let c = 0, at = row * n; c < n; c++, at++) {
          const value = scheme === 'affine' ? x[at]! : Math.abs(x[at]!);
          if (value < low[c]!) low[c] = value;
          if (value > high[c]!) high[c] = value;
        }
      for (let c = 0; c < n; c++) {
        scales[group + c] = Math.fround(high[c]! - low[c]!) / largest;
        if (minima) minima[group + c] = low[c]!;
      }
      for (let row = from; row < to; row++) {
        const word = Math.floor((row * bits) / 32) * n;
        const shift = (row * bits) % 32;
        for (let c = 0, at = row * n; c < n; c++, at++) {
          const scale = scales[group + c]!;
          let code = scale > 0 ? Math.fround(Math.fround(x[at]! - low[c]!) / scale) + ROUND - ROUND : 0;
          if (code > largest) code = largest;
          else if (code < smallest) code = smallest;
          codes[word + c]! |= (code & mask) << shift;
        }
      }
    }
  };
}

function quantizeRows(
  x: Float32Array,
  options: QuantizeOptions,
  codes: Uint32Array,
  scales: Float32Array,
  minima?: Float32Array,
) {
  const { rows, n, bits, scheme } = options;
  const groupSize = options.groupSize || n;
  const { largest, smallest, mask } = levelsOf(options);
  return () => {
    let word = 0;
    let group = 0;
    for (let row = 0; row < rows; row++) {
      const end = (row + 1) * n;
      for (let from = row * n; from < end; from += groupSize, group++) {
        const to = Math.min(from + groupSize, end);
        let low = scheme === 'affine' ? x[from]! : 0;
        let high = low;
        for (let i = from; i < to; i++) {
          const value = scheme === 'affine' ? x[i]! : Math.abs(x[i]!);
          if (value < low) low = value;
          else if (value > high) high = value;
        }
        const scale = Math.fround(Math.fround(high - low) / largest);
        scales[group] = scale;
        if (minima) minima[group] = low;
        let packed = 0;
        let shift = 0;
        for (let i = from; i < to; i++) {
          let code = scale > 0 ? Math.fround(Math.fround(x[i]! - low) / scale) + ROUND - ROUND : 0;
          if (code > largest) code = largest;
          else if (code < smallest) code = smallest;
          packed |= (code & mask) << shift;
          shift += bits;
          if (shift === 32) {
            codes[word++] = packed;
            packed = shift = 0;
          }
        }
        if (shift) codes[word++] = packed;
      }
    }
  };
}

const bench: FamilyBench = {
  quantize_f32: {
    sizes: sizes((x) => ({ x })),
    javascript({ x }, options: QuantizeOptions) {
      const { rows, n, bits, axis, scheme } = options;
      const [length, lines] = axis === 'row' ? [n, rows] : [rows, n];
      const groups = Math.ceil(length / (options.groupSize || length)) * lines;
      const codes = new Uint32Array(Math.ceil(length / (32 / bits)) * lines);
      const scales = new Float32Array(groups);
      const minima = scheme === 'affine' ? new Float32Array(groups) : undefined;
      const run = axis === 'row' ? quantizeRows : quantizeColumns;
      return run(x as Float32Array, options, codes, scales, minima);
    },
  },
  dequantize_f32: {
    sizes: sizes((x, options) => ({ ...quantize(x, options) })),
    javascript({ codes, scales, minima }, options: QuantizeOptions) {
      const { rows, n, bits, axis, scheme } = options;
      const groupSize = options.groupSize || (axis === 'row' ? n : rows);
      const { mask } = levelsOf(options);
      const perWord = 32 / bits;
      const sign = scheme === 'affine' ? 0 : 2 ** (bits - 1);
      const out = new Float32Array(rows * n);
      if (axis === 'column')
        return () => {
          for (let row = 0, at = 0; row < rows; row++) {
            const word = Math.floor(row / perWord) * n;
            const group = Math.floor(row / groupSize) * n;
            const shift = (row % perWord) * bits;
            for (let c = 0; c < n; c++, at++) {
              const code = (((codes![word + c]! >>> shift) & mask) ^ sign) - sign;
              out[at] = Math.fround(code * scales![group + c]!) + (minima ? minima[group + c]! : 0);
            }
          }
        };
      return () => {
        let word = 0;
        let group = 0;
        for (let row = 0; row < rows; row++) {
          const end = (row + 1) * n;
          for (let from = row * n; from < end; from += groupSize, group++) {
            const to = Math.min(from + groupSize, end);
            const scale = scales![group]!;
            const minimum = minima ? minima[group]! : 0;
            for (let i = from; i < to; ) {
              const packed = codes![word++]!;
              for (let shift = 0; shift < 32 && i < to; shift += bits, i++)
                out[i] = Math.fround(((((packed >>> shift) & mask) ^ sign) - sign) * scale) + minimum;
            }
          }
        }
      };
    },
  },
};

export default bench;
