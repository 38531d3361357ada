/** `npm start`: what this machine offers, validated and timed. `npm start -- validate`: your arrays against ours. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gpuImplementations } from '../test/lib/adapters.js';
import { absences, cpuImplementations } from '../test/lib/implementations.js';
import { vulkanEnvironment } from '../test/lib/vulkan.js';
import { type Layer, layerFrom, type Real } from './lib/bench.js';
import { EFFORT } from './lib/measure.js';
import { printRows } from './lib/print.js';
import { allSpecs, runTable } from './lib/table.js';
import { targetLines } from './lib/targets.js';
import { helpOf, validate } from './lib/validate.js';

const USAGE = `npm start [-- options]                 validate and time every kernel on everything this machine has
  --kernel NAME      one kernel          --only cpu|gpu    one kind of implementation
  --quick            fewer sizes, less time                --json FILE       write the rows there

${helpOf()}`;

const { values, positionals } = (() => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        kernel: { type: 'string' },
        only: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        input: { type: 'string', multiple: true },
        expected: { type: 'string', multiple: true },
        options: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return fail((error as Error).message);
  }
})();

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

if (values.only && values.only !== 'cpu' && values.only !== 'gpu')
  fail(`--only expected cpu or gpu, got ${JSON.stringify(values.only)}`);
if (values.kernel && !(values.kernel in allSpecs))
  fail(`--kernel expected one of ${Object.keys(allSpecs).join(', ')}, got ${JSON.stringify(values.kernel)}`);
const [command] = positionals;
if (values.help) {
  console.log(command === 'validate' ? helpOf(values.kernel) : USAGE);
  process.exit(0);
}
if (command !== undefined && command !== 'validate') fail(`unknown command ${JSON.stringify(command)}\n${USAGE}`);

/** Where paths begin: npm starts scripts in the package's folder, and says where it was called itself. */
const folder = (process.env.npm_lifecycle_event === 'start' && process.env.INIT_CWD) || '.';

// The Vulkan loader and driver are found through the environment a process starts with: start once more with it.
if (values.only !== 'cpu' && !process.env.LANEWISE_STARTED) {
  const environment = await vulkanEnvironment();
  if (Object.keys(environment).length) {
    const child = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
      stdio: 'inherit',
      env: { ...process.env, ...environment, LANEWISE_STARTED: '1' },
    });
    process.exit(child.status ?? 1);
  }
}

const cpu = values.only === 'gpu' ? [] : cpuImplementations();
const gpu = values.only === 'cpu' ? { implementations: [], errors: [], reason: undefined } : await gpuImplementations();
if (gpu.reason) console.log(`GPU skipped: ${gpu.reason}`);
const implementations = [...cpu, ...gpu.implementations];
for (const line of absences(implementations, values.kernel)) console.log(line);

if (command === 'validate') {
  const { text, ok } = await validate({ ...values, implementations, folder }).catch((error: Error) =>
    fail(error.message),
  );
  console.log(text);
  process.exit(ok ? 0 : 1);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const layer = (name: string): Layer => {
  const file = `bench/data/${name}.safetensors`;
  return layerFrom(readFileSync(`${root}/${file}`), file);
};
const real: Real = { layer1: layer('kv-layer1'), layer4: layer('kv-layer4') };

const interactive = process.stderr.isTTY;

console.log(`lanewise on Node ${process.version}: ${implementations.map((i) => i.name).join(', ')}`);
const rows = await runTable({
  implementations,
  real,
  effort: EFFORT[values.quick ? 'quick' : 'normal'],
  quick: values.quick,
  kernel: values.kernel,
  progress: (text) => (interactive ? process.stderr.write(`\r\x1b[K${text}`) : undefined),
  row(row) {
    if (!interactive)
      process.stderr.write(`${row.kernel} ${row.size}, ${row.implementation}: ${row.ok ? 'ok' : row.fault}\n`);
  },
});
if (interactive) process.stderr.write('\r\x1b[K');
printRows(rows);
for (const line of targetLines(rows)) console.log(line);

const wrong = rows.filter((row) => !row.ok);
const uncaptured = gpu.errors.flat();
for (const error of uncaptured) console.log(`WebGPU error: ${error}`);
if (values.json) writeFileSync(resolve(folder, values.json), `${JSON.stringify(rows, null, 1)}\n`);
console.log(`${rows.length - wrong.length} of ${rows.length} right`);
process.exit(wrong.length || uncaptured.length || !rows.length ? 1 : 0);
