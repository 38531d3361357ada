/**
 * Processes that run kernels in another engine, or WebGPU through another implementation, than this one's: JavaScriptCore in Bun, wgpu
 * (Naga) in Deno, both with SpiderMonkey in Firefox, other drivers.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type { Result } from './conformance.js';
import { vulkanEnvironment } from './vulkan.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Host {
  name: string;
  /** Why it cannot be had here, if it cannot. */
  missing?: string;
  command: string;
  args: string[];
  env?: Record<string, string>;
  /** It has no WGSL compiler to ask alone. */
  compilesNot?: true;
}

/** test/adapters/conform.ts bundled for Node, Deno and Bun; answers with its path. */
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

/** test/adapters with what its package.json names, installed on first use. Throws where npm cannot give it. */
function installed(): string {
  const folder = join(root, 'test/adapters');
  const { devDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>;
  };
  if (Object.keys(devDependencies).some((name) => !existsSync(join(folder, 'node_modules', name))))
    execFileSync('npm', ['ci', '--prefix', folder, '--no-audit', '--no-fund'], { stdio: 'pipe' });
  return folder;
}

/** Naga alone, without a device and its features; answers with what it has against a text, if anything. */
export async function naga(): Promise<(wgsl: string) => string | undefined> {
  const path = createRequire(join(installed(), 'package.json')).resolve('naga-wasm');
  const { parseWgsl, validate } = (await import(/* @vite-ignore */ pathToFileURL(path).href)) as {
    parseWgsl(source: string): { free(): void };
    validate(module: object): { free(): void };
  };
  return (wgsl) => {
    try {
      // It knows the functions of subgroups and refuses the directive (gfx-rs/wgpu#5555).
      const module = parseWgsl(wgsl.replace(/^enable subgroups;$/m, ''));
      validate(module).free();
      module.free();
      return undefined;
    } catch (error) {
      return (error as { formatted?: string }).formatted ?? String(error);
    }
  };
}

/** Why a command cannot be run, if it cannot. It prepares itself meanwhile. */
function refusal(command: string): string | undefined {
  if (!existsSync(command)) return `no ${command}`;
  const { status, stderr, error } = spawnSync(command, ['true'], { encoding: 'utf8' });
  return status === 0 ? undefined : (error?.message ?? stderr.trim()).split('\n').at(-1) || `exit status ${status}`;
}

/** Everything this machine has, but Mesa 25 where `mesa` says so (it takes a minute the first time); the first is this process's own. */
export async function allHosts({ mesa = true } = {}): Promise<Host[]> {
  const script = await conformScript();
  const environment = await vulkanEnvironment();
  const modules = join(installed(), 'node_modules');
  const deno = join(modules, '@deno/linux-x64-glibc/deno');
  const inDeno = ['run', '--allow-all', '--no-config', '--unstable-webgpu', script];
  const gpu = ['--only', 'gpu'];
  const cpu = { args: ['--only', 'cpu'], compilesNot: true as const };
  const swiftShader = environment.VK_ADD_DRIVER_FILES;
  const withSwiftShader = swiftShader ? { ...environment, VK_DRIVER_FILES: swiftShader } : environment;
  const lavapipe = join(root, '../shared/tools/lavapipe');
  const noLavapipe = mesa ? refusal(lavapipe) : 'not asked for';
  // wgpu takes Debian 12's lavapipe, which Dawn refuses.
  const debianLavapipe = '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json';
  const firefoxes = [process.env.LANEWISE_FIREFOX, '/usr/bin/firefox-esr', '/usr/bin/firefox'];
  const firefox = firefoxes.find((path) => path && existsSync(path));
  return [
    { name: 'Dawn', command: process.execPath, args: [script, ...gpu], env: environment },
    { name: 'Dawn, Mesa 25', command: lavapipe, args: ['node', script, ...gpu], missing: noLavapipe },
    { name: 'wgpu', command: deno, args: [...inDeno, ...gpu], env: withSwiftShader },
    { name: 'wgpu, Mesa 25', command: lavapipe, args: [deno, ...inDeno, ...gpu], missing: noLavapipe },
    {
      name: "wgpu, Debian's Mesa",
      command: deno,
      args: [...inDeno, ...gpu],
      env: { ...environment, VK_DRIVER_FILES: debianLavapipe },
      missing: existsSync(debianLavapipe) ? undefined : `no ${debianLavapipe} (apt-get install mesa-vulkan-drivers)`,
    },
    { ...cpu, name: 'Deno', command: deno, args: [...inDeno, ...cpu.args] },
    { ...cpu, name: 'Bun', command: join(modules, '@oven/bun-linux-x64/bin/bun'), args: [script, ...cpu.args] },
    {
      name: 'Firefox',
      command: process.execPath,
      args: ['--import', 'tsx', join(root, 'test/adapters/firefox.ts'), firefox!],
      env: withSwiftShader,
      compilesNot: true,
      missing: firefox
        ? undefined
        : 'no /usr/bin/firefox-esr (apt-get install firefox-esr; LANEWISE_FIREFOX names another)',
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
