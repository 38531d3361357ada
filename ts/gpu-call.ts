/** What `bind` makes: one kernel on buffers, its dispatches planned and their uniform packed. */
import type { Params } from './contract.js';
import { message } from './errors.js';
import {
  type Binding,
  bytesOf,
  isBuffer,
  lengthsOf,
  type Resolved,
  requireAlive,
  requireRange,
  resolveArrays,
  USAGE,
} from './gpu-buffers.js';
import { type Compiled, type DynamicOption, plannerOf } from './gpu-plan.js';
import { type UniformRing, uniformOf } from './gpu-uniform.js';
import { finiteF32, flag, integer, options, word } from './validate.js';

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

/** Bytes from the buffer's start to a dispatch's numbers, as setBindGroup takes it: one for all calls, read at once. */
const dynamicOffset = new Uint32Array(1);

/** An option of `set`: as it is now, as planned for, and where it lies, once somebody asked. */
interface Settable {
  readonly known: DynamicOption;
  now: number;
  planned: number;
  offsets: readonly number[] | undefined;
}

/** A number of rows that divides by any workgroup's. */
const ROWS = 2 ** 16;

/** Closes the error scope in which bind groups were made: rejects with what the device finds wrong with the buffers. */
async function verdict(kernel: string, device: GPUDevice, bound: Readonly<Record<string, Resolved>>): Promise<void> {
  const scopes: (readonly [name: string, scope: Promise<GPUError | null>])[] = [['buffers', device.popErrorScope()]];
  // Writing no bytes tells which one it is, and whether it is destroyed.
  for (const [name, { buffer }] of Object.entries(bound)) {
    if (!(buffer.usage & USAGE.COPY_DST)) continue;
    device.pushErrorScope('validation');
    device.queue.writeBuffer(buffer, 0, new Uint8Array(0));
    scopes.unshift([name, device.popErrorScope()]);
  }
  for (const [name, scope] of scopes) {
    const error = await scope;
    if (error) throw new RangeError(message(kernel, name, 'buffer of this device, not destroyed', error.message));
  }
}

/** Checks buffers and options, plans the dispatches and packs their uniform. */
export function bindCall(
  compiled: Compiled,
  buffers: Readonly<Record<string, Binding | undefined>>,
  given: Record<string, unknown>,
  extra: BindOptions,
): Call {
  const { device, definition, entries, dynamic, numbersOf } = compiled;
  const { contract } = definition;
  const { kernel } = contract;
  const { limits } = device;
  requireAlive(kernel, device);
  const { uniform: chosen, validate = false } = options(kernel, extra, 'extra');
  const asked = flag(kernel, 'validate', validate);
  let current = numbersOf(given);
  let last = { ...given };
  const arrays = resolveArrays(contract, buffers, lengthsOf(definition, current), current, limits);
  const planner = plannerOf(compiled, arrays);
  const { dispatches } = planner;
  const steps = planner.planFor(current);
  const uniform = uniformOf(kernel, device, chosen, planner.bytesFor(steps));

  if (asked) device.pushErrorScope('validation');
  planner.arrange(steps, current, uniform);
  uniform.written();
  const validated = asked ? verdict(kernel, device, { ...arrays, uniform: uniform.binding }) : Promise.resolve();

  function requirePass(pass: GPUComputePassEncoder): void {
    if (typeof pass?.dispatchWorkgroups !== 'function')
      throw new TypeError(message(kernel, 'pass', 'GPUComputePassEncoder', pass));
  }

  /** Where a uniform field lies, for each dispatch that has it and whose own numbers are `steps`. */
  const find = (field: string, steps: Params = {}) =>
    planner.steps.flatMap(({ entry, params }, i) => {
      const index = entries[entry]!.params.findIndex(([other]) => other === field);
      const meant = Object.entries(steps).every(([name, value]) => params?.[name] === value);
      return index < 0 || !meant ? [] : [dispatches[i]!.at + 4 * index];
    });
  const settable = new Map<string, Settable>();
  for (const [option, known] of dynamic) settable.set(option, { known, now: 0, planned: 0, offsets: undefined });
  function remember(): void {
    for (const [option, one] of settable) {
      one.now = one.planned = current[option]!;
      one.offsets = undefined;
    }
  }
  remember();

  return {
    get uniform() {
      return uniform.bytes;
    },
    uniformBinding: uniform.binding,
    validated,
    encode(pass) {
      requirePass(pass);
      const from = uniform.place();
      for (let i = 0; i < dispatches.length; i++) {
        const { pipeline, group, x, y, at } = dispatches[i]!;
        dynamicOffset[0] = from + at;
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group, dynamicOffset, 0, 1);
        pass.dispatchWorkgroups(x, y);
      }
    },
    encodeIndirect(pass, buffer, offset) {
      if (dispatches.length !== 1)
        throw new RangeError(message(kernel, 'encodeIndirect', 'a call of one dispatch', dispatches.length));
      requirePass(pass);
      if (!isBuffer(buffer)) throw new TypeError(message(kernel, 'buffer', 'GPUBuffer', buffer));
      requireRange(kernel, 'buffer', buffer, offset, undefined, 12, USAGE.INDIRECT, 4, 'offset');
      const { pipeline, group, at } = dispatches[0]!;
      dynamicOffset[0] = uniform.place() + at;
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group, dynamicOffset, 0, 1);
      pass.dispatchWorkgroupsIndirect(buffer, offset);
    },
    update(changes) {
      const all = { ...last, ...options(kernel, changes) };
      const next = numbersOf(all);
      const lengths = lengthsOf(definition, next);
      for (const [array, { optional }] of Object.entries(contract.arrays)) {
        const bytes = bytesOf(contract, array, lengths[array]!, next);
        const room = arrays[array]?.size ?? (optional ? Infinity : 0);
        if (bytes > room)
          throw new RangeError(message(kernel, array, `at most the ${room} bytes that were bound`, bytes));
      }
      const steps = planner.planFor(next);
      uniform.reserve(planner.bytesFor(steps));
      planner.arrange(steps, next, uniform);
      last = all;
      current = next;
      remember();
      uniform.written();
    },
    set(option, value) {
      const one = settable.get(option);
      if (!one) {
        const Kind = typeof option === 'string' ? RangeError : TypeError;
        const expected = [...dynamic.keys()].join(' or ') || 'nothing: update() takes every option';
        throw new Kind(message(kernel, 'option', expected, option));
      }
      const { known } = one;
      const { field, size, least, most, min } = known;
      if (size)
        integer(
          kernel,
          option,
          value,
          least ? settable.get(least)!.now : 0,
          most ? settable.get(most)!.now : one.planned,
        );
      else finiteF32(kernel, option, value, min);
      const { view } = uniform;
      const at = (one.offsets ??= find(field, known.steps));
      for (let i = 0; i < at.length; i++) {
        if (size) view.setUint32(at[i]!, value, true);
        else view.setFloat32(at[i]!, value, true);
      }
      one.now = value;
      uniform.written();
    },
    offsetsOf(name) {
      const one = settable.get(name);
      if (one) return (one.offsets ??= find(one.known.field, one.known.steps));
      const fields = Object.values(entries).flatMap(({ params }) => params.map(([field]) => field));
      word(kernel, 'name', name, [...new Set([...dynamic.keys(), ...fields])]);
      return find(name);
    },
    get rowsPerWorkgroup() {
      // Down columns workgroups are counted by groups of rows and columns.
      if (planner.steps.length !== 1 || current.rows === undefined || current.axis) return undefined;
      const many = planner.stepsFor({ ...current, rows: ROWS });
      return many.length === 1 ? ROWS / many[0]!.workgroups : undefined;
    },
    destroy: uniform.destroy,
  };
}
