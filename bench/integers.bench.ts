import type { Random } from '../test/lib/random.js';
import type { Arrays } from '../test/lib/spec.js';
import { dequantize_integers_f32, type QuantizeIntegersOptions } from '../ts/contract/integers.js';
import { fromHalf, toHalf } from '../ts/half.js';
import { quantize } from '../ts/reference/integers.js';
import type { FamilyBench, Size } from './lib/bench.js';

type Options = QuantizeIntegersOptions;

const titleOf = ({ rows, n, bits, groupSize, scheme, axis, scaleType = 'f32', seed }: Options) =>
  `${rows} x ${n}, ${bits} bits, ${groupSize ? `groups of ${groupSize}` : 'one group'} per ${axis}, ${scheme}, ${scaleType} scales${seed ? ', at random' : ''}`;

const large = { rows: 2048, n: 4096, groupSize: 32, scheme: 'affine', axis: 'row' } as const;
const cache = { rows: 8192, n: 128, groupSize: 32, scheme: 'affine', axis: 'column', scaleType: 'f16' } as const;
const works: (Options & { quick?: true })[] = [
  { ...large, bits: 4, scaleType: 'f16' },
  { ...large, bits: 3, scaleType: 'f16' },
  { ...large, bits: 2, scaleType: 'f16' },
  { ...large, bits: 1, scheme: 'symmetric', groupSize: 128, scaleType: 'f16' },
  { ...large, bits: 1.6, scheme: 'ternary', groupSize: 0 },
  { ...large, bits: 2, scheme: 'ternary', groupSize: 128 },
  { ...large, bits: 4, seed: 1 },
  { ...large, rows: 8192, n: 80, bits: 3, scaleType: 'f16' },
  { ...cache, bits: 2, quick: true },
  { ...cache, bits: 3, quick: true },
  { ...cache, bits: 3, axis: 'row', quick: true },
];

const sizes = (inputs: (x: Float32Array, options: Options) => Arrays, of = works): Size<Options>[] =>
  of.map(({ quick, ...options }) => ({
    title: titleOf(options),
    options,
    inputs: (random: Random) => inputs(random.normals(options.rows * options.n), options),
    ...(quick && { quick }),
  }));

/** What a format's numbers are, and how its codes lie: a place in a line to a word and a shift. */
function formatOf({ rows, n, bits, scheme, axis, groupSize, scaleType }: Options) {
  const [lines, length] = axis === 'row' ? [rows, n] : [n, rows];
  const size = groupSize || length;
  const sign = scheme === 'symmetric' && bits === 1;
  const affine = scheme === 'affine';
  const largest = scheme === 'ternary' || bits === 1 ? 1 : 2 ** (affine ? bits : bits - 1) - 1;
  const { codes, scales } = dequantize_integers_f32.lengths(
    dequantize_integers_f32.params({ rows, n, bits, scheme, axis, groupSize, scaleType: scaleType ?? 'f32' }),
  );
  const words = codes! / lines;
  const [step, lineStep, wordStep, wordLine] = axis === 'row' ? [1, n, 1, words] : [n, 1, n, 1];
  const [groupStep, groupLine] = axis === 'row' ? [1, Math.ceil(length / size)] : [n, 1];
  const half = scaleType === 'f16';
  const mean = scheme === 'ternary' || sign;
  return {
    ...{ lines, length, size, sign, affine, largest, mean, half, step, lineStep, wordStep, wordLine },
    ...{ groupStep, groupLine, codes: codes!, scales: scales!, smallest: affine || sign ? 0 : -largest },
  };
}

/** Adding and taking away 1.5·2^52 rounds a double, ties to even. */
const ROUND = 6755399441055744;
const POWERS = [1, 3, 9, 27, 81];

const mixed = (x: number) => {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
};

const bench: FamilyBench = {
  quantize_integers_f32: {
    sizes: sizes((x) => ({ x })),
    javascript({ x: values }, options: Options) {
      const x = values as Float32Array;
      const { bits, seed = 0 } = options;
      const f = formatOf(options);
      const codes = new Uint32Array(f.codes);
      const scales = new (f.half ? Uint16Array : Float32Array)(f.scales);
      const minima = new (f.half ? Uint16Array : Float32Array)(f.affine ? f.scales : 0);
      const key = mixed(seed);
      const mask = 2 ** Math.ceil(bits) - 1;
      return () => {
        codes.fill(0);
        for (let line = 0; line < f.lines; line++)
          for (let from = 0, group = line * f.groupLine; from < f.length; from += f.size, group += f.groupStep) {
            const to = Math.min(from + f.size, f.length);
            let minimum = f.affine ? Infinity : 0;
            let scale = f.affine ? -Infinity : 0;
            for (let i = from, at = line * f.lineStep + from * f.step; i < to; i++, at += f.step) {
              const value = x[at]!;
              if (f.mean) scale += Math.abs(value);
              else if (f.affine) {
                if (value < minimum) minimum = value;
                if (value > scale) scale = value;
              } else if (Math.abs(value) > scale) scale = Math.abs(value);
            }
            scale = Math.fround(f.mean ? scale / (to - from) : Math.fround(scale - minimum) / f.largest);
            if (f.half) {
              scale = fromHalf((scales[group] = toHalf(scale)));
              if (f.affine) minimum = fromHalf((minima[group] = toHalf(minimum)));
            } else {
              scales[group] = scale;
              if (f.affine) minima[group] = minimum;
            }
            const words = line * f.wordLine;
            for (let i = from, at = line * f.lineStep + from * f.step; i < to; i++, at += f.step) {
              let code = 0;
              if (f.sign) code = x[at]! < 0 ? 1 : 0;
              else if (scale > 0) {
                const place = Math.min(
                  Math.max(Math.fround(Math.fround(x[at]! - minimum) / scale), f.smallest),
                  f.largest,
                );
                if (seed) {
                  code = Math.floor(place);
                  if ((mixed(Math.imul(at, 0x9e3779b9) + key) >>> 8) * 2 ** -24 < place - code) code++;
                } else code = place + ROUND - ROUND;
              }
              if (bits === 3) {
                const run = words + Math.floor(i / 32) * 3 * f.wordStep;
                codes[run + ((i >> 4) & 1) * f.wordStep]! |= (code & 3) << (2 * (i & 15));
                codes[run + 2 * f.wordStep]! |= ((code >> 2) & 1) << (i & 31);
              } else if (bits === 1.6) {
                const j = i % 20;
                codes[words + Math.floor(i / 20) * f.wordStep]! += ((code + 1) * POWERS[j >> 2]!) << (8 * (j & 3));
              } else codes[words + ((i * bits) >>> 5) * f.wordStep]! |= (code & mask) << ((i * bits) & 31);
            }
          }
      };
    },
  },
  dequantize_integers_f32: {
    sizes: sizes(
      (x, options) => ({ ...quantize(x, options) }) as Arrays,
      works.filter(({ seed }) => !seed),
    ),
    javascript({ codes, scales, minima }, options: Options) {
      const { bits } = options;
      const f = formatOf(options);
      const out = new Float32Array(f.lines * f.length);
      const sign = f.affine || f.sign ? 0 : 2 ** (Math.ceil(bits) - 1);
      const mask = 2 ** Math.ceil(bits) - 1;
      return () => {
        for (let line = 0; line < f.lines; line++)
          for (let from = 0, group = line * f.groupLine; from < f.length; from += f.size, group += f.groupStep) {
            const to = Math.min(from + f.size, f.length);
            const scale = f.half ? fromHalf(scales![group]!) : scales![group]!;
            const minimum = !f.affine ? 0 : f.half ? fromHalf(minima![group]!) : minima![group]!;
            const words = line * f.wordLine;
            for (let i = from, at = line * f.lineStep + from * f.step; i < to; i++, at += f.step) {
              let code: number;
              if (bits === 1.6) {
                const byte = (codes![words + Math.floor(i / 20) * f.wordStep]! >>> (8 * (i & 3))) & 255;
                code = (Math.floor(byte / POWERS[(i % 20) >> 2]!) % 3) - 1;
              } else {
                if (bits === 3) {
                  const run = words + Math.floor(i / 32) * 3 * f.wordStep;
                  code =
                    ((codes![run + ((i >> 4) & 1) * f.wordStep]! >>> (2 * (i & 15))) & 3) |
                    (((codes![run + 2 * f.wordStep]! >>> (i & 31)) & 1) << 2);
                } else code = (codes![words + ((i * bits) >>> 5) * f.wordStep]! >>> ((i * bits) & 31)) & mask;
                code = f.sign ? 1 - 2 * code : (code ^ sign) - sign;
              }
              out[at] = Math.fround(code * scale) + minimum;
            }
          }
      };
    },
  },
};

export default bench;
