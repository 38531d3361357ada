import { type HadamardMixedOptions, hadamard_mixed_f32 } from '../contract/hadamardmixed.js';
import { shader } from '../generated/gpu/hadamardmixed.js';
import { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder } from '../hadamard-matrices.js';
import { gpuKernel, type Step } from './runtime.js';

export type { HadamardMixedOptions };
export { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder };

/** What a workgroup holds. */
const TILE = 4096;

/**
 * The Walsh–Hadamard transform of n = order · 2^p values, along rows or, with `inner`, across them. Buffers: x, matrix (where
 * order is not 1: what `hadamardMatrix` packs), out and, if wanted, signs (i8 [n]). Two dispatches as a rule.
 */
export const hadamardMixed = /* @__PURE__ */ gpuKernel<HadamardMixedOptions>({
  contract: hadamard_mixed_f32,
  shader,
  dynamic: { rows: {} },
  steps({ params, given }) {
    const { rows, n, order, inner, inverse } = params as Record<string, number>;
    const values = rows! * n! * inner!;
    const block = n! / order!;
    const span = inner === 1 ? Math.min(block, TILE) : 1;
    const signed = given.has('signs');
    const steps: Step[] = [
      {
        entry: signed && !inverse ? 'hadamard_mixed_f32__blocks_signs' : 'hadamard_mixed_f32__blocks',
        workgroups: Math.ceil(values / TILE),
        params: { span },
      },
    ];
    for (let done = span, radix = 0; done < block; done *= radix) {
      radix = Math.min(16, block / done);
      steps.push({
        entry: 'hadamard_mixed_f32__stages',
        workgroups: Math.ceil(values / radix / 256),
        params: { distance: done * inner!, radix },
      });
    }
    if (order! > 1) {
      const stride = block * inner!;
      const columns = 2 ** Math.floor(Math.log2(Math.min(64, TILE / order!)));
      steps.push({
        entry: 'hadamard_mixed_f32',
        workgroups: Math.ceil((rows! * stride) / columns),
        params: { stride, columns },
      });
    }
    if (signed && inverse) steps.push({ entry: 'hadamard_mixed_f32__signs', workgroups: Math.ceil(values / 256) });
    return steps;
  },
});
