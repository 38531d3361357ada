import { ARRAY_OF, type Contract, dtypeOf, type Params } from '../contract.js';
import { LanewiseDeviceLostError, LanewiseUnsupportedError, message } from '../errors.js';
import { finite, integer } from '../validate.js';

/** `base`: no feature, default limits. `subgroups`: reductions through subgroup operations, of any size. */
export type GpuLevel = 'base' | 'subgroups';

/** WGSL text per level and what reflection found in it (generated from wgsl/). */
export interface Shader {
  readonly wgsl: Readonly<Record<GpuLevel, string>>;
  /** By entry point: array name → [binding, buffer type], the uniform's binding, its fields as [name, type], 4 bytes each. */
  readonly entries: Readonly<Record<string, Entry>>;
  /** Override constants by name, with their type. */
  readonly overrides: Readonly<Record<string, string>>;
  /** WebGPU features without which it does not compile at any level (`shader-f16`). */
  readonly features?: readonly string[];
}

export interface Entry {
  readonly bindings: Readonly<Record<string, readonly [binding: number, type: string]>>;
  readonly uniform: number;
  readonly params: readonly (readonly [name: string, type: string])[];
}

/** One dispatch of a kernel. */
export interface Step {
  /** The entry point. */
  entry: string;
  /** How many workgroups; more than a dimension can hold are spread over two (`id.x + id.y * num_workgroups.x`). */
  workgroups: number;
  /** Uniform fields that only this step sets. */
  params?: Params;
  /** Rename: bind this array where the entry point says another (`{ x: 'out' }` reads what an earlier step wrote). */
  rename?: Readonly<Record<string, string>>;
}

/** What bind's options resolve to: every number of the contract plus every override constant. */
export interface Plan {
  params: Params;
  /** Names of the arrays the caller gave. */
  given: ReadonlySet<string>;
  /** The same buffer range was given for both names. */
  same(a: string, b: string): boolean;
  limits: GPUSupportedLimits;
}

export interface Definition<Options> {
  contract: Contract<Options>;
  shader: Shader;
  /** Names of the options that are override constants: given to `compile`, not to `bind`. */
  constants?: readonly string[];
  /** Throws RangeError where an override constant is out of bounds (its axes are not known at compile). */
  checkConstants?(params: Params): void;
  /** The dispatches of one call, in order; those without workgroups are left out. */
  steps(plan: Plan): Step[];
  /** Array lengths that differ on the GPU (scratch). */
  lengths?(params: Params): Readonly<Record<string, number>>;
}

/** A buffer, whole or a part of it (offset and size in bytes; offset aligned to minStorageBufferOffsetAlignment). */
export type Binding = GPUBuffer | { buffer: GPUBuffer; offset?: number; size?: number };

export interface CompileOptions {
  /** Default: the best level the device has. */
  level?: GpuLevel;
  /** Shown in WebGPU's own messages. */
  label?: string;
}

export interface BindOptions {
  /** Your own uniform buffer (usage UNIFORM, at least `kernel.uniformBytes(...)`): we then create and free nothing, and you write `call.uniform` into it. */
  uniform?: Binding;
}

/** A kernel bound to buffers. */
export interface Call {
  /** Records the kernel's dispatches into your pass. Allocates nothing. */
  encode(pass: GPUComputePassEncoder): void;
  /** What the uniform buffer holds (or has to hold, when it is yours). */
  readonly uniform: ArrayBuffer;
  /** Frees the uniform buffer, if it is ours. The call must not be encoded afterwards. */
  destroy(): void;
}

export interface GpuKernel<Options, Constants extends keyof Options> {
  readonly name: string;
  readonly device: GPUDevice;
  readonly level: GpuLevel;
  /** The whole shader text of this level. */
  readonly wgsl: string;
  /** By entry point: bindings and uniform fields, as reflected from the WGSL. */
  readonly bindings: Readonly<Record<string, Entry>>;
  /** One entry point's uniform bytes from named numbers. */
  packParams(entry: string, params: Params): ArrayBuffer;
  bind(
    buffers: Readonly<Record<string, Binding | undefined>>,
    options: Omit<Options, Constants> & Partial<Pick<Options, Constants>>,
    extra?: BindOptions,
  ): Call;
}

export interface GpuKernelFactory<Options, Constants extends keyof Options> {
  readonly contract: Contract<Options>;
  /** Options fixed at compile (override constants). */
  readonly constants: readonly string[];
  /** Levels whose shaders differ: a kernel without reductions has `base` alone (and compiles at either). */
  readonly levels: readonly GpuLevel[];
  /** WebGPU features the device must have been asked for (`shader-f16`). */
  readonly features: readonly string[];
  /** Array lengths that differ on the GPU (scratch). */
  lengths?(params: Params): Readonly<Record<string, number>>;
  /** Compiles every entry point of the kernel, asynchronously. */
  compile(
    device: GPUDevice,
    options?: CompileOptions & Pick<Options, Constants>,
  ): Promise<GpuKernel<Options, Constants>>;
}

/** Bytes per element as they lie in a GPU buffer. */
const bytesOf = (contract: Contract<any>, array: string, params: Params) =>
  ARRAY_OF[dtypeOf(contract.arrays[array]!, params)].BYTES_PER_ELEMENT;

/** Devices we have seen lost: WebGPU only tells asynchronously. */
const lost = new WeakMap<GPUDevice, { reason?: string }>();

function watch(device: GPUDevice): { reason?: string } {
  let state = lost.get(device);
  if (!state) {
    const fresh: { reason?: string } = {};
    lost.set(device, fresh);
    device.lost.then((info) => {
      fresh.reason = info.message || info.reason || 'unknown';
    });
    state = fresh;
  }
  return state;
}

function requireAlive(kernel: string, device: GPUDevice): void {
  const { reason } = watch(device);
  if (reason !== undefined) throw new LanewiseDeviceLostError(kernel, reason);
}

interface Resolved {
  buffer: GPUBuffer;
  offset: number;
  size: number;
}

/** `value` as buffer, offset and size, with everything wrong about it named. */
function resolve(
  kernel: string,
  name: string,
  value: Binding,
  bytes: number,
  usage: number,
  alignment: number,
  maximum: number,
): Resolved {
  const part = 'usage' in value ? { buffer: value } : value;
  const { buffer, offset = 0 } = part as { buffer: GPUBuffer; offset?: number; size?: number };
  if (typeof buffer?.usage !== 'number')
    throw new TypeError(message(kernel, name, 'GPUBuffer or { buffer, offset, size }', value));
  integer(kernel, `${name}.offset`, offset, 0, buffer.size);
  if (offset % alignment)
    throw new RangeError(message(kernel, `${name}.offset`, `multiple of ${alignment} bytes`, offset));
  const size = (part as { size?: number }).size ?? buffer.size - offset;
  integer(kernel, `${name}.size`, size, 0, buffer.size - offset);
  if ((buffer.usage & usage) !== usage)
    throw new RangeError(
      message(
        kernel,
        name,
        `buffer with usage ${usage === USAGE.STORAGE ? 'STORAGE' : 'UNIFORM'} (${usage})`,
        buffer.usage,
      ),
    );
  if (size < bytes) throw new RangeError(message(kernel, name, `at least ${bytes} bytes`, size));
  if (bytes > maximum)
    throw new RangeError(message(kernel, name, `at most ${maximum} bytes (the device's limit)`, bytes));
  return { buffer, offset, size: bytes };
}

/** The numbers of GPUBufferUsage we need (the global exists only where WebGPU does). */
const USAGE = { COPY_DST: 8, UNIFORM: 64, STORAGE: 128 } as const;

const WRITERS: Record<string, (view: DataView, at: number, value: number) => void> = {
  u32: (view, at, value) => view.setUint32(at, value, true),
  i32: (view, at, value) => view.setInt32(at, value, true),
  f32: (view, at, value) => view.setFloat32(at, value, true),
};

function pack(entry: Entry, params: Params, view: DataView, at: number): void {
  for (const [i, [name, type]] of entry.params.entries()) WRITERS[type]!(view, at + 4 * i, params[name] ?? 0);
}

/** Uniform structs are bound at a size rounded up to 16 bytes. */
const uniformBytes = (entry: Entry) => Math.ceil(entry.params.length / 4) * 16;

/** `count` workgroups as a dispatch that no dimension refuses. The shader skips what is too many. */
function spread(count: number, limit: number): [number, number] {
  if (count <= limit) return [count, 1];
  const y = Math.ceil(count / limit);
  return [Math.ceil(count / y), y];
}

/** Makes the public object of one kernel: `compile` → `bind` → `encode`. */
export function gpuKernel<Options, Constants extends keyof Options & string = never>(
  definition: Definition<Options>,
): GpuKernelFactory<Options, Constants> {
  const { contract, shader } = definition;
  const name = contract.kernel;
  const entryNames = Object.keys(shader.entries).filter((entry) => entry.split('__')[0] === name);
  const fixed = definition.constants ?? [];
  const features = shader.features ?? [];

  async function compile(
    device: GPUDevice,
    options: CompileOptions & Record<string, unknown> = {},
  ): Promise<GpuKernel<Options, Constants>> {
    requireAlive(name, device);
    const absent = features.find((feature) => !device.features.has(feature as GPUFeatureName));
    if (absent) throw new LanewiseUnsupportedError(name, absent);
    const level = options.level ?? (device.features.has('subgroups' as GPUFeatureName) ? 'subgroups' : 'base');
    if (!(level in shader.wgsl)) throw new RangeError(message(name, 'level', '"base" or "subgroups"', level));
    if (level === 'subgroups' && !device.features.has('subgroups' as GPUFeatureName))
      throw new LanewiseUnsupportedError(name, 'subgroups');
    const constantOptions = Object.fromEntries(
      fixed.map((key) => [key, options[key]]).filter(([, value]) => value !== undefined),
    );
    // The contract turns words into numbers ('affine' → 0); the axes it also wants are not known yet.
    const numbers = contract.params({ ...constantOptions } as Options);
    const missing = fixed.find((key) => numbers[key] === undefined);
    if (missing) throw new TypeError(message(name, missing, 'a value: it is fixed at compile', undefined));
    definition.checkConstants?.(numbers);
    const overrides: Record<string, number> = {};
    for (const key of Object.keys(shader.overrides)) {
      if (numbers[key] === undefined || Number.isNaN(numbers[key])) continue;
      overrides[key] = finite(name, key, numbers[key]);
    }
    const wgsl = shader.wgsl[level];
    const module = device.createShaderModule({ code: wgsl, label: options.label ?? `lanewise ${name}` });
    const compiled = await Promise.all(
      entryNames.map(async (entry) => {
        const { bindings, uniform } = shader.entries[entry]!;
        const layout = device.createBindGroupLayout({
          label: entry,
          entries: [
            ...Object.values(bindings).map(([binding, type]) => ({
              binding,
              visibility: 4,
              buffer: { type: type as GPUBufferBindingType },
            })),
            { binding: uniform, visibility: 4, buffer: { type: 'uniform' as const } },
          ],
        });
        try {
          const pipeline = await device.createComputePipelineAsync({
            label: entry,
            layout: device.createPipelineLayout({ label: entry, bindGroupLayouts: [layout] }),
            compute: { module, entryPoint: entry, constants: overrides },
          });
          return [entry, { layout, pipeline }] as const;
        } catch (error) {
          requireAlive(name, device);
          throw error;
        }
      }),
    );
    const pipelines = Object.fromEntries(compiled);

    function bind(
      buffers: Readonly<Record<string, Binding | undefined>>,
      given: Record<string, unknown>,
      extra: BindOptions = {},
    ): Call {
      requireAlive(name, device);
      for (const [key, value] of Object.entries(constantOptions))
        if (given[key] !== undefined && given[key] !== value)
          throw new RangeError(message(name, key, `${String(value)}, as compiled`, given[key]));
      const params = contract.params({ ...given, ...constantOptions } as Options);
      // Also where compile took a default (a value dimension that is the head dimension's).
      for (const key of fixed)
        if (params[key] !== numbers[key])
          throw new RangeError(message(name, key, `${numbers[key]}, as compiled`, params[key]));
      const lengths = { ...contract.lengths(params), ...definition.lengths?.(params) };
      for (const key of Object.keys(buffers))
        if (!(key in contract.arrays))
          throw new TypeError(message(name, key, `one of ${Object.keys(contract.arrays).join(', ')}`, buffers[key]));
      const { limits } = device;
      const resolved: Record<string, Resolved> = {};
      for (const [array, { optional }] of Object.entries(contract.arrays)) {
        const value = buffers[array];
        if (value === undefined) {
          if (optional || lengths[array] === 0) continue;
          throw new TypeError(message(name, array, 'GPUBuffer or { buffer, offset, size }', value));
        }
        // WebGPU binds whole 4-byte words and no empty range.
        const bytes = Math.max(4, Math.ceil((lengths[array]! * bytesOf(contract, array, params)) / 4) * 4);
        resolved[array] = resolve(
          name,
          array,
          value,
          bytes,
          USAGE.STORAGE,
          limits.minStorageBufferOffsetAlignment,
          limits.maxStorageBufferBindingSize,
        );
      }
      const same = (a: string, b: string) => {
        const [x, y] = [resolved[a], resolved[b]];
        return !!x && !!y && x.buffer === y.buffer && x.offset === y.offset;
      };
      for (const [array, { role, inPlace }] of Object.entries(contract.arrays)) {
        const mine = resolved[array];
        if (role === 'in' || !mine) continue;
        for (const [other, theirs] of Object.entries(resolved)) {
          if (other === array || theirs.buffer !== mine.buffer || (inPlace === other && same(array, other))) continue;
          if (mine.offset < theirs.offset + theirs.size && theirs.offset < mine.offset + mine.size)
            throw new RangeError(
              message(
                name,
                array,
                `range that does not overlap "${other}" (bytes ${theirs.offset} to ${theirs.offset + theirs.size} of the same buffer)`,
                mine.offset,
              ),
            );
        }
      }
      const steps = definition
        .steps({ params, given: new Set(Object.keys(resolved)), same, limits })
        .filter((step) => step.workgroups > 0);
      const stride = (bytes: number) =>
        Math.ceil(bytes / limits.minUniformBufferOffsetAlignment) * limits.minUniformBufferOffsetAlignment;
      const offsets: number[] = [];
      let size = 0;
      for (const step of steps) {
        offsets.push(size);
        size += stride(uniformBytes(shader.entries[step.entry]!));
      }
      const uniform = new ArrayBuffer(Math.max(size, 16));
      const view = new DataView(uniform);
      for (const [i, step] of steps.entries())
        pack(shader.entries[step.entry]!, { ...params, ...step.params }, view, offsets[i]!);
      let base: Resolved;
      let owned: GPUBuffer | undefined;
      if (extra.uniform) {
        base = resolve(
          name,
          'uniform',
          extra.uniform,
          uniform.byteLength,
          USAGE.UNIFORM,
          limits.minUniformBufferOffsetAlignment,
          limits.maxBufferSize,
        );
      } else {
        owned = device.createBuffer({
          label: `${name} params`,
          size: uniform.byteLength,
          usage: USAGE.UNIFORM | USAGE.COPY_DST,
          mappedAtCreation: true,
        });
        new Uint8Array(owned.getMappedRange()).set(new Uint8Array(uniform));
        owned.unmap();
        base = { buffer: owned, offset: 0, size: uniform.byteLength };
      }
      const dispatches = steps.map((step, i) => {
        const entry = shader.entries[step.entry]!;
        const { layout, pipeline } = pipelines[step.entry]!;
        const group = device.createBindGroup({
          label: step.entry,
          layout,
          entries: [
            ...Object.entries(entry.bindings).map(([array, [binding]]) => {
              const target = step.rename?.[array] ?? array;
              const resource = resolved[target];
              if (!resource)
                throw new TypeError(message(name, target, 'GPUBuffer or { buffer, offset, size }', undefined));
              return { binding, resource };
            }),
            {
              binding: entry.uniform,
              resource: { buffer: base.buffer, offset: base.offset + offsets[i]!, size: uniformBytes(entry) },
            },
          ],
        });
        const [x, y] = spread(step.workgroups, limits.maxComputeWorkgroupsPerDimension);
        return { pipeline, group, x, y };
      });
      return {
        uniform,
        encode(pass) {
          for (const { pipeline, group, x, y } of dispatches) {
            pass.setPipeline(pipeline);
            pass.setBindGroup(0, group);
            pass.dispatchWorkgroups(x, y);
          }
        },
        destroy: () => owned?.destroy(),
      };
    }

    return {
      name,
      device,
      level,
      wgsl,
      bindings: Object.fromEntries(entryNames.map((entry) => [entry, shader.entries[entry]!])),
      packParams(entry, params) {
        const known = shader.entries[entry];
        if (!known) throw new RangeError(message(name, 'entry', entryNames.map((e) => `"${e}"`).join(' or '), entry));
        const buffer = new ArrayBuffer(uniformBytes(known));
        pack(known, params, new DataView(buffer), 0);
        return buffer;
      },
      bind: bind as GpuKernel<Options, Constants>['bind'],
    };
  }
  const levels: GpuLevel[] = shader.wgsl.base === shader.wgsl.subgroups ? ['base'] : ['base', 'subgroups'];
  return {
    contract,
    constants: fixed,
    levels,
    features,
    lengths: definition.lengths,
    compile: compile as GpuKernelFactory<Options, Constants>['compile'],
  };
}
