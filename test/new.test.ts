/** `npm run new` in a copy of the house: what it scaffolds builds, conforms and type-checks as it is. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../scripts/house.js';
import { scaffold } from '../scripts/new.js';

test('a scaffolded family passes', { timeout: 240_000 }, () => {
  const copy = mkdtempSync(join(tmpdir(), 'lanewise-new-'));
  try {
    for (const path of execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
      .trim()
      .split('\n')) {
      if (path.startsWith('bench/data/') || path.startsWith('test/golden/')) continue;
      cpSync(join(root, path), join(copy, path));
    }
    cpSync(join(root, 'ts/generated'), join(copy, 'ts/generated'), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const bin = (name: string) => join(root, 'node_modules/.bin', name);
    const run = (command: string, ...args: string[]) => {
      try {
        return execute(command, args);
      } catch (error) {
        const { stdout, stderr } = error as { stdout: string; stderr: string };
        throw new Error(`${command} ${args.join(' ')}\n${stdout}\n${stderr}`);
      }
    };
    const execute = (command: string, args: string[]) =>
      execFileSync(bin(command), args, {
        cwd: copy,
        encoding: 'utf8',
        stdio: 'pipe',
        env: { ...process.env, LANEWISE_REPORT: '', LANEWISE_ONLY: 'demo' },
      });
    run('tsx', 'scripts/new.ts', 'demo');
    run('tsx', 'scripts/generate.ts');
    const report = run(
      'vitest',
      'run',
      'test/demo.test.ts',
      'test/conformance',
      '-t',
      'demo|doubling',
      '--reporter=json',
    );
    const { numPassedTests, numFailedTests } = JSON.parse(report.slice(report.indexOf('{"'))) as Record<string, number>;
    expect(numFailedTests).toBe(0);
    expect(numPassedTests).toBeGreaterThan(2);
    run('tsc', '-p', '.');
    run('biome', 'check', ...Object.keys(scaffold('demo')).filter((path) => /^(ts|test|bench)\//.test(path)));
  } finally {
    rmSync(copy, { recursive: true });
  }
});
