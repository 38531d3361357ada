/** `npm run bench:peers`: installs the peers where they are missing, for run.ts and all it imports need them, then runs. */
import { execSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const done = join(here, 'node_modules/.package-lock.json');
// They come from the lock file, once: no install script runs.
if (!existsSync(done) || statSync(done).mtimeMs < statSync(join(here, 'package-lock.json')).mtimeMs) {
  console.log('installing the peers');
  execSync('npm ci --ignore-scripts --no-fund --no-audit', { cwd: here, stdio: 'inherit' });
}
await import('./run.js');
