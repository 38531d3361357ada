/** What a call finds out about the device and the buffers it is given, before anything happens. */
import { ARRAY_OF, type Contract, dtypeOf, type Params } from './contract.js';
import { LanewiseDeviceLostError, message } from './errors.js';
import type { Definition } from './gpu/runtime.js';
import { integer } from './validate.js';

/** A buffer, whole or a part of it (offset and size in bytes; offset aligned to minStorageBufferOffsetAlignment). */
export type Binding = GPUBuffer | { buffer: GPUBuffer; offset?: number; size?: number };

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

export function requireAlive(kernel: string, device: GPUDevice): void {
  if (typeof device?.createBuffer !== 'function') throw new TypeError(message(kernel, 'device', 'GPUDevice', device));
  const { reason } = watch(device);
  if (reason !== undefined) throw new LanewiseDeviceLostError(kernel, reason);
}

/** The numbers of GPUBufferUsage we need (the global exists only where WebGPU does). */
export const USAGE = { COPY_DST: 8, UNIFORM: 64, STORAGE: 128, INDIRECT: 256 } as const;
const USAGE_NAME: Record<number, string> = { 64: 'UNIFORM', 128: 'STORAGE', 256: 'INDIRECT' };

/** What a buffer argument may be, in messages. */
export const EXPECTED = 'GPUBuffer or { buffer, offset, size }';

export const isBuffer = (value: GPUBuffer | undefined): value is GPUBuffer => typeof value?.usage === 'number';

export interface Resolved {
  buffer: GPUBuffer;
  offset: number;
  size: number;
}

/** Names for buffers, to know them again. */
const ids = new WeakMap<GPUBuffer, number>();
let lastId = 0;
export function idOf(buffer: GPUBuffer): number {
  let id = ids.get(buffer);
  if (id === undefined) ids.set(buffer, (id = ++lastId));
  return id;
}

/** `bytes` from `offset` on must lie in the buffer, which must have the usage. Allocates nothing where they do. */
export function requireRange(
  kernel: string,
  name: string,
  buffer: GPUBuffer,
  offset: number,
  size: number | undefined,
  bytes: number,
  usage: number,
  alignment: number,
  offsetName: string,
): void {
  integer(kernel, offsetName, offset, 0, buffer.size);
  if (offset % alignment) throw new RangeError(message(kernel, offsetName, `multiple of ${alignment} bytes`, offset));
  const room = buffer.size - offset;
  if (size !== undefined) integer(kernel, `${name}.size`, size, 0, room);
  if ((buffer.usage & usage) !== usage)
    throw new RangeError(message(kernel, name, `buffer with usage ${USAGE_NAME[usage]} (${usage})`, buffer.usage));
  const given = size ?? room;
  if (given < bytes) throw new RangeError(message(kernel, name, `at least ${bytes} bytes`, given));
}

/** `value` as buffer, offset and size, with everything wrong about it named: `x`, or `x.offset`. */
export function resolve(
  kernel: string,
  name: string,
  value: Binding,
  bytes: number,
  usage: number,
  alignment: number,
  maximum: number,
): Resolved {
  const part = ((value as GPUBuffer)?.usage === undefined ? value : { buffer: value }) as Exclude<Binding, GPUBuffer>;
  if (!isBuffer(part?.buffer)) throw new TypeError(message(kernel, name, EXPECTED, value));
  const { buffer, offset = 0 } = part;
  requireRange(kernel, name, buffer, offset, part.size, bytes, usage, alignment, `${name}.offset`);
  if (bytes > maximum)
    throw new RangeError(message(kernel, name, `at most ${maximum} bytes (the device's limit)`, bytes));
  return { buffer, offset, size: bytes };
}

/** Bytes of an array as it lies in a GPU buffer, which WebGPU binds by whole 4-byte words. */
export const bytesOf = (contract: Contract<any>, array: string, length: number, params: Params): number =>
  Math.ceil((length * ARRAY_OF[dtypeOf(contract.arrays[array]!, params)].BYTES_PER_ELEMENT) / 4) * 4;

/** The lengths of a kernel's arrays on a GPU: those of its contract, and scratch of its own. */
export const lengthsOf = (
  { contract, scratch }: Definition<any>,
  params: Params,
): Readonly<Record<string, number>> & { scratch: number } => ({
  ...contract.lengths(params),
  scratch: scratch?.(params) ?? 0,
});

export const sameRange = (a: Resolved | undefined, b: Resolved | undefined): boolean =>
  !!a && !!b && a.buffer === b.buffer && a.offset === b.offset;

/** A kernel's arrays by name: all that it needs, each long enough, and no output over another array. */
export function resolveArrays(
  contract: Contract<any>,
  buffers: Readonly<Record<string, Binding | undefined>>,
  lengths: Readonly<Record<string, number>>,
  params: Params,
  limits: GPUSupportedLimits,
): Record<string, Resolved> {
  const { kernel, arrays } = contract;
  if (typeof buffers !== 'object' || buffers === null)
    throw new TypeError(message(kernel, 'buffers', `object with ${Object.keys(arrays).join(', ')}`, buffers));
  for (const key of Object.keys(buffers))
    if (!Object.hasOwn(arrays, key))
      throw new TypeError(message(kernel, key, `one of ${Object.keys(arrays).join(', ')}`, buffers[key]));
  const resolved: Record<string, Resolved> = {};
  for (const [array, { role, optional }] of Object.entries(arrays)) {
    const value = buffers[array];
    const length = lengths[array]!;
    if (value === undefined) {
      if (optional || length === 0) continue;
      throw new TypeError(message(kernel, array, EXPECTED, value));
    }
    // No empty range can be bound; scratch that is not needed may be empty, and is not.
    const bytes = Math.max(role === 'scratch' ? 0 : 4, bytesOf(contract, array, length, params));
    const { minStorageBufferOffsetAlignment, maxStorageBufferBindingSize } = limits;
    const range = resolve(
      kernel,
      array,
      value,
      bytes,
      USAGE.STORAGE,
      minStorageBufferOffsetAlignment,
      maxStorageBufferBindingSize,
    );
    if (bytes) resolved[array] = range;
  }
  for (const [array, { role, inPlace }] of Object.entries(arrays)) {
    const mine = resolved[array];
    if (role === 'in' || !mine) continue;
    for (const [other, theirs] of Object.entries(resolved)) {
      if (other === array || theirs.buffer !== mine.buffer || (inPlace === other && sameRange(mine, theirs))) continue;
      const end = theirs.offset + theirs.size;
      if (mine.offset < end && theirs.offset < mine.offset + mine.size)
        throw new RangeError(
          message(
            kernel,
            array,
            `range that does not overlap "${other}" (bytes ${theirs.offset} to ${end} of the same buffer)`,
            mine.offset,
          ),
        );
    }
  }
  return resolved;
}
