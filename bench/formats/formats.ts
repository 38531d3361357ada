/** Every number format this library has, as the pair of kernel calls that write and read it: what docs/formats.md compares. */
import type { Arrays } from '../../test/lib/spec.js';
import { codebook, DYNAMIC8, FP4, lloydMax, NF4 } from '../../ts/codebook-tables.js';
import type { CodebookOptions } from '../../ts/contract/codebook.js';
import type { GgmlWritableType } from '../../ts/contract/ggml.js';
import type { IntegerOptions } from '../../ts/contract/integers.js';
import type { MxFormat } from '../../ts/contract/mx.js';

/** Keys or values of one layer as rows: heads after heads, each [positions, headDim]. */
export interface Shape {
  rows: number;
  n: number;
}

export interface KernelCall {
  kernel: string;
  options: object;
  inputs: Arrays;
}

export interface Format {
  name: string;
  /** Colours of the plot. */
  family: string;
  encode(x: Float32Array, shape: Shape): KernelCall;
  /** Given what encode's kernel wrote; its output is `out`. */
  decode(stored: Arrays, shape: Shape): KernelCall;
}

type Rule = Omit<IntegerOptions, 'rows' | 'n'>;

/** quantize's kernels where they know the format, else those of integers. */
const integers = (rule: Rule): Format => {
  const plain = [2, 4, 8].includes(rule.bits) && rule.scheme !== 'ternary' && rule.scaleType !== 'f16';
  const half = rule.scaleType === 'f16' ? ', f16 scales' : '';
  const along = rule.axis === 'column' ? 'per channel, ' : '';
  return {
    name: `int${rule.bits} ${rule.scheme}, ${along}groups of ${rule.groupSize}${half}`,
    family: rule.axis === 'column' ? 'integers per channel' : 'integers per token',
    encode: (x, shape) => ({
      kernel: plain ? 'quantize_f32' : 'quantize_integers_f32',
      options: { ...shape, ...rule },
      inputs: { x },
    }),
    decode: (stored, shape) => ({
      kernel: plain ? 'dequantize_f32' : 'dequantize_integers_f32',
      options: { ...shape, ...rule },
      inputs: stored,
    }),
  };
};

const book = (
  name: string,
  table: Float32Array,
  rule: Omit<CodebookOptions, 'rows' | 'n'> & { groupSize: number },
): Format => {
  const { thresholds, order, table: values } = codebook(table, rule);
  return {
    name: `${name}, groups of ${rule.groupSize}`,
    family: 'codebooks',
    encode: (x, shape) => ({
      kernel: 'codebook_quantize_f32',
      options: { ...shape, ...rule },
      inputs: { x, thresholds, ...(order ? { order } : {}) },
    }),
    decode: (stored, shape) => ({
      kernel: 'codebook_dequantize_f32',
      options: { ...shape, ...rule },
      inputs: { ...stored, table: values },
    }),
  };
};

const mx = (format: MxFormat): Format => ({
  name: format,
  family: 'shared exponents',
  encode: (x, shape) => ({ kernel: 'mx_quantize_f32', options: { ...shape, format }, inputs: { x } }),
  decode: (stored, shape) => ({ kernel: 'mx_dequantize_f32', options: { ...shape, format }, inputs: stored }),
});

const ggml = (type: GgmlWritableType): Format => ({
  name: `ggml ${type}`,
  family: 'ggml blocks',
  encode: (x, shape) => ({ kernel: 'ggml_quantize_f32', options: { ...shape, type }, inputs: { x } }),
  decode: (stored, shape) => ({ kernel: 'ggml_dequantize_f32', options: { ...shape, type }, inputs: stored }),
});

const row = (bits: number, scheme: Rule['scheme'] = 'affine', more: Partial<Rule> = {}): Format =>
  integers({ bits, groupSize: 32, scheme, axis: 'row', ...more });
const column = (bits: number, more: Partial<Rule> = {}): Format =>
  integers({ bits, groupSize: 32, scheme: 'affine', axis: 'column', ...more });

export const formats: Format[] = [
  ...[8, 4, 3, 2, 1].flatMap((bits) => [row(bits), row(bits, 'affine', { scaleType: 'f16' }), column(bits)]),
  ...[8, 4, 3, 2].map((bits) => row(bits, 'symmetric', { groupSize: 64, scaleType: 'f16' })),
  ...[4, 3, 2].map((bits) => column(bits, { scaleType: 'f16' })),
  row(1.6, 'ternary', { scaleType: 'f16' }),
  book('NF4', NF4, { bits: 4, groupSize: 64 }),
  book('FP4 (bitsandbytes)', FP4, { bits: 4, groupSize: 64 }),
  book('dynamic 8 bit', DYNAMIC8, { bits: 8, groupSize: 64 }),
  ...[4, 3, 2, 1].map((bits) => book(`Lloyd-Max ${bits} bit`, lloydMax(bits), { bits, groupSize: 64, scale: 'rms' })),
  ...(['mxfp4', 'mxfp6_e2m3', 'mxfp6_e3m2', 'mxfp8_e4m3', 'mxfp8_e5m2', 'mxint8', 'nvfp4'] as const).map(mx),
  ...(['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'iq4_nl'] as const).map(ggml),
];
