/** Uniform buffers: how an entry point's numbers are packed, and the ring that many calls share. */
import type { Params } from './contract.js';
import { message } from './errors.js';
import type { Entry } from './gpu/runtime.js';
import { requireAlive, USAGE } from './gpu-buffers.js';
import { integer } from './validate.js';

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

/** The ring, if `uniform` is one: of the same device. */
export function ringOf(kernel: string, device: GPUDevice, uniform: object | undefined): UniformRing | undefined {
  if (typeof (uniform as UniformRing | undefined)?.take !== 'function') return undefined;
  const ring = uniform as UniformRing;
  if (ring.device !== device)
    throw new RangeError(message(kernel, 'uniform', "ring of the kernel's device", 'a ring of another device'));
  return ring;
}
