/**
 * `npm run bench:encode`: what one call costs the JavaScript thread per token, and what it leaves for the garbage collector: the
 * ways to call one kernel, then every kernel with all its lengths set anew.
 * Times are medians of rounds of 1,000 calls; bytes are the heap's growth over 1,000, the least of several rounds.
 * Nothing is submitted, so the adapter does not matter.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { adapters, deviceOf } from '../test/lib/adapters.js';
import { constantsOf, factories } from '../test/lib/implementations.js';
import { random } from '../test/lib/random.js';
import { vulkanEnvironment } from '../test/lib/vulkan.js';
import { attentionDecode } from '../ts/gpu/attention.js';
import { createUniformRing } from '../ts/gpu/runtime.js';
import { softmax } from '../ts/gpu/softmax.js';
import { allBenches } from './lib/table.js';

const { gc } = globalThis as { gc?: () => void };
if (!gc) {
  // The collector and the Vulkan driver are found by what a process starts with: start once more.
  const { status } = spawnSync(process.execPath, ['--expose-gc', ...process.execArgv, fileURLToPath(import.meta.url)], {
    stdio: 'inherit',
    env: { ...process.env, ...(await vulkanEnvironment()) },
  });
  process.exit(status ?? 1);
}
const { found, reason } = await adapters();
if (reason) throw new Error(reason);
const { device } = await deviceOf(found[0]!);
const storage = (floats: number) => device.createBuffer({ size: 4 * floats, usage: GPUBufferUsage.STORAGE });

const keys = 4096;
const decode = await attentionDecode.compile(device, { headDim: 128 });
const options = { heads: 32, kvHeads: 8, keys, headDim: 128 };
const scratch = storage(attentionDecode.scratchBytes(options) / 4);
const buffers = {
  q: storage(32 * 128),
  k: storage(8 * keys * 128),
  v: storage(8 * keys * 128),
  output: storage(32 * 128),
  lse: storage(32),
  scratch,
};
const ring = createUniformRing(device, { bytes: 16_384 * 256 });
const own = decode.bind(buffers, options);
const sharing = { uniform: ring };
const ringed = decode.bind(buffers, options, sharing);
const rows = await softmax.compile(device);
const row = rows.bind({ x: storage(4096), out: storage(4096) }, { rows: 1, n: 4096 }, { uniform: ring });

/** A pass that does nothing: what is measured is ours, not the host's encoder. */
const silent = {
  setPipeline() {},
  setBindGroup() {},
  dispatchWorkgroups() {},
} as unknown as GPUComputePassEncoder;
const encoder = device.createCommandEncoder();
const real = encoder.beginComputePass();

const ROUND = 1000;
const changes = { to: 1 };
const at = (i: number) => 3000 + (i % 1000);
const tasks: Record<string, (i: number) => void> = {
  'attention_decode_f32 encode (2 dispatches)': () => own.encode(silent),
  'attention_decode_f32 set + encode, ring': (i) => {
    ringed.set('to', at(i));
    ringed.encode(silent);
  },
  'attention_decode_f32 update + encode, ring': (i) => {
    changes.to = at(i);
    ringed.update(changes);
    ringed.encode(silent);
  },
  'softmax_f32 set + encode, ring': (i) => {
    row.set('n', at(i));
    row.encode(silent);
  },
  'attention_decode_f32 bind to buffers seen before, ring': () => {
    decode.bind(buffers, options, sharing);
  },
  "attention_decode_f32 encode into the host's pass": () => own.encode(real),
};

/** Its kernel's quick size of the bench, or its first; undefined where the device lacks a feature. */
async function everyLengthSet(name: string): Promise<[string, (i: number) => void] | undefined> {
  const factory = factories[name]!;
  if (factory.features.some((feature) => !device.features.has(feature as GPUFeatureName))) return undefined;
  const { contract } = factory;
  const sizes = allBenches[name]!.sizes;
  // Real inputs are not at hand: what they hold does not matter here.
  const size = sizes.find(({ quick, title }) => quick && !title.startsWith('real')) ?? sizes[0]!;
  const params = contract.params(size.options);
  const lengths: Record<string, number> = {
    ...contract.lengths(params),
    scratch: factory.scratchBytes(size.options) / 4,
  };
  const given = size.inputs(random(1), undefined as never);
  const buffers = Object.fromEntries(
    Object.entries(contract.arrays)
      .filter(([array, { role, optional }]) => (role === 'in' ? given[array] || !optional : true) && lengths[array])
      .map(([array]) => [array, storage(lengths[array]!)]),
  );
  const kernel = await factory.compile(device, constantsOf(factory, size.options));
  const call = kernel.bind(buffers, size.options, sharing);
  const lengthsSet = kernel.dynamic.filter((option) => Number.isInteger(params[option]) && params[option]! > 0);
  const task = (i: number) => {
    for (let at = 0; at < lengthsSet.length; at++) {
      const most = params[lengthsSet[at]!]!;
      call.set(lengthsSet[at]!, most - (i % Math.min(most, 7)));
    }
    call.encode(silent);
  };
  return [`${name} ${lengthsSet.length ? `set ${lengthsSet.join(', ')} + ` : ''}encode, ring`, task];
}
for (const name of Object.keys(allBenches)) {
  const entry = factories[name] && (await everyLengthSet(name));
  if (entry) tasks[entry[0]] = entry[1];
}

const heap = () => process.memoryUsage().heapUsed;
console.log(`${found[0]!.label}, ${process.version}\n`);
console.log('µs each   bytes per 1,000   what');
for (const [title, task] of Object.entries(tasks)) {
  const round = () => {
    for (let i = 0; i < ROUND; i++) task(i);
    ring.flush();
  };
  for (let i = 0; i < 30; i++) round();
  const times: number[] = [];
  for (let i = 0; i < 31; i++) {
    const start = performance.now();
    for (let j = 0; j < ROUND; j++) task(j);
    times.push(performance.now() - start);
    ring.flush();
  }
  times.sort((a, b) => a - b);
  // The smallest of several: a round may be interrupted by the engine's own work.
  let grown = Infinity;
  for (let round = 0; round < 15; round++) {
    gc();
    const before = heap();
    for (let i = 0; i < ROUND; i++) task(i);
    grown = Math.min(grown, heap() - before);
    ring.flush();
  }
  console.log(`${times[15]!.toFixed(2).padStart(7)}   ${String(grown).padStart(15)}   ${title}`);
}
real.end();
process.exit(0);
