/** `npm run test:adapters`: the conformance suite on every WebGPU implementation this machine can have; prints the matrix. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Table from 'cli-table3';
import { build } from 'esbuild';
import type { Conformance } from '../test/adapters/conform.js';
import { vulkanEnvironment } from '../test/lib/vulkan.js';
import { root } from './house.js';

interface Host {
  name: string;
  /** Why it cannot be had here, if it cannot. */
  missing?: string;
  command: string;
  args: string[];
  env?: Record<string, string>;
}

const script = join(root, 'build/conform.js');

await build({
  absWorkingDir: root,
  entryPoints: ['test/adapters/conform.ts'],
  outfile: script,
  bundle: true,
  format: 'esm',
  platform: 'node',
  external: ['webgpu'],
  banner: { js: "import process from 'node:process';" },
  logLevel: 'warning',
});

const environment = await vulkanEnvironment();
const folder = join(root, 'test/adapters');
if (!existsSync(join(folder, 'node_modules')))
  execFileSync('npm', ['ci', '--prefix', folder, '--no-audit', '--no-fund'], { stdio: 'inherit' });
const deno = join(folder, 'node_modules/@deno/linux-x64-glibc/deno');
const lavapipe = join(root, '../shared/tools/lavapipe');
// wgpu takes Debian 12's lavapipe, which Dawn refuses.
const debianLavapipe = '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json';

const denoArgs = ['run', '--allow-all', '--no-config', '--unstable-webgpu', script];
const hosts: Host[] = [
  {
    name: "Dawn in Node, the system's drivers and SwiftShader",
    command: process.execPath,
    args: [script],
    env: environment,
  },
  {
    name: 'Dawn in Node, lavapipe (Mesa 25)',
    command: lavapipe,
    args: ['node', script],
    missing: existsSync(lavapipe) ? undefined : `no ${lavapipe}`,
  },
  {
    name: 'wgpu and Naga in Deno, SwiftShader',
    command: deno,
    args: denoArgs,
    env: { ...environment, VK_DRIVER_FILES: environment.VK_ADD_DRIVER_FILES ?? '' },
  },
  {
    name: "wgpu and Naga in Deno, lavapipe (Debian's Mesa)",
    command: deno,
    args: denoArgs,
    env: { ...environment, VK_DRIVER_FILES: debianLavapipe },
    missing: existsSync(debianLavapipe) ? undefined : `no ${debianLavapipe} (apt-get install mesa-vulkan-drivers)`,
  },
];

const table = new Table({
  head: ['host', 'implementation', 'kernels', 'result'],
  style: { head: [], border: [], compact: true },
});
let failed = 0;
for (const { name, missing, command, args, env } of hosts) {
  if (missing) {
    table.push([name, '', '', `not here: ${missing}`]);
    continue;
  }
  console.log(`${name} ...`);
  const { stdout, stderr, status } = spawnSync(command, args, {
    encoding: 'utf8',
    cwd: root,
    env: { ...process.env, ...env },
    maxBuffer: 1 << 26,
  });
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
  if (!lines.length || status !== 0) {
    failed++;
    table.push([
      name,
      '',
      '',
      `FAILED to run: ${(stderr || stdout).trim().split('\n').slice(-3).join(' ').slice(0, 300)}`,
    ]);
  }
  for (const line of lines) {
    const result = JSON.parse(line) as Conformance & { reason?: string };
    if (result.reason) {
      table.push([name, '', '', `not here: ${result.reason}`]);
      continue;
    }
    const wrong = Object.entries(result.faults);
    for (const [kernel, faults] of wrong)
      console.log(`${name}, ${result.implementation}, ${kernel}:\n  ${faults.slice(0, 5).join('\n  ')}`);
    for (const error of new Set(result.errors))
      console.log(`${name}, ${result.implementation}: uncaptured error: ${error}`);
    if (wrong.length || result.errors.length) failed++;
    table.push([
      name,
      result.implementation,
      result.kernels,
      wrong.length || result.errors.length
        ? `WRONG: ${wrong.map(([kernel]) => kernel).join(', ') || 'errors'}`
        : 'all right',
    ]);
  }
}
console.log(table.toString());
process.exit(failed ? 1 : 0);
