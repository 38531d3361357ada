/** The thread pool in a headless browser: on the main thread, in a module worker, without isolation, under a strict policy. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openPage } from '../bench/lib/browser.js';
import { workerSource } from '../ts/cpu/pool.js';

const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const STRICT = { ...ISOLATED, 'content-security-policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'" };

let browser: Awaited<ReturnType<typeof launchBrowser>> | undefined;
let server: ReturnType<typeof createServer>;
let url: string;

beforeAll(async () => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('pool-page.ts', import.meta.url))],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false,
  });
  const script = outputFiles[0]!.contents;
  const page = '<!doctype html><title>pool</title><script type="module" src="/page.js"></script>';
  server = createServer(({ url: path }, response) => {
    const headers = path === '/plain' ? {} : path === '/strict' ? STRICT : ISOLATED;
    const [type, body] =
      path === '/page.js'
        ? ['text/javascript', script]
        : path === '/pool-worker.js'
          ? ['text/javascript', workerSource]
          : ['text/html', page];
    response.writeHead(200, { 'content-type': type, ...headers }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    browser = await launchBrowser();
  } catch (error) {
    // A machine without a browser says so; CI demands one.
    if (process.env.CI) throw error;
    console.log(`browser tests skipped: ${(error as Error).message.split('\n')[0]}`);
  }
});

afterAll(async () => {
  await browser?.close();
  server.close();
});

/** What a page's function of that name answers, and what the page complained about. */
async function answer(path: string, name: string, options?: object) {
  const { page, complaints } = await openPage(browser!, url + path);
  const result = await page.evaluate(([name, options]) => (globalThis as any).lanewise[name as string](options), [
    name,
    options,
  ] as const);
  // Left open: a single-process browser would end with its page.
  return { result, complaints };
}

test('on the main thread', async ({ skip }) => {
  if (!browser) return skip();
  expect(await answer('/', 'compute')).toEqual({ result: [], complaints: [] });
});

test('in a module worker', async ({ skip }) => {
  if (!browser) return skip();
  expect(await answer('/', 'inWorker')).toEqual({ result: [], complaints: [] });
});

test('a worker that hangs in a call is an error, not a hang', async ({ skip }) => {
  if (!browser) return skip();
  const { result } = await answer('/', 'death');
  expect(result).toHaveLength(2);
  for (const error of result)
    expect(error).toMatch(
      /^pool: a worker did not finish its part of softmax_f32 within \d+ ms: it has died or hangs$/,
    );
});

test('a page that is not cross-origin isolated is told what it lacks', async ({ skip }) => {
  if (!browser) return skip();
  expect((await answer('/plain', 'attempt')).result).toMatch(
    /^LanewiseUnsupportedError: pool: this host does not support "cross-origin isolation"; serve the page with the headers /,
  );
});

test('a page whose policy forbids blob: workers serves the worker as a file', async ({ skip }) => {
  if (!browser) return skip();
  expect((await answer('/strict', 'attempt')).result).toMatch(
    /^LanewisePoolError: pool: a worker died \(.*Content-Security-Policy/,
  );
  expect(await answer('/strict', 'compute', { worker: '/pool-worker.js' })).toEqual({ result: [], complaints: [] });
});
