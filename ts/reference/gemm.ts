import {
  type Activations,
  blockOf,
  contractFor,
  type GemmFormat,
  type GemmOptions,
  gemm_pack_u32,
  PANEL,
  packedLayout,
} from '../contract/gemm.js';
import type { Quantized } from '../contract/quantize.js';
import type { Out, Params } from '../contract.js';
import { roundTiesEven } from './round.js';
import { checked, run } from './runtime.js';

export type { Activations, GemmFormat, GemmOptions, Quantized };

/** Scales below are not normal numbers: blocks that small count as zeros. */
const LEAST_SCALE = 2 ** -126;

/** x [m, k] after rounding to integers: in blocks along k, the largest becoming 32767 or 127. NaN in a row: all of it NaN. */
export function roundActivations(
  x: Float32Array,
  { m, k, groupSize }: Pick<GemmOptions, 'm' | 'k' | 'groupSize'>,
  activations: Activations,
): Float64Array {
  const out = Float64Array.from(x);
  const block = blockOf({ k, groupSize });
  for (let row = 0; row < m; row++) {
    const line = out.subarray(row * k, (row + 1) * k);
    if (!line.every(Number.isFinite)) line.fill(NaN);
    else if (activations !== 'f32')
      for (let from = 0; from < k; from += block) {
        const values = line.subarray(from, from + block);
        const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const scale = Math.fround(largest / (activations === 'i16' ? 32767 : 127));
        for (const [i, value] of values.entries())
          values[i] = scale < LEAST_SCALE ? 0 : scale * roundTiesEven(Math.fround(value / scale));
      }
  }
  return out;
}

/** Packed weights taken apart again: code (as stored, symmetric ones plus half), scale and minimum of output j, input l. */
export function unpackerOf(packed: Uint32Array, p: Params) {
  const { block, header, blockWords, panelWords } = packedLayout(p);
  const bytes = new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
  const floats = new Float32Array(packed.buffer, packed.byteOffset, packed.length);
  return (j: number, l: number) => {
    const lane = j % PANEL;
    const at = Math.floor(j / PANEL) * panelWords + Math.floor(l / block) * blockWords;
    const four = 4 * (at + header) + Math.floor((l % block) / 4) * 4 * p.bits!;
    const code =
      p.bits === 4
        ? (bytes[four + 4 * (lane % 4) + (l % 4)]! >> (lane < 4 ? 0 : 4)) & 15
        : bytes[four + 4 * lane + (l % 4)]!;
    const half = p.scheme ? 2 ** (p.bits! - 1) : 0;
    return { code, half, scale: floats[at + lane]!, minimum: p.scheme ? 0 : floats[at + PANEL + lane]! };
  };
}

/** Σ x[i, l] · W[j, l] over l, of weights that `pack` made. */
export function gemm(
  x: Float32Array,
  packed: Uint32Array,
  options: Omit<GemmOptions, 'outStride'> & { activations: Activations } & Out<Float32Array>,
): Float32Array {
  return run(contractFor(options), { x, packed }, options, () => ({ out: gemmF64(x, packed, options) }));
}

/** gemm before its results are rounded to f32. */
export function gemmF64(
  x: Float32Array,
  packed: Uint32Array,
  options: GemmOptions & { activations: Activations },
): Float64Array {
  const contract = contractFor(options);
  const p = checked(contract, { x, packed }, options);
  const { m, n, k } = options;
  const out = new Float64Array(contract.lengths(p).out!);
  const rounded = roundActivations(x, options, options.activations);
  const unpack = unpackerOf(packed, p);
  const weights = new Float64Array(k);
  for (let j = 0; j < n; j++) {
    for (let l = 0; l < k; l++) {
      const { code, half, scale, minimum } = unpack(j, l);
      weights[l] = (code - half) * scale + minimum;
    }
    for (let i = 0; i < m; i++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += rounded[i * k + l]! * weights[l]!;
      out[i * (options.outStride || n) + j] = sum;
    }
  }
  return out;
}

/** What `quantize` made of weights [n, k] (rows: n, n: k, axis: 'row') in the order that `gemm` reads. */
export function pack(weights: Quantized, options: GemmFormat & Out<Uint32Array>): Uint32Array {
  return run(gemm_pack_u32, weights, options, (p) => ({ packed: panelsOf(weights, p) }));
}

function panelsOf({ codes, scales, minima }: Quantized, p: Params): Uint32Array {
  const { n, k, bits, groupSize } = p as Record<'n' | 'k' | 'bits' | 'groupSize', number>;
  const { block, header, blocks, blockWords, panels, panelWords } = packedLayout(p);
  const packed = new Uint32Array(gemm_pack_u32.lengths(p).packed!);
  const bytes = new Uint8Array(packed.buffer);
  const size = groupSize === 0 ? k : Math.min(groupSize, k);
  const groups = Math.ceil(k / size);
  const words = Math.ceil((k * bits) / 32);
  const scaleBits = new Uint32Array(scales.buffer, scales.byteOffset, scales.length);
  const minimumBits = minima && new Uint32Array(minima.buffer, minima.byteOffset, minima.length);
  const half = p.scheme ? 2 ** (bits - 1) : 0;
  for (let j = 0; j < panels * PANEL; j++)
    for (let b = 0; b < blocks; b++) {
      const lane = j % PANEL;
      const at = Math.floor(j / PANEL) * panelWords + b * blockWords;
      const group = j * groups + Math.floor((b * block) / size);
      if (j < n) {
        packed[at + lane] = scaleBits[group]!;
        if (!p.scheme) packed[at + PANEL + lane] = minimumBits![group]!;
      }
      const end = Math.min((b + 1) * block, Math.ceil(k / 32) * 32);
      for (let l = b * block; l < end; l++) {
        const word = Math.floor((l * bits) / 32);
        const stored = j < n && word < words ? codes[j * words + word]! >>> ((l * bits) % 32) : 0;
        const code = (stored & (2 ** bits - 1)) ^ half;
        const four = 4 * (at + header) + Math.floor((l % block) / 4) * 4 * bits;
        if (bits === 8) bytes[four + 4 * lane + (l % 4)] = code;
        else bytes[four + 4 * (lane % 4) + (l % 4)]! |= lane < 4 ? code : code << 4;
      }
    }
  return packed;
}
