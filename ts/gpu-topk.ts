/** What the GPU's top-k of f32 and of f16 share. */
import type { TopkOptions } from './contract/topk.js';
import type { Contract, Params } from './contract.js';
import { type GpuKernelFactory, gpuKernel, type Shader, type Step } from './gpu/runtime.js';

// As in wgsl/topk.wgsl.
const SLOTS = 512;
const DIGIT = 8;
const PASS = 264;
const CHUNK = 16384;
const THREADS = 256;

/** Rows from which one workgroup per row keeps a GPU busy even where a row is long. */
const MANY_ROWS = 64;

/** What distinguishes the kernels of f32 and f16. */
interface Kind {
  contract: Contract<TopkOptions>;
  /** RANK_BITS of wgsl/lib/topk-values. */
  rankBits: number;
  /** Ranks lie in the place of the values until the last step; halves have no room for them and follow in a step of their own. */
  gathers: boolean;
}

/** Digits that selection may have to look at: of the rank, then of the place. */
function digits(n: number, rankBits: number): { low: number; ofPlace: number }[] {
  const list: { low: number; ofPlace: number }[] = [];
  for (const [ofPlace, bits] of [rankBits, 32 - Math.clz32(n - 1)].entries())
    for (let top = bits; top > 0; top -= DIGIT) list.push({ low: Math.max(top - DIGIT, 0), ofPlace });
  return list;
}

/** Rows sorted whole, one workgroup per row, or many. */
type Path = 'whole' | 'row' | 'many';

function pathOf({ rows, n, k }: Params): Path {
  if (n! <= SLOTS) return 'whole';
  return k! <= SLOTS && (n! <= CHUNK || (rows! >= MANY_ROWS && n! <= 8 * CHUNK)) ? 'row' : 'many';
}

/** Words: histograms and thresholds of each row, where it takes many workgroups. */
function scratchLength({ rankBits }: Kind, params: Params): number {
  if (pathOf(params) !== 'many') return 0;
  const { rows, n, k } = params as { rows: number; n: number; k: number };
  const passes = n === k ? 0 : digits(n, rankBits).length;
  return rows * (passes * PASS + 8);
}

function stepsOf(kind: Kind, params: Params): Step[] {
  const steps = selectionOf(kind, params);
  if (kind.gathers) {
    const words = Math.ceil((params.rows! * params.k!) / 2);
    steps.push({ entry: `${kind.contract.kernel}__gather`, workgroups: Math.ceil(words / THREADS) });
  }
  return steps;
}

function selectionOf(kind: Kind, params: Params): Step[] {
  const { kernel } = kind.contract;
  const { rows, n, k } = params as { rows: number; n: number; k: number };
  const path = pathOf(params);
  if (path === 'whole') {
    const width = 2 ** Math.ceil(Math.log2(n));
    return [{ entry: `${kernel}__sort`, workgroups: Math.ceil((rows * width) / SLOTS), params: { width, last: 1 } }];
  }
  if (path === 'row') return [{ entry: `${kernel}__row`, workgroups: rows }];
  const passes = n === k ? [] : digits(n, kind.rankBits);
  const chunks = Math.ceil(n / CHUNK);
  const shared = { chunks, passes: passes.length };
  const last = (pass: number) => ({ lastLow: passes[pass - 1]?.low ?? 0, lastOfPlace: passes[pass - 1]?.ofPlace ?? 0 });
  const steps: Step[] = [
    { entry: `${kernel}__clear`, workgroups: Math.ceil(scratchLength(kind, params) / SLOTS), params: shared },
    ...passes.map((digit, pass) => ({
      entry: `${kernel}__histogram`,
      workgroups: rows * chunks,
      params: { ...shared, ...digit, ...last(pass), pass_: pass },
    })),
    {
      entry: `${kernel}__collect`,
      workgroups: rows * chunks,
      params: { ...shared, ...last(passes.length), pass_: passes.length },
    },
  ];
  const groups = rows * Math.ceil(k / SLOTS);
  steps.push({ entry: `${kernel}__sort`, workgroups: groups, params: { size: 0, last: Number(k <= SLOTS) } });
  for (let size = 2 * SLOTS; size < 2 * k; size *= 2) {
    const workgroups = (rows * Math.ceil(k / size) * (size / 2)) / THREADS;
    steps.push({ entry: `${kernel}__merge`, workgroups, params: { size, stride: 0 } });
    for (let stride = size / 4; stride >= SLOTS; stride /= 2)
      steps.push({ entry: `${kernel}__merge`, workgroups, params: { size, stride } });
    steps.push({ entry: `${kernel}__sort`, workgroups: groups, params: { size, last: Number(size >= k) } });
  }
  return steps;
}

/** The kernel of a contract's dtype. */
export function topkOf(contract: Contract<TopkOptions>, shader: Shader): GpuKernelFactory<TopkOptions, never> {
  const half = contract.arrays.x!.dtype === 'f16';
  const kind: Kind = { contract, rankBits: half ? 16 : 32, gathers: half };
  return gpuKernel({
    contract,
    shader,
    dynamic: { rows: {} },
    scratch: (params) => scratchLength(kind, params),
    steps: ({ params }) => stepsOf(kind, params),
  });
}
