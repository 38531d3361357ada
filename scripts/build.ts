/**
 * Everything generated, then dist/ (the package) and build/ (the main job and the browser page, bundled): `npm run build`.
 * Does nothing, and says nothing, where no source has changed since.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { newest, root } from './house.js';

/** Written last, so that a build that failed is made again. */
const DONE = `${root}/build/done`;
const SOURCES = ['assembly', 'bench', 'scripts', 'test', 'ts', 'wgsl', 'package.json', 'package-lock.json'];
const CONFIGS = ['tsconfig.json', 'tsconfig.build.json'];
const MADE = [
  'dist/index.js',
  'dist/wasm',
  'dist/wgsl',
  'build/run.js',
  'build/page/page.js',
  'test/generated/registry.ts',
];
if (
  !process.env.LANEWISE_ONLY &&
  [DONE, ...MADE.map((path) => `${root}/${path}`)].every((path) => existsSync(path)) &&
  newest(...SOURCES, ...CONFIGS) < statSync(DONE).mtimeMs
)
  process.exit(0);
rmSync(DONE, { force: true });

// Who came for something else does not want the sizes of modules.
const quiet = process.argv.includes('--quiet');
if (quiet) console.error('building, once for all calls until a source changes');

// Loaded only now: the compilers take seconds.
const { build: bundle } = await import('esbuild');
const { generate } = await import('./generate.js');

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
if (!quiet) console.log(report.join('\n'));
// What is built of one family alone is no whole build.
if (!process.env.LANEWISE_ONLY) writeFileSync(DONE, '');
