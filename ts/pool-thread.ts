/**
 * What runs on every thread of a pool. Workers get these two functions as text (a Blob or `eval: true`), so that no bundler has
 * to know about them: they must name nothing from outside, and declare no function inside, because bundlers wrap named ones
 * in helpers that the text would lack.
 */

/** Where things are in the control words. Those that different threads write lie 64 bytes apart. */
export const WORDS = {
  /** Goes up with every call and every message: what idle workers look at. */
  signal: 0,
  /** OPEN while a call can be joined, and how many workers are inside it. */
  state: 16,
  /** The first unit that nobody has taken yet. */
  next: 32,
  /** How many messages have been sent: a worker that has seen fewer goes back to its event loop. */
  mail: 48,
  sleeping: 64,
  /** 1 while the caller sleeps until the workers have left. */
  waiting: 80,
  /** 1 + the thread whose kernel trapped; then the error message: its length, its character codes. */
  trap: 96,
  trapText: 97,
  /** For each thread: the first part in which a status word was set (plus 1), and the word. */
  faults: 256,
} as const;

export const OPEN = -0x8000_0000;
/** Threads there is room for, and words of control they need. */
export const MAX_THREADS = 64;
export const CONTROL_WORDS = WORDS.faults + 16 * MAX_THREADS;

/** Where things are in the description of a call (float64). */
export const CALL = {
  kernel: 0,
  /** How many arguments the kernel takes. */
  length: 1,
  axes: 2,
  /** Units in all. */
  units: 3,
  /** The fewest units worth taking. */
  least: 4,
  /** How many parts to make of what is left; one of them is taken. */
  shares: 5,
  /** Which argument is the scratch, or -1; bytes of scratch per thread. */
  scratch: 6,
  scratchBytes: 7,
  /** Which argument is the status, or -1; bytes from a thread's scratch to its own status word. */
  status: 8,
  statusBytes: 9,
  /** Units of each axis; then how many counts and ends; those; the arguments; and for each axis what they move on per unit. */
  rest: 10,
} as const;

type Kernel = (...args: number[]) => void;

/** Takes parts of the open call, the largest first, until none is left. */
export function share(
  words: typeof WORDS,
  at: typeof CALL,
  control: Int32Array,
  call: Float64Array,
  kernels: readonly Kernel[],
  memory: WebAssembly.Memory,
  thread: number,
): void {
  const kernel = kernels[call[at.kernel]!]!;
  const length = call[at.length]!;
  const axes = call[at.axes]!;
  const units = call[at.units]!;
  const inner = call[at.rest + axes - 1]!;
  const counts = at.rest + axes;
  const ends = counts + 1 + 3 * call[counts]!;
  const given = ends + 1 + 4 * call[ends]!;
  const args: number[] = [];
  for (let i = 0; i < length; i++) args[i] = call[given + i]!;
  const scratch = call[at.scratch]!;
  if (scratch >= 0) args[scratch] = args[scratch]! + thread * call[at.scratchBytes]!;
  const status = call[at.status]!;
  if (status >= 0) args[status] = args[scratch]! + call[at.statusBytes]!;

  let unit = Atomics.load(control, words.next) >>> 0;
  while (unit < units) {
    // A part stays within one unit of the outer axes.
    const position = unit % inner;
    const left = units - unit;
    const count = Math.min(Math.max(call[at.least]!, Math.ceil(left / call[at.shares]!)), left, inner - position);
    const was = Atomics.compareExchange(control, words.next, unit | 0, (unit + count) | 0) >>> 0;
    if (was !== unit) {
      unit = was;
      continue;
    }
    for (let i = 0; i < length; i++) if (i !== scratch && i !== status) args[i] = call[given + i]!;
    let outer = unit;
    for (let axis = axes - 1; axis >= 0; axis--) {
      const steps = given + length * (1 + axis);
      const step = outer % call[at.rest + axis]!;
      outer = (outer - step) / call[at.rest + axis]!;
      for (let i = 0; i < length; i++) args[i] = args[i]! + step * call[steps + i]!;
    }
    for (let i = counts + 1; i < ends; i += 3) {
      const per = call[i + 1]!;
      args[call[i]!] = Math.min((position + count) * per, call[i + 2]!) - position * per;
    }
    for (let i = ends + 1; i < given; i += 4)
      args[call[i]!] = Math.max(Math.min((position + count) * call[i + 1]!, call[i + 2]!) + call[i + 3]!, 0);
    kernel.apply(null, args);
    if (status >= 0) {
      const fault = new Int32Array(memory.buffer, args[status]!, 1)[0]!;
      const note = words.faults + 16 * thread;
      if (fault && !control[note]) {
        control[note] = (unit + 1) | 0;
        control[note + 1] = fault;
      }
    }
    unit = Atomics.load(control, words.next) >>> 0;
  }
}

export interface Start {
  words: typeof WORDS;
  at: typeof CALL;
  control: Int32Array;
  call: Float64Array;
  memory: WebAssembly.Memory;
  thread: number;
  /** How long to look for the next call before going to sleep. */
  spinMs: number;
}

export interface Load {
  module: WebAssembly.Module;
  names: readonly string[];
}

export interface Port {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
}

/** A worker's life: messages start it and bring kernels; after each it looks out for calls until there is another message. */
export function work(port: Port, take: typeof share): void {
  let start: Start;
  let seen = 0;
  const kernels: Kernel[] = [];
  const pause = (Atomics as { pause?: () => void }).pause;
  port.onmessage = (event) => {
    const message = event.data as Start & Load;
    if (message.control) start = message;
    else {
      const exports = new WebAssembly.Instance(message.module, { env: { memory: start.memory } }).exports;
      for (let i = 0; i < message.names.length; i++) kernels.push(exports[message.names[i]!] as Kernel);
    }
    seen++;
    port.postMessage(seen);

    const { words, control, thread } = start;
    let last = Atomics.load(control, words.signal);
    let idle = performance.now();
    for (let turn = 1; Atomics.load(control, words.mail) === seen; turn++) {
      const signal = Atomics.load(control, words.signal);
      if (signal === last) {
        if (pause) pause();
        if (turn & 63 || performance.now() - idle < start.spinMs) continue;
        Atomics.add(control, words.sleeping, 1);
        Atomics.wait(control, words.signal, last);
        Atomics.sub(control, words.sleeping, 1);
        idle = performance.now();
        continue;
      }
      last = signal;
      let state = Atomics.load(control, words.state);
      // OPEN is the sign bit.
      while (state < 0) {
        const was = Atomics.compareExchange(control, words.state, state, state + 1);
        if (was !== state) {
          state = was;
          continue;
        }
        try {
          take(words, start.at, control, start.call, kernels, start.memory, thread);
        } catch (error) {
          const text = String((error as Error).message);
          control[words.trapText] = Math.min(text.length, words.faults - words.trapText - 1);
          for (let i = 0; i < control[words.trapText]!; i++) control[words.trapText + 1 + i] = text.charCodeAt(i);
          Atomics.store(control, words.trap, thread + 1);
          Atomics.store(control, words.next, -1);
        }
        if (Atomics.sub(control, words.state, 1) === 1 && Atomics.load(control, words.waiting))
          Atomics.notify(control, words.state);
        break;
      }
      idle = performance.now();
    }
  };
}
