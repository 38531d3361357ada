import type { MxOptions } from '../ts/contract/mx.js';
import type { FamilyBench, KernelBench } from './lib/bench.js';

const bench: KernelBench<MxOptions> = {
  sizes: [
    {
      title: 'real keys, layer 1',
      options: { rows: 2048, n: 64, factor: 0.5 },
      inputs: (_, real) => ({ x: real.layer1.k }),
      quick: true,
    },
    {
      title: '1024 x 4096',
      options: { rows: 1024, n: 4096, factor: 0.5 },
      inputs: (random) => ({ x: random.normals(1024 * 4096) }),
    },
  ],
  javascript({ x }, { factor = 1 }) {
    const out = new Float32Array(x!.length);
    return () => {
      for (let i = 0; i < out.length; i++) out[i] = x![i]! * factor;
    };
  },
};

export default { mx_f32: bench } satisfies FamilyBench;
