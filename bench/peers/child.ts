/** One peer doing one work in a process of its own: told by run.ts when to prepare, run and report. */
import { readFileSync } from 'node:fs';
import { type Contender, reason } from './contender.js';
import { peers } from './peers.js';
import { fault, works } from './works.js';

export interface Prepared {
  contenders: {
    who: string;
    how: string;
    time: 'kernel' | 'call';
    partial?: boolean | undefined;
    ms: number;
    fault?: string;
  }[];
  failures: string[];
}

let contenders: Contender[] = [];
/** Per contender: runs so far, and which of them were timed. */
let runs: { count: number; kept: number[] }[] = [];

async function timed(i: number, count: number, keep: boolean): Promise<number> {
  const contender = contenders[i]!;
  const began = performance.now();
  for (let n = 0; n < count; n++) {
    const pending = contender.run();
    if (pending instanceof Promise) await pending;
  }
  const ms = performance.now() - began;
  const mine = runs[i]!;
  for (let n = 0; n < count; n++, mine.count++) if (keep) mine.kept.push(mine.count);
  return ms / count;
}

async function prepare(name: string, peer: string, threads: number, expected: string): Promise<Prepared> {
  const work = works.find((w) => w.name === name)!;
  const inputs = work.inputs();
  const prepared = await peers[peer]!.prepare(work, inputs, threads);
  contenders = prepared.contenders;
  // Preparing an onnxruntime contender runs it once: profiles count that run.
  runs = contenders.map(({ who, profile }) => ({ count: profile && who !== 'lanewise' ? 1 : 0, kept: [] }));
  const bytes = readFileSync(expected);
  const type = work.compare.as === 'codes' ? Uint32Array : Float32Array;
  const want = {
    [work.compare.array]: new type(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4),
    k: work.options.k,
  };
  const described: Prepared['contenders'] = [];
  for (const [i, { who, how, time, partial, outputs }] of contenders.entries()) {
    // Warm: an optimising compiler takes a while to replace the first code.
    const until = performance.now() + 300;
    let ms = Infinity;
    for (let n = 0; n < 2 || (performance.now() < until && n < 2000); n++) {
      ms = Math.min(ms, await timed(i, 1, false));
      if (ms > 1000) break;
    }
    const made = await outputs();
    const wrong = Object.keys(made).length ? fault(work, made, want, inputs) : undefined;
    described.push({ who, how, time, partial, ms, ...(wrong ? { fault: wrong } : {}) });
  }
  return { contenders: described, failures: prepared.failures };
}

/** One turn: a run that only brings the arrays back into the caches, then as many as fit into `ms`. */
async function sample(i: number, ms: number, estimate: number): Promise<number[]> {
  const count = Math.max(1, Math.min(1000, Math.floor(0.5 / estimate)));
  if (estimate < 250) await timed(i, count, false);
  const times: number[] = [];
  const until = performance.now() + ms;
  do times.push(await timed(i, count, true));
  while (performance.now() < until);
  return times;
}

async function profile(i: number): Promise<number[] | undefined> {
  const times = await contenders[i]!.profile?.();
  return times && runs[i]!.kept.map((run) => times[run]!);
}

type Message =
  | { prepare: [string, string, number, string] }
  | { sample: [number, number, number] }
  | { profile: number };

process.on('message', async (message: Message) => {
  try {
    const answer =
      'prepare' in message
        ? await prepare(...message.prepare)
        : 'sample' in message
          ? await sample(...message.sample)
          : await profile(message.profile);
    process.send!({ answer });
  } catch (error) {
    process.send!({ error: `${reason(error)} ${(error as Error).stack?.split('\n')[1]?.trim() ?? ''}` });
  }
});
