/** Uniform buffers: how an entry point's numbers are packed, where a call keeps them, and the ring that many calls share. */
import type { Params } from './contract.js';
import { message } from './errors.js';
import type { Entry } from './gpu/runtime.js';
import { type Binding, type Resolved, requireAlive, resolve, USAGE } from './gpu-buffers.js';
import { integer, options } from './validate.js';

const WRITERS: Record<string, (view: DataView, at: number, value: number) => void> = {
  u32: (view, at, value) => view.setUint32(at, value, true),
  i32: (view, at, value) => view.setInt32(at, value, true),
  f32: (view, at, value) => view.setFloat32(at, value, true),
};

/** An entry's uniform; a step's own numbers come first. */
export function pack(
  { params: fields }: Entry,
  params: Params,
  own: Params | undefined,
  view: DataView,
  at: number,
): void {
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    WRITERS[field[1]]!(view, at + 4 * i, own?.[field[0]] ?? params[field[0]] ?? 0);
  }
}

/** Uniform structs are bound at a size rounded up to 16 bytes. */
export const uniformBytes = (entry: Entry) => Math.ceil(entry.params.length / 4) * 16;

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
export function createUniformRing(device: GPUDevice, given: { bytes?: number } = {}): UniformRing {
  const name = 'createUniformRing';
  requireAlive(name, device);
  const { bytes = 65536 } = options(name, given);
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
      if (!(words instanceof Uint32Array) || words.byteLength % alignment)
        throw new TypeError(message(name, 'words', `Uint32Array of a multiple of ${alignment} bytes`, words));
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

/** The ring, if `uniform` is one: of the same device. */
function ringOf(kernel: string, device: GPUDevice, uniform: Binding | UniformRing): UniformRing | undefined {
  if (typeof (uniform as UniformRing | null)?.take !== 'function') return undefined;
  const ring = uniform as UniformRing;
  if (ring.device !== device)
    throw new RangeError(message(kernel, 'uniform', "ring of the kernel's device", 'a ring of another device'));
  return ring;
}

/** One call's numbers: here as they should be, and the buffer where the device reads them. */
export interface CallUniform {
  /** What a bind group and a copy are told. */
  readonly binding: Resolved;
  /** Does the buffer serve this call alone? */
  readonly own: boolean;
  readonly bytes: ArrayBuffer;
  readonly view: DataView;
  /** Room for as much, or a RangeError; what was written before may be gone. */
  reserve(size: number): void;
  /** Where in the buffer an encode of this moment finds the numbers: a ring's next slot, filled. */
  place(): number;
  /** Brings the device's copy up to date, where it is ours to write. */
  written(): void;
  destroy(): void;
}

/** A uniform of `size` bytes in a ring, in the caller's own buffer, or (`given` undefined) in one that is made here. */
export function uniformOf(
  kernel: string,
  device: GPUDevice,
  given: Binding | UniformRing | undefined,
  size: number,
): CallUniform {
  const { minUniformBufferOffsetAlignment: alignment, maxBufferSize } = device.limits;
  const ring = given === undefined ? undefined : ringOf(kernel, device, given);
  const theirs = ring
    ? { buffer: ring.buffer, offset: 0, size: ring.buffer.size }
    : given === undefined
      ? undefined
      : resolve(kernel, 'uniform', given as Binding, size, USAGE.UNIFORM, alignment, maxBufferSize);
  const owned = theirs
    ? undefined
    : device.createBuffer({
        label: `${kernel} params`,
        size,
        usage: USAGE.UNIFORM | USAGE.COPY_DST,
        mappedAtCreation: true,
      });
  let mapped = true;
  let words = new Uint32Array(size / 4);
  let view = new DataView(words.buffer);
  return {
    binding: theirs ?? { buffer: owned!, offset: 0, size },
    own: !theirs,
    get bytes() {
      return words.buffer;
    },
    get view() {
      return view;
    },
    reserve(more) {
      if (more <= words.byteLength) return;
      if (!ring)
        throw new RangeError(
          message(kernel, 'uniform', `options that take at most ${size} bytes of uniform, as bound`, more),
        );
      words = new Uint32Array(more / 4);
      view = new DataView(words.buffer);
    },
    place: () => (ring ? ring.take(words) : 0),
    written() {
      if (!owned) return;
      if (mapped) {
        // Bind touches no queue.
        new Uint32Array(owned.getMappedRange()).set(words);
        owned.unmap();
        mapped = false;
      } else device.queue.writeBuffer(owned, 0, words);
    },
    destroy: () => owned?.destroy(),
  };
}
