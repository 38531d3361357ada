/** The host lacks something a kernel needs: SIMD, a WebGPU feature, a large enough limit, cross-origin isolation. */
export class LanewiseUnsupportedError extends Error {
  override readonly name = 'LanewiseUnsupportedError';
  constructor(
    /** The kernel (or module) that cannot run here. */
    readonly kernel: string,
    /** What is missing, as its specification spells it: `simd`, `shader-f16`, ... */
    readonly feature: string,
  ) {
    super(`${kernel}: this host does not support "${feature}"`);
  }
}

/** The GPUDevice is gone; compile on a fresh one. */
export class LanewiseDeviceLostError extends Error {
  override readonly name = 'LanewiseDeviceLostError';
  constructor(
    readonly kernel: string,
    reason: string,
  ) {
    super(`${kernel}: the GPU device was lost (${reason}); compile the kernel on a fresh device`);
  }
}

/** `topk_f32: "k" expected integer in [1, 512], got 513` — the one form every argument error takes. */
export function message(kernel: string, name: string, expected: string, got: unknown): string {
  return `${kernel}: "${name}" expected ${expected}, got ${show(got)}`;
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} of length ${(value as Uint8Array).length}`;
  if (typeof value === 'object' && value !== null) return value.constructor?.name ?? 'object';
  return typeof value === 'function' ? value.name || 'function' : String(value);
}
