/** What `bind` makes: one kernel on buffers, its dispatches planned and their uniform packed. */
import type { Params } from './contract.js';
import { message } from './errors.js';
import type { Definition, Dynamic, Entry, Step } from './gpu/runtime.js';
import {
  type Binding,
  bytesOf,
  EXPECTED,
  idOf,
  lengthsOf,
  type Resolved,
  requireAlive,
  resolve,
  resolveArrays,
  sameRange,
  USAGE,
} from './gpu-buffers.js';
import { pack, ringOf, type UniformRing, uniformBytes } from './gpu-uniform.js';
import { finite, integer } from './validate.js';

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

/** What `compile` leaves for calls: pipelines, and what of the kernel's definition they need. */
export interface Compiled {
  readonly device: GPUDevice;
  readonly definition: Definition<any>;
  /** Entry points that a call with these constants may take. */
  readonly entries: Readonly<Record<string, Entry>>;
  readonly pipelines: Readonly<Record<string, Pipeline>>;
  readonly dynamic: Readonly<Record<string, Dynamic>>;
  /** Dynamic options that are sizes or positions. */
  readonly sizes: ReadonlySet<string>;
  /** bind's and update's options as the contract's numbers, those fixed at compile among them. */
  numbersOf(given: Record<string, unknown>): Params;
}

export interface Pipeline {
  readonly layout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
  /** Bind groups by what is bound. */
  readonly groups: Map<string, GPUBindGroup>;
}

/** One dispatch, ready to be recorded. */
interface Dispatch {
  pipeline: GPUComputePipeline;
  group: GPUBindGroup;
  x: number;
  y: number;
}

/** A number of rows that divides by any workgroup's. */
const ROWS = 2 ** 16;

/** Bind groups kept per entry point: as many sets of buffers as one kernel is likely to serve. */
const MOST_GROUPS = 128;

const renamed = ({ rename }: Step) => (rename ? Object.entries(rename).join() : '');

/** `count` workgroups as a dispatch that no dimension refuses. The shader skips what is too many. */
function spread(count: number, limit: number): [number, number] {
  if (count <= limit) return [count, 1];
  const y = Math.ceil(count / limit);
  return [Math.ceil(count / y), y];
}

/** The bind group of one entry point: `arrays` as the step names them, and `uniform`. Kept unless the uniform serves this call alone. */
function groupOf(
  { device, entries, pipelines }: Compiled,
  { entry, rename }: Step,
  arrays: Readonly<Record<string, Resolved>>,
  uniform: Resolved,
  keep: boolean,
): GPUBindGroup {
  const { bindings, uniform: uniformBinding } = entries[entry]!;
  const { layout, groups } = pipelines[entry]!;
  const bound: GPUBindGroupEntry[] = [];
  let key = `${idOf(uniform.buffer)}+${uniform.offset}`;
  for (const [array, [binding]] of Object.entries(bindings)) {
    const resource = arrays[rename?.[array] ?? array]!;
    bound.push({ binding, resource });
    key += ` ${idOf(resource.buffer)}+${resource.offset}:${resource.size}`;
  }
  let group = groups.get(key);
  if (!group) {
    const { buffer, offset } = uniform;
    bound.push({ binding: uniformBinding, resource: { buffer, offset, size: uniformBytes(entries[entry]!) } });
    group = device.createBindGroup({ label: entry, layout, entries: bound });
    if (keep) {
      if (groups.size === MOST_GROUPS) groups.delete(groups.keys().next().value!);
      groups.set(key, group);
    }
  }
  return group;
}

/** Checks buffers and options, plans the dispatches and packs their uniform. */
export function bindCall(
  compiled: Compiled,
  buffers: Readonly<Record<string, Binding | undefined>>,
  given: Record<string, unknown>,
  extra: BindOptions,
): Call {
  const { device, definition, entries, pipelines, dynamic, sizes, numbersOf } = compiled;
  const { contract } = definition;
  const { kernel } = contract;
  const { limits } = device;
  requireAlive(kernel, device);
  const alignment = limits.minUniformBufferOffsetAlignment;

  let current = numbersOf(given);
  const arrays = resolveArrays(contract, buffers, lengthsOf(definition, current), current, limits);
  const names = new Set(Object.keys(arrays));
  const same = (a: string, b: string) => sameRange(arrays[a], arrays[b]);
  const stepsFor = (params: Params) =>
    definition.steps({ params, given: names, same, limits }).filter((step) => step.workgroups > 0);
  /** The same, where every array that they take was given. */
  function planFor(params: Params): Step[] {
    const planned = stepsFor(params);
    for (const { entry, rename } of planned)
      for (const array of Object.keys(entries[entry]!.bindings)) {
        const target = rename?.[array] ?? array;
        if (!arrays[target]) throw new TypeError(message(kernel, target, EXPECTED, undefined));
      }
    return planned;
  }
  /** Bytes from one dispatch's uniform to the next one's. */
  const strideOf = ({ entry }: Step) => Math.ceil(uniformBytes(entries[entry]!) / alignment) * alignment;
  const bytesFor = (steps: readonly Step[]) => steps.reduce((sum, step) => sum + strideOf(step), 0);
  let steps = planFor(current);

  let uniform = new ArrayBuffer(Math.max(bytesFor(steps), alignment));
  let view = new DataView(uniform);
  let words = new Uint32Array(uniform);
  const ring = ringOf(kernel, device, extra.uniform);
  const theirs = ring
    ? { buffer: ring.buffer, offset: 0, size: ring.buffer.size }
    : extra.uniform &&
      resolve(
        kernel,
        'uniform',
        extra.uniform as Binding,
        bytesFor(steps),
        USAGE.UNIFORM,
        alignment,
        limits.maxBufferSize,
      );
  const owned = theirs
    ? undefined
    : device.createBuffer({
        label: `${kernel} params`,
        size: uniform.byteLength,
        usage: USAGE.UNIFORM | USAGE.COPY_DST,
        mappedAtCreation: true,
      });
  const uniformBinding = theirs ?? { buffer: owned!, offset: 0, size: uniform.byteLength };

  const dispatches: Dispatch[] = [];
  /** Bytes from the uniform's start, by dispatch. */
  const offsets: number[] = [];
  /** The same in the ring, as setBindGroup takes it. */
  const dynamicOffset = new Uint32Array(1);

  /** Dispatches and uniform of `steps` in place; what is as in `old` keeps its bind group. */
  function arrange(old: readonly Step[]): void {
    let at = 0;
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!;
      const dispatch = (dispatches[i] ??= { pipeline: undefined!, group: undefined!, x: 0, y: 0 });
      if (!old[i] || old[i]!.entry !== step.entry || renamed(old[i]!) !== renamed(step)) {
        dispatch.pipeline = pipelines[step.entry]!.pipeline;
        dispatch.group = groupOf(compiled, step, arrays, uniformBinding, !owned);
      }
      [dispatch.x, dispatch.y] = spread(step.workgroups, limits.maxComputeWorkgroupsPerDimension);
      offsets[i] = at;
      pack(entries[step.entry]!, current, step.params, view, at);
      at += strideOf(step);
    }
    dispatches.length = offsets.length = steps.length;
  }

  const scope = extra.validate === true;
  if (scope) device.pushErrorScope('validation');
  arrange([]);
  let validated = Promise.resolve();
  if (scope) {
    for (const { buffer } of Object.values(arrays))
      if (buffer.usage & USAGE.COPY_DST) device.queue.writeBuffer(buffer, 0, new Uint8Array(0));
    validated = device.popErrorScope().then((error) => {
      if (error)
        throw new RangeError(message(kernel, 'buffers', 'buffers of this device, not destroyed', error.message));
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
        const at = entries[step.entry]!.params.findIndex(([other]) => other === field);
        return at < 0 ? [] : [offsets[i]! + 4 * at];
      });
      fieldOffsets.set(option, found);
    }
    return found;
  }

  /** Dynamic options as they are now, and as planned for. */
  const now: Record<string, number> = {};
  const planned: Record<string, number> = {};
  function remember(): void {
    fieldOffsets.clear();
    for (const option of Object.keys(dynamic)) now[option] = planned[option] = current[option]!;
  }
  remember();

  return {
    get uniform() {
      return uniform;
    },
    uniformBinding,
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
        throw new RangeError(message(kernel, 'encodeIndirect', 'a call of one dispatch', dispatches.length));
      resolve(kernel, 'indirect', { buffer, offset }, 12, USAGE.INDIRECT, 4, limits.maxBufferSize);
      dynamicOffset[0] = (ring ? ring.take(words) : 0) + offsets[0]!;
      pass.setPipeline(dispatches[0]!.pipeline);
      pass.setBindGroup(0, dispatches[0]!.group, dynamicOffset, 0, 1);
      pass.dispatchWorkgroupsIndirect(buffer, offset);
    },
    update(changes) {
      const options = { ...given, ...changes };
      const next = numbersOf(options);
      const lengths = lengthsOf(definition, next);
      for (const [array, { optional }] of Object.entries(contract.arrays)) {
        const bytes = bytesOf(contract, array, lengths[array]!, next);
        const room = arrays[array]?.size ?? (optional ? Infinity : 0);
        if (bytes > room)
          throw new RangeError(message(kernel, array, `at most the ${room} bytes that were bound`, bytes));
      }
      const old = steps;
      const nextSteps = planFor(next);
      const size = bytesFor(nextSteps);
      if (size > uniform.byteLength) {
        if (!ring && size > uniformBinding.size)
          throw new RangeError(
            message(
              kernel,
              'uniform',
              `options that take at most ${uniformBinding.size} bytes of uniform, as bound`,
              size,
            ),
          );
        uniform = new ArrayBuffer(size);
        view = new DataView(uniform);
        words = new Uint32Array(uniform);
      }
      given = options;
      current = next;
      steps = nextSteps;
      arrange(old);
      remember();
      written();
    },
    set(option, value) {
      const known = dynamic[option];
      if (!known)
        throw new RangeError(
          message(kernel, 'set', Object.keys(dynamic).join(' or ') || 'nothing: update() takes every option', option),
        );
      const { least, most } = known;
      const size = sizes.has(option);
      if (size) integer(kernel, option, value, least ? now[least]! : 0, most ? now[most]! : planned[option]!);
      else finite(kernel, option, value);
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
