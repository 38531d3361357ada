/** Every ```ts example of the README and docs/ is type-checked and run against the built package; `// ` comments after console.log are its expected output. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { transform } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../scripts/house.js';
import { adapters, deviceOf } from './lib/adapters.js';

interface Example {
  title: string;
  gpu: boolean;
  code: string;
  /** What its console.log lines say they print. */
  prints: string[];
}

function examplesOf(file: string): Example[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/^```ts( gpu)?\n([\s\S]*?)^```$/gm)].map(([, gpu, code], i) => ({
    title: `${file} example ${i + 1}`,
    gpu: !!gpu,
    code: code!,
    prints: [...code!.matchAll(/^\s*console\.log\(.*\); \/\/ (.*)$/gm)].map((match) => match[1]!),
  }));
}

const files = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((f) => f.endsWith('.md'))
    .map((f) => `docs/${f}`),
];
const examples = files.flatMap(examplesOf);
const { found } = await adapters();

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(root, '.cache-readme-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('all examples are well typed', () => {
  examples.forEach(({ code, gpu }, i) => {
    writeFileSync(
      join(folder, `example${i}.ts`),
      `${gpu ? 'declare const device: GPUDevice;\n' : ''}${code}\nexport {};\n`,
    );
  });
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: '../tsconfig.json',
      compilerOptions: { typeRoots: ['../node_modules'], types: ['@webgpu/types'] },
      include: ['./*.ts'],
    }),
  );
  try {
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { stdio: 'pipe', encoding: 'utf8' });
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout);
  }
});

describe.each(examples)('$title', ({ code, gpu, prints }) => {
  test.skipIf(gpu && !found.length)('runs', async () => {
    const { code: script } = await transform(code, { loader: 'ts', format: 'esm' });
    const file = join(folder, `run${Math.random().toString(36).slice(2)}.mjs`);
    writeFileSync(file, script);
    const lines: string[] = [];
    const log = console.log;
    let errors: string[] = [];
    try {
      if (gpu) {
        // An adapter makes one device.
        const made = await deviceOf((await adapters()).found[0]!);
        errors = made.errors;
        (globalThis as any).device = made.device;
      }
      console.log = (...parts: unknown[]) => void lines.push(parts.join(' '));
      await import(/* @vite-ignore */ file);
      if (gpu) await (globalThis as any).device.queue.onSubmittedWorkDone();
    } finally {
      console.log = log;
    }
    expect(lines).toEqual(prints);
    expect(errors).toEqual([]);
  });
});
