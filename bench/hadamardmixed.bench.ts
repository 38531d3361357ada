import type { HadamardMixedOptions } from '../ts/contract/hadamardmixed.js';
import { hadamardOrder, knownMatrix } from '../ts/hadamard-matrices.js';
import { entriesOf } from '../ts/reference/hadamardmixed.js';
import type { FamilyBench, KernelBench, Size } from './lib/bench.js';

const size = (title: string, rows: number, n: number, inner = 1, quick?: true): Size<HadamardMixedOptions> => ({
  title: `${title}, ${rows} x ${n}${inner > 1 ? ` x ${inner}` : ''}`,
  options: { rows, n, inner },
  inputs(random) {
    const matrix = knownMatrix(hadamardOrder(n));
    return { x: random.normals(rows * n * inner), ...(matrix ? { matrix } : {}) };
  },
  ...(quick ? { quick } : {}),
});

const bench: KernelBench<HadamardMixedOptions> = {
  sizes: [
    size('head dimension 96', 4096, 96, 1, true),
    size('head dimension 80', 4096, 80),
    size('head dimension 192', 2048, 192),
    size('Llama-2 7B, down projection', 32, 11008),
    size('Llama-3 8B, down projection', 32, 14336),
    size('Llama-2 13B, hidden size', 64, 5120),
    size('across 28 heads', 128, 28, 128),
    size('across 32 heads', 128, 32, 128),
  ],
  javascript({ x, matrix }, { rows, n, inner = 1, scale = 1 / Math.sqrt(n) }) {
    const order = hadamardOrder(n);
    const entry = entriesOf(matrix as Uint32Array | undefined, order);
    const signs = Float32Array.from({ length: order * order }, (_, i) => entry(Math.floor(i / order), i % order));
    const out = new Float32Array(rows * n * inner);
    const column = new Float32Array(order);
    const stride = (n / order) * inner;
    return () => {
      for (let row = 0; row < rows; row++) {
        const start = row * n * inner;
        const end = start + n * inner;
        for (let i = start; i < end; i++) out[i] = x![i]! * scale;
        for (let h = inner; h < stride; h *= 2)
          for (let i = start; i < end; i += 2 * h)
            for (let j = i; j < i + h; j++) {
              const a = out[j]!;
              const b = out[j + h]!;
              out[j] = a + b;
              out[j + h] = a - b;
            }
        if (order > 1)
          for (let i = start; i < start + stride; i++) {
            for (let l = 0; l < order; l++) column[l] = out[i + l * stride]!;
            for (let k = 0; k < order; k++) {
              let sum = 0;
              for (let l = 0; l < order; l++) sum += signs[k * order + l]! * column[l]!;
              out[i + k * stride] = sum;
            }
          }
      }
    };
  },
};

export default { hadamard_mixed_f32: bench } satisfies FamilyBench;
