/** Everything generated, then dist/ (the package) and build/ (the main job and the browser page, bundled): `npm run build`. */
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { build as bundle } from 'esbuild';
import { generate } from './generate.js';
import { root } from './house.js';

const report = await generate();
// What a deleted source left behind must not be published; wasm and WGSL were just made.
for (const name of readdirSync(`${root}/dist`))
  if (name !== 'wasm' && name !== 'wgsl') rmSync(`${root}/dist/${name}`, { recursive: true });
execFileSync(`${root}/node_modules/.bin/tsc`, ['-p', `${root}/tsconfig.build.json`], { stdio: 'inherit' });
await Promise.all([
  bundle({
    absWorkingDir: root,
    entryPoints: ['bench/run.ts', 'bench/serve.ts', 'bench/browser.ts'],
    outdir: 'build',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: ['webgpu', '@sparticuz/chromium', 'playwright-core'],
    // cli-table3 and tar-fs are CommonJS and call require.
    banner: {
      js: "import { createRequire as _createRequire } from 'node:module'; const require = _createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  }),
  bundle({
    absWorkingDir: root,
    entryPoints: ['bench/page/page.ts'],
    outdir: 'build/page',
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'warning',
  }),
]);
console.log(report.join('\n'));
