/** The Walsh–Hadamard transform over f16 values, computed in f32. Needs a device with `shader-f16`. */
import { type HadamardOptions, hadamard_f16 } from '../contract/hadamard.js';
import { shader } from '../generated/gpu/hadamard-f16.js';
import { hadamardOf } from '../gpu-hadamard.js';
import type { GpuKernelFactory } from './runtime.js';

export type { HadamardOptions };

/**
 * The transform of each row of halves, rounded once. Buffers: x, out (which may be x) and, if wanted, signs (i8 [n]); no scratch.
 * Rows longer than 4096 take one dispatch too; in place, one workgroup a row.
 */
export const hadamard: GpuKernelFactory<HadamardOptions, never> = /* @__PURE__ */ hadamardOf(hadamard_f16, shader);
