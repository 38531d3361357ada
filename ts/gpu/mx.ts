import {
  blockOf,
  elementOf,
  isNv,
  type MxOptions,
  mx_dequantize_f32,
  mx_quantize_f32,
  roundOf,
  scaleOf,
  widthOf,
} from '../contract/mx.js';
import type { Params } from '../contract.js';
import { shader } from '../generated/gpu/mx.js';
import { type GpuKernelFactory, gpuKernel } from './runtime.js';

export type { MxOptions };

const WORKGROUP = 256;
/** wgsl/mx.wgsl: blocks whose scales a workgroup finds. */
const BLOCKS = 32;

/** The format in numbers. */
function formatOf(params: Params): Params {
  const { bits: elementBits, integer, ...element } = elementOf(params);
  const { bias, nan } = isNv(params.format!) ? scaleOf(params) : { bias: 0, nan: 0 };
  return {
    ...element,
    elementBits,
    isInteger: Number(integer),
    width: widthOf(params),
    blockSize: blockOf(params),
    scaleRound: roundOf(params),
    bias,
    nan,
    tensorScale: params.tensorScale || 1,
  };
}

/** Elements and scale bytes of x: `{ x, codes, scales }`. The last word of codes and of scales is written whole. */
export const mxQuantize: GpuKernelFactory<MxOptions, never> = /* @__PURE__ */ gpuKernel({
  contract: mx_quantize_f32,
  shader,
  dynamic: { rows: {} },
  steps({ params }) {
    const { codes, scales } = mx_quantize_f32.lengths(params);
    const format = formatOf(params);
    return [
      { entry: 'mx_quantize_f32__scales', workgroups: Math.ceil(scales! / BLOCKS), params: format },
      { entry: 'mx_quantize_f32', workgroups: Math.ceil(codes! / 4 / WORKGROUP), params: format },
    ];
  },
});

/** Values from elements and scale bytes: `{ codes, scales, out }`. */
export const mxDequantize: GpuKernelFactory<MxOptions, never> = /* @__PURE__ */ gpuKernel({
  contract: mx_dequantize_f32,
  shader,
  dynamic: { rows: {} },
  steps({ params }) {
    const { rows, n } = params as { rows: number; n: number };
    return [
      {
        entry: n % 4 ? 'mx_dequantize_f32' : 'mx_dequantize_f32__vec4',
        workgroups: Math.ceil((rows * Math.ceil(n / 4)) / WORKGROUP),
        params: formatOf(params),
      },
    ];
  },
});
