import {
  type CodebookOptions,
  checkFormat,
  codeBytes,
  codebook_dequantize_f32,
  codebook_quantize_f32,
  groupOf,
  UNSCALED,
} from '../contract/codebook.js';
import type { Params } from '../contract.js';
import { shader } from '../generated/gpu/codebook.js';
import { type Definition, type GpuKernelFactory, gpuKernel, type Step } from './runtime.js';

export {
  AF4,
  type Codebook,
  type CodebookTable,
  codebook,
  DYNAMIC8,
  DYNAMIC8_UNSIGNED,
  FP4,
  LINEAR8,
  lloydMax,
  NF4,
} from '../codebook-tables.js';
export type { CodebookOptions };

/** What a format fixes: given to `compile`. */
type Constants = 'bits' | 'groupSize' | 'scale' | 'tables' | 'nibbles';

const WORKGROUP = 256;

/** How many invocations share a group: four values each, as long as they fit a workgroup. */
function lanesFor(params: Params): number {
  let lanes = 1;
  while (lanes < WORKGROUP && 4 * lanes < groupOf(params)) lanes *= 2;
  return lanes;
}

const factory = (
  kernel: string,
  definition: Pick<Definition<CodebookOptions>, 'contract' | 'steps'>,
): GpuKernelFactory<CodebookOptions, Constants> =>
  gpuKernel<CodebookOptions, Constants>({
    ...definition,
    shader,
    dynamic: { rows: {} },
    constants: ['bits', 'groupSize', 'scale', 'tables', 'nibbles'],
    checkConstants: (params) => checkFormat(kernel, params),
  });

/** Codes and scales of x: `{ x, thresholds, order, codes, scales }`; thresholds and order are those of `codebook`. */
export const codebookQuantize: GpuKernelFactory<CodebookOptions, Constants> = /* @__PURE__ */ factory(
  'codebook_quantize_f32',
  {
    contract: codebook_quantize_f32,
    steps({ params, given }) {
      const { rows, n, bits } = params as Record<'rows' | 'n' | 'bits', number>;
      const lanes = lanesFor(params);
      const units = bits === 3 ? rows * Math.ceil(n / 32) : Math.ceil((rows * codeBytes(params)) / 4);
      const unscaled = params.scale === UNSCALED;
      const groups = rows * Math.ceil(n / groupOf(params));
      const steps: Step[] = [
        {
          entry: 'codebook_quantize_f32',
          workgroups: Math.ceil(units / WORKGROUP),
          params: { ordered: Number(given.has('order')) },
          // Any array will do for one that is not read.
          rename: { ...(given.has('order') ? {} : { order: 'thresholds' }), ...(unscaled ? { scales: 'x' } : {}) },
        },
      ];
      if (!unscaled)
        steps.unshift({
          entry: 'codebook_quantize_f32__scales',
          workgroups: Math.ceil(groups / (WORKGROUP / lanes)),
          params: { lanes },
        });
      return steps;
    },
  },
);

/** Values from codes: `{ codes, scales, table, out }`; the table is that of `codebook`: a value for every code. */
export const codebookDequantize: GpuKernelFactory<CodebookOptions, Constants> = /* @__PURE__ */ factory(
  'codebook_dequantize_f32',
  {
    contract: codebook_dequantize_f32,
    steps: ({ params: { rows, n, scale } }) => [
      {
        entry: 'codebook_dequantize_f32',
        workgroups: Math.ceil((rows! * n!) / (4 * WORKGROUP)),
        ...(scale === UNSCALED ? { rename: { scales: 'table' } } : {}),
      },
    ],
  },
);
