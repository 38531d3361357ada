/**
 * The thread pool against one thread, in turns in one run: what a call costs beyond the kernel, and what threads gain.
 *
 *   node --import tsx bench/pool.ts [threads]
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { code, cpu } from '../test/generated/registry.js';
import { createPool } from '../ts/cpu/pool.js';
import type { Instance } from '../ts/cpu/runtime.js';

type Kernel = (...args: number[]) => void;
type Family = Parameters<Awaited<ReturnType<typeof createPool>>['instantiate']>[0];

const threads = Number(process.argv[2] ?? 2);
const pool = await createPool({ threads });
const megabyte = 1 << 20;
pool.memory.grow((512 * megabyte - pool.memory.buffer.byteLength) / 65536);
const floats = new Float32Array(pool.memory.buffer, 0, 64 * megabyte);
for (let i = 0, state = 1; i < floats.length; i++) {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  floats[i] = state / 2 ** 31;
}

/** Arrays by megabyte: inputs below 256, outputs from there on. Everything else by its name. */
const AT = {
  x: 0,
  q: 0,
  k: 8,
  v: 64,
  kCodes: 8,
  kScales: 24,
  kMinima: 32,
  vCodes: 64,
  vScales: 96,
  vMinima: 104,
  codes: 256,
  scales: 270,
  minima: 280,
  values: 256,
  indices: 257,
  output: 256,
  lse: 290,
  scratch: 300,
};
const one: Record<string, Kernel> = {};
const many: Record<string, Kernel> = {};
const orders: Record<string, string[]> = {};
for (const [name, { parameters }] of Object.entries(
  code as unknown as Record<string, { parameters: Record<string, string> }>,
)) {
  const family = (cpu as unknown as Record<string, Family>)[name]!;
  Object.assign(one, (family.instantiate(pool.memory, { level: pool.level }) as Instance<object>).raw);
  Object.assign(many, ((await pool.instantiate(family)) as Instance<object>).raw);
  for (const [kernel, list] of Object.entries(parameters)) orders[kernel] = list.split(' ');
}

/** A call of both by argument name. */
function calls(kernel: string, given: Record<string, number>): [one: () => void, many: () => void] {
  const at: Record<string, number> = Object.fromEntries(
    Object.entries(AT).map(([name, place]) => [name, place * megabyte]),
  );
  const args = orders[kernel]!.map((name) => given[name] ?? at[name] ?? 0);
  return [() => one[kernel]!(...args), () => many[kernel]!(...args)];
}

const sorted = (times: number[]) => times.sort((a, b) => a - b);
const median = (times: number[]) => sorted(times)[times.length >> 1]!;

function time(run: () => void, count: number): number {
  const begun = performance.now();
  for (let i = 0; i < count; i++) run();
  return ((performance.now() - begun) * 1000) / count;
}

/** Medians and least times of both in microseconds, taken in turns; several calls to a sample where one is too short to time. */
function both(
  [alone, together]: [() => void, () => void],
  budgetMs = 1500,
): Record<'median' | 'least', [one: number, many: number]> {
  time(alone, 20);
  time(together, 20);
  const count = Math.max(1, Math.round(50 / time(alone, 5)));
  const times: [number[], number[]] = [[], []];
  for (const end = performance.now() + budgetMs; performance.now() < end || times[0].length < 5; ) {
    times[0].push(time(alone, count));
    times[1].push(time(together, count));
  }
  return { median: [median(times[0]), median(times[1])], least: [times[0][0]!, times[1][0]!] };
}

const heads = (heads: number, kvHeads: number, keys: number, dim: number) => ({
  heads,
  kvHeads,
  keys,
  headDim: dim,
  valueDim: dim,
  to: keys,
  scale: dim ** -0.5,
});
const causal = (count: number, length: number) => ({ ...heads(count, count, length, 64), queries: length, causal: 1 });
const stored = { kBits: 4, kAxis: 1, kGroupSize: 128, vBits: 4, vGroupSize: 128, kRecent: 0, vRecent: 0 };
const far = { out: 320 * megabyte };
const format = { rows: 4096, n: 4096, bits: 4, groupSize: 32 };

console.log(`node ${process.version}, ${pool.level}, ${threads} threads\n`);
console.log('beyond the kernel, us              one thread       pool difference');
const small: [string, [() => void, () => void]][] = [
  ['topk 1 x 64 (not divided)', calls('topk_f32', { rows: 1, n: 64, k: 8 })],
  ['softmax 32 x 256', calls('softmax_f32', { rows: 32, n: 256, scale: 1, ...far })],
  ['decode 2 heads x 1 key x 64', calls('attention_decode_f32', heads(2, 2, 1, 64))],
  ['causal 2 heads x 1 x 64', calls('attention_blocksparse_f32', causal(2, 1))],
];
const line = (title: string, ...numbers: (string | number)[]) =>
  console.log(title.padEnd(34), ...numbers.map((n) => (typeof n === 'number' ? n.toFixed(2) : n).padStart(10)));

for (const [title, pair] of small) {
  const [a, b] = both(pair).median;
  line(title, a, b, b - a);
}
const cold: number[] = [];
for (let i = 0; i < 50; i++) {
  await sleep(5);
  cold.push(time(small[1]![1][1], 1));
}
line('softmax 32 x 256, workers asleep', '', median(cold));

console.log('\nspeed, us (medians)                one thread       pool      ratio  of least');
const work: [string, [() => void, () => void]][] = [
  ['dequantize 4 bit 4096 x 4096', calls('dequantize_f32', { ...format, ...far })],
  ['quantize 4 bit 4096 x 4096', calls('quantize_f32', format)],
  ['hadamard 4096 x 128', calls('hadamard_f32', { rows: 4096, n: 128, scale: 128 ** -0.5, ...far })],
  ['hadamard 512 x 4096', calls('hadamard_f32', { rows: 512, n: 4096, scale: 1 / 64, ...far })],
  ['top-64 of 128 x 32768', calls('topk_f32', { rows: 128, n: 32768, k: 64 })],
  ['softmax 1024 x 4096', calls('softmax_f32', { rows: 1024, n: 4096, scale: 1, ...far })],
  ['decode 32/8 heads, 8192 x 128', calls('attention_decode_f32', heads(32, 8, 8192, 128))],
  [
    'the same, keys and values in 4 bit',
    calls('attention_decode_quantized_f32', { ...heads(32, 8, 8192, 128), capacity: 8192, ...stored }),
  ],
  ['decode 32/8 heads, 512 x 128', calls('attention_decode_f32', heads(32, 8, 512, 128))],
  ['causal 8 heads x 1024 x 64', calls('attention_blocksparse_f32', causal(8, 1024))],
  ['causal 1 head x 2048 x 64', calls('attention_blocksparse_f32', causal(1, 2048))],
];
for (const [title, pair] of work) {
  const { median: m, least: l } = both(pair);
  line(title, ...m, m[0] / m[1], l[0] / l[1]);
}
await pool.close();
