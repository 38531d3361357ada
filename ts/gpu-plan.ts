/** From a call's numbers to its dispatches: the steps of the kernel's definition, checked, spread over two dimensions, bound and packed. */
import type { Params } from './contract.js';
import { message } from './errors.js';
import type { Definition, Dynamic, Entry, Step } from './gpu/runtime.js';
import { EXPECTED, idOf, type Resolved, sameRange } from './gpu-buffers.js';
import { type CallUniform, pack, uniformBytes } from './gpu-uniform.js';

/** What `compile` leaves for calls: pipelines, and what of the kernel's definition they need. */
export interface Compiled {
  readonly device: GPUDevice;
  readonly definition: Definition<any>;
  /** Entry points that a call with these constants may take. */
  readonly entries: Readonly<Record<string, Entry>>;
  readonly pipelines: Readonly<Record<string, Pipeline>>;
  readonly dynamic: ReadonlyMap<string, DynamicOption>;
  /** bind's and update's options as the contract's numbers, those fixed at compile among them. */
  numbersOf(given: Record<string, unknown>): Params;
}

export interface DynamicOption extends Dynamic {
  readonly field: string;
  /** It is a size or a position, not a factor. */
  readonly size: boolean;
}

export interface Pipeline {
  readonly layout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
  /** Bind groups by what is bound. */
  readonly groups: Map<string, GPUBindGroup>;
}

/** One dispatch, ready to be recorded. */
export interface Dispatch {
  pipeline: GPUComputePipeline;
  group: GPUBindGroup;
  x: number;
  y: number;
  /** Where its numbers lie in the call's uniform, in bytes. */
  at: number;
}

type Arrays = Readonly<Record<string, Resolved>>;

/** `count` workgroups as a dispatch that no dimension refuses. The shader skips what is too many. */
function spread(count: number, limit: number): [number, number] {
  if (count <= limit) return [count, 1];
  const y = Math.ceil(count / limit);
  return [Math.ceil(count / y), y];
}

/** Bind groups kept for each entry point: as many sets of buffers as one kernel is likely to serve. */
const MOST_GROUPS = 128;

/** The bind group of one step. Kept unless the uniform serves this call alone. */
function groupOf(
  { device, entries, pipelines }: Compiled,
  { entry, rename }: Step,
  arrays: Arrays,
  { binding: { buffer, offset }, own }: CallUniform,
): GPUBindGroup {
  const { bindings, uniform } = entries[entry]!;
  const { layout, groups } = pipelines[entry]!;
  const bound: GPUBindGroupEntry[] = [];
  let key = `${idOf(buffer)}+${offset}`;
  for (const [array, [binding]] of Object.entries(bindings)) {
    const resource = arrays[rename?.[array] ?? array]!;
    bound.push({ binding, resource });
    key += ` ${idOf(resource.buffer)}+${resource.offset}:${resource.size}`;
  }
  let group = groups.get(key);
  if (group) groups.delete(key);
  else {
    bound.push({ binding: uniform, resource: { buffer, offset, size: uniformBytes(entries[entry]!) } });
    group = device.createBindGroup({ label: entry, layout, entries: bound });
    if (own) return group;
    if (groups.size === MOST_GROUPS) groups.delete(groups.keys().next().value!);
  }
  // A map keeps the order of setting: what was used last is dropped last.
  groups.set(key, group);
  return group;
}

const renamed = ({ rename }: Step) => (rename ? Object.entries(rename).join() : '');

/** Plans a call on its arrays, and holds what is arranged. */
export interface Planner {
  /** In order, as they are to be recorded. Always the same array. */
  readonly dispatches: readonly Dispatch[];
  /** What they were made of. */
  readonly steps: readonly Step[];
  /** The steps for these numbers, without those that have nothing to do. */
  stepsFor(params: Params): Step[];
  /** The same, where every array that they take was given. */
  planFor(params: Params): Step[];
  /** Bytes of uniform that they take; a call without any has room for one. */
  bytesFor(steps: readonly Step[]): number;
  /** Makes dispatches and the uniform's content those of `steps`, in place: what is as it was keeps its bind group. */
  arrange(steps: readonly Step[], params: Params, uniform: CallUniform): void;
}

/** A GPUBuffer cannot be read by one binding of a dispatch and written by another, wherever their ranges lie. */
function requireApart(kernel: string, { bindings }: Entry, { rename }: Step, arrays: Arrays): void {
  for (const out in bindings) {
    if (bindings[out]![1] !== 'storage') continue;
    const written = rename?.[out] ?? out;
    for (const other in bindings) {
      if (bindings[other]![1] !== 'read-only-storage') continue;
      const read = rename?.[other] ?? other;
      if (arrays[read]!.buffer === arrays[written]!.buffer) {
        const expected = `another GPUBuffer than that of "${read}", which the same dispatch reads`;
        throw new RangeError(message(kernel, written, expected, 'the same'));
      }
    }
  }
}

export function plannerOf(compiled: Compiled, arrays: Arrays): Planner {
  const { device, definition, entries, pipelines } = compiled;
  const { limits } = device;
  const { minUniformBufferOffsetAlignment: alignment, maxComputeWorkgroupsPerDimension } = limits;
  const given = new Set(Object.keys(arrays));
  const same = (a: string, b: string) => sameRange(arrays[a], arrays[b]);
  const stepsFor = (params: Params) =>
    definition.steps({ params, given, same, limits }).filter((step) => step.workgroups > 0);
  /** From one dispatch's numbers in the uniform to the next one's. */
  const strideOf = ({ entry }: Step) => Math.ceil(uniformBytes(entries[entry]!) / alignment) * alignment;
  const dispatches: Dispatch[] = [];
  let arranged: readonly Step[] = [];
  return {
    dispatches,
    get steps() {
      return arranged;
    },
    stepsFor,
    planFor(params) {
      const steps = stepsFor(params);
      for (const { entry, rename } of steps)
        for (const array of Object.keys(entries[entry]!.bindings)) {
          const target = rename?.[array] ?? array;
          if (!arrays[target]) throw new TypeError(message(definition.contract.kernel, target, EXPECTED, undefined));
        }
      for (const step of steps) requireApart(definition.contract.kernel, entries[step.entry]!, step, arrays);
      return steps;
    },
    bytesFor: (steps) => steps.reduce((sum, step) => sum + strideOf(step), 0) || alignment,
    arrange(steps, params, uniform) {
      let at = 0;
      for (let i = 0; i < steps.length; i++) {
        const step = steps[i]!;
        const old = arranged[i];
        const dispatch = (dispatches[i] ??= { pipeline: undefined!, group: undefined!, x: 0, y: 0, at });
        if (old?.entry !== step.entry || renamed(old) !== renamed(step)) {
          dispatch.pipeline = pipelines[step.entry]!.pipeline;
          dispatch.group = groupOf(compiled, step, arrays, uniform);
        }
        [dispatch.x, dispatch.y] = spread(step.workgroups, maxComputeWorkgroupsPerDimension);
        dispatch.at = at;
        pack(entries[step.entry]!, params, step.params, uniform.view, at);
        at += strideOf(step);
      }
      dispatches.length = steps.length;
      arranged = steps;
    },
  };
}
