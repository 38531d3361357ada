import type { Contract } from '../contract.js';
import { LanewiseUnsupportedError, message } from '../errors.js';
import { named, parts } from '../parts.js';
import { CALL_LENGTH, callWriter, threadScratchBytes } from '../pool-call.js';
import { CALL, CONTROL_WORDS, type Load, MAX_THREADS, OPEN, type Start, share, WORDS, work } from '../pool-thread.js';
import { integer, options as optionsOf } from '../validate.js';
import { type CpuLevel, type Instance, type InstantiateOptions, levelOf } from './runtime.js';

export interface PoolOptions {
  /** Threads that compute, the caller's among them. Default: one for each core, 8 at most. */
  threads?: number;
  /** The shared memory that kernels compute in. Default: a new one that may grow to 4 GiB, or to what this host allows. */
  memory?: WebAssembly.Memory;
  /** Default: the best level this host has. */
  level?: CpuLevel;
  /**
   * A part of a call that moves fewer bytes is not worth handing to another thread; a call that has no two such parts stays on
   * the caller's. Default 32768.
   */
  partBytes?: number;
  /**
   * How long a worker may take longer than it should before it counts as dead. Default 5000. What it should: ten times as
   * long as the caller's own share of the same call.
   */
  timeoutMs?: number;
  /** Where `workerSource` is served, for pages whose Content-Security-Policy has no `worker-src blob:`. */
  worker?: string | URL;
}

/** A family's module: `import * as topk from 'lanewise/cpu/topk.js'`. */
export interface FamilyModule<Kernels> {
  instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): Instance<Kernels>;
}

export interface Pool {
  readonly threads: number;
  readonly memory: WebAssembly.Memory;
  readonly level: CpuLevel;
  /**
   * A family's kernels on all threads: the signatures, checks and bits of its own `instantiate`, synchronous, for the thread that
   * made the pool. Only scratch is larger: see `scratchBytes`.
   */
  instantiate<Kernels>(family: FamilyModule<Kernels>): Promise<Instance<Kernels>>;
  /** Bytes of scratch for a pooled call, where the kernel alone needs `bytes`. */
  scratchBytes(bytes: number): number;
  /** Ends the workers. Calls after it throw. */
  close(): Promise<void>;
}

/** A worker died or was lost, or the pool was closed. A pool does not recover: close it and create another. */
export class LanewisePoolError extends Error {
  override readonly name = 'LanewisePoolError';
  constructor(reason: string) {
    super(`pool: ${reason}`);
  }
}

/** Workers look out for the next call this long before they sleep: waking one takes a hundred times as long as being noticed. */
const SPIN_MS = 0.2;

type Kernel = (...args: number[]) => void;

interface Thread {
  postMessage(message: unknown): void;
  terminate(): unknown;
  ref?(): void;
  unref?(): void;
}

declare const process: { getBuiltinModule?(name: string): any } | undefined;
/** A module of Node, asked for in a way that no bundler sees. */
const builtin = (name: string) => (typeof process === 'undefined' ? undefined : process.getBuiltinModule?.(name));

/** `__name` is what bundlers that keep names wrap functions in. */
const sourceFor = (port: string) => `const __name = (f) => f;\n(${work})(${port}, ${share});\n`;

/** What a worker runs in a browser (or Deno, or Bun). Only pages that forbid blob: workers need it: they serve it as a file. */
export const workerSource: string = sourceFor('self');

function startThread(
  url: string | URL | undefined,
  seen: (count: number) => void,
  lost: (reason: string) => void,
): Thread {
  if (typeof Worker === 'undefined') {
    const source = sourceFor("require('node:worker_threads').parentPort");
    const threads = builtin('node:worker_threads');
    const worker = new threads.Worker(source, { eval: true, name: 'lanewise', execArgv: [] });
    worker.on('message', seen);
    worker.on('error', (error: Error) => lost(`a worker died (${error.message})`));
    worker.on('exit', (code: number) => lost(`a worker ended (exit code ${code})`));
    return worker;
  }
  const blob = url ?? URL.createObjectURL(new Blob([workerSource], { type: 'text/javascript' }));
  const worker = new Worker(blob, { type: 'module', name: 'lanewise' });
  worker.onmessage = ({ data }) => {
    if (!url) URL.revokeObjectURL(blob as string);
    seen(data);
  };
  worker.onmessageerror = () => lost('a worker could not take what it was sent');
  worker.onerror = (event) => {
    event.preventDefault();
    const reason = event.message || "it did not start: does the page's Content-Security-Policy allow worker-src blob:?";
    lost(`a worker died (${reason})`);
  };
  return worker as Thread;
}

const cores = (): number =>
  builtin('node:os')?.availableParallelism?.() ?? globalThis.navigator?.hardwareConcurrency ?? 1;

/** Workers of all this thread's pools that spin: with the caller never more than there are cores. */
let spinning = 0;

function sharedMemory(): WebAssembly.Memory {
  for (let maximum = 65536; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: 16, maximum, shared: true });
    } catch (error) {
      // Phones refuse to reserve that much.
      if (maximum <= 4096) throw error;
    }
  }
}

/** May this thread sleep? A browser's main thread may not. */
function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}

function requireIsolation(): void {
  if (typeof SharedArrayBuffer !== 'undefined' && globalThis.crossOriginIsolated !== false) return;
  const error = new LanewiseUnsupportedError('pool', 'cross-origin isolation');
  error.message += '; serve the page with the headers ';
  error.message += 'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp';
  throw error;
}

/** Threads that work off one kernel call together. Resolves when all have started. */
export async function createPool(given: PoolOptions = {}): Promise<Pool> {
  const options = optionsOf('pool', given);
  const threads = integer('pool', 'threads', options.threads ?? Math.min(cores(), 8), 1, MAX_THREADS);
  const partBytes = integer('pool', 'partBytes', options.partBytes ?? 32768, 1);
  const level = levelOf('pool', options.level);
  const { timeoutMs = 5000, worker: url } = options;
  if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0)) {
    const Kind = typeof timeoutMs === 'number' ? RangeError : TypeError;
    throw new Kind(message('pool', 'timeoutMs', 'number of at least 0', timeoutMs));
  }
  if (url !== undefined && typeof url !== 'string' && !(url instanceof URL))
    throw new TypeError(message('pool', 'worker', 'string or URL', url));
  const many = threads > 1;
  if (many) requireIsolation();
  const memory = options.memory ?? (many ? sharedMemory() : new WebAssembly.Memory({ initial: 16, maximum: 65536 }));
  if (!(memory instanceof WebAssembly.Memory))
    throw new TypeError(message('pool', 'memory', 'WebAssembly.Memory', memory));
  if (many && memory.buffer instanceof ArrayBuffer)
    throw new RangeError(message('pool', 'memory', 'shared memory', memory));

  const Buffer = many ? SharedArrayBuffer : ArrayBuffer;
  const control = new Int32Array(new Buffer(4 * CONTROL_WORDS));
  const call = new Float64Array(new Buffer(8 * CALL_LENGTH));
  /** What every thread holds, in the same order. */
  const kernels: Kernel[] = [];
  const workers: Thread[] = [];
  const sleeps = many && maySleep();
  const spinners = Math.max(0, Math.min(threads, cores() - spinning) - 1);
  spinning += spinners;

  /** Why the pool is of no use any more. */
  let broken: LanewisePoolError | undefined;
  let closed: Promise<void> | undefined;
  /** How many messages have been sent, and how many each worker has acted on. */
  let sent = 0;
  const seen: number[] = [];
  let lastSent: Promise<void> = Promise.resolve();
  /** Called when a worker has acted on a message, and when the pool breaks. */
  let news = () => {};

  function lost(reason: string): LanewisePoolError {
    broken ??= new LanewisePoolError(reason);
    news();
    return broken;
  }

  /** Sends every worker a message; resolves when all have acted on it. */
  function send(make: (thread: number) => Start | Load): Promise<void> {
    const count = ++sent;
    for (const [i, worker] of workers.entries()) worker.postMessage(make(i + 1));
    callAway(count);
    const acted = lastSent.then(() => allSeen(count));
    lastSent = acted.catch(() => {});
    return acted;
  }

  /** Has workers that have seen another number of messages leave off looking out for calls. */
  function callAway(count: number): void {
    Atomics.store(control, WORDS.mail, count);
    Atomics.add(control, WORDS.signal, 1);
    Atomics.notify(control, WORDS.signal);
  }

  function allSeen(count: number): Promise<void> {
    return new Promise((resolve, reject) => {
      // Starting a worker takes a while on a busy machine. A timer takes 31 bits.
      const patience = Math.min(timeoutMs + 5000, 0x7fff_ffff);
      const timer = setTimeout(() => lost(`a worker did not answer for ${patience} ms`), patience);
      for (const worker of workers) worker.ref?.();
      news = () => {
        if (!broken && seen.some((messages) => messages < count)) return;
        clearTimeout(timer);
        news = () => {};
        // Idle workers do not keep a process alive.
        for (const worker of workers) worker.unref?.();
        if (broken) reject(broken);
        else resolve();
      };
      news();
    });
  }

  async function close(): Promise<void> {
    spinning -= spinners;
    lost('it is closed');
    // Deno waits for ever for a worker that sleeps.
    callAway(-1);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  async function instantiate<Kernels>(family: FamilyModule<Kernels>): Promise<Instance<Kernels>> {
    if (broken) throw broken;
    const alone = typeof family?.instantiate === 'function' ? family.instantiate(memory, { level }) : undefined;
    const made = alone && parts.get(alone);
    if (!made) throw new TypeError(message('pool', 'family', 'module of a lanewise CPU family', family));
    if (!many) return alone;
    const names = Object.keys(made.parameters);
    const raw: Record<string, Kernel> = {};
    const checked: Record<string, unknown> = { raw, memory, level };
    for (const name of names) {
      const contract = made.contracts[name]!;
      const list = made.parameters[name]!.split(' ');
      const run = together(contract, list, (alone.raw as Record<string, Kernel>)[name]!);
      // The same checks, with scratch for all threads.
      const wide: Contract<any> = {
        ...contract,
        lengths(given) {
          const lengths = contract.lengths(given);
          return lengths.scratch ? { ...lengths, scratch: pool.scratchBytes(4 * lengths.scratch) / 4 } : lengths;
        },
      };
      raw[name] = (...args) => run(named(list, args), args);
      checked[name] = (...args: number[]) => run(made.check(wide, list, args, memory.buffer), args);
    }
    await send(() => ({ module: made.module, names }));
    return checked as Instance<Kernels>;
  }

  /** One kernel on all threads. */
  function together(contract: Contract<any>, list: readonly string[], alone: Kernel) {
    const write = callWriter(contract, list, kernels.push(alone) - 1, threads, partBytes);
    return (given: Readonly<Record<string, number>>, args: readonly number[]): void => {
      if (broken) throw broken;
      if (!write(call, given)) {
        alone(...args);
        return;
      }
      if (call[CALL.status]! < 0) runCall(contract.kernel);
      else {
        for (let thread = 0; thread < threads; thread++) control[WORDS.faults + 16 * thread] = 0;
        runCall(contract.kernel);
        new Int32Array(memory.buffer, given.status!, 1)[0] = firstFault();
      }
    };
  }

  /** The status word of the first part that set one. */
  function firstFault(): number {
    let first = Infinity;
    let fault = 0;
    for (let note = WORDS.faults; note < WORDS.faults + 16 * threads; note += 16) {
      const part = control[note]! >>> 0;
      if (part && part < first) {
        first = part;
        fault = control[note + 1]!;
      }
    }
    return fault;
  }

  /** Opens the call, takes a share, and returns when nobody works at it any more. */
  function runCall(kernel: string): void {
    const begun = performance.now();
    control[WORDS.trap] = 0;
    Atomics.store(control, WORDS.next, 0);
    Atomics.store(control, WORDS.state, OPEN);
    Atomics.add(control, WORDS.signal, 1);
    if (Atomics.load(control, WORDS.sleeping)) Atomics.notify(control, WORDS.signal);
    try {
      share(WORDS, CALL, control, call, kernels, memory, 0);
    } finally {
      // Leaves the others nothing to take, should this thread's kernel have trapped.
      Atomics.store(control, WORDS.next, -1);
      if (Atomics.and(control, WORDS.state, ~OPEN) !== OPEN) awaitWorkers(kernel, begun);
    }
    if (control[WORDS.trap]) {
      const text = control.subarray(WORDS.trapText + 1, WORDS.trapText + 1 + control[WORDS.trapText]!);
      throw new WebAssembly.RuntimeError(String.fromCharCode(...text));
    }
  }

  function awaitWorkers(kernel: string, begun: number): void {
    const pause = (Atomics as { pause?: () => void }).pause;
    let now = performance.now();
    const patience = timeoutMs + 10 * (now - begun);
    let waited = 0;
    for (let turn = 1; ; turn++) {
      const inside = Atomics.load(control, WORDS.state);
      if (inside === 0) return;
      pause?.();
      if (turn & 63) continue;
      if (sleeps && waited > SPIN_MS) {
        Atomics.store(control, WORDS.waiting, 1);
        Atomics.wait(control, WORDS.state, inside, 10);
        Atomics.store(control, WORDS.waiting, 0);
      }
      const then = now;
      now = performance.now();
      // That the whole machine slept is not the worker's fault.
      waited += Math.min(now - then, 20);
      if (waited > patience)
        throw lost(
          `a worker did not finish its part of ${kernel} within ${Math.round(patience)} ms: it has died or hangs`,
        );
    }
  }

  const pool: Pool = {
    threads,
    memory,
    level,
    instantiate,
    scratchBytes: (bytes) => (many ? threads * threadScratchBytes(bytes) : bytes),
    close: () => (closed ??= close()),
  };
  if (!many) return pool;
  try {
    for (let thread = 1; thread < threads; thread++) {
      seen.push(0);
      const acted = (count: number) => {
        seen[thread - 1] = count;
        news();
      };
      workers.push(startThread(url, acted, lost));
    }
    const shared = { words: WORDS, at: CALL, control, call, memory };
    await send((thread) => ({ ...shared, thread, spinMs: thread <= spinners ? SPIN_MS : 0 }));
  } catch (error) {
    const reason = broken ?? lost(`a worker could not be started (${(error as Error).message})`);
    await pool.close();
    throw reason;
  }
  return pool;
}
