import { arraysOf, checkArrays, checkOverlap, comesBack, mayLack, returned, type Span } from '../arrays.js';
import { ARRAY_OF, type Contract, dtypeOf, type Params, type TypedArray } from '../contract.js';
import { LanewiseUnsupportedError, message } from '../errors.js';
import { named, parts } from '../parts.js';
import { integer, MAX_U32, options as optionsOf, word } from '../validate.js';

/** `simd`: fixed 128-bit SIMD. `relaxed`: the same with fused multiply-add and relaxed integer dot products. */
export type CpuLevel = 'simd' | 'relaxed';

/** A family's wasm for each level and its kernels' parameter names in order (generated from assembly/). */
export interface WasmFamily {
  readonly parameters: Readonly<Record<string, string>>;
  readonly simd: string;
  readonly relaxed: string;
}

export interface InstantiateOptions {
  /** Default: the best level this host has. */
  level?: CpuLevel;
}

/** A family's kernels inside one memory: called by name with checks, `raw` without. */
export type Instance<Kernels> = Kernels & {
  /** The bare exports: nothing is checked. */
  readonly raw: Kernels;
  readonly memory: WebAssembly.Memory;
  readonly level: CpuLevel;
};

// The smallest modules that use i8x16.popcnt and i8x16.relaxed_swizzle.
const header = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10];
const PROBES: Record<CpuLevel, number[]> = {
  simd: [...header, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
  relaxed: [...header, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
};

const supported = new Map<CpuLevel, boolean>();

/** Can this host run the level? */
export function supports(level: CpuLevel): boolean {
  let known = supported.get(level);
  if (known === undefined) supported.set(level, (known = WebAssembly.validate(Uint8Array.from(PROBES[level]))));
  return known;
}

/** The best level this host has. */
export function bestLevel(kernel = 'lanewise'): CpuLevel {
  if (supports('relaxed')) return 'relaxed';
  if (supports('simd')) return 'simd';
  throw new LanewiseUnsupportedError(kernel, 'simd');
}

/** The level asked for, or the best where none is. */
export function levelOf(kernel: string, level: CpuLevel | undefined): CpuLevel {
  if (level === undefined) return bestLevel(kernel);
  word(kernel, 'level', level, Object.keys(PROBES));
  if (!supports(level)) throw new LanewiseUnsupportedError(kernel, level);
  return level;
}

/** The same module, its one import declared as a shared memory of at most 65,536 pages (3 bytes more). */
function importShared(bytes: Uint8Array): Uint8Array {
  // Sections are id, size (LEB128), content. Ours has type (1), then import (2): one entry whose last two bytes are limits 0, initial 1.
  let at = 8;
  while (bytes[at] !== 2) {
    let size = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      const byte = bytes[++at]!;
      size |= (byte & 127) << shift;
      more = byte > 127;
    }
    at += 1 + size;
  }
  const end = at + 2 + bytes[at + 1]!;
  const patched = new Uint8Array(bytes.length + 3);
  patched.set(bytes.subarray(0, end));
  patched.set([3, 1, 0x80, 0x80, 4], end - 2);
  patched[at + 1]! += 3;
  patched.set(bytes.subarray(end), end + 3);
  return patched;
}

const isShared = (memory: WebAssembly.Memory) => !(memory.buffer instanceof ArrayBuffer);

/** The typed-array layer's own memory and what is allocated in it. One for all families. */
let own: WebAssembly.Memory | undefined;
/** The first 16 bytes stay unused, because offset 0 stands for "no array". */
let top = 16;

const align = (bytes: number) => Math.ceil(bytes / 16) * 16;

/** The memory that the typed-array functions compute in. Growing it empties views made before: see `reserve`. */
export function memory(): WebAssembly.Memory {
  return (own ??= new WebAssembly.Memory({ initial: 16, maximum: 65536 }));
}

/** Makes sure that `bytes` more fit, so that no later call has to grow the memory (growing empties existing views). */
export function reserve(bytes: number): void {
  integer('reserve', 'bytes', bytes, 0);
  const missing = align(top) + bytes - memory().buffer.byteLength;
  if (missing > 0) memory().grow(Math.ceil(missing / 65536));
}

/** Where allocated arrays lie. Once the memory has grown they do not know it themselves. */
const allocated = new WeakMap<TypedArray, number>();

/**
 * An array inside the kernels' memory: typed-array functions use it in place, without a copy.
 * Its content is whatever was there. It stays valid until the memory grows (`reserve` first) or it is released.
 */
export function allocate<T extends (typeof ARRAY_OF)[keyof typeof ARRAY_OF]>(type: T, length: number): InstanceType<T> {
  const types: readonly (typeof ARRAY_OF)[keyof typeof ARRAY_OF][] = Object.values(ARRAY_OF);
  if (!types.includes(type))
    throw new TypeError(message('allocate', 'type', `one of ${types.map(({ name }) => name).join(', ')}`, type));
  integer('allocate', 'length', length, 0);
  const offset = align(top);
  const bytes = length * type.BYTES_PER_ELEMENT;
  reserve(bytes);
  top = offset + bytes;
  const array = new type(memory().buffer as ArrayBuffer, offset, length) as InstanceType<T>;
  allocated.set(array, offset);
  return array;
}

/** Gives an allocated array back, and everything allocated after it; also when the memory has grown since. */
export function release(array: TypedArray): void {
  const offset = allocated.get(array);
  if (offset === undefined) {
    const Kind = ArrayBuffer.isView(array) ? RangeError : TypeError;
    throw new Kind(message('release', 'array', 'array made by allocate()', array));
  }
  top = Math.min(top, offset);
}

/** What a family's public functions are made of. */
export interface Family<Kernels> {
  instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): Instance<Kernels>;
  /** Compiles off the main thread, for modules too large for an old browser's synchronous limit. Optional. */
  preload(options?: InstantiateOptions): Promise<void>;
  /** One typed-array call: checks, places, runs, copies out, to where the options' `out` says. Returns what it is to return. */
  run<O, R>(contract: Contract<O>, inputs: object, options: O): R;
}

export function family<Kernels extends object>(
  code: WasmFamily,
  contracts: Readonly<Record<string, Contract<any>>>,
): Family<Kernels> {
  const modules = new Map<string, WebAssembly.Module>();
  const first = Object.keys(code.parameters)[0]!;

  function binary(level: CpuLevel, shared: boolean): BufferSource {
    const bytes = Uint8Array.from(atob(code[level]), (c) => c.charCodeAt(0));
    return shared ? (importShared(bytes) as BufferSource) : bytes;
  }

  function compiled(level: CpuLevel, shared: boolean): WebAssembly.Module {
    const key = `${level} ${shared}`;
    let module = modules.get(key);
    if (!module) modules.set(key, (module = new WebAssembly.Module(binary(level, shared))));
    return module;
  }

  async function preload(options: InstantiateOptions = {}): Promise<void> {
    const level = levelOf(first, optionsOf(first, options).level);
    for (const shared of typeof SharedArrayBuffer === 'undefined' ? [false] : [false, true])
      modules.set(`${level} ${shared}`, await WebAssembly.compile(binary(level, shared)));
  }

  function instantiate(target: WebAssembly.Memory, options: InstantiateOptions = {}): Instance<Kernels> {
    if (!(target instanceof WebAssembly.Memory))
      throw new TypeError(message(first, 'memory', 'WebAssembly.Memory', target));
    const level = levelOf(first, optionsOf(first, options).level);
    const module = compiled(level, isShared(target));
    const { exports } = new WebAssembly.Instance(module, { env: { memory: target } });
    const raw = exports as unknown as Kernels & Record<string, (...args: number[]) => void>;
    const kernels: Record<string, unknown> = { raw, memory: target, level };
    for (const [name, list] of Object.entries(code.parameters)) {
      const parameters = list.split(' ');
      const contract = contracts[name]!;
      kernels[name] = (...args: number[]) => {
        checkPointers(contract, parameters, args, target.buffer);
        raw[name]!(...args);
      };
    }
    parts.set(kernels, { module, parameters: code.parameters, contracts, check: checkPointers });
    return kernels as Instance<Kernels>;
  }

  let instance: Instance<Kernels> | undefined;

  function run<O, R>(contract: Contract<O>, inputs: object, options: O): R {
    const { kernel } = contract;
    const params = contract.params(options);
    const arrays = arraysOf(contract, inputs, (options as { out?: unknown }).out);
    const lengths = checkArrays(contract, params, arrays);
    // Everything is checked before anything is copied; offsets of arrays in place are read before the memory can grow.
    const buffer = memory().buffer;
    const offsets: Record<string, number> = {};
    const placed: [name: string, offset: number, given: TypedArray | undefined][] = [];
    let end = align(top);
    for (const [name, declared] of Object.entries(contract.arrays)) {
      const length = lengths[name]!;
      const given = arrays[name];
      if (!given && declared.role !== 'scratch' && !comesBack(declared, length)) continue;
      if (given?.buffer === buffer) {
        offsets[name] = given.byteOffset;
        placed.push([name, -1, given]);
        continue;
      }
      offsets[name] = end;
      placed.push([name, end, given]);
      end = align(end + length * ARRAY_OF[dtypeOf(declared, params)].BYTES_PER_ELEMENT);
      if (end > MAX_U32) throw new RangeError(message(kernel, name, 'arrays that fit 4 GiB of memory together', end));
    }
    instance ??= instantiate(memory());
    reserve(end - align(top));
    const now = memory().buffer as ArrayBuffer;
    const view = (name: string) =>
      new ARRAY_OF[dtypeOf(contract.arrays[name]!, params)](now, offsets[name]!, lengths[name]!);
    for (const [name, offset, given] of placed)
      if (offset >= 0 && given && contract.arrays[name]!.role === 'in') view(name).set(given);
    const list = code.parameters[kernel]!.split(' ');
    (instance.raw as Record<string, (...args: number[]) => void>)[kernel]!(
      ...list.map((name) => offsets[name] ?? params[name] ?? 0),
    );
    const results: Record<string, TypedArray> = {};
    for (const [name, offset, given] of placed) {
      if (contract.arrays[name]!.role !== 'out') continue;
      const result = view(name);
      if (offset < 0) results[name] = given!.length === result.length ? given! : result;
      else if (given) {
        given.set(result);
        results[name] = given;
      } else results[name] = result.slice();
    }
    return returned(contract, results);
  }

  return { instantiate, preload, run };
}

/** Every number, alignment and bound of a pointer call; answers with its arguments by name. */
function checkPointers(
  contract: Contract<any>,
  list: readonly string[],
  args: readonly number[],
  buffer: ArrayBuffer | SharedArrayBuffer,
): Params {
  const { kernel } = contract;
  const given = named(list, args);
  const lengths = contract.lengths(given);
  const views: Record<string, TypedArray> = {};
  const spans: Record<string, Span> = {};
  for (const [name, declared] of Object.entries(contract.arrays)) {
    const from = given[name]!;
    const length = lengths[name]!;
    const type = ARRAY_OF[dtypeOf(declared, given)];
    if (from === 0) {
      if (mayLack(declared, length)) continue;
      // 0 is a place like any other, but "none" for an array that some calls leave out; and it must have been said.
      const said = args[list.indexOf(name)];
      if (declared.optional || typeof said !== 'number')
        throw new TypeError(message(kernel, name, `byte offset of ${type.name} of length ${length}`, said));
    }
    integer(kernel, name, from, 0);
    if (from % type.BYTES_PER_ELEMENT)
      throw new RangeError(message(kernel, name, `byte offset that is a multiple of ${type.BYTES_PER_ELEMENT}`, from));
    const to = from + length * type.BYTES_PER_ELEMENT;
    if (to > buffer.byteLength)
      throw new RangeError(message(kernel, name, `array that ends within the memory's ${buffer.byteLength} bytes`, to));
    views[name] = new type(buffer as ArrayBuffer, from, length);
    if (length) spans[name] = { buffer, from, to };
  }
  checkOverlap(contract, spans);
  contract.checkData?.(given, views);
  return given;
}
