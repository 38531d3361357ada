/** Times a prepared kernel with benchmark.js and puts it in proportion. */
import { Benchmark } from './benchmark.js';

export interface Timing {
  /** Median milliseconds of one run. */
  medianMs: number;
  samples: number;
}

const median = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

export interface Effort {
  /** Seconds per thing measured. */
  seconds: number;
  /** Turns taken between the things compared: A B A B ... */
  turns: number;
}

/** Work that takes longer than this (ms) is measured once, not turn by turn. */
const SLOW = 300;

export const EFFORT: Record<'quick' | 'normal', Effort> = {
  quick: { seconds: 0.06, turns: 2 },
  normal: { seconds: 0.2, turns: 3 },
};

type Work = () => void | Promise<void>;

/** One benchmark.js run: seconds per call, each sample. */
function sample(work: Work, seconds: number, asynchronous: boolean, minSamples: number): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const bench = new Benchmark({
      maxTime: seconds,
      minTime: seconds / 10,
      minSamples,
      initCount: 1,
      async: false,
      ...(asynchronous
        ? {
            defer: true,
            fn: (deferred: { resolve(): void }) => void Promise.resolve(work()).then(() => deferred.resolve(), reject),
          }
        : { fn: () => void work() }),
    });
    bench.on('complete', () => (bench.error ? reject(bench.error) : resolve(bench.stats.sample as number[])));
    bench.run({ async: asynchronous });
  });
}

/** Measures things in turn, so that a noisy machine is noisy for all of them alike. */
export async function inTurn<Name extends string>(
  things: Record<Name, { work: Work; asynchronous?: boolean }>,
  { seconds, turns }: Effort,
): Promise<Record<Name, Timing>> {
  const names = Object.keys(things) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  const first = {} as Record<Name, number>;
  for (const name of names) {
    const began = performance.now();
    await things[name].work();
    first[name] = performance.now() - began;
  }
  for (let turn = 0; turn < turns; turn++)
    for (const name of names) {
      const { work, asynchronous = false } = things[name];
      if (first[name] > SLOW && turn > 0) continue;
      samples[name].push(...(await sample(work, seconds / turns, asynchronous, first[name] > SLOW / 5 ? 1 : 3)));
    }
  return Object.fromEntries(
    names.map((name) => [name, { medianMs: 1e3 * median(samples[name]), samples: samples[name].length }]),
  ) as Record<Name, Timing>;
}

/** The same with times that each thing takes of itself (a device's own clock), as many as fit the effort. */
export async function inTurnTimed<Name extends string>(
  things: Record<Name, () => Promise<number>>,
  { seconds, turns }: Effort,
): Promise<Record<Name, Timing>> {
  const names = Object.keys(things) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  const until = performance.now() + 1000 * seconds * names.length;
  // The first of each warms up.
  for (const name of names) await things[name]();
  for (let turn = 0; turn < turns || (turn < 100 && performance.now() < until); turn++)
    for (const name of names) samples[name].push(await things[name]());
  return Object.fromEntries(
    names.map((name) => [name, { medianMs: median(samples[name]), samples: samples[name].length }]),
  ) as Record<Name, Timing>;
}
