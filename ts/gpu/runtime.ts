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
  /** Can a call with these constants take the entry point? Only such are compiled. Default: all of the kernel's. */
  usable?(entry: string, constants: Params): boolean;
  /** The dispatches of one call, in order; those without workgroups are left out. */
  steps(plan: Plan): Step[];
  /** Array lengths that differ on the GPU (scratch). */
  lengths?(params: Params): Readonly<Record<string, number>>;
  /** Options that may change between dispatches without a new plan: see `Call.set`. */
  dynamic?: Readonly<Record<string, Dynamic>>;
}

/** An option that the shader reads from its uniform alone: the dispatch planned for the largest value serves all. */
export interface Dynamic {
  /** Its uniform field. */
  field: string;
  /** It is at least this dynamic option. */
  least?: string;
  /** It is at most this dynamic option; without: at most what it was bound (or updated) with, if it is a size. */
  most?: string;
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
  /**
   * Your own uniform buffer (usage UNIFORM), into which you write `call.uniform`, or a ring that many calls share
   * (`createUniformRing`). We then create and free nothing.
   */
  uniform?: Binding | UniformRing;
  /**
   * Ask the device too, in an error scope of ours: `call.validated` then rejects where a buffer belongs to another device
   * or is destroyed. WebGPU tells neither at once. (Destroyed: of buffers with usage COPY_DST, by writing no bytes to them.)
   */
  validate?: boolean;
}

/** A kernel bound to buffers. */
export interface Call {
  /** Records the kernel's dispatches into your pass. Allocates nothing. */
  encode(pass: GPUComputePassEncoder): void;
  /**
   * The same with the workgroup count read from your buffer (usage INDIRECT, three u32), for kernels of one dispatch; the
   * uniform stays that of bind, whose sizes the count must not exceed. See `rowsPerWorkgroup`.
   */
  encodeIndirect(pass: GPUComputePassEncoder, buffer: GPUBuffer, offset: number): void;
  /**
   * Other options on the same buffers, which must have been bound for at least as much: plans anew and packs the uniform in
   * place. Makes no GPU object, unless other sizes take an entry point that none has taken before.
   * Our own uniform buffer is written through the queue at once, so that recorded dispatches not yet submitted see it too;
   * with a ring every `encode` has the values of its own moment.
   */
  update(options: Readonly<Record<string, unknown>>): void;
  /**
   * One of `kernel.dynamic`'s options alone: the dispatch stays as planned, surplus workgroups exit. Allocates nothing.
   * Sizes are at most those of bind. Written as by `update`.
   */
  set(option: string, value: number): void;
  /** Where an option or uniform field lies in `uniform`, in bytes: once for each dispatch that reads it. */
  offsetsOf(name: string): readonly number[];
  /** workgroups = ceil(rows / rowsPerWorkgroup), for kernels of one dispatch over `rows`; otherwise undefined. */
  readonly rowsPerWorkgroup: number | undefined;
  /** What the uniform buffer holds (or has to hold, when it is yours). */
  readonly uniform: ArrayBuffer;
  /** Where it is held: for lengths that the GPU writes there itself (usage COPY_DST where it is ours). */
  readonly uniformBinding: { readonly buffer: GPUBuffer; readonly offset: number; readonly size: number };
  /** With `validate`: rejects with what the device found wrong. */
  readonly validated: Promise<void>;
  /** Frees the uniform buffer, if it is ours. The call must not be encoded afterwards. */
  destroy(): void;
}

/** One uniform buffer for any number of calls, a slot for each encode. */
export interface UniformRing {
  readonly device: GPUDevice;
  readonly buffer: GPUBuffer;
  /** Bytes taken since the last flush. */
  readonly used: number;
  /**
   * Writes what encodes since the last flush have packed, in one `queue.writeBuffer`, and starts again. Call it once before
   * you submit what they were recorded into, and submit that before the next flush: the queue keeps that order.
   */
  flush(): void;
  destroy(): void;
  /** Takes a slot and fills it; answers with its offset. */
  take(words: Uint32Array): number;
}

/** A ring with room for `bytes` between two flushes: each dispatch takes `minUniformBufferOffsetAlignment` (256, as a rule). */
export function createUniformRing(device: GPUDevice, { bytes = 65536 }: { bytes?: number } = {}): UniformRing {
  const name = 'createUniformRing';
  requireAlive(name, device);
  const alignment = device.limits.minUniformBufferOffsetAlignment;
  integer(name, 'bytes', bytes, alignment, device.limits.maxBufferSize);
  const size = Math.ceil(bytes / alignment) * alignment;
  const buffer = device.createBuffer({ label: 'lanewise params', size, usage: USAGE.UNIFORM | USAGE.COPY_DST });
  const shadow = new Uint32Array(size / 4);
  let used = 0;
  return {
    device,
    buffer,
    get used() {
      return used;
    },
    take(words) {
      const at = used;
      if (at + words.byteLength > size)
        throw new RangeError(
          message(
            name,
            'bytes',
            `room for every encode between two flushes (${size} bytes are taken)`,
            at + words.byteLength,
          ),
        );
      shadow.set(words, at >> 2);
      used = at + words.byteLength;
      return at;
    },
    flush() {
      if (used) device.queue.writeBuffer(buffer, 0, shadow, 0, used >> 2);
      used = 0;
    },
    destroy: () => buffer.destroy(),
  };
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
    throw new RangeError(message(kernel, name, `buffer with usage ${USAGE_NAME[usage]} (${usage})`, buffer.usage));
  if (size < bytes) throw new RangeError(message(kernel, name, `at least ${bytes} bytes`, size));
  if (bytes > maximum)
    throw new RangeError(message(kernel, name, `at most ${maximum} bytes (the device's limit)`, bytes));
  return { buffer, offset, size: bytes };
}

/** The numbers of GPUBufferUsage we need (the global exists only where WebGPU does). */
const USAGE = { COPY_DST: 8, UNIFORM: 64, STORAGE: 128, INDIRECT: 256 } as const;
const USAGE_NAME: Record<number, string> = { 64: 'UNIFORM', 128: 'STORAGE', 256: 'INDIRECT' };

const WRITERS: Record<string, (view: DataView, at: number, value: number) => void> = {
  u32: (view, at, value) => view.setUint32(at, value, true),
  i32: (view, at, value) => view.setInt32(at, value, true),
  f32: (view, at, value) => view.setFloat32(at, value, true),
};

/** An entry's uniform; a step's own numbers come first. */
function pack({ params: fields }: Entry, params: Params, own: Params | undefined, view: DataView, at: number): void {
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    WRITERS[field[1]]!(view, at + 4 * i, own?.[field[0]] ?? params[field[0]] ?? 0);
  }
}

/** Uniform structs are bound at a size rounded up to 16 bytes. */
const uniformBytes = (entry: Entry) => Math.ceil(entry.params.length / 4) * 16;

/** `count` workgroups as a dispatch that no dimension refuses. The shader skips what is too many. */
function spread(count: number, limit: number): [number, number] {
  if (count <= limit) return [count, 1];
  const y = Math.ceil(count / limit);
  return [Math.ceil(count / y), y];
}

/** Names for buffers, to know them again. */
const ids = new WeakMap<GPUBuffer, number>();
let lastId = 0;
function idOf(buffer: GPUBuffer): number {
  let id = ids.get(buffer);
  if (id === undefined) ids.set(buffer, (id = ++lastId));
  return id;
}

/** A number of rows that divides by any workgroup's. */
const ROWS = 2 ** 16;

/** Bind groups kept per entry point: as many sets of buffers as one kernel is likely to serve. */
const MOST_GROUPS = 128;

const renamed = ({ rename }: Step) => (rename ? Object.entries(rename).join() : '');

/** One dispatch, ready to be recorded. */
interface Dispatch {
  pipeline: GPUComputePipeline;
  group: GPUBindGroup;
  x: number;
  y: number;
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
  const dynamic = definition.dynamic ?? {};
  const dynamicNames = Object.keys(dynamic);
  /** Those that are sizes or positions. */
  const sizes = new Set(
    dynamicNames.filter((option) =>
      Object.entries(shader.entries).some(
        ([entry, { params }]) =>
          own(entry) && params.some(([field, type]) => field === dynamic[option]!.field && type === 'u32'),
      ),
    ),
  );

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
    const usable = Object.fromEntries(
      Object.entries(shader.entries).filter(([entry]) => definition.usable?.(entry, numbers) ?? true),
    );
    const entryNames = Object.keys(usable).filter(own);
    const overrides: Record<string, number> = {};
    for (const key of Object.keys(shader.overrides)) {
      if (numbers[key] === undefined || Number.isNaN(numbers[key])) continue;
      overrides[key] = finite(name, key, numbers[key]);
    }
    const wgsl = shader.wgsl[level];
    const module = device.createShaderModule({ code: wgsl, label: options.label ?? `lanewise ${name}` });
    const compiled = await Promise.all(
      entryNames.map(async (entry) => {
        const { bindings, uniform } = usable[entry]!;
        const layout = device.createBindGroupLayout({
          label: entry,
          entries: [
            ...Object.values(bindings).map(([binding, type]) => ({
              binding,
              visibility: 4,
              buffer: { type: type as GPUBufferBindingType },
            })),
            { binding: uniform, visibility: 4, buffer: { type: 'uniform' as const, hasDynamicOffset: true } },
          ],
        });
        try {
          const pipeline = await device.createComputePipelineAsync({
            label: entry,
            layout: device.createPipelineLayout({ label: entry, bindGroupLayouts: [layout] }),
            compute: { module, entryPoint: entry, constants: overrides },
          });
          return [entry, { layout, pipeline, groups: new Map<string, GPUBindGroup>() }] as const;
        } catch (error) {
          requireAlive(name, device);
          throw error;
        }
      }),
    );
    // A device lost meanwhile may still hand out pipelines.
    requireAlive(name, device);
    const pipelines = Object.fromEntries(compiled);

    const alignment = device.limits.minUniformBufferOffsetAlignment;
    /** Bytes from one dispatch's uniform to the next one's. */
    const strides = Object.fromEntries(
      entryNames.map((entry) => [entry, Math.ceil(uniformBytes(usable[entry]!) / alignment) * alignment]),
    );
    const arrays = Object.entries(contract.arrays);

    /** bind's and update's options as the contract's numbers, those fixed at compile among them. */
    function numbersOf(given: Record<string, unknown>): Params {
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

    function bind(
      buffers: Readonly<Record<string, Binding | undefined>>,
      given: Record<string, unknown>,
      extra: BindOptions = {},
    ): Call {
      requireAlive(name, device);
      const params = numbersOf(given);
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
      const names = new Set(Object.keys(resolved));
      const stepsFor = (params: Params) =>
        definition.steps({ params, given: names, same, limits }).filter((step) => step.workgroups > 0);
      const bytesFor = (steps: Step[]) => steps.reduce((sum, step) => sum + strides[step.entry]!, 0);
      const ring = extra.uniform && 'take' in extra.uniform ? extra.uniform : undefined;
      if (ring && ring.device !== device)
        throw new RangeError(message(name, 'uniform', "ring of the kernel's device", 'a ring of another device'));
      let current = params;
      let steps = stepsFor(params);
      let uniform = new ArrayBuffer(Math.max(bytesFor(steps), alignment));
      let view = new DataView(uniform);
      let words = new Uint32Array(uniform);
      let base: Resolved;
      let owned: GPUBuffer | undefined;
      if (ring) {
        base = { buffer: ring.buffer, offset: 0, size: ring.buffer.size };
      } else if (extra.uniform) {
        base = resolve(
          name,
          'uniform',
          extra.uniform as Binding,
          bytesFor(steps),
          USAGE.UNIFORM,
          alignment,
          limits.maxBufferSize,
        );
      } else {
        owned = device.createBuffer({
          label: `${name} params`,
          size: uniform.byteLength,
          usage: USAGE.UNIFORM | USAGE.COPY_DST,
          mappedAtCreation: true,
        });
        base = { buffer: owned, offset: 0, size: uniform.byteLength };
      }

      function groupFor({ entry, rename }: Step): Pick<Dispatch, 'pipeline' | 'group'> {
        const { bindings, uniform: at } = usable[entry]!;
        const { layout, pipeline, groups } = pipelines[entry]!;
        const entries: GPUBindGroupEntry[] = [];
        let key = `${idOf(base.buffer)}+${base.offset}`;
        for (const [array, [binding]] of Object.entries(bindings)) {
          const target = rename?.[array] ?? array;
          const resource = resolved[target];
          if (!resource) throw new TypeError(message(name, target, 'GPUBuffer or { buffer, offset, size }', undefined));
          entries.push({ binding, resource });
          key += ` ${idOf(resource.buffer)}+${resource.offset}:${resource.size}`;
        }
        let group = groups.get(key);
        if (!group) {
          const size = uniformBytes(usable[entry]!);
          entries.push({ binding: at, resource: { buffer: base.buffer, offset: base.offset, size } });
          group = device.createBindGroup({ label: entry, layout, entries });
          // A uniform buffer of our own is never bound again.
          if (!owned) {
            if (groups.size === MOST_GROUPS) groups.delete(groups.keys().next().value!);
            groups.set(key, group);
          }
        }
        return { pipeline, group };
      }

      const dispatches: Dispatch[] = [];
      /** Bytes from the uniform's start, by dispatch; and with the ring's slot added, as setBindGroup takes them. */
      const offsets: number[] = [];
      const dynamicOffset = new Uint32Array(1);

      /** Dispatches and uniform of `steps` in place; what is as in `old` keeps its bind group. */
      function arrange(old: readonly Step[]): void {
        let at = 0;
        for (let i = 0; i < steps.length; i++) {
          const step = steps[i]!;
          const dispatch = (dispatches[i] ??= { pipeline: undefined!, group: undefined!, x: 0, y: 0 });
          if (!old[i] || old[i]!.entry !== step.entry || renamed(old[i]!) !== renamed(step))
            Object.assign(dispatch, groupFor(step));
          [dispatch.x, dispatch.y] = spread(step.workgroups, limits.maxComputeWorkgroupsPerDimension);
          offsets[i] = at;
          pack(usable[step.entry]!, current, step.params, view, at);
          at += strides[step.entry]!;
        }
        dispatches.length = offsets.length = steps.length;
      }

      const scope = extra.validate === true;
      if (scope) device.pushErrorScope('validation');
      arrange([]);
      let validated = Promise.resolve();
      if (scope) {
        for (const { buffer } of Object.values(resolved))
          if (buffer.usage & USAGE.COPY_DST) device.queue.writeBuffer(buffer, 0, new Uint8Array(0));
        validated = device.popErrorScope().then((error) => {
          if (error)
            throw new RangeError(message(name, 'buffers', 'buffers of this device, not destroyed', error.message));
        });
      }
      if (owned) {
        new Uint8Array(owned.getMappedRange()).set(new Uint8Array(uniform));
        owned.unmap();
      }

      /** After a change of `uniform`: where it is ours, the device's copy too. */
      const written = (): void => {
        if (owned) device.queue.writeBuffer(owned, 0, words);
      };

      const fieldOffsets = new Map<string, number[]>();
      function offsetsOf(option: string): number[] {
        let found = fieldOffsets.get(option);
        if (!found) {
          const field = dynamic[option]?.field ?? option;
          found = steps.flatMap((step, i) => {
            const at = usable[step.entry]!.params.findIndex(([other]) => other === field);
            return at < 0 ? [] : [offsets[i]! + 4 * at];
          });
          fieldOffsets.set(option, found);
        }
        return found;
      }

      /** Dynamic options as they are now, and as planned for. */
      const now: Record<string, number> = {};
      const planned: Record<string, number> = {};
      function plan(): void {
        fieldOffsets.clear();
        for (const option of dynamicNames) now[option] = planned[option] = current[option]!;
      }
      plan();
      return {
        get uniform() {
          return uniform;
        },
        uniformBinding: base,
        validated,
        encode(pass) {
          const from = ring ? ring.take(words) : 0;
          for (let i = 0; i < dispatches.length; i++) {
            const { pipeline, group, x, y } = dispatches[i]!;
            dynamicOffset[0] = from + offsets[i]!;
            pass.setPipeline(pipeline);
            pass.setBindGroup(0, group, dynamicOffset, 0, 1);
            pass.dispatchWorkgroups(x, y);
          }
        },
        encodeIndirect(pass, buffer, offset) {
          if (dispatches.length !== 1)
            throw new RangeError(message(name, 'encodeIndirect', 'a call of one dispatch', dispatches.length));
          resolve(name, 'indirect', { buffer, offset }, 12, USAGE.INDIRECT, 4, limits.maxBufferSize);
          dynamicOffset[0] = (ring ? ring.take(words) : 0) + offsets[0]!;
          pass.setPipeline(dispatches[0]!.pipeline);
          pass.setBindGroup(0, dispatches[0]!.group, dynamicOffset, 0, 1);
          pass.dispatchWorkgroupsIndirect(buffer, offset);
        },
        update(changes) {
          const options = { ...given, ...changes };
          const next = numbersOf(options);
          const lengths = { ...contract.lengths(next), ...definition.lengths?.(next) };
          for (const [array, { optional }] of arrays) {
            const bytes = Math.ceil((lengths[array]! * bytesOf(contract, array, next)) / 4) * 4;
            const room = resolved[array]?.size ?? (optional ? Infinity : 0);
            if (bytes > room)
              throw new RangeError(message(name, array, `at most the ${room} bytes that were bound`, bytes));
          }
          const old = steps;
          const planned = stepsFor(next);
          const size = bytesFor(planned);
          if (size > uniform.byteLength) {
            if (!ring && size > base.size)
              throw new RangeError(
                message(name, 'uniform', `options that take at most ${base.size} bytes of uniform, as bound`, size),
              );
            uniform = new ArrayBuffer(size);
            view = new DataView(uniform);
            words = new Uint32Array(uniform);
          }
          given = options;
          current = next;
          steps = planned;
          arrange(old);
          plan();
          written();
        },
        set(option, value) {
          const known = dynamic[option];
          if (!known)
            throw new RangeError(
              message(name, 'set', dynamicNames.join(' or ') || 'nothing: update() takes every option', option),
            );
          const { least, most } = known;
          const size = sizes.has(option);
          if (size) integer(name, option, value, least ? now[least]! : 0, most ? now[most]! : planned[option]!);
          else finite(name, option, value);
          const at = offsetsOf(option);
          for (let i = 0; i < at.length; i++) {
            if (size) view.setUint32(at[i]!, value, true);
            else view.setFloat32(at[i]!, value, true);
          }
          now[option] = value;
          written();
        },
        offsetsOf,
        get rowsPerWorkgroup() {
          if (steps.length !== 1 || current.rows === undefined) return undefined;
          const many = stepsFor({ ...current, rows: ROWS });
          return many.length === 1 ? ROWS / many[0]!.workgroups : undefined;
        },
        destroy: () => owned?.destroy(),
      };
    }

    return {
      name,
      device,
      level,
      wgsl,
      bindings: Object.fromEntries(entryNames.map((entry) => [entry, usable[entry]!])),
      packParams(entry, params) {
        const known = usable[entry];
        if (!known) throw new RangeError(message(name, 'entry', entryNames.map((e) => `"${e}"`).join(' or '), entry));
        const buffer = new ArrayBuffer(uniformBytes(known));
        pack(known, params, undefined, new DataView(buffer), 0);
        return buffer;
      },
      fieldOffset(entry, field) {
        const at = usable[entry]?.params.findIndex(([other]) => other === field) ?? -1;
        if (at < 0) throw new RangeError(message(name, 'field', `uniform field of ${entryNames.join(' or ')}`, field));
        return 4 * at;
      },
      dynamic: dynamicNames,
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
