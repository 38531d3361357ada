import {
  blockOf,
  checkGemmFormat,
  contractOf,
  type GemmFormat,
  type GemmOptions,
  gemm_pack_u32,
  PANEL,
  packedLength,
} from '../contract/gemm.js';
import type { Params } from '../contract.js';
import { shader } from '../generated/gpu/gemm.js';
import { type GpuKernelFactory, gpuKernel } from './runtime.js';

export type { GemmFormat, GemmOptions };
export { packedLength };

/** What a model's format fixes: given to `compile`. */
type Constants = 'bits' | 'groupSize' | 'scheme';
const constants = ['bits', 'groupSize', 'scheme'] as const;

/** From this many rows on, tiles in workgroup memory. */
const MANY_ROWS = 5;

function forActivations(activations: keyof typeof contractOf): GpuKernelFactory<GemmOptions, Constants> {
  const contract = contractOf[activations];
  const { kernel } = contract;
  const rounds = activations !== 'f32';
  return gpuKernel<GemmOptions, Constants>({
    contract,
    shader,
    constants,
    checkConstants: (params) => checkGemmFormat(kernel, params),
    dynamic: { m: {} },
    scratch: ({ m, n, k }: Params) => (rounds && n ? m! * k! : 0),
    steps({ params }) {
      const { m, n, k } = params as Record<'m' | 'n' | 'k', number>;
      const few = m < MANY_ROWS;
      const product = {
        entry: few ? kernel : `${kernel}__tile`,
        workgroups: few ? Math.ceil((Math.ceil(n / PANEL) * m) / 4) : Math.ceil(n / 64) * Math.ceil(m / 32),
      };
      if (!rounds || !n) return [product];
      return [
        { entry: `${kernel}__round`, workgroups: Math.ceil((m * Math.ceil(k / blockOf(params))) / 8) },
        { ...product, rename: { x: 'scratch' } },
      ];
    },
  });
}

/** x [m, k] times the transpose of packed weights [n, k]. Buffers: x, packed, out. */
export const gemmF32 = /* @__PURE__ */ forActivations('f32');
/** The same with activations rounded to 16 bits. Buffers: x, packed, out, scratch (`scratchBytes`). */
export const gemmI16 = /* @__PURE__ */ forActivations('i16');
/** The same with activations rounded to 8 bits. Buffers: x, packed, out, scratch (`scratchBytes`). */
export const gemmI8 = /* @__PURE__ */ forActivations('i8');

/** What `quantize` made of weights, as the others read it. Buffers: codes, scales, minima (affine), packed. */
export const pack = /* @__PURE__ */ gpuKernel<GemmFormat, Constants>({
  contract: gemm_pack_u32,
  shader,
  constants,
  checkConstants: (params) => checkGemmFormat('gemm_pack_u32', params),
  steps: ({ params }) => [
    {
      entry: 'gemm_pack_u32',
      workgroups: Math.ceil(gemm_pack_u32.lengths(params).packed! / 256),
      ...(params.scheme ? { rename: { minima: 'scales' } } : {}),
    },
  ],
});
