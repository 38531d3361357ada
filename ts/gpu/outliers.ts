import { type OutliersOptions, outliers_extract_f32, outliers_restore_f32 } from '../contract/outliers.js';
import type { Params } from '../contract.js';
import { shader } from '../generated/gpu/outliers.js';
import { type GpuKernelFactory, gpuKernel, type Step } from './runtime.js';

export type { OutliersOptions };

const WORKGROUP = 256;

/** The whole row first, unless it is worked on in place. */
const copy = (kernel: string, { rows, n }: Params, inPlace: boolean): Step[] =>
  inPlace ? [] : [{ entry: `${kernel}__copy`, workgroups: Math.ceil((rows! * n!) / WORKGROUP) }];

/** The k values of largest magnitude of each row, and the row without them: `{ x, values, indices, rest }`; rest may be x. */
export const outliersExtract: GpuKernelFactory<OutliersOptions, never> = /* @__PURE__ */ gpuKernel({
  contract: outliers_extract_f32,
  shader,
  dynamic: { rows: {} },
  steps: ({ params, same }) => [
    ...copy('outliers_extract_f32', params, same('x', 'rest')),
    { entry: 'outliers_extract_f32', workgroups: params.rows! },
  ],
});

/** rest with each value added at its index: `{ rest, values, indices, out }`; out may be rest. */
export const outliersRestore: GpuKernelFactory<OutliersOptions, never> = /* @__PURE__ */ gpuKernel({
  contract: outliers_restore_f32,
  shader,
  dynamic: { rows: {} },
  steps: ({ params, same }) => [
    ...copy('outliers_restore_f32', params, same('rest', 'out')),
    { entry: 'outliers_restore_f32', workgroups: Math.ceil((params.rows! * params.k!) / WORKGROUP) },
  ],
});
