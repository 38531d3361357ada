/** The WebGPU adapters of this host, in Node (Dawn, npm `webgpu`), Deno and browsers alike. */
import type { GpuLevel } from '../../ts/gpu/runtime.js';
import { gpuImplementation, type Implementation } from './implementations.js';

/** Kept for the life of the process: Dawn crashes when its GPU object is collected. */
let node: GPU | undefined;

async function entry(): Promise<GPU | undefined> {
  if (typeof navigator !== 'undefined' && navigator.gpu) return navigator.gpu;
  if (typeof process === 'undefined') return undefined;
  if (!node) {
    const name = 'webgpu';
    const { create, globals } = (await import(/* @vite-ignore */ name)) as {
      create(flags: string[]): GPU;
      globals: object;
    };
    Object.assign(globalThis, globals);
    // Clearing workgroup memory this way costs SwiftShader seconds per pipeline; the other way is as right.
    node = create(['disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension']);
  }
  return node;
}

export interface Adapter {
  label: string;
  adapter: GPUAdapter;
  levels: GpuLevel[];
}

const labelOf = ({ vendor, architecture, description, device }: GPUAdapterInfo) =>
  /swiftshader/i.test(`${architecture} ${description}`)
    ? 'SwiftShader'
    : /llvmpipe/i.test(`${description} ${device}`)
      ? 'lavapipe'
      : description || device || `${vendor} ${architecture}`.trim() || 'unnamed adapter';

/** Every different adapter the host gives, with its levels. Empty, with a reason, where there is none. */
export async function adapters(): Promise<{ found: Adapter[]; reason?: string }> {
  let gpu: GPU | undefined;
  try {
    gpu = await entry();
  } catch (error) {
    return { found: [], reason: `WebGPU did not load: ${(error as Error).message}` };
  }
  if (!gpu) return { found: [], reason: 'this host has no WebGPU' };
  const found = new Map<string, Adapter>();
  for (const options of [
    { powerPreference: 'high-performance' },
    { powerPreference: 'low-power' },
    { forceFallbackAdapter: true },
  ] as GPURequestAdapterOptions[]) {
    const adapter = await gpu.requestAdapter(options).catch(() => null);
    if (!adapter) continue;
    const label = labelOf(adapter.info);
    if (!found.has(label))
      found.set(label, {
        label,
        adapter,
        levels: adapter.features.has('subgroups' as GPUFeatureName) ? ['base', 'subgroups'] : ['base'],
      });
  }
  return found.size ? { found: [...found.values()] } : { found: [], reason: 'no WebGPU adapter (no Vulkan driver?)' };
}

const OPTIONAL_FEATURES = ['subgroups', 'shader-f16', 'timestamp-query'] as GPUFeatureName[];

/** A device with the adapter's features; `plain` asks for all but `subgroups` (the base level's promise) and default limits. Uncaptured errors are collected in `errors`. */
export async function deviceOf(
  { adapter }: Adapter,
  { plain = false, features = OPTIONAL_FEATURES }: { plain?: boolean; features?: GPUFeatureName[] } = {},
): Promise<{ device: GPUDevice; errors: string[] }> {
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const wanted = features.filter((f) => adapter.features.has(f));
  const device = await adapter.requestDevice(
    plain
      ? { requiredFeatures: wanted.filter((f) => f !== 'subgroups') }
      : {
          requiredFeatures: wanted,
          requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
        },
  );
  const errors: string[] = [];
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault?.();
    errors.push((event as GPUUncapturedErrorEvent).error.message);
  });
  return { device, errors };
}

/** Every adapter × level as an implementation, the base level on a device without `subgroups`. */
export async function gpuImplementations(): Promise<{
  implementations: Implementation[];
  errors: string[][];
  reason?: string;
}> {
  const { found, reason } = await adapters();
  const implementations: Implementation[] = [];
  const errors: string[][] = [];
  for (const one of found) {
    // An adapter hands out one device: ask again for each.
    for (const level of one.levels) {
      const fresh = (await adapters()).found.find((a) => a.label === one.label);
      if (!fresh) continue;
      const made = await deviceOf(fresh, { plain: level === 'base' });
      errors.push(made.errors);
      implementations.push(gpuImplementation(made.device, one.label, level));
    }
  }
  return { implementations, errors, reason };
}
