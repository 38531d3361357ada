/** Everything generated, then dist/ (the package) and build/ (the main job and the browser page, bundled): `npm run build`. */
import { execFileSync } from 'node:child_process';
import { build as bundle } from 'esbuild';
import { root } from './house.js';
import { generate } from './generate.js';

const report = await generate();
execFileSync(`${root}/node_modules/.bin/tsc`, ['-p', `${root}/tsconfig.build.json`], { stdio: 'inherit' });
await bundle({
  absWorkingDir: root,
  entryPoints: ['bench/run.ts'],
  outdir: 'build',
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['webgpu', '@sparticuz/chromium'],
  // cli-table3 and tar-fs are CommonJS and call require.
  banner: { js: "import { createRequire as _createRequire } from 'node:module'; const require = _createRequire(import.meta.url);" },
  logLevel: 'warning',
});
console.log(report.join('\n'));
