/**
 * lanewise: what every kernel shares. Kernels come from subpaths: `lanewise/cpu/topk.js`, `lanewise/gpu/topk.js`,
 * `lanewise/reference/topk.js`.
 */
export type { Contract, DType, Out, Params, TypedArray } from './contract.js';
export {
  allocate,
  bestLevel,
  type CpuLevel,
  type Instance,
  type InstantiateOptions,
  memory,
  release,
  reserve,
  supports,
} from './cpu/runtime.js';
export { LanewiseDeviceLostError, LanewiseUnsupportedError } from './errors.js';
export type { Binding, BindOptions, Call, CompileOptions, GpuKernel, GpuLevel } from './gpu/runtime.js';
export { fromHalf, fromHalves, toHalf, toHalves } from './half.js';
