import type { Arrays } from '../../test/lib/spec.js';
import type { Work } from './works.js';

/** One way of doing a work, ready to run. */
export interface Contender {
  /** Whose code: `onnxruntime-web`. */
  who: string;
  /** Which of its operations: `GroupQueryAttention`. */
  how: string;
  /** `kernel`: without copies in and out. `call`: what a user of typed arrays waits for. */
  time: 'kernel' | 'call';
  /** Does only a part of the work: told, but no target. */
  partial?: boolean;
  run(): unknown;
  /** What the last run made, in the layout of lanewise's arrays. */
  outputs(): Arrays | Promise<Arrays>;
  /** Milliseconds of every run so far, where a profiler tells better than the clock around it. Ends the contender. */
  profile?(): number[] | Promise<number[]>;
}

export interface Peer {
  /** Why it cannot use so many threads here, if it cannot. */
  unable?(threads: number): string | undefined;
  /** Called once per work in a process of its own. A way that fails is an entry of `failures`. */
  prepare(work: Work, inputs: Arrays, threads: number): Promise<{ contenders: Contender[]; failures: string[] }>;
}

/** What cannot be installed must not be needed for type checks: peers are imported by a name that the compiler does not follow. */
export const load = (name: string): Promise<any> => import(name);

export const reason = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0]!.slice(0, 300);
