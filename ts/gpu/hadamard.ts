import { type HadamardOptions, hadamard_f32 } from '../contract/hadamard.js';
import { shader } from '../generated/gpu/hadamard.js';
import { gpuKernel, type Step } from './runtime.js';

export type { HadamardOptions };

/** What a workgroup transforms. */
const TILE = 4096;

/**
 * The Walsh–Hadamard transform of each row. Buffers: x, out (which may be x) and, if wanted, signs (i8 [n]).
 * Rows longer than 4096 take a second dispatch over out.
 */
export const hadamard = gpuKernel<HadamardOptions>({
  contract: hadamard_f32,
  shader,
  dynamic: { rows: { field: 'rows' }, scale: { field: 'scale' } },
  steps({ params, given, same }) {
    const { rows, n, inverse } = params as Record<'rows' | 'n' | 'inverse', number>;
    const long = n > TILE;
    const signed = given.has('signs');
    const name = (variant: string, signs: boolean) =>
      ['hadamard_f32', [variant, signs && 'signs'].filter(Boolean).join('_')].filter(Boolean).join('__');
    const steps: Step[] = [
      {
        entry: name(same('x', 'out') ? 'inplace' : '', signed && !(long && inverse)),
        workgroups: Math.ceil((rows * n) / TILE),
        params: { span: Math.min(n, TILE) },
      },
    ];
    if (long) steps.push({ entry: name('outer', signed && inverse === 1), workgroups: Math.ceil((rows * TILE) / 256) });
    return steps;
  },
});
