import {
  type Activations,
  contractOf,
  type GemmFormat,
  type GemmOptions,
  gemm_pack_u32,
  PANEL,
  packedLayout,
} from '../ts/contract/gemm.js';
import { SCHEMES } from '../ts/contract/quantize.js';
import { pack, unpackerOf } from '../ts/reference/gemm.js';
import { quantize } from '../ts/reference/quantize.js';
import type { FamilyBench, KernelBench, Size } from './lib/bench.js';

const titleOf = ({ n, k, bits, groupSize, scheme }: GemmFormat) =>
  `${n} x ${k}, ${bits} bits, ${groupSize ? `groups of ${groupSize}` : 'one group'}, ${scheme}`;

const storedOf = (values: Float32Array, { n, k, bits, groupSize, scheme }: GemmFormat) =>
  quantize(values, { rows: n, n: k, bits, groupSize, scheme, axis: 'row' });

const size = (m: number, n: number, k: number, bits: number, groupSize: number, quick?: true): Size<GemmOptions> => {
  const options = { m, n, k, bits, groupSize, scheme: SCHEMES[groupSize ? 0 : 1]! };
  return {
    title: `${m} x ${titleOf(options)}`,
    options,
    inputs: (random) => ({
      packed: pack(storedOf(random.normals(n * k), options), options),
      x: random.normals(m * k),
    }),
    ...(quick ? { quick } : {}),
  };
};

const sizes = [
  size(1, 4096, 4096, 4, 32),
  size(1, 4096, 4096, 4, 128),
  size(1, 4096, 4096, 8, 0),
  size(2, 4096, 4096, 4, 32),
  size(4, 4096, 4096, 4, 32),
  size(16, 4096, 4096, 4, 32),
  size(64, 1024, 4096, 4, 32),
  size(1, 1024, 1024, 4, 32, true),
  // Ragged: the last panel and the last group end early, and a row is left over.
  size(5, 1021, 1000, 4, 64, true),
];

/** A dense f32 layer: the same weights, dequantised beforehand, and four sums so that additions need not wait. */
function dense(activations: Activations): KernelBench<GemmOptions> {
  return {
    sizes,
    javascript({ x, packed }, options: GemmOptions) {
      const { m, n, k } = options;
      const unpack = unpackerOf(packed as Uint32Array, contractOf[activations].params(options));
      const weights = new Float32Array(n * k);
      for (let j = 0; j < n; j++)
        for (let l = 0; l < k; l++) {
          const { code, half, scale, minimum } = unpack(j, l);
          weights[j * k + l] = (code - half) * scale + minimum;
        }
      const out = new Float32Array(m * n);
      const whole = k & ~3;
      return () => {
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++) {
            const [a, w] = [i * k, j * k];
            let s0 = 0;
            let s1 = 0;
            let s2 = 0;
            let s3 = 0;
            for (let l = 0; l < whole; l += 4) {
              s0 += x![a + l]! * weights[w + l]!;
              s1 += x![a + l + 1]! * weights[w + l + 1]!;
              s2 += x![a + l + 2]! * weights[w + l + 2]!;
              s3 += x![a + l + 3]! * weights[w + l + 3]!;
            }
            for (let l = whole; l < k; l++) s0 += x![a + l]! * weights[w + l]!;
            out[i * n + j] = s0 + s1 + (s2 + s3);
          }
      };
    },
  };
}

const packBench: KernelBench<GemmFormat> = {
  sizes: (
    [
      [4096, 4096, 4, 32],
      [4096, 4096, 8, 0],
      [1021, 1000, 4, 64, true],
    ] as const
  ).map(([n, k, bits, groupSize, quick]) => {
    const options = { n, k, bits, groupSize, scheme: SCHEMES[groupSize ? 0 : 1]! };
    return {
      title: titleOf(options),
      options,
      inputs: (random) => ({ ...storedOf(random.normals(n * k), options) }),
      ...(quick ? { quick } : {}),
    };
  }),
  javascript({ codes, scales, minima }, options: GemmFormat) {
    const p = gemm_pack_u32.params(options);
    const { n, k, bits, groupSize } = options;
    const { block, header, blocks, blockWords, panels, panelWords } = packedLayout(p);
    const packed = new Uint32Array(gemm_pack_u32.lengths(p).packed!);
    const floats = new Float32Array(packed.buffer);
    const bytes = new Uint8Array(packed.buffer);
    const words = Math.ceil((k * bits) / 32);
    const groups = groupSize ? Math.ceil(k / groupSize) : 1;
    const flip = minima ? 0 : bits === 4 ? 0x88888888 : 0x80808080;
    return () => {
      packed.fill(0);
      for (let panel = 0; panel < panels; panel++)
        for (let b = 0; b < blocks; b++) {
          const at = panel * panelWords + b * blockWords;
          const last = Math.min((b + 1) * block, Math.ceil(k / 32) * 32);
          for (let lane = 0; lane < PANEL && panel * PANEL + lane < n; lane++) {
            const j = panel * PANEL + lane;
            const group = j * groups + (groupSize ? b : 0);
            floats[at + lane] = scales![group]!;
            if (minima) floats[at + PANEL + lane] = minima[group]!;
            for (let word = (b * block * bits) / 32; word < (last * bits) / 32; word++) {
              const code = (word < words ? codes![j * words + word]! : 0) ^ flip;
              const four = 4 * (at + header + word * PANEL) - b * block * bits;
              if (bits === 8) packed[(four >> 2) + lane] = code;
              else
                for (let i = 0; i < 8; i++)
                  bytes[four + 16 * (i >> 2) + 4 * (lane & 3) + (i & 3)]! |=
                    ((code >>> (4 * i)) & 15) << (lane < 4 ? 0 : 4);
            }
          }
        }
    };
  },
};

export default {
  gemm_pack_u32: packBench,
  gemm_quantized_f32: dense('f32'),
  gemm_quantized_i16: dense('i16'),
  gemm_quantized_i8: dense('i8'),
} satisfies FamilyBench;
