/** What the GPU's Walsh–Hadamard transforms of f32 and of f16 share. */
import type { HadamardOptions } from './contract/hadamard.js';
import type { Contract } from './contract.js';
import { type GpuKernelFactory, gpuKernel, type Plan, type Shader, type Step } from './gpu/runtime.js';

/** What a workgroup transforms. */
const TILE = 4096;

function stepsOf(kernel: string, half: boolean, { params, given, same }: Plan): Step[] {
  const { rows, n, inverse } = params as Record<'rows' | 'n' | 'inverse', number>;
  const inPlace = same('x', 'out') && 'inplace';
  const long = n > TILE;
  const signed = given.has('signs');
  const name = (...parts: (string | false)[]) => [kernel, parts.filter(Boolean).join('_')].filter(Boolean).join('__');
  if (long && half) {
    const share = inPlace ? n / TILE : 1;
    const entry = name('long', inPlace, signed && 'signs');
    return [{ entry, workgroups: (rows * n) / TILE / share, params: { span: TILE, share } }];
  }
  const first: Step = {
    entry: name(inPlace, signed && !(long && inverse) && 'signs'),
    workgroups: Math.ceil((rows * n) / TILE),
    params: { span: Math.min(n, TILE), share: 0 },
  };
  if (!long) return [first];
  const entry = name('outer', signed && inverse === 1 && 'signs');
  return [first, { entry, workgroups: Math.ceil((rows * TILE) / 256), params: { span: TILE, share: 0 } }];
}

/** The kernel of a contract's dtype. */
export const hadamardOf = (
  contract: Contract<HadamardOptions>,
  shader: Shader,
): GpuKernelFactory<HadamardOptions, never> => {
  const half = contract.arrays.x!.dtype === 'f16';
  return gpuKernel({
    contract,
    shader,
    dynamic: { rows: {}, scale: {} },
    // Long rows are one dispatch where their values are halves, else two.
    usable: (entry) => !entry.includes(half ? '__outer' : '__long'),
    steps: (plan) => stepsOf(contract.kernel, half, plan),
  });
};
