import { groupOf } from '../contract/quantize.js';
import {
  checkRotateFormat,
  MAX_N,
  type RotateOptions,
  type RotateQuantizeOptions,
  rotate_dequantize_f32,
  rotate_f32,
  rotate_quantize_f32,
} from '../contract/rotate.js';
import type { Params } from '../contract.js';
import { shader } from '../generated/gpu/rotate.js';
import { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder } from '../hadamard-matrices.js';
import { gpuKernel, type Plan } from './runtime.js';

export type { RotateOptions, RotateQuantizeOptions };
export { HADAMARD_ORDERS, hadamardMatrix, hadamardOrder };

const WORKGROUP = 256;

/** What a format fixes: given to `compile`. */
type Constants = 'bits' | 'groupSize' | 'scheme';
const CONSTANTS: Constants[] = ['bits', 'groupSize', 'scheme'];

/** Arrays that are left out: what says so to the shader, and what is bound in their place (and not read). */
function rotation({ given }: Plan, instead: string) {
  const missing = ['permutation', 'factors', 'signs', 'matrix'].filter((name) => !given.has(name));
  return {
    flags: {
      permuted: Number(given.has('permutation')),
      scaled: Number(given.has('factors')),
      signed: Number(given.has('signs')),
    },
    rename: Object.fromEntries(missing.map((name) => [name, instead])),
  };
}

/** Rows per workgroup, as many as it can hold. */
const teamFor = ({ n }: Params, most = WORKGROUP) => Math.min(Math.floor(MAX_N / n!), most);

/** Each row permuted, scaled, with signs and Hadamard-transformed, or back: `{ x, permutation?, factors?, signs?, matrix?, out }`. */
export const rotate = /* @__PURE__ */ gpuKernel<RotateOptions>({
  contract: rotate_f32,
  shader,
  dynamic: { rows: {} },
  steps(plan) {
    const { flags, rename } = rotation(plan, 'x');
    const team = teamFor(plan.params);
    return [
      { entry: 'rotate_f32', workgroups: Math.ceil(plan.params.rows! / team), params: { ...flags, team }, rename },
    ];
  },
});

/** Codes, scales and (affine) minima of rotated rows: `{ x, permutation?, factors?, signs?, matrix?, codes, scales, minima? }`. */
export const rotateQuantize = /* @__PURE__ */ gpuKernel<RotateQuantizeOptions, Constants>({
  contract: rotate_quantize_f32,
  shader,
  dynamic: { rows: {} },
  constants: CONSTANTS,
  checkConstants: (params) => checkRotateFormat('rotate_quantize_f32', params),
  usable: (entry, { scheme }) => entry.endsWith('symmetric') === (scheme === 1),
  steps(plan) {
    const { params } = plan;
    const { flags, rename } = rotation(plan, 'x');
    // Every group has an invocation at least.
    const groups = Math.ceil(params.n! / groupOf({ ...params, axis: 0 }));
    const team = teamFor(params, Math.floor(WORKGROUP / groups));
    const lanes = 2 ** Math.floor(Math.log2(WORKGROUP / (team * groups)));
    return [
      {
        entry: params.scheme ? 'rotate_quantize_f32__symmetric' : 'rotate_quantize_f32',
        workgroups: Math.ceil(params.rows! / team),
        params: { ...flags, team, lanes },
        rename,
      },
    ];
  },
});

/** The values of codes, rotated back: `{ codes, scales, minima?, permutation?, factors?, signs?, matrix?, out }`. */
export const rotateDequantize = /* @__PURE__ */ gpuKernel<RotateQuantizeOptions, Constants>({
  contract: rotate_dequantize_f32,
  shader,
  dynamic: { rows: {} },
  constants: CONSTANTS,
  checkConstants: (params) => checkRotateFormat('rotate_dequantize_f32', params),
  steps(plan) {
    const { flags, rename } = rotation(plan, 'codes');
    const team = teamFor(plan.params);
    return [
      {
        entry: 'rotate_dequantize_f32',
        workgroups: Math.ceil(plan.params.rows! / team),
        params: { ...flags, team },
        rename: { ...rename, ...(plan.params.scheme ? { minima: 'scales' } : {}) },
      },
    ];
  },
});
