/** `npm run check`: what CI wants besides the tests (types, lint, format). Generated files, module rules, sizes and examples are tests. */
import { spawnSync } from 'node:child_process';
import { root } from './house.js';

const steps: [title: string, command: string, args: string[]][] = [
  ['generate', 'tsx', ['scripts/generate.ts']],
  ['types', 'tsc', ['-p', '.']],
  ['lint and format', 'biome', ['check', '--error-on-warnings', '.']],
];
let failed = 0;
for (const [title, command, args] of steps) {
  const { status } = spawnSync(`${root}/node_modules/.bin/${command}`, args, { cwd: root, stdio: 'inherit' });
  console.log(`${title}: ${status === 0 ? 'ok' : 'FAILED'}`);
  if (status !== 0) failed++;
}
process.exit(failed ? 1 : 0);
