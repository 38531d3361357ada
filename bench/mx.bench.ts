import type { Random } from '../test/lib/random.js';
import type { Arrays } from '../test/lib/spec.js';
import {
  blockOf,
  elementOf,
  isNv,
  type MxOptions,
  mx_dequantize_f32,
  mx_quantize_f32,
  roundOf,
  scaleOf,
  widthOf,
} from '../ts/contract/mx.js';
import type { Params } from '../ts/contract.js';
import { mxDequantize, mxQuantize } from '../ts/reference/mx.js';
import type { FamilyBench, Real, Size } from './lib/bench.js';

type Values = (random: Random, real: Real) => Float32Array;

const work = (rows: number, n: number, rule: Omit<MxOptions, 'rows' | 'n'>, quick?: true) => ({
  title: `${rows} x ${n}, ${Object.values(rule).join(' ')}`,
  options: { rows, n, ...rule },
  values: ((random) => random.normals(rows * n)) as Values,
  ...(quick ? { quick } : {}),
});

const works = [
  work(4096, 4096, { format: 'mxfp4' }),
  work(4096, 4096, { format: 'mxfp6_e2m3' }),
  work(4096, 4096, { format: 'mxfp8_e4m3' }),
  work(4096, 4096, { format: 'mxfp8_e5m2' }),
  work(4096, 4096, { format: 'mxint8' }),
  work(4096, 4096, { format: 'bfp', bits: 4 }),
  work(4096, 4096, { format: 'nvfp4' }),
  work(4096, 4096, { format: 'mxfp4', scaling: 'even', rounding: 'away' }),
  // In cache, the size of a KV cache's head.
  work(1024, 128, { format: 'mxfp4' }, true),
  work(1024, 128, { format: 'mxfp8_e4m3' }, true),
  work(1024, 128, { format: 'nvfp4' }, true),
  // Ragged: blocks, bytes and vectors end early.
  work(4096, 1000, { format: 'mxfp4' }),
  work(4096, 1001, { format: 'mxfp6_e3m2' }),
  {
    title: 'real keys, layer 4, 2048 x 64, mxfp8_e4m3',
    options: { rows: 2048, n: 64, format: 'mxfp8_e4m3' } as MxOptions,
    values: ((_, { layer4 }) => layer4.k) as Values,
    quick: true as const,
  },
];

const sizes = (inputs: (x: Float32Array, options: MxOptions) => Arrays): Size<MxOptions>[] =>
  works.map(({ values, ...one }) => ({
    ...one,
    inputs: (random, real) => inputs(values(random, real), one.options),
  }));

/** A code's magnitude from a float's bits and its block's exponent: exponent and significand shifted to their places. */
function powerCoder(p: Params) {
  const { mantissa, minExponent, maxCode } = elementOf(p);
  return (bits: number, byte: number) => {
    const exponent = (bits >>> 23) - byte;
    const grid = exponent > minExponent ? exponent : minExponent;
    const shift = Math.min(grid - exponent + 23 - mantissa, 26);
    const significand = (bits & 0x7fffff) | 0x800000;
    const steps = (significand + (1 << (shift - 1)) - 1 + ((significand >>> shift) & 1)) >>> shift;
    const code = steps + ((grid - minExponent) << mantissa);
    return code < maxCode ? code : maxCode;
  };
}

function quantizeInJavascript(x: Float32Array, p: Params): () => void {
  const { rows, n } = p as { rows: number; n: number };
  const lengths = mx_quantize_f32.lengths(p);
  const codes = new Uint8Array(lengths.codes!);
  const scales = new Uint8Array(lengths.scales!);
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  const { bits: width, integer, maxExponent } = elementOf(p);
  const stored = widthOf(p);
  const block = blockOf(p);
  const round = roundOf(p);
  const powerCode = powerCoder(p);
  const nv = isNv(p.format!);
  const { min, max, bias } = scaleOf(p);
  const float = new Float32Array(1);
  const word = new Uint32Array(float.buffer);
  return () => {
    let at = 0;
    let scaleAt = 0;
    for (let row = 0; row < rows; row++) {
      let pending = 0;
      let filled = 0;
      for (let first = row * n; first < (row + 1) * n; first += block) {
        const end = Math.min(first + block, (row + 1) * n);
        let largest = 0;
        for (let i = first; i < end; i++) {
          const magnitude = bits[i]! & 0x7fffffff;
          if (magnitude > largest) largest = magnitude;
        }
        word[0] = largest;
        let byte = Math.min(Math.max(((largest + round) >>> 23) - maxExponent, 0), 254);
        let scale = 0;
        if (nv) {
          float[0] = Math.min(Math.max(float[0]! / 6, min), max);
          byte = ((word[0]! + 0x7ffff + ((word[0]! >> 20) & 1)) >> 20) - ((127 - bias) << 3);
          word[0] = (byte << 20) + ((127 - bias) << 23);
          scale = float[0]!;
        }
        scales[scaleAt++] = byte;
        for (let i = first; i < end; i++) {
          let code: number;
          if (nv) {
            const q = Math.abs(x[i]!) / scale;
            code =
              q <= 2.5 ? (q <= 1.25 ? (q < 0.75 ? +(q > 0.25) : 2) : q < 1.75 ? 3 : 4) : q < 3.5 ? 5 : q <= 5 ? 6 : 7;
          } else code = powerCode(bits[i]! & 0x7fffffff, byte);
          if (x[i]! < 0) code = integer ? -code & (2 ** stored - 1) : code | (1 << (width - 1));
          pending |= code << filled;
          filled += stored;
          while (filled >= 8) {
            codes[at++] = pending;
            pending >>= 8;
            filled -= 8;
          }
        }
      }
      if (filled) codes[at++] = pending;
    }
  };
}

/** Elements and scales by tables. */
function dequantizeInJavascript(codes: Uint8Array, scales: Uint8Array, p: Params, options: MxOptions): () => void {
  const { rows, n } = p as { rows: number; n: number };
  const out = new Float32Array(mx_dequantize_f32.lengths(p).out!);
  const width = widthOf(p);
  const block = blockOf(p);
  const mask = 2 ** width - 1;
  const all = { ...options, n: block, rows: 256, unpacked: true };
  const one = elementOf(p).integer ? 2 ** elementOf(p).mantissa : isNv(p.format!) ? 2 : 1 << elementOf(p).mantissa;
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const scaleTable = mxDequantize({ codes: new Uint8Array(256 * block).fill(one), scales: bytes }, all)
    .filter((_, i) => i % block === 0)
    .map((value) => value / (elementOf(p).integer ? 1 : 2 ** elementOf(p).minExponent));
  const elementTable = mxDequantize(
    {
      codes: Uint8Array.from({ length: 256 * block }, (_, i) => {
        const code = Math.floor(i / block) & mask;
        return elementOf(p).integer && code >> (width - 1) ? code | (255 - mask) : code;
      }),
      scales: new Uint8Array(256).fill(isNv(p.format!) ? 0x38 : 127),
    },
    all,
  ).filter((_, i) => i % block === 0);
  return () => {
    let at = 0;
    let scaleAt = 0;
    for (let row = 0; row < rows; row++) {
      let pending = 0;
      let filled = 0;
      for (let first = row * n; first < (row + 1) * n; first += block) {
        const end = Math.min(first + block, (row + 1) * n);
        const scale = scaleTable[scales[scaleAt++]!]!;
        for (let i = first; i < end; i++) {
          if (filled < width) {
            pending |= codes[at++]! << filled;
            filled += 8;
          }
          out[i] = elementTable[pending & mask]! * scale;
          pending >>= width;
          filled -= width;
        }
      }
    }
  };
}

const bench: FamilyBench = {
  mx_quantize_f32: {
    sizes: sizes((x) => ({ x })),
    javascript: ({ x }, options: MxOptions) => quantizeInJavascript(x as Float32Array, mx_quantize_f32.params(options)),
  },
  mx_dequantize_f32: {
    sizes: sizes((x, options) => ({ ...mxQuantize(x, options) })),
    javascript: ({ codes, scales }, options: MxOptions) =>
      dequantizeInJavascript(codes as Uint8Array, scales as Uint8Array, mx_dequantize_f32.params(options), options),
  },
};

export default bench;
