/** The works of bench/peers/works.ts by everyone who can do them, in turn: A B C A B C ... */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { bestLevel } from '../../ts/cpu/runtime.js';
import type { Prepared } from './child.js';
import { known, specOf } from './lanewise.js';
import { peers } from './peers.js';
import { skewed } from './skew.js';
import { besideWllama } from './wllama.js';
import { type Work, works } from './works.js';

const USAGE = `npm run bench:peers [-- options]
  --work NAME[,NAME]    ${works.map((work) => work.name).join(', ')}
  --peer NAME[,NAME]    ${Object.keys(peers).join(', ')}
  --threads N           1 or 2 only (both by default)
  --quick               fewer works, fewer turns
  --skew                instead: awkward shapes of ours against friendly ones, time per element
  --wllama              instead: 4-bit matrix-vector products in a headless browser, beside llama.cpp's
  --json FILE           write the rows there`;

export interface Row {
  work: string;
  who: string;
  threads: number;
  medianMs: number;
  /** Their time over ours with as many threads; ours over itself is 1. */
  ratio: number | null;
  /** The operation, or what users of a library without it do. */
  how: string;
  /** Only a part of the work. */
  partial?: true;
  samples: number;
}

function fail(message: string): never {
  console.error(`${message}\n${USAGE}`);
  process.exit(2);
}

const { values } = (() => {
  try {
    return parseArgs({
      options: {
        work: { type: 'string' },
        peer: { type: 'string' },
        threads: { type: 'string' },
        quick: { type: 'boolean', default: false },
        skew: { type: 'boolean', default: false },
        wllama: { type: 'boolean', default: false },
        json: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return fail((error as Error).message);
  }
})();
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}

function chosen<T>(option: string, given: string | undefined, names: string[], all: T[], fallback = all): T[] {
  if (given === undefined) return fallback;
  return given.split(',').map((name) => {
    const at = names.indexOf(name);
    return at < 0 ? fail(`--${option} expected one of ${names.join(', ')}, got ${JSON.stringify(name)}`) : all[at]!;
  });
}
const chosenWorks = chosen(
  'work',
  values.work,
  works.map((work) => work.name),
  works,
  values.quick ? works.filter((work) => work.quick) : works,
);
const chosenPeers = chosen('peer', values.peer, Object.keys(peers), Object.keys(peers));
const threadCounts = chosen('threads', values.threads, ['1', '2'], [1, 2]);
const { ms, turns } = values.quick ? { ms: 20, turns: 3 } : { ms: 40, turns: 11 };

const median = (times: number[]) => {
  const sorted = [...times].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
};

class Child {
  #process: ChildProcess;
  #said = '';
  constructor(folder: string) {
    this.#process = fork(fileURLToPath(new URL('./child.ts', import.meta.url)), {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // What it leaves behind goes with our folder.
      env: { ...process.env, TMPDIR: folder, TEMP: folder },
      serialization: 'advanced',
    });
    this.#process.stderr!.on('data', (chunk) => (this.#said = `${this.#said}${chunk}`.slice(-2000)));
  }
  ask<T>(message: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#process.off('message', answered);
        this.#process.off('exit', died);
      };
      const answered = (reply: { answer: T; error?: string }) => {
        done();
        reply.error === undefined ? resolve(reply.answer) : reject(new Error(reply.error));
      };
      const died = (code: number | null, signal: string | null) => {
        done();
        reject(new Error(`its process ended (${signal ?? code}): ${this.#said.trim().split('\n').at(-1) ?? ''}`));
      };
      this.#process.on('message', answered);
      this.#process.on('exit', died);
      this.#process.send(message);
    });
  }
  end(): void {
    this.#process.removeAllListeners('exit');
    this.#process.kill();
  }
}

interface Runner {
  child: Child;
  at: number;
  who: string;
  how: string;
  partial?: boolean | undefined;
  threads: number;
  estimate: number;
  times: number[];
}

const name = ({ who, time }: Prepared['contenders'][number]) =>
  /^(lanewise|JavaScript|memory)/.test(who) ? who : `${who} (${time})`;

async function compare(work: Work, folder: string, say: (text: string) => void): Promise<Row[]> {
  const spec = specOf(work.kernel);
  if (!spec) {
    say(`${work.name} skipped: lanewise has no ${work.kernel} yet`);
    return [];
  }
  const inputs = work.inputs();
  const want = spec.reference(known(spec.contract, inputs), work.options)[work.compare.array]!;
  const expected = join(folder, `${work.name}.bin`);
  writeFileSync(expected, work.compare.as === 'codes' ? (want as Uint32Array) : Float32Array.from(want));

  const children: Child[] = [];
  const runners: Runner[] = [];
  try {
    for (const threads of threadCounts)
      for (const peer of chosenPeers) {
        const unable = peers[peer]!.unable?.(threads);
        if (unable) {
          say(`${work.name}, ${threads} threads: not ${peer}: ${unable}`);
          continue;
        }
        const child = new Child(folder);
        children.push(child);
        try {
          const { contenders, failures } = await child.ask<Prepared>({ prepare: [work.name, peer, threads, expected] });
          for (const failure of failures) say(`${work.name}: not ${peer}: ${failure}`);
          for (const [at, contender] of contenders.entries()) {
            if (contender.fault) say(`${work.name}: WRONG ${name(contender)}, ${contender.how}: ${contender.fault}`);
            else
              runners.push({
                child,
                at,
                who: name(contender),
                how: contender.how,
                partial: contender.partial,
                threads,
                estimate: contender.ms,
                times: [],
              });
          }
        } catch (error) {
          say(`${work.name}: not ${peer}: ${(error as Error).message}`);
        }
      }
    for (let turn = 0; turn < turns; turn++)
      for (const runner of runners) {
        if (turn >= (runner.estimate > 1000 ? 1 : runner.estimate > 250 ? 3 : turns)) continue;
        // Threads of the one before go on spinning for a moment.
        await sleep(runner.threads > 1 ? 20 : 2);
        runner.times.push(...(await runner.child.ask<number[]>({ sample: [runner.at, ms, runner.estimate] })));
      }
    for (const runner of runners)
      runner.times = (await runner.child.ask<number[] | undefined>({ profile: runner.at })) ?? runner.times;
  } finally {
    for (const child of children) child.end();
    rmSync(expected, { force: true });
  }
  const ours = (threads: number) => runners.find((runner) => runner.who === 'lanewise' && runner.threads === threads);
  return runners.map(({ who, how, partial, threads, times }) => {
    const mine = ours(threads);
    return {
      work: work.name,
      who,
      threads,
      medianMs: median(times),
      ratio: mine ? median(times) / median(mine.times) : null,
      how,
      ...(partial ? { partial } : {}),
      samples: times.length,
    };
  });
}

const digits = (x: number | null) =>
  x === null || Number.isNaN(x) ? '' : x >= 100 ? x.toFixed(0) : String(+x.toPrecision(3));

/** Whether each way of each yardstick keeps the distance asked for. */
function verdicts(work: Work, rows: Row[]): string[] {
  return work.targets.flatMap(({ who, how = '', ratio }) => {
    const theirs = rows
      .filter((row) => row.who === who && row.how.startsWith(how))
      .filter((row) => row.threads === 1 && row.ratio !== null && !row.partial)
      .sort((a, b) => a.ratio! - b.ratio!);
    return theirs.map(
      (row) =>
        `${work.name}: ${who}, ${row.how}: ${digits(row.ratio)} times our time, target ${digits(ratio)}: ${row.ratio! >= ratio ? 'met' : 'NOT MET'}`,
    );
  });
}

const machine = `${cpus()[0]!.model.trim()}, ${cpus().length} cores`;
console.log(`lanewise (${bestLevel()}) and its peers on Node ${process.version}, ${machine}`);

const instead = values.skew ? skewed : values.wllama ? besideWllama : undefined;
if (instead) {
  const { rows, text } = await instead(values.quick);
  console.log(text);
  if (values.json)
    writeFileSync(
      values.json,
      `${JSON.stringify({ node: process.version, machine, date: new Date().toISOString(), level: bestLevel(), rows }, null, 1)}\n`,
    );
  process.exit(0);
}

const folder = mkdtempSync(join(tmpdir(), 'lanewise-peers-'));
const all: Row[] = [];
const notes: string[] = [];
try {
  for (const work of chosenWorks) {
    const rows = await compare(work, folder, (text) => notes.push(text));
    all.push(...rows);
    if (!rows.length) continue;
    const table = new Table({
      head: ['who', 'threads', 'median ms', 'over ours', 'how'],
      style: { head: [], border: [], compact: true },
      colWidths: [null, null, null, null, 70],
      wordWrap: true,
    });
    for (const row of rows) table.push([row.who, row.threads, digits(row.medianMs), digits(row.ratio), row.how]);
    console.log(`\n${work.title} (${work.name})\n${table.toString()}`);
    for (const text of verdicts(work, rows)) console.log(text);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (notes.length) console.log(`\n${[...new Set(notes)].join('\n')}`);
if (values.json)
  writeFileSync(
    values.json,
    `${JSON.stringify({ node: process.version, machine, date: new Date().toISOString(), level: bestLevel(), notes: [...new Set(notes)], rows: all }, null, 1)}\n`,
  );
process.exit(notes.some((text) => text.includes('WRONG')) || !all.length ? 1 : 0);
