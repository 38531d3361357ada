/** What `bind` makes: one kernel on buffers, its dispatches planned and their uniform packed. */
import { message } from './errors.js';
import {
  type Binding,
  bytesOf,
  lengthsOf,
  type Resolved,
  requireAlive,
  resolve,
  resolveArrays,
  USAGE,
} from './gpu-buffers.js';
import { type Compiled, plannerOf } from './gpu-plan.js';
import { type UniformRing, uniformOf } from './gpu-uniform.js';
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

/** Bytes from the buffer's start to a dispatch's numbers, as setBindGroup takes it: one for all calls, read at once. */
const dynamicOffset = new Uint32Array(1);

/** A number of rows that divides by any workgroup's. */
const ROWS = 2 ** 16;

/** Closes the error scope in which bind groups were made: rejects with what the device finds wrong with the buffers. */
async function verdict(kernel: string, device: GPUDevice, arrays: Readonly<Record<string, Resolved>>): Promise<void> {
  for (const { buffer } of Object.values(arrays))
    if (buffer.usage & USAGE.COPY_DST) device.queue.writeBuffer(buffer, 0, new Uint8Array(0));
  const error = await device.popErrorScope();
  if (error) throw new RangeError(message(kernel, 'buffers', 'buffers of this device, not destroyed', error.message));
}

/** Checks buffers and options, plans the dispatches and packs their uniform. */
export function bindCall(
  compiled: Compiled,
  buffers: Readonly<Record<string, Binding | undefined>>,
  given: Record<string, unknown>,
  extra: BindOptions,
): Call {
  const { device, definition, entries, dynamic, sizes, numbersOf } = compiled;
  const { contract } = definition;
  const { kernel } = contract;
  const { limits } = device;
  requireAlive(kernel, device);
  let current = numbersOf(given);
  const arrays = resolveArrays(contract, buffers, lengthsOf(definition, current), current, limits);
  const planner = plannerOf(compiled, arrays);
  const { dispatches } = planner;
  const planned = planner.planFor(current);
  const uniform = uniformOf(kernel, device, extra.uniform, planner.bytesFor(planned));

  if (extra.validate) device.pushErrorScope('validation');
  planner.arrange(planned, current, uniform);
  const validated = extra.validate ? verdict(kernel, device, arrays) : Promise.resolve();
  uniform.written();

  const offsets = new Map<string, number[]>();
  function offsetsOf(option: string): number[] {
    let found = offsets.get(option);
    if (!found) {
      const field = dynamic[option]?.field ?? option;
      found = planner.steps.flatMap(({ entry }, i) => {
        const index = entries[entry]!.params.findIndex(([other]) => other === field);
        return index < 0 ? [] : [dispatches[i]!.at + 4 * index];
      });
      offsets.set(option, found);
    }
    return found;
  }

  /** Dynamic options as they are now, and the most they can be. */
  const now: Record<string, number> = {};
  const most: Record<string, number> = {};
  function remember(): void {
    offsets.clear();
    for (const option of Object.keys(dynamic)) now[option] = most[option] = current[option]!;
  }
  remember();

  return {
    get uniform() {
      return uniform.bytes;
    },
    uniformBinding: uniform.binding,
    validated,
    encode(pass) {
      const place = uniform.place();
      for (let i = 0; i < dispatches.length; i++) {
        const { pipeline, group, x, y, at } = dispatches[i]!;
        dynamicOffset[0] = place + at;
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group, dynamicOffset, 0, 1);
        pass.dispatchWorkgroups(x, y);
      }
    },
    encodeIndirect(pass, buffer, offset) {
      if (dispatches.length !== 1)
        throw new RangeError(message(kernel, 'encodeIndirect', 'a call of one dispatch', dispatches.length));
      resolve(kernel, 'indirect', { buffer, offset }, 12, USAGE.INDIRECT, 4, limits.maxBufferSize);
      const { pipeline, group, at } = dispatches[0]!;
      dynamicOffset[0] = uniform.place() + at;
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group, dynamicOffset, 0, 1);
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
      const steps = planner.planFor(next);
      uniform.reserve(planner.bytesFor(steps));
      planner.arrange(steps, next, uniform);
      given = options;
      current = next;
      remember();
      uniform.written();
    },
    set(option, value) {
      const known = dynamic[option];
      if (!known)
        throw new RangeError(
          message(kernel, 'set', Object.keys(dynamic).join(' or ') || 'nothing: update() takes every option', option),
        );
      const size = sizes.has(option);
      if (size)
        integer(
          kernel,
          option,
          value,
          known.least ? now[known.least]! : 0,
          known.most ? now[known.most]! : most[option]!,
        );
      else finite(kernel, option, value);
      const { view } = uniform;
      const at = offsetsOf(option);
      for (let i = 0; i < at.length; i++) {
        if (size) view.setUint32(at[i]!, value, true);
        else view.setFloat32(at[i]!, value, true);
      }
      now[option] = value;
      uniform.written();
    },
    offsetsOf,
    get rowsPerWorkgroup() {
      if (planner.steps.length !== 1 || current.rows === undefined) return undefined;
      const many = planner.stepsFor({ ...current, rows: ROWS });
      return many.length === 1 ? ROWS / many[0]!.workgroups : undefined;
    },
    destroy: uniform.destroy,
  };
}
