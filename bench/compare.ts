/**
 * `npm run bench -- --compare REF`: the CPU kernels of this tree against those of another commit, in turn in one
 * process, on this tree's bench sizes. Says before, after and their ratio; a kernel the other commit lacks is left out.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { root } from '../scripts/house.js';
import type { cpuImplementation } from '../test/lib/implementations.js';
import { random } from '../test/lib/random.js';
import { type CpuLevel, supports } from '../ts/cpu/runtime.js';
import { layerFrom, type Real } from './lib/bench.js';
import { EFFORT, inTurn } from './lib/measure.js';
import type { allBenches, allSpecs } from './lib/table.js';

const USAGE = `npm run bench [-- options]
  --compare REF      the commit to compare this tree with (default HEAD: what is not committed yet)
  --kernel NAME      one kernel            --level simd|relaxed    default: the best here
  --quick            fewer sizes, less time                        --json FILE   write the rows there`;

const { values } = (() => {
  try {
    return parseArgs({
      options: {
        compare: { type: 'string', default: 'HEAD' },
        kernel: { type: 'string' },
        level: { type: 'string', default: supports('relaxed') ? 'relaxed' : 'simd' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
})();
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const level = values.level as CpuLevel;

/** One tree's kernels, as its own sources have them. */
async function load(tree: string) {
  const { cpuImplementation: make } = (await import(join(tree, 'test/lib/implementations.ts'))) as {
    cpuImplementation: typeof cpuImplementation;
  };
  const table = (await import(join(tree, 'bench/lib/table.ts'))) as {
    allSpecs: typeof allSpecs;
    allBenches: typeof allBenches;
  };
  return { implementation: make(level), ...table };
}

const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
const commit = git('rev-parse', '--short', values.compare);
const other = join(mkdtempSync(join(tmpdir(), 'lanewise-compare-')), commit);
try {
  git('worktree', 'add', '--detach', other, commit);
  symlinkSync(join(root, 'node_modules'), join(other, 'node_modules'));
  execFileSync(join(root, 'node_modules/.bin/tsx'), ['scripts/generate.ts'], { cwd: other, stdio: 'ignore' });
  const before = await load(other);
  const after = await load(root);
  const layer = (name: string) => {
    const file = `bench/data/${name}.safetensors`;
    return layerFrom(readFileSync(join(root, file)), file);
  };
  const real: Real = { layer1: layer('kv-layer1'), layer4: layer('kv-layer4') };

  if (values.kernel && !after.allSpecs[values.kernel])
    throw new Error(`--kernel expected one of ${Object.keys(after.allSpecs).join(', ')}, got "${values.kernel}"`);
  const rows: object[] = [];
  const head = ['kernel', 'size', `${commit} ms`, 'this tree ms', 'before / after'];
  const table = new Table({ head, style: { head: [], border: [], compact: true } });
  for (const [kernel, { sizes }] of Object.entries(after.allBenches)) {
    if ((values.kernel && kernel !== values.kernel) || !before.allSpecs[kernel]) continue;
    for (const [seed, size] of sizes.entries()) {
      if (size.device || (values.quick && !size.quick)) continue;
      const inputs = size.inputs(random(seed), real);
      const prepared = await Promise.all(
        [before, after].map(({ implementation, allSpecs: specs }) =>
          implementation.prepare(specs[kernel]!.contract, size.options, inputs).catch(() => undefined),
        ),
      );
      const [old, now] = prepared;
      if (!old || !now) continue;
      const times = await inTurn(
        { before: { work: () => old.run() }, after: { work: () => now.run() } },
        { ...EFFORT[values.quick ? 'quick' : 'normal'], turns: 6 },
      );
      const [beforeMs, afterMs] = [times.before.medianMs, times.after.medianMs];
      rows.push({ kernel, size: size.title, level, commit, beforeMs, afterMs, ratio: beforeMs / afterMs });
      table.push([kernel, size.title, ...[beforeMs, afterMs, beforeMs / afterMs].map((x) => +x.toPrecision(3))]);
      process.stderr.write(`${kernel} ${size.title}: ${(beforeMs / afterMs).toFixed(2)}\n`);
    }
  }
  console.log(`Node ${process.version}, ${level}, in turn\n${table}`);
  if (values.json) writeFileSync(values.json, `${JSON.stringify(rows, null, 1)}\n`);
} finally {
  if (existsSync(other)) git('worktree', 'remove', '--force', other);
  rmSync(join(other, '..'), { recursive: true, force: true });
}
