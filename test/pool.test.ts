/** The thread pool in Node: the bits of one thread, and what happens when a worker dies, traps, or the pool is closed. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { contracts, root } from '../scripts/house.js';
import { codebook } from '../ts/codebook-tables.js';
import { splits } from '../ts/contract/split.js';
import { ARRAY_OF, type Contract, dtypeOf, type Params } from '../ts/contract.js';
import * as attention from '../ts/cpu/attention.js';
import { createPool, LanewisePoolError, type Pool } from '../ts/cpu/pool.js';
import { type Instance, supports } from '../ts/cpu/runtime.js';
import * as softmax from '../ts/cpu/softmax.js';
import * as topk from '../ts/cpu/topk.js';
import { LanewiseUnsupportedError } from '../ts/errors.js';
import { hadamardMatrix, hadamardOrder } from '../ts/hadamard-matrices.js';
import * as integersReference from '../ts/reference/integers.js';
import { code, cpu } from './generated/registry.js';
import { type Random, random } from './lib/random.js';
import type { Arrays } from './lib/spec.js';
import { allSpecs } from './lib/specs.js';
import { rotationFor } from './rotate.spec.js';

type Kernels = Record<string, (...args: number[]) => void>;
type Family = { instantiate(memory: WebAssembly.Memory, options?: object): Instance<Kernels> };
const families = cpu as unknown as Record<string, Family>;
const codes = code as unknown as Record<string, { parameters: Record<string, string> }>;
const contract = (await contracts()) as Record<string, Contract<any>>;
const familyOf = (kernel: string) => Object.keys(codes).find((family) => kernel in codes[family]!.parameters)!;

const pools: Pool[] = [];
async function poolOf(...given: Parameters<typeof createPool>): Promise<Pool> {
  const pool = await createPool(...given);
  pools.push(pool);
  return pool;
}
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

const lengthsOf = (kernel: string, options: unknown) => contract[kernel]!.lengths(contract[kernel]!.params(options));

/** Offsets of a call's arrays, one after the other, scratch last; and the call's arguments. */
function place(
  { kernel, arrays, params: paramsOf }: Contract<any>,
  options: unknown,
  inputs: Arrays,
  from: number,
  how: { inPlace?: boolean; scratchBytes?: Pool['scratchBytes'] } = {},
) {
  const params = paramsOf(options);
  const lengths = lengthsOf(kernel, options);
  const offsets: Record<string, number> = {};
  let end = from;
  let scratch = from;
  for (const role of ['in', 'out', 'scratch']) {
    if (role === 'scratch') scratch = end;
    for (const [name, array] of Object.entries(arrays)) {
      if (array.role !== role || (role === 'in' && !inputs[name]) || (array.optional && !lengths[name])) continue;
      if (how.inPlace && array.inPlace) {
        offsets[name] = offsets[array.inPlace]!;
        continue;
      }
      const bytes = lengths[name]! * ARRAY_OF[dtypeOf(array, params)].BYTES_PER_ELEMENT;
      offsets[name] = end;
      end = 64 * Math.ceil((end + (role === 'scratch' && how.scratchBytes ? how.scratchBytes(bytes) : bytes)) / 64 + 1);
    }
  }
  const args = codes[familyOf(kernel)]!.parameters[kernel]!.split(' ').map(
    (name) => offsets[name] ?? params[name] ?? 0,
  );
  return { args, params: params as Params, offsets, scratch, end };
}

/** Runs a call alone and on the pool, from the same content of memory; answers with what differs outside scratch. */
function differs(
  contract: Contract<any>,
  options: unknown,
  inputs: Arrays,
  one: Kernels,
  many: Kernels,
  pool: Pool,
  inPlace = false,
): string | undefined {
  const { memory, scratchBytes } = pool;
  const { args, params, offsets, scratch, end } = place(contract, options, inputs, 64, { inPlace, scratchBytes });
  if (memory.buffer.byteLength < end) memory.grow(Math.ceil((end - memory.buffer.byteLength) / 65536));
  const [alone, together] = [one, many].map((kernels) => {
    new Int32Array(memory.buffer, 0, end >> 2).fill(0x7fc0dead);
    for (const [name, array] of Object.entries(inputs)) {
      if (array && offsets[name] !== undefined)
        new ARRAY_OF[dtypeOf(contract.arrays[name]!, params)](
          memory.buffer as ArrayBuffer,
          offsets[name],
          array.length,
        ).set(array);
    }
    kernels[contract.kernel]!(...args);
    return new Uint8Array(memory.buffer, 0, scratch).slice();
  }) as [Uint8Array, Uint8Array];
  if (Buffer.compare(alone, together) === 0) return undefined;
  return `byte ${alone.findIndex((byte, i) => byte !== together[i])} differs (arrays at ${JSON.stringify(offsets)})`;
}

test('every kernel says how it divides', () => {
  expect(Object.keys(splits).sort()).toEqual(Object.keys(contract).sort());
});

/** More calls for each kernel: numbers of rows and heads around the number of threads, and primes. */
type Shapes = [kernel: string, options: any[], inputs: (o: any, r: Random) => Arrays];
const each = <T, U>(list: readonly T[], make: (item: T) => U[]): U[] => list.flatMap(make);
const ROWS = [0, 1, 2, 3, 4, 7, 61, 257];

const x = ({ rows, n }: any, r: Random) => ({ x: r.normals(rows * n) });
const formats = each([2, 4, 8], (bits) =>
  each(['affine', 'symmetric'], (scheme) =>
    each(['row', 'column'], (axis) =>
      [0, 16, 32, 64, 256].map((groupSize) => ({ bits, scheme, axis, groupSize, n: 37 })),
    ),
  ),
);
const integerFormats = each(
  [
    [1, 'affine'],
    [1.6, 'ternary'],
    [3, 'symmetric'],
    [4, 'affine'],
  ] as const,
  ([bits, scheme]) =>
    each(['row', 'column'], (axis) =>
      each([0, 16, 48], (groupSize) =>
        (['f32', 'f16'] as const).map((scaleType) => ({ bits, scheme, axis, groupSize, scaleType, n: 37 })),
      ),
    ),
);
const storedIntegers = (o: any, r: Random) => ({
  ...integersReference.quantize(r.normals(o.rows * o.n), { ...o, seed: 0 }),
});
function stored(o: any, r: Random): Arrays {
  const { codes, scales, minima } = lengthsOf('dequantize_f32', o);
  const words = Uint32Array.from({ length: codes! }, () => r.int(0, 0x7fff_ffff) * 2);
  return { codes: words, scales: r.normals(scales!), ...(minima ? { minima: r.normals(minima) } : {}) };
}

const rotation = ({ n }: any, r: Random): Arrays => rotationFor(n, hadamardOrder(n), 'pfs', r);
const books = each([1, 3, 4, 8], (bits) =>
  each(['absmax', 'none'], (scale) =>
    each(['shared', 'perColumn'], (tables) =>
      [0, 16, 32].map((groupSize) => ({ bits, scale, tables, groupSize, n: 149 })),
    ),
  ),
);
const booked = ({ n, bits, tables }: any, r: Random) =>
  codebook(r.normals(2 ** bits * (tables === 'shared' ? 1 : n)).sort(), { bits, tables });

const qkv = ({ heads, kvHeads, queries = 1, keys, headDim, valueDim }: any, r: Random): Arrays => ({
  q: r.normals(heads * queries * headDim, 3),
  k: r.normals(kvHeads * keys * headDim),
  v: r.normals(kvHeads * keys * valueDim),
});
/** Three blocks in five. */
function blocks({ heads, queries, keys }: any, size: number, perHead: boolean) {
  const r = random(size);
  const indptr: number[] = [];
  const indices: number[] = [];
  for (let list = 0; list < (perHead ? heads : 1); list++) {
    for (let row = 0; row < queries / size; row++) {
      indptr.push(indices.length);
      for (let block = 0; block < keys / size; block++) if (r.uniform() < 0.6) indices.push(block);
    }
    indptr.push(indices.length);
  }
  return {
    indptr: Uint32Array.from(indptr),
    indices: Uint32Array.from(indices),
    blockQueries: size,
    blockKeys: size,
    perHead,
  };
}
const masks: ((o: any) => object)[] = [
  () => ({}),
  () => ({ causal: true }),
  () => ({ window: 50 }),
  (o) => ({ blocks: blocks(o, 32, false) }),
  (o) => ({ causal: true, blocks: blocks(o, 16, true) }),
  (o) => ({ window: 40, blocks: blocks(o, 48, true) }),
];
const dims = { keys: 131, headDim: 12, valueDim: 7 };

const shapes: Shapes[] = [
  ['quantize_f32', each(ROWS, (rows) => formats.map((o) => ({ ...o, rows }))), x],
  ['dequantize_f32', each(ROWS, (rows) => formats.map((o) => ({ ...o, rows }))), stored],
  [
    'codebook_quantize_f32',
    each(ROWS, (rows) => books.map((o) => ({ ...o, rows }))),
    (o, r) => ({ ...x(o, r), thresholds: booked(o, r).thresholds }),
  ],
  [
    'codebook_dequantize_f32',
    each(ROWS, (rows) => books.map((o) => ({ ...o, rows }))),
    (o, r) => {
      const { codes, scales } = lengthsOf('codebook_dequantize_f32', o);
      return { codes: r.bytes(codes!), scales: r.normals(scales!), table: booked(o, r).table };
    },
  ],
  [
    'outliers_extract_f32',
    each(ROWS, (rows) => [
      { rows, n: 1, k: 1 },
      { rows, n: 131, k: 5 },
    ]),
    x,
  ],
  [
    'outliers_restore_f32',
    each(ROWS, (rows) => [{ rows, n: 131, k: 5 }]),
    ({ rows, n, k }, r) => ({
      rest: r.normals(rows * n),
      values: r.normals(rows * k),
      indices: Uint32Array.from({ length: rows * k }, (_, i) => ((i % k) * 31 + i) % n),
    }),
  ],
  [
    'quantize_integers_f32',
    each(ROWS, (rows) => integerFormats.map((o, i) => ({ ...o, rows, seed: i % 3, first: i }))),
    x,
  ],
  ['dequantize_integers_f32', each(ROWS, (rows) => integerFormats.map((o) => ({ ...o, rows }))), storedIntegers],
  [
    'hadamard_f32',
    each(ROWS, (rows) => [1, 2, 8, 16, 128].map((n) => ({ rows, n }))),
    (o, r) => ({ ...x(o, r), signs: r.signs(o.n) }),
  ],
  [
    'hadamard_mixed_f32',
    each(ROWS, (rows) => [
      { rows, n: 12 },
      { rows, n: 96 },
      { rows, n: 28, inner: 5 },
      { rows, n: 8, inner: 3 },
    ]),
    (o, r) => ({
      x: r.normals(o.rows * o.n * (o.inner ?? 1)),
      matrix: hadamardMatrix(hadamardOrder(o.n)),
      signs: r.signs(o.n),
    }),
  ],
  ...['rotate_f32', 'rotate_quantize_f32'].map(
    (kernel): Shapes => [
      kernel,
      each(ROWS, (rows) => [
        { rows, n: 12, bits: 4, scheme: 'affine', groupSize: 0 },
        { rows, n: 128, bits: 2, scheme: 'symmetric', groupSize: 32 },
      ]),
      (o, r) => ({ ...x(o, r), ...rotation(o, r) }),
    ],
  ),
  [
    'rotate_dequantize_f32',
    each(ROWS, (rows) => [12, 128].map((n) => ({ rows, n, bits: 4, scheme: 'affine', groupSize: 32 }))),
    (o, r) => ({ ...stored({ ...o, axis: 'row' }, r), ...rotation(o, r) }),
  ],
  [
    'topk_f32',
    each(ROWS, (rows) => [
      { rows, n: 1, k: 1 },
      { rows, n: 130, k: 130 },
      { rows, n: 1000, k: 17 },
    ]),
    x,
  ],
  ...['softmax_f32', 'logsumexp_f32', 'softmax_state_f32'].map(
    (kernel): Shapes => [kernel, each(ROWS, (rows) => [0, 1, 3, 5, 100].map((n) => ({ rows, n }))), x],
  ),
  [
    'softmax_merge_f32',
    each(ROWS, (rows) => [1, 3].map((states) => ({ rows, n: 5, states }))),
    ({ rows, n, states }, r) => ({ outputs: r.normals(states * rows * n), lses: r.normals(states * rows) }),
  ],
  ...['gemm_quantized_f32', 'gemm_quantized_i16', 'gemm_quantized_i8'].map(
    (kernel): Shapes => [
      kernel,
      each([1, 3, 5], (m) =>
        [1, 8, 9, 61, 257].map((n) => ({ m, n, k: 70, bits: 4, groupSize: 32, scheme: 'symmetric' })),
      ),
      (o, r) => ({ x: r.normals(o.m * o.k), packed: r.words(lengthsOf(kernel, o).packed!).fill(0x3f8f1f2f) }),
    ],
  ),
  [
    'attention_decode_f32',
    each([1, 2, 3, 5, 7], (kvHeads) => [1, 3].map((group) => ({ ...dims, kvHeads, heads: kvHeads * group }))),
    qkv,
  ],
  [
    'attention_blocksparse_f32',
    each([1, 2, 3, 7, 13], (kvHeads) =>
      each([1, 3], (group) =>
        each([0, 1, 64, 65, 131, 200], (queries) => {
          const o = { ...dims, queries, kvHeads, heads: kvHeads * group };
          return masks.map((mask) => ({ ...o, ...mask(o) }));
        }),
      ),
    ),
    (o, r) => ({ ...qkv(o, r), ...(o.blocks ? { indptr: o.blocks.indptr, indices: o.blocks.indices } : {}) }),
  ],
];

describe.each(['simd', 'relaxed'] as const)('%s: the same bits as one thread', (level) => {
  const kernels = Object.entries(allSpecs);
  let pool: Pool;
  beforeAll(async () => {
    // Three threads on whatever cores there are, and parts as small as they get.
    if (supports(level)) pool = await createPool({ threads: 3, level, partBytes: 1 });
  });
  afterAll(() => pool?.close());

  test.skipIf(!supports(level)).each(kernels)('%s, every case of its spec', async (kernel, spec) => {
    const family = families[familyOf(kernel)]!;
    const one = family.instantiate(pool.memory, { level });
    const many = await pool.instantiate(family);
    const inPlace = Object.values(spec.contract.arrays).some((array) => array.inPlace);
    const faults: string[] = [];
    for (const [seed, { title, options, inputs }] of spec.cases.entries())
      for (const how of inPlace ? [false, true] : [false]) {
        const fault = differs(spec.contract, options, inputs(random(seed)), one, many, pool, how);
        if (fault) faults.push(`${title}${how ? ' (in place)' : ''}: ${fault}`);
      }
    expect(faults).toEqual([]);
  });

  test.skipIf(!supports(level)).each(shapes)(
    '%s, awkward numbers of rows and heads',
    async (kernel, options, inputs) => {
      const family = families[familyOf(kernel)]!;
      const one = family.instantiate(pool.memory, { level });
      const many = await pool.instantiate(family);
      const faults: string[] = [];
      for (const [seed, o] of options.entries()) {
        const fault = differs(contract[kernel]!, o, inputs(o, random(seed)), one, many, pool);
        if (fault)
          faults.push(`${JSON.stringify(o, (_, value) => (ArrayBuffer.isView(value) ? undefined : value))}: ${fault}`);
      }
      expect(faults).toEqual([]);
    },
  );
});

test.each([
  [false, false],
  [false, true],
  [true, false],
  [true, true],
])('status (mask per head: %s, causal: %s) is the first fault in the order of one thread', async (perHead, causal) => {
  const heads = 6;
  const [queries, keys, headDim] = [160, 160, 8];
  const lists = perHead ? heads : 1;
  const indptr = Uint32Array.from({ length: lists * 11 }, (_, i) => Math.floor(i / 11) * 20 + (i % 11) * 2);
  const indices = Uint32Array.from({ length: lists * 20 }, (_, i) => (i % 20 < 2 ? 0 : i % 2));
  for (const at of perHead ? [77, 33, 101] : [15, 7]) indices[at] = 99;
  const blocks = { indptr, indices, blockQueries: 16, blockKeys: 16, perHead };
  const options = { heads, kvHeads: heads, queries, keys, headDim, causal, blocks };
  const pool = await poolOf({ threads: 3, partBytes: 1 });
  // Checked calls would throw.
  const one = attention.instantiate(pool.memory).raw as unknown as Kernels;
  const many = (await pool.instantiate(attention)).raw as unknown as Kernels;
  const r = random(1);
  const [q, k, v] = [0, 1, 2].map(() => r.normals(heads * queries * headDim)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const inputs = { q, k, v, indptr, indices };
  const { offsets } = place(contract.attention_blocksparse_f32!, options, inputs, 64);
  for (let run = 0; run < 20; run++) {
    expect(differs(contract.attention_blocksparse_f32!, options, inputs, one, many, pool)).toBeUndefined();
    expect(new Uint32Array(pool.memory.buffer, offsets.status!, 1)[0]).toBe(1 + (perHead ? 33 : 7));
  }
});

test('all threads take part', async () => {
  const pool = await poolOf({ threads: 3 });
  const kernels = await pool.instantiate(attention);
  const one = attention.attentionScratchBytes({ headDim: 64 });
  const [q, k, v, output, lse, scratch] = [64, 1 << 17, 1 << 18, 3 << 17, 1 << 19, (1 << 19) + 4096];
  const each = pool.scratchBytes(one) / 3;
  const words = new Int32Array(pool.memory.buffer, scratch, (3 * each) >> 2).fill(7);
  const touched = () =>
    [0, 1, 2].filter((thread) =>
      words.subarray((thread * each) >> 2, (thread * each + one) >> 2).some((word) => word !== 7),
    );
  for (const end = Date.now() + 20_000; touched().length < 3 && Date.now() < end; )
    kernels.attention_decode_f32(q, k, v, 8, 8, 60, 64, 64, 0, 60, 0.125, 0, output, lse, scratch);
  expect(touched()).toEqual([0, 1, 2]);
});

describe('errors', () => {
  test('checks are those of one thread, with scratch for all', async () => {
    const pool = await poolOf({ threads: 2, memory: new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }) });
    const kernels = await pool.instantiate(topk);
    expect(() => kernels.topk_f32(0, 1, 8, 9, 64, 128)).toThrow(
      new RangeError('topk_f32: "k" expected integer in [1, 8], got 9'),
    );
    const decode = (await pool.instantiate(attention)).attention_decode_f32;
    const bytes = attention.attentionScratchBytes({ headDim: 16 });
    const at = (scratch: number) => () => decode(64, 128, 256, 1, 1, 1, 16, 16, 0, 1, 0.25, 0, 512, 640, scratch);
    at(4 * 65536 - pool.scratchBytes(bytes))();
    expect(at(undefined as never)).toThrow(
      /^attention_decode_f32: "scratch" expected byte offset of .*, got undefined$/,
    );
    expect(at(4 * 65536 - pool.scratchBytes(bytes) + 64)).toThrow(
      'attention_decode_f32: "scratch" expected array that ends within',
    );
  });

  test('options', async () => {
    await expect(createPool({ threads: 0 })).rejects.toThrow(
      new RangeError('pool: "threads" expected integer in [1, 64], got 0'),
    );
    await expect(createPool({ threads: 2, memory: new WebAssembly.Memory({ initial: 1 }) })).rejects.toThrow(
      new RangeError('pool: "memory" expected shared memory, got Memory'),
    );
    await expect(createPool({ threads: 2, memory: {} as WebAssembly.Memory })).rejects.toThrow(TypeError);
    const pool = await poolOf({ threads: 2 });
    await expect(pool.instantiate({ instantiate: () => ({}) as Instance<object> })).rejects.toThrow(
      new TypeError('pool: "family" expected module of a lanewise CPU family, got Object'),
    );
    await expect(createPool({ level: 'fast' as never })).rejects.toThrow(
      new RangeError('pool: "level" expected "simd" or "relaxed", got "fast"'),
    );
    for (const [wrong, error] of [
      [{ level: null }, new TypeError('pool: "level" expected "simd" or "relaxed", got null')],
      [{ timeoutMs: '5' }, new TypeError('pool: "timeoutMs" expected number of at least 0, got "5"')],
      [{ timeoutMs: -1 }, new RangeError('pool: "timeoutMs" expected number of at least 0, got -1')],
      [{ timeoutMs: NaN }, new RangeError('pool: "timeoutMs" expected number of at least 0, got NaN')],
      [{ worker: 5 }, new TypeError('pool: "worker" expected string or URL, got 5')],
    ] as const)
      await expect(createPool({ threads: 2, ...(wrong as object) })).rejects.toThrow(error);
    if (!supports('relaxed')) await expect(createPool({ level: 'relaxed' })).rejects.toThrow(LanewiseUnsupportedError);
  });

  test('a page that is not cross-origin isolated', async () => {
    Object.assign(globalThis, { crossOriginIsolated: false });
    try {
      const error = await createPool({ threads: 2 }).catch((e) => e);
      expect(error).toBeInstanceOf(LanewiseUnsupportedError);
      expect(error.feature).toBe('cross-origin isolation');
      expect(error.message).toBe(
        'pool: this host does not support "cross-origin isolation"; serve the page with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp',
      );
      // One thread needs nothing of the sort.
      const pool = await poolOf({ threads: 1 });
      (await pool.instantiate(softmax)).softmax_f32(64, 1, 4, 1, 128);
      expect(new Float32Array(pool.memory.buffer, 128, 4)[0]).toBe(0.25);
    } finally {
      Reflect.deleteProperty(globalThis, 'crossOriginIsolated');
    }
  });

  test('a trap on any thread is a RuntimeError, and the pool goes on', async () => {
    const pool = await poolOf({
      threads: 3,
      partBytes: 1,
      memory: new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true }),
    });
    const { raw } = await pool.instantiate(softmax);
    for (let run = 0; run < 50; run++) {
      expect(() => raw.softmax_f32(64, 1000, 1000, 1, 64)).toThrow(WebAssembly.RuntimeError);
      raw.softmax_f32(64, 100, 4, 1, 64);
    }
  });
});

describe('a worker dies', () => {
  const threads = process.getBuiltinModule('node:worker_threads');
  const { Worker } = threads;
  afterEach(() => void (threads.Worker = Worker));
  /** Workers made while this is in force, their text changed. */
  function intercept(edit = (source: string) => source): InstanceType<typeof Worker>[] {
    const made: InstanceType<typeof Worker>[] = [];
    threads.Worker = class extends Worker {
      constructor(source: string | URL, options?: object) {
        super(edit(String(source)), options);
        made.push(this);
      }
    } as typeof Worker;
    return made;
  }
  const softmaxOf = (kernels: softmax.SoftmaxKernels) => () => kernels.raw.softmax_f32(64, 1000, 1000, 1, 64);
  async function grown(options: Parameters<typeof createPool>[0]): Promise<Pool> {
    const pool = await poolOf(options);
    pool.memory.grow(64);
    return pool;
  }

  test('between two calls: the next one says so', async () => {
    const [pool, made] = await (async () => {
      const made = intercept();
      return [await grown({ threads: 2 }), made] as const;
    })();
    const call = softmaxOf(await pool.instantiate(softmax));
    call();
    await made[0]!.terminate();
    expect(call).toThrow(new LanewisePoolError('a worker ended (exit code 1)'));
    expect(call).toThrow(LanewisePoolError);
    await expect(pool.instantiate(topk)).rejects.toThrow(LanewisePoolError);
    await pool.close();
  });

  test('of an exception: the error has its message', async () => {
    intercept((source) =>
      source.replace(
        'take(',
        '(() => { setTimeout(() => { throw new Error("gone") }); throw Atomics.store(start.control, start.words.mail, -1) })(',
      ),
    );
    const pool = await grown({ threads: 2, partBytes: 1 });
    const call = softmaxOf(await pool.instantiate(softmax));
    for (const end = Date.now() + 20_000; Date.now() < end; await sleep(1)) {
      try {
        call();
      } catch (error) {
        if (error instanceof LanewisePoolError) break;
      }
    }
    expect(call).toThrow(new LanewisePoolError('a worker died (gone)'));
  });

  test.each(['process.exit(3)', 'for (;;);'])(
    'in the middle of a call, by %s: an error after timeoutMs, not a hang',
    async (death) => {
      intercept((source) => source.replace('take(', `(() => { ${death} })(`));
      const pool = await grown({ threads: 2, timeoutMs: 100 });
      const call = softmaxOf(await pool.instantiate(softmax));
      const begun = Date.now();
      let error: unknown;
      // The worker may miss a call while it wakes up.
      for (let run = 0; run < 1000 && !error; run++)
        try {
          call();
        } catch (e) {
          error = e;
        }
      expect(error).toBeInstanceOf(LanewisePoolError);
      expect((error as Error).message).toMatch(
        /^pool: a worker did not finish its part of softmax_f32 within \d+ ms: it has died or hangs$/,
      );
      expect(Date.now() - begun).toBeLessThan(20_000);
      expect(call).toThrow(LanewisePoolError);
      await pool.close();
    },
  );

  test('before it has started', async () => {
    intercept(() => 'process.exit(5)');
    await expect(createPool({ threads: 2 })).rejects.toThrow(new LanewisePoolError('a worker ended (exit code 5)'));
    intercept(() => 'throw new Error("no")');
    await expect(createPool({ threads: 3 })).rejects.toThrow(new LanewisePoolError('a worker died (no)'));
  });
});

test('close() ends the workers, once; calls after it throw', async () => {
  const pool = await poolOf({ threads: 3 });
  const kernels = await pool.instantiate(topk);
  await Promise.all([pool.close(), pool.close()]);
  await pool.close();
  expect(() => kernels.topk_f32(0, 1, 8, 1, 64, 128)).toThrow(new LanewisePoolError('it is closed'));
  await expect(pool.instantiate(topk)).rejects.toThrow(new LanewisePoolError('it is closed'));
});

test('two pools in one memory', async () => {
  const first = await poolOf({ threads: 2, partBytes: 1 });
  const second = await poolOf({ threads: 2, memory: first.memory, partBytes: 1 });
  const [a, b] = [await first.instantiate(softmax), await second.instantiate(softmax)];
  for (let run = 0; run < 50; run++) {
    a.softmax_f32(64, 100, 4, 1, 4096);
    b.softmax_f32(64, 100, 4, 1, 8192);
  }
  expect(new Float32Array(first.memory.buffer, 4096, 400).every((value) => value === 0.25)).toBe(true);
  expect(new Float32Array(first.memory.buffer, 8192, 400).every((value) => value === 0.25)).toBe(true);
});

describe('bundled, minified, names kept', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'lanewise-pool-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  async function run(contents: string): Promise<string> {
    const file = join(folder, `run${Math.random().toString(36).slice(2)}.mjs`);
    const { outputFiles } = await build({
      stdin: { contents, resolveDir: join(root, 'test'), loader: 'ts' },
      bundle: true,
      minify: true,
      keepNames: true,
      format: 'esm',
      platform: 'node',
      target: 'es2022',
      write: false,
    });
    writeFileSync(file, outputFiles[0]!.contents);
    return execFileSync(process.execPath, [file], { encoding: 'utf8', timeout: 60_000 }).trim();
  }
  const program = (end: string) => `
    import * as softmax from '../ts/cpu/softmax.js';
    import { createPool } from '../ts/cpu/pool.js';
    async function compute(end) {
      const pool = await createPool({ threads: 2, partBytes: 1 });
      const kernels = await pool.instantiate(softmax);
      for (let i = 0; i < 1000; i++) kernels.softmax_f32(64, 100, 4, 1, 4096);
      const right = new Float32Array(pool.memory.buffer, 4096, 400).every((value) => value === 0.25);
      if (end) await pool.close();
      return right;
    }
    ${end}`;

  test('a process with an open pool ends by itself', async () => {
    expect(await run(program('console.log(await compute(false));'))).toBe('true');
  });
  test('a process with a closed pool ends by itself', async () => {
    expect(await run(program('console.log(await compute(true));'))).toBe('true');
  });
  test('inside a worker', async () => {
    const inside = `
      import { isMainThread, parentPort, Worker } from 'node:worker_threads';
      if (isMainThread) new Worker(new URL(import.meta.url)).on('message', (right) => console.log(right));
      else parentPort.postMessage(await compute(true));`;
    expect(await run(`${inside.split('\n')[1]}\n${program(inside.split('\n').slice(2).join('\n'))}`)).toBe('true');
  });
});
