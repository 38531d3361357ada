/**
 * `npm run test:adapters`: conformance in every engine and on every WebGPU implementation this machine can have: Dawn (Tint) in Node
 * and wgpu (Naga) in Deno, on SwiftShader and Mesa's lavapipe; the CPU's levels in Deno and Bun; both in Firefox. Prints kernel ×
 * implementation × level. Node's own CPU: test/conformance.test.ts. Chromium: test/browser.test.ts.
 */
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import type { Result } from '../test/lib/conformance.js';
import { allHosts, start } from '../test/lib/hosts.js';
import { allSpecs } from '../test/lib/specs.js';

const hosts = await allHosts();

/** `--quick`: every shader through both compilers and few cases; else `--cases N` of each kernel (12; 0: all). */
const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, cases: { type: 'string', default: '12' }, kernels: { type: 'string' } },
});
const most = values.quick ? '3' : values.cases;
const kernels = Object.keys(allSpecs).filter((kernel) => !values.kernels || values.kernels.split(',').includes(kernel));

interface Task {
  host: string;
  title: string;
  run: () => Promise<Result[]>;
}

// Short processes for both cores: per host the compile check, then the kernels in shards.
const SHARDS = 4;
const tasks: Task[] = [];
let failed = 0;
for (const host of hosts) {
  if (host.missing) {
    console.log(`${host.name}: not here: ${host.missing}`);
    continue;
  }
  if (!values.kernels && !host.compilesNot)
    tasks.push({ host: host.name, title: 'every shader', run: () => start(host, ['--compile']) });
  for (let shard = 0; shard < SHARDS; shard++) {
    const own = kernels.filter((_, i) => i % SHARDS === shard);
    if (!own.length) continue;
    const args = ['--kernels', own.join(), ...(most === '0' ? [] : ['--cases', most])];
    tasks.push({ host: host.name, title: `part ${shard + 1} of ${SHARDS}`, run: () => start(host, args) });
  }
}

/** Kernel → implementation → what its cell says. */
const matrix = new Map<string, Map<string, string>>(kernels.map((kernel) => [kernel, new Map()]));
const columns: string[] = [];

function take(host: string, result: Result): void {
  if ('reason' in result) {
    console.log(`${host}: not here: ${result.reason}`);
    return;
  }
  if ('compiled' in result) {
    const { compiled, absent, faults } = result;
    if (faults.length) failed++;
    console.log(`${host}: ${compiled} entry points compile${absent.length ? `; without ${absent.join(', ')}` : ''}`);
    for (const fault of faults) console.log(`  WRONG ${fault}`);
    return;
  }
  const column = `${host}: ${result.implementation.replace(/^gpu /, '')}`;
  if ('errors' in result) {
    if (result.errors.length) failed++;
    for (const error of new Set(result.errors)) console.log(`${column}: uncaptured error: ${error}`);
    return;
  }
  const { kernel, absent, faults, seconds } = result;
  if (!columns.includes(column)) columns.push(column);
  if (faults.length) failed++;
  if (faults.length) console.log(`${column}, ${kernel}:\n  ${faults.slice(0, 5).join('\n  ')}`);
  matrix
    .get(kernel)!
    .set(
      column,
      absent ? `no ${absent}` : faults.length ? 'WRONG' : seconds < 1 ? 'right' : `right, ${seconds.toFixed(0)} s`,
    );
}

await Promise.all(
  Array.from({ length: 2 }, async () => {
    for (let task = tasks.shift(); task; task = tasks.shift()) {
      const began = performance.now();
      for (const result of await task.run()) take(task.host, result);
      console.log(`${task.host}, ${task.title}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
    }
  }),
);

const table = new Table({
  head: ['kernel', ...columns.map((_, i) => String(i + 1))],
  style: { head: [], border: [], compact: true },
});
// A kernel whose shader is the same at both levels runs at base alone.
for (const [kernel, cells] of matrix) table.push([kernel, ...columns.map((column) => cells.get(column) ?? 'as base')]);
console.log(columns.map((column, i) => `${i + 1}  ${column}`).join('\n'));
console.log(table.toString());
console.log(
  failed ? `${failed} WRONG` : `all right (${most === '0' ? 'every case' : `at most ${most} cases`} of each kernel)`,
);
process.exit(failed ? 1 : 0);
