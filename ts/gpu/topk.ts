import { type TopkOptions, topk_f32 } from '../contract/topk.js';
import type { Params } from '../contract.js';
import { shader } from '../generated/gpu/topk.js';
import { type GpuKernelFactory, gpuKernel, type Step } from './runtime.js';

export type { TopkOptions };

// As in wgsl/topk.wgsl.
const SLOTS = 512;
const DIGIT = 8;
const PASS = 264;
const CHUNK = 16384;
const THREADS = 256;

/** Rows from which one workgroup per row keeps a GPU busy even where a row is long. */
const MANY_ROWS = 64;

/** Digits that selection may have to look at: of the rank, then of the place. */
function digits(n: number): { low: number; ofPlace: number }[] {
  const list: { low: number; ofPlace: number }[] = [];
  for (const [ofPlace, bits] of [32, 32 - Math.clz32(n - 1)].entries())
    for (let top = bits; top > 0; top -= DIGIT) list.push({ low: Math.max(top - DIGIT, 0), ofPlace });
  return list;
}

/** Rows sorted whole, one workgroup per row, or many. */
type Path = 'whole' | 'row' | 'many';

function pathOf({ rows, n, k }: Params): Path {
  if (n! <= SLOTS) return 'whole';
  return k! <= SLOTS && (n! <= CHUNK || (rows! >= MANY_ROWS && n! <= 8 * CHUNK)) ? 'row' : 'many';
}

const passesOf = ({ n, k }: Params) => (n === k ? 0 : digits(n!).length);

/** Words: histograms and thresholds of each row, where it takes many workgroups. */
const scratchLength = (params: Params) =>
  pathOf(params) === 'many' ? params.rows! * (passesOf(params) * PASS + 8) : 0;

/** Bytes of scratch that `bind` needs for these sizes; 0: none, it may be left out. */
export function topkScratchBytes(options: TopkOptions): number {
  const params = topk_f32.params(options);
  topk_f32.lengths(params);
  return 4 * scratchLength(params);
}

function stepsOf(params: Params): Step[] {
  const { rows, n, k } = params as { rows: number; n: number; k: number };
  const path = pathOf(params);
  if (path === 'whole') {
    const width = 2 ** Math.ceil(Math.log2(n));
    return [{ entry: 'topk_f32__sort', workgroups: Math.ceil((rows * width) / SLOTS), params: { width, last: 1 } }];
  }
  if (path === 'row') return [{ entry: 'topk_f32__row', workgroups: rows }];
  const passes = n === k ? [] : digits(n);
  const chunks = Math.ceil(n / CHUNK);
  const shared = { chunks, passes: passes.length };
  const last = (pass: number) => ({ lastLow: passes[pass - 1]?.low ?? 0, lastOfPlace: passes[pass - 1]?.ofPlace ?? 0 });
  const steps: Step[] = [
    { entry: 'topk_f32__clear', workgroups: Math.ceil(scratchLength(params) / SLOTS), params: shared },
    ...passes.map((digit, pass) => ({
      entry: 'topk_f32__histogram',
      workgroups: rows * chunks,
      params: { ...shared, ...digit, ...last(pass), pass_: pass },
    })),
    {
      entry: 'topk_f32__collect',
      workgroups: rows * chunks,
      params: { ...shared, ...last(passes.length), pass_: passes.length },
    },
  ];
  const groups = rows * Math.ceil(k / SLOTS);
  steps.push({ entry: 'topk_f32__sort', workgroups: groups, params: { size: 0, last: Number(k <= SLOTS) } });
  for (let size = 2 * SLOTS; size < 2 * k; size *= 2) {
    const workgroups = (rows * Math.ceil(k / size) * (size / 2)) / THREADS;
    steps.push({ entry: 'topk_f32__merge', workgroups, params: { size, stride: 0 } });
    for (let stride = size / 4; stride >= SLOTS; stride /= 2)
      steps.push({ entry: 'topk_f32__merge', workgroups, params: { size, stride } });
    steps.push({ entry: 'topk_f32__sort', workgroups: groups, params: { size, last: Number(size >= k) } });
  }
  return steps;
}

/** The k largest (or smallest) values of each row and their positions: `{ x, values, indices, scratch }`. */
export const topk: GpuKernelFactory<TopkOptions, never> = gpuKernel({
  contract: topk_f32,
  shader,
  lengths: (params) => ({ scratch: scratchLength(params) }),
  steps: ({ params }) => stepsOf(params),
});
