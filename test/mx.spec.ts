import { mx_f32 } from '../ts/contract/mx.js';
import { type MxOptions, mxF64 } from '../ts/reference/mx.js';
import type { Case, FamilySpec, KernelSpec } from './lib/spec.js';
import { ulp } from './lib/tolerance.js';

/** Sizes around the four lanes of a SIMD register and the 256 invocations of a workgroup. */
const SIZES = [0, 1, 3, 4, 5, 255, 257];

const spec: KernelSpec<MxOptions> = {
  contract: mx_f32,
  summary: 'TODO: one line.',
  source: 'TODO: the paper or format specification.',
  axes: { rows: 'independent rows', n: 'values per row', factor: 'multiplies x (default 1)' },
  arrays: { x: { shape: '[rows, n]', meaning: 'any values' }, out: { shape: '[rows, n]', meaning: 'factor · x' } },
  reference: ({ x }, options) => ({ out: mxF64(x as Float32Array, options) }),
  cases: SIZES.flatMap((n): Case<MxOptions>[] =>
    [1, 3].map((rows) => ({
      title: `${rows} x ${n}`,
      options: { rows, n, factor: 0.3 },
      inputs: (random) => ({ x: random.normals(rows * n) }),
    })),
  ),
  tolerance: { out: ulp(1, 'one rounding, and one of the reference') },
  cost: ({ rows, n }) => ({ bytesRead: 4 * rows! * n!, bytesWritten: 4 * rows! * n!, operations: rows! * n! }),
};

export default { mx_f32: spec } satisfies FamilySpec;
