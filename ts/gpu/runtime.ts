import type { Contract, Params } from '../contract.js';
import { LanewiseUnsupportedError, message } from '../errors.js';
import { type Binding, bytesOf, lengthsOf, requireAlive } from '../gpu-buffers.js';
import { type BindOptions, bindCall, type Call } from '../gpu-call.js';
import type { Compiled, Pipeline } from '../gpu-plan.js';
import { pack, uniformBytes } from '../gpu-uniform.js';
import { finite, finiteF32, integer, options as optionsOf, word } from '../validate.js';

export type { Binding } from '../gpu-buffers.js';
export type { BindOptions, Call } from '../gpu-call.js';
export { createUniformRing, type UniformRing } from '../gpu-uniform.js';

/** `base`: no feature, default limits. `subgroups`: reductions through subgroup operations, of any size. */
export type GpuLevel = (typeof LEVELS)[number];
const LEVELS = ['base', 'subgroups'] as const;

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
  /** Can a call with these constants take the entry point? Only such are compiled. Default: all of the kernel's. */
  usable?(entry: string, constants: Params): boolean;
  /** The dispatches of one call, in order; those without workgroups are left out. */
  steps(plan: Plan): Step[];
  /** Elements of the array `scratch`, whatever the CPU takes. Default: none. */
  scratch?(params: Params): number;
  /** Options that may change between dispatches without a new plan: see `Call.set`. */
  dynamic?: Readonly<Record<string, Dynamic>>;
}

/** An option that the shader reads from its uniform alone: the dispatch planned for the largest value serves all. */
export interface Dynamic {
  /** Its uniform field. Default: the option's name. */
  field?: string;
  /** It belongs to the steps with these numbers alone (others have a field of that name for their own use). */
  steps?: Params;
  /** It is at least this dynamic option, if it is a size. */
  least?: string;
  /** It is at most this dynamic option; without: at most what it was bound (or updated) with, if it is a size. */
  most?: string;
  /** It is at least this number, if it is no size. */
  min?: number;
}

export interface CompileOptions {
  /** Default: the best level the device has. */
  level?: GpuLevel;
  /** Shown in WebGPU's own messages. */
  label?: string;
}

export interface GpuKernel<Options, Constants extends keyof Options> {
  readonly name: string;
  readonly device: GPUDevice;
  readonly level: GpuLevel;
  /** The whole shader text of this level. */
  readonly wgsl: string;
  /** By entry point: bindings and uniform fields, as reflected from the WGSL. */
  readonly bindings: Readonly<Record<string, Entry>>;
  /** Options that `call.set` takes, or that the GPU may write itself (`call.offsetsOf`). */
  readonly dynamic: readonly string[];
  /** One entry point's uniform bytes from named numbers. */
  packParams(entry: string, params: Params): ArrayBuffer;
  /** Byte offset of a field in an entry point's uniform. */
  fieldOffset(entry: string, field: string): number;
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
  /**
   * Bytes of the buffer `scratch` for these options, those fixed at compile among them. 0: none is needed, and an empty one
   * or none may be bound. Calls that run one after the other may share one, as large as the largest of them needs.
   */
  scratchBytes(options: Options): number;
  /** Compiles every entry point of the kernel, asynchronously. */
  compile(
    device: GPUDevice,
    options?: CompileOptions & Pick<Options, Constants>,
  ): Promise<GpuKernel<Options, Constants>>;
}

async function pipelineOf(
  device: GPUDevice,
  kernel: string,
  module: GPUShaderModule,
  entry: string,
  { bindings, uniform }: Entry,
  constants: Record<string, number>,
): Promise<Pipeline> {
  const visibility = 4; // GPUShaderStage.COMPUTE
  const layout = device.createBindGroupLayout({
    label: entry,
    entries: [
      ...Object.values(bindings).map(([binding, type]) => ({
        binding,
        visibility,
        buffer: { type: type as GPUBufferBindingType },
      })),
      { binding: uniform, visibility, buffer: { type: 'uniform', hasDynamicOffset: true } },
    ],
  });
  try {
    const pipeline = await device.createComputePipelineAsync({
      label: entry,
      layout: device.createPipelineLayout({ label: entry, bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: entry, constants },
    });
    return { layout, pipeline, groups: new Map() };
  } catch (error) {
    requireAlive(kernel, device);
    throw error;
  }
}

/** Makes the public object of one kernel: `compile` → `bind` → `encode`. */
export function gpuKernel<Options, Constants extends keyof Options & string = never>(
  definition: Definition<Options>,
): GpuKernelFactory<Options, Constants> {
  const { contract, shader } = definition;
  const name = contract.kernel;
  const own = (entry: string) => entry.split('__')[0] === name;
  const fixed = definition.constants ?? [];
  const features = shader.features ?? [];
  const fields = Object.entries(shader.entries).flatMap(([entry, { params }]) => (own(entry) ? params : []));
  const dynamic: Compiled['dynamic'] = new Map(
    Object.entries(definition.dynamic ?? {}).map(([option, { field = option, ...known }]) => [
      option,
      { ...known, field, size: fields.some(([name, type]) => name === field && type === 'u32') },
    ]),
  );

  async function compile(
    device: GPUDevice,
    given: CompileOptions & Record<string, unknown> = {},
  ): Promise<GpuKernel<Options, Constants>> {
    requireAlive(name, device);
    const options = optionsOf(name, given);
    const absent = features.find((feature) => !device.features.has(feature as GPUFeatureName));
    if (absent) throw new LanewiseUnsupportedError(name, absent);
    const subgroups = device.features.has('subgroups' as GPUFeatureName);
    const { level = subgroups ? 'subgroups' : 'base', label = `lanewise ${name}` } = options;
    word(name, 'level', level, LEVELS);
    if (typeof label !== 'string') throw new TypeError(message(name, 'label', 'string', label));
    if (level === 'subgroups' && !subgroups) throw new LanewiseUnsupportedError(name, 'subgroups');
    const constantOptions = Object.fromEntries(
      fixed.map((key) => [key, options[key]]).filter(([, value]) => value !== undefined),
    );
    // The contract turns words into numbers ('affine' → 0); the axes it also wants are not known yet.
    const numbers = contract.params({ ...constantOptions } as Options);
    const missing = fixed.find((key) => numbers[key] === undefined);
    if (missing) throw new TypeError(message(name, missing, 'a value: it is fixed at compile', undefined));
    definition.checkConstants?.(numbers);
    const usable = Object.fromEntries(
      Object.entries(shader.entries).filter(([entry]) => own(entry) && (definition.usable?.(entry, numbers) ?? true)),
    );
    const entryNames = Object.keys(usable);
    const overrides: Record<string, number> = {};
    for (const key of Object.keys(shader.overrides)) {
      if (numbers[key] === undefined || Number.isNaN(numbers[key])) continue;
      overrides[key] = finite(name, key, numbers[key]);
    }
    const wgsl = shader.wgsl[level];
    const module = device.createShaderModule({ code: wgsl, label });
    const pipelines = Object.fromEntries(
      await Promise.all(
        entryNames.map(async (entry) => [
          entry,
          await pipelineOf(device, name, module, entry, usable[entry]!, overrides),
        ]),
      ),
    );
    // A device lost meanwhile may still hand out pipelines.
    requireAlive(name, device);

    function numbersOf(given: Record<string, unknown>): Params {
      optionsOf(name, given);
      for (const [key, value] of Object.entries(constantOptions))
        if (given[key] !== undefined && given[key] !== value)
          throw new RangeError(message(name, key, `${String(value)}, as compiled`, given[key]));
      const params = contract.params({ ...given, ...constantOptions } as Options);
      // Also where compile took a default (a value dimension that is the head dimension's).
      for (const key of fixed)
        if (params[key] !== numbers[key])
          throw new RangeError(message(name, key, `${numbers[key]}, as compiled`, params[key]));
      return params;
    }

    function entryNamed(entry: string): Entry {
      word(name, 'entry', entry, entryNames);
      return usable[entry]!;
    }

    const compiled: Compiled = { device, definition, entries: usable, pipelines, dynamic, numbersOf };
    return {
      name,
      device,
      level,
      wgsl,
      bindings: usable,
      packParams(entry, params) {
        const known = entryNamed(entry);
        const given = optionsOf(name, params, 'params');
        for (const [field, type] of known.params) {
          const value = given[field];
          if (value === undefined) continue;
          if (type === 'f32') finiteF32(name, field, value);
          else integer(name, field, value, type === 'i32' ? -(2 ** 31) : 0, type === 'i32' ? 2 ** 31 - 1 : undefined);
        }
        const buffer = new ArrayBuffer(uniformBytes(known));
        pack(known, params, undefined, new DataView(buffer), 0);
        return buffer;
      },
      fieldOffset(entry, field) {
        const fields = entryNamed(entry).params.map(([known]) => known);
        return 4 * word(name, 'field', field, fields);
      },
      dynamic: [...dynamic.keys()],
      bind: (buffers, given, extra = {}) => bindCall(compiled, buffers, given, extra),
    };
  }
  const levels = shader.wgsl.base === shader.wgsl.subgroups ? LEVELS.slice(0, 1) : LEVELS;
  return {
    contract,
    constants: fixed,
    levels,
    features,
    scratchBytes(options) {
      const params = contract.params(options);
      const { scratch } = lengthsOf(definition, params);
      return scratch && bytesOf(contract, 'scratch', scratch, params);
    },
    compile: compile as GpuKernelFactory<Options, Constants>['compile'],
  };
}
