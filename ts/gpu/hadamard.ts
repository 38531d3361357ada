import { type HadamardOptions, hadamard_f32 } from '../contract/hadamard.js';
import { shader } from '../generated/gpu/hadamard.js';
import { hadamardOf } from '../gpu-hadamard.js';
import type { GpuKernelFactory } from './runtime.js';

export type { HadamardOptions };

/**
 * The Walsh–Hadamard transform of each row. Buffers: x, out (which may be x) and, if wanted, signs (i8 [n]).
 * Rows longer than 4096 take a second dispatch over out.
 */
export const hadamard: GpuKernelFactory<HadamardOptions, never> = /* @__PURE__ */ hadamardOf(hadamard_f32, shader);
