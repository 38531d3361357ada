/** Everything that can run a kernel here, behind one face: conformance tests, `npm start` and the page all use it. */
import type { Contract, Params } from '../../ts/contract.js';
import { ARRAY_OF, dtypeOf } from '../../ts/contract.js';
import type { CpuLevel, Instance, InstantiateOptions } from '../../ts/cpu/runtime.js';
import { supports } from '../../ts/cpu/runtime.js';
import type { Call, GpuKernel, GpuKernelFactory, GpuLevel } from '../../ts/gpu/runtime.js';
import { code, cpu, gpu } from '../generated/registry.js';
import { f32Rate } from './f32-rate.js';
import type { Arrays } from './spec.js';

/** One kernel with its arrays in place, ready to run any number of times. */
export interface Prepared {
  /** Runs the kernel once; resolves when the work is done. On the CPU it has happened when this returns. */
  run(): void | Promise<void>;
  /** `count` runs, submitted together where that makes sense. */
  runMany(count: number): void | Promise<void>;
  /** Milliseconds that `count` runs took by the device's own clock, where it has one (`timestamp-query`). */
  timeMany?(count: number): Promise<number>;
  /** The output arrays as they are now. */
  outputs(): Promise<Arrays>;
  /** What was written that must not be: a guard word, an input. Undefined: nothing. */
  damage(): Promise<string | undefined>;
  destroy(): void;
}

export interface How {
  /** Start arrays off the alignment that suits the implementation best. */
  shifted?: boolean;
  /** Let outputs that may lie in an input's place do so. */
  inPlace?: boolean;
  /** Leave out scratch that a kernel can do without. */
  bare?: boolean;
  /** Call the checked face, as users do, not the bare export (on a GPU `bind` always checks). */
  checked?: boolean;
  /** Bind for more of these options than there is, then `set` what there is (on a GPU). */
  set?: readonly string[];
}

export interface Implementation {
  /** `cpu simd`, `gpu SwiftShader base`, ... */
  name: string;
  kind: 'cpu' | 'gpu';
  level: CpuLevel | GpuLevel;
  kernels: string[];
  /** Kernels that the device lacks a WebGPU feature for, with its name. */
  absent?: Record<string, string>;
  prepare(contract: Contract<any>, options: any, inputs: Arrays, how?: How): Promise<Prepared>;
  /** Moves `bytes` once (read and written): the yardstick of the tables. */
  copy(bytes: number): Promise<Prepared>;
  /** GFLOP/s of f32 multiply-adds, the other yardstick (GPU): measured on the first call. */
  f32Rate?(): Promise<number>;
}

/** What implementations cannot run for want of a device's feature, of one kernel or of all: one line each. */
export const absences = (implementations: readonly Implementation[], kernel?: string): string[] =>
  implementations.flatMap(({ name, absent = {} }) =>
    [...new Set(Object.values(absent))].flatMap((feature) => {
      const kernels = Object.keys(absent).filter((k) => absent[k] === feature && (!kernel || k === kernel));
      return kernels.length ? [`${name} lacks ${feature}: without ${kernels.join(', ')}`] : [];
    }),
  );

/** In every word that a kernel must not touch. */
const GUARD = 0xa5a5a5a5;
/** In every output before the run: a NaN that no kernel makes. */
const POISON = 0x7fc0dead;
const GUARD_BYTES = 64;

interface Place {
  name: string;
  role: 'in' | 'out' | 'scratch';
  offset: number;
  length: number;
  bytes: number;
  dtype: keyof typeof ARRAY_OF;
  /** Bytes that may be written: on a GPU whole words, whose spare bytes belong to nobody. */
  writable: number;
  /** The output that lies in this input's place. */
  alias?: string;
}

/** Where each array lies: guards before and after, in one image. */
function layout(
  contract: Contract<any>,
  params: Params,
  lengths: Readonly<Record<string, number>>,
  inputs: Arrays,
  alignment: number,
  { shifted, inPlace, bare }: How,
) {
  const places: Place[] = [];
  let end = GUARD_BYTES;
  for (const [name, declared] of Object.entries(contract.arrays)) {
    const { role, optional, inPlace: target } = declared;
    const dtype = dtypeOf(declared, params);
    const length = lengths[name]!;
    const shared = inPlace && target && places.find((p) => p.name === target);
    if (shared) {
      shared.alias = name;
      continue;
    }
    if (bare && role === 'scratch' && optional) continue;
    if (role === 'in' ? inputs[name] === undefined : optional ? length === 0 : false) continue;
    const offset = Math.ceil(end / alignment) * alignment + (shifted ? 4 : 0);
    const bytes = length * ARRAY_OF[dtype].BYTES_PER_ELEMENT;
    places.push({ name, role, offset, length, bytes, dtype, writable: bytes });
    end = Math.ceil((offset + bytes) / 4) * 4 + GUARD_BYTES;
  }
  return { places, bytes: Math.ceil(end / 16) * 16 };
}

function fill(image: ArrayBuffer, places: Place[], inputs: Arrays): void {
  new Uint32Array(image).fill(GUARD);
  for (const { name, role, offset, length, dtype, bytes } of places) {
    if (role === 'in') new ARRAY_OF[dtype](image, offset, length).set(inputs[name]!);
    else new Uint32Array(image, offset, bytes >> 2).fill(POISON);
  }
}

/** Compares what lies in memory after a run with the image before it, outside outputs and scratch. */
function damaged(before: ArrayBuffer, after: ArrayBuffer, places: Place[]): string | undefined {
  const a = new Uint8Array(before);
  const b = new Uint8Array(after);
  const writable = places.filter((p) => p.role !== 'in' || p.alias);
  for (let at = 0; at < a.length; at++) {
    if (a[at] === b[at]) continue;
    const own = writable.find((p) => at >= p.offset && at < p.offset + p.writable);
    if (own) {
      at = own.offset + own.writable - 1;
      continue;
    }
    const near = places.findLast((p) => p.offset <= at);
    const where = !near
      ? 'before the first array'
      : at < near.offset + near.bytes
        ? `inside "${near.name}"`
        : `${at - near.offset - near.bytes} bytes after "${near.name}"`;
    return `byte ${at} was changed, ${where}`;
  }
  return undefined;
}

const outputsOf = (image: ArrayBuffer, places: Place[]): Arrays =>
  Object.fromEntries(
    places
      .filter((p) => p.role === 'out' || p.alias)
      .map((p) => [p.alias ?? p.name, new ARRAY_OF[p.dtype](image.slice(p.offset, p.offset + p.bytes))]),
  );

type Kernels = Record<string, (...args: number[]) => void>;
type CpuFamily = { instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): Instance<object> };

const cpuFamilyOf = (kernel: string) =>
  Object.entries(code as unknown as Record<string, { parameters: Record<string, string> }>).find(
    ([, c]) => kernel in c.parameters,
  );

/** `families`: other ways to instantiate some of them than the published one. */
export function cpuImplementation(
  level: CpuLevel,
  { shared = false, families = {} }: { shared?: boolean; families?: Record<string, CpuFamily> } = {},
): Implementation {
  let memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared });
  const kernels = Object.values(code as unknown as Record<string, { parameters: object }>).flatMap((c) =>
    Object.keys(c.parameters),
  );

  function reserve(bytes: number): void {
    const pages = Math.ceil(bytes / 65536) + 1;
    if (memory.buffer.byteLength > 512 * 1024 * 1024 && !shared)
      memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    const missing = pages - memory.buffer.byteLength / 65536;
    if (missing > 0) memory.grow(missing);
  }

  return {
    name: `cpu ${level}${shared ? ' shared' : ''}`,
    kind: 'cpu',
    level,
    kernels,
    async prepare(contract, options, inputs, how = {}) {
      const params = contract.params(options);
      const { places, bytes } = layout(contract, params, contract.lengths(params), inputs, 64, how);
      reserve(bytes);
      const mine = memory;
      const [family, { parameters }] = cpuFamilyOf(contract.kernel)!;
      const published = cpu as unknown as Record<string, CpuFamily>;
      const instance = (families[family] ?? published[family])!.instantiate(mine, { level });
      const image = new ArrayBuffer(bytes);
      fill(image, places, inputs);
      new Uint8Array(mine.buffer, 0, bytes).set(new Uint8Array(image));
      const offsets = Object.fromEntries(
        places.flatMap((p) => [
          [p.name, p.offset],
          [p.alias ?? p.name, p.offset],
        ]),
      );
      const args = parameters[contract.kernel]!.split(' ').map((name) => offsets[name] ?? params[name] ?? 0);
      const kernel = ((how.checked ? instance : instance.raw) as unknown as Kernels)[contract.kernel]!;
      const now = () => {
        const copy = new ArrayBuffer(bytes);
        new Uint8Array(copy).set(new Uint8Array(mine.buffer, 0, bytes));
        return copy;
      };
      return {
        run: () => kernel(...args),
        runMany(count) {
          for (let i = 0; i < count; i++) kernel(...args);
        },
        outputs: async () => outputsOf(now(), places),
        damage: async () => damaged(image, now(), places),
        destroy() {},
      };
    },
    async copy(bytes) {
      // Not in `memory`: a prepared kernel's arrays lie there.
      const half = Math.ceil(bytes / 2 / 16) * 16;
      const view = new Uint8Array(2 * half).fill(1);
      const run = () => void view.copyWithin(half, 0, half);
      return {
        run,
        runMany(count) {
          for (let i = 0; i < count; i++) run();
        },
        outputs: async () => ({}),
        damage: async () => undefined,
        destroy() {},
      };
    },
  };
}

/** Every level this host has. */
export const cpuImplementations = (): Implementation[] =>
  (['simd', 'relaxed'] as const).filter((level) => supports(level)).map((level) => cpuImplementation(level));

type Factory = GpuKernelFactory<any, any>;

/** Every kernel's GPU layer, by its name. */
export const factories: Record<string, Factory> = Object.fromEntries(
  Object.values(gpu as Record<string, Record<string, unknown>>)
    .flatMap((file) => Object.values(file))
    .filter((value): value is Factory => typeof (value as Factory)?.compile === 'function')
    .map((factory) => [factory.contract.kernel, factory]),
);

/** Those of the options that `compile` wants. */
export const constantsOf = (factory: Factory, options: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    (factory.constants as string[]).filter((c) => options[c] !== undefined).map((c) => [c, options[c]]),
  );

/** One GPU adapter's device at one level. */
export function gpuImplementation(device: GPUDevice, label: string, level: GpuLevel): Implementation {
  const compiled = new Map<string, Promise<GpuKernel<any, any>>>();
  const lacks = (name: string) => factories[name]!.features.find((f) => !device.features.has(f as GPUFeatureName));
  const here = Object.keys(factories).filter((name) => !lacks(name));
  const absent = Object.fromEntries(
    Object.keys(factories)
      .filter(lacks)
      .map((name) => [name, lacks(name)!]),
  );

  /** The kernel for these options; its constants are those of compile's own contract, so one pipeline serves many sizes. */
  function kernelFor(factory: Factory, options: Record<string, unknown>): Promise<GpuKernel<any, any>> {
    const constants = constantsOf(factory, options);
    const key = `${factory.contract.kernel} ${JSON.stringify(constants)}`;
    let kernel = compiled.get(key);
    if (!kernel) compiled.set(key, (kernel = factory.compile(device, { level, ...constants })));
    return kernel;
  }

  const buffer = (size: number, usage: number) =>
    device.createBuffer({ size: Math.max(16, Math.ceil(size / 4) * 4), usage });

  async function readBack(source: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    const target = buffer(bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    const copy = target.getMappedRange(0, bytes).slice(0);
    target.destroy();
    return copy;
  }

  async function submit(record: (encoder: GPUCommandEncoder) => void): Promise<void> {
    const encoder = device.createCommandEncoder();
    record(encoder);
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  }

  /** Between timestamps: the device's milliseconds for what is recorded, without the submission's own cost. */
  async function timed(record: (encoder: GPUCommandEncoder) => void): Promise<number> {
    const querySet = device.createQuerySet({ type: 'timestamp', count: 2 });
    const resolved = buffer(16, GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
    try {
      await submit((encoder) => {
        encoder.beginComputePass({ timestampWrites: { querySet, endOfPassWriteIndex: 0 } }).end();
        record(encoder);
        encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 1 } }).end();
        encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      });
      const [begin, end] = new BigUint64Array(await readBack(resolved, 16));
      return Number(end! - begin!) / 1e6;
    } finally {
      querySet.destroy();
      resolved.destroy();
    }
  }
  const clock = device.features.has('timestamp-query');

  /** The same by the host's clock: whole submissions. */
  async function timedHere(record: (encoder: GPUCommandEncoder) => void): Promise<number> {
    const began = performance.now();
    await submit(record);
    return performance.now() - began;
  }
  let rate: Promise<number> | undefined;

  return {
    name: `gpu ${label} ${level}`,
    kind: 'gpu',
    level,
    // A level is run where its shader differs from the base level's.
    kernels: here.filter((name) => factories[name]!.levels.includes(level)),
    absent,
    async prepare(contract, options, inputs, how = {}) {
      const factory = factories[contract.kernel]!;
      const kernel = await kernelFor(factory, options);
      const params: Params = contract.params(options);
      const set = (how.set ?? []).filter((option) => params[option] && kernel.dynamic.includes(option));
      const roomy = { ...options, ...Object.fromEntries(set.map((option) => [option, 2 * params[option]! + 3])) };
      const scratch = factory.scratchBytes(roomy) / 4;
      const room: Readonly<Record<string, number>> = { ...contract.lengths(contract.params(roomy)), scratch };
      const lengths = { ...contract.lengths(params), scratch };
      // Every array in a buffer of its own, at an offset, guards on both sides: WebGPU refuses to bind one buffer as input and output.
      const { minStorageBufferOffsetAlignment } = device.limits;
      const { places } = layout(contract, params, lengths, inputs, 4, { ...how, shifted: false });
      const alone = places.map((place) => ({
        ...place,
        offset: minStorageBufferOffsetAlignment * (how.shifted ? 2 : 1),
        writable: Math.ceil(place.bytes / 4) * 4,
        bound: Math.max(4, Math.ceil((room[place.name]! * ARRAY_OF[place.dtype].BYTES_PER_ELEMENT) / 4) * 4),
      }));
      const images = alone.map((place) => {
        const image = new ArrayBuffer(place.offset + place.bound + GUARD_BYTES);
        fill(image, [place], inputs);
        return image;
      });
      const buffers = images.map((image) => {
        const target = buffer(
          image.byteLength,
          GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
        );
        device.queue.writeBuffer(target, 0, image);
        return target;
      });
      const call: Call = kernel.bind(
        Object.fromEntries(
          alone.flatMap(({ name, alias, offset, bound }, i) =>
            [name, alias].map((as) => [as, { buffer: buffers[i]!, offset, size: bound }]).filter(([as]) => as),
          ),
        ),
        roomy,
      );
      for (const option of set) call.set(option, params[option]!);
      const record = (count: number) => (encoder: GPUCommandEncoder) => {
        const pass = encoder.beginComputePass();
        for (let i = 0; i < count; i++) call.encode(pass);
        pass.end();
      };
      const runMany = (count: number) => submit(record(count));
      const now = () => Promise.all(buffers.map((b, i) => readBack(b, images[i]!.byteLength)));
      return {
        run: () => runMany(1),
        runMany,
        ...(clock ? { timeMany: (count: number) => timed(record(count)) } : {}),
        async outputs() {
          const after = await now();
          return Object.assign({}, ...alone.map((place, i) => outputsOf(after[i]!, [place]))) as Arrays;
        },
        async damage() {
          const after = await now();
          for (const [i, place] of alone.entries()) {
            const found = damaged(images[i]!, after[i]!, [place]);
            if (found) return `${place.name}'s buffer: ${found}`;
          }
          return undefined;
        },
        destroy() {
          call.destroy();
          for (const b of buffers) b.destroy();
        },
      };
    },
    async copy(bytes) {
      const half = Math.ceil(bytes / 2 / 16) * 16;
      const [from, to] = [0, 1].map(() => buffer(half, GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST)) as [
        GPUBuffer,
        GPUBuffer,
      ];
      const record = (count: number) => (encoder: GPUCommandEncoder) => {
        for (let i = 0; i < count; i++) encoder.copyBufferToBuffer(from, 0, to, 0, half);
      };
      const runMany = (count: number) => submit(record(count));
      return {
        run: () => runMany(1),
        runMany,
        ...(clock ? { timeMany: (count: number) => timed(record(count)) } : {}),
        outputs: async () => ({}),
        damage: async () => undefined,
        destroy() {
          from.destroy();
          to.destroy();
        },
      };
    },
    f32Rate: () => (rate ??= f32Rate(device, clock ? timed : timedHere)),
  };
}
