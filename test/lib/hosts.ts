/** Processes that run WebGPU through another implementation than this one's: wgpu (Naga) in Deno, other drivers. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Result } from '../adapters/conform.js';
import { vulkanEnvironment } from './vulkan.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Host {
  name: string;
  /** Why it cannot be had here, if it cannot. */
  missing?: string;
  command: string;
  args: string[];
  env?: Record<string, string>;
}

/** test/adapters/conform.ts bundled for Node and Deno; answers with its path. */
async function conformScript(): Promise<string> {
  const script = join(root, 'build/conform.js');
  await build({
    absWorkingDir: root,
    entryPoints: ['test/adapters/conform.ts'],
    outfile: script,
    bundle: true,
    format: 'esm',
    platform: 'node',
    external: ['webgpu'],
    logLevel: 'warning',
  });
  return script;
}

/** Deno from npm, installed on first use beside its own package.json. Throws where npm cannot give it. */
function deno(): string {
  const folder = join(root, 'test/adapters');
  const command = join(folder, 'node_modules/@deno/linux-x64-glibc/deno');
  if (!existsSync(command))
    execFileSync('npm', ['ci', '--prefix', folder, '--no-audit', '--no-fund'], { stdio: 'pipe' });
  return command;
}

/** Everything this machine has; the first is this process's own. */
export async function allHosts(): Promise<Host[]> {
  const script = await conformScript();
  const environment = await vulkanEnvironment();
  const command = deno();
  const args = ['run', '--allow-all', '--no-config', '--unstable-webgpu', script];
  const swiftShader = environment.VK_ADD_DRIVER_FILES;
  const lavapipe = join(root, '../shared/tools/lavapipe');
  // wgpu takes Debian 12's lavapipe, which Dawn refuses.
  const debianLavapipe = '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json';
  return [
    { name: 'Dawn', command: process.execPath, args: [script], env: environment },
    {
      name: 'Dawn, Mesa 25',
      command: lavapipe,
      args: ['node', script],
      missing: existsSync(lavapipe) ? undefined : `no ${lavapipe}`,
    },
    {
      name: 'wgpu',
      command,
      args,
      env: swiftShader ? { ...environment, VK_DRIVER_FILES: swiftShader } : environment,
    },
    {
      name: "wgpu, Debian's Mesa",
      command,
      args,
      env: { ...environment, VK_DRIVER_FILES: debianLavapipe },
      missing: existsSync(debianLavapipe) ? undefined : `no ${debianLavapipe} (apt-get install mesa-vulkan-drivers)`,
    },
  ];
}

/** One process; its results, or a line that says why there are none. */
export function start({ command, args, env }: Host, more: string[]): Promise<Result[]> {
  return new Promise((resolve) => {
    const child = spawn(command, [...args, ...more], { cwd: root, env: { ...process.env, ...env } });
    let out = '';
    let err = '';
    child.stdout.on('data', (text) => (out += text));
    child.stderr.on('data', (text) => (err += text));
    child.on('close', (status) => {
      const results = out
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Result);
      if (status || !results.length)
        results.push({
          implementation: '',
          errors: [`did not finish: ${(err || out).trim().split('\n').slice(-3).join(' ')}`],
        });
      resolve(results);
    });
  });
}
