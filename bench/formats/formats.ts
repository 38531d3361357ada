/** Every number format this library has, as the pair of kernel calls that write and read it: what docs/formats.md compares. */
import type { Arrays } from '../../test/lib/spec.js';
import type { QuantizeOptions } from '../../ts/contract/quantize.js';

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

const integers = (rule: Omit<QuantizeOptions, 'rows' | 'n'>): Format => ({
  name: `int${rule.bits} ${rule.scheme}, ${rule.axis === 'column' ? 'per channel, ' : ''}groups of ${rule.groupSize}`,
  family: rule.axis === 'column' ? 'integers per channel' : 'integers per token',
  encode: (x, shape) => ({ kernel: 'quantize_f32', options: { ...shape, ...rule }, inputs: { x } }),
  decode: (stored, shape) => ({ kernel: 'dequantize_f32', options: { ...shape, ...rule }, inputs: stored }),
});

export const formats: Format[] = [
  ...[8, 4, 2].flatMap((bits) => [
    integers({ bits, groupSize: 32, scheme: 'affine', axis: 'row' }),
    integers({ bits, groupSize: 64, scheme: 'symmetric', axis: 'row' }),
    integers({ bits, groupSize: 32, scheme: 'affine', axis: 'column' }),
  ]),
];
