import type { HadamardOptions } from '../ts/contract/hadamard.js';
import type { FamilyBench, KernelBench, Size } from './lib/bench.js';

function normal(
  rows: number,
  n: number,
  { signs = false, inverse = false, quick = false, device = false } = {},
): Size<HadamardOptions> {
  return {
    title: `${rows} x ${n}${signs ? `, signs${inverse ? ' after' : ''}` : ''}`,
    options: { rows, n, inverse },
    inputs: (random) => ({ x: random.normals(rows * n), ...(signs ? { signs: random.signs(n) } : {}) }),
    ...(quick ? { quick: true as const } : {}),
    ...(device ? { device: true as const } : {}),
  };
}

const bench: KernelBench<HadamardOptions> = {
  sizes: [
    {
      title: 'real keys, layer 1',
      options: { rows: 2048, n: 64 },
      inputs: (random, real) => ({ x: real.layer1.k, signs: random.signs(64) }),
      quick: true,
    },
    normal(4096, 128, { quick: true }),
    normal(4096, 128, { signs: true }),
    normal(4096, 128, { signs: true, inverse: true }),
    normal(512, 4096),
    normal(512, 4096, { signs: true }),
    // Equal numbers of values, from rows shorter than a vector to rows longer than the first-level cache.
    ...[2, 8, 16, 32, 256, 1024, 8192, 32768].map((n) => normal(524_288 / n, n)),
    normal(1, 32768),
    ...[128, 4096].map((n) => normal(2 ** 24 / n, n, { device: true })),
  ],
  javascript({ x, signs }, { rows, n, scale = 1 / Math.sqrt(n), inverse = false }) {
    const out = new Float32Array(rows * n);
    return () => {
      for (let start = 0; start < rows * n; start += n) {
        const end = start + n;
        if (signs && !inverse) for (let i = 0; i < n; i++) out[start + i] = x![start + i]! * signs[i]! * scale;
        else for (let i = start; i < end; i++) out[i] = x![i]! * scale;
        for (let h = 1; h < n; h *= 2)
          for (let i = start; i < end; i += 2 * h)
            for (let j = i; j < i + h; j++) {
              const a = out[j]!;
              const b = out[j + h]!;
              out[j] = a + b;
              out[j + h] = a - b;
            }
        if (signs && inverse) for (let i = 0; i < n; i++) out[start + i]! *= signs[i]!;
      }
    };
  },
};

export default { hadamard_f32: bench } satisfies FamilyBench;
