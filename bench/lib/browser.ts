/** Serves the bench page and drives a headless browser over it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import sparticuz from '@sparticuz/chromium';
import { type Browser, chromium, type Page } from 'playwright-core';
import { unpack } from '../../test/lib/vulkan.js';

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.safetensors': 'application/octet-stream',
  '.wasm': 'application/wasm',
};

/** What `find` gives for a path ('/' is a page) over HTTP, cross-origin isolated so that shared memory works. */
export async function serve(
  find: (path: string) => string | Uint8Array | undefined,
  port = 0,
): Promise<{ url: string; close(): void }> {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url!, 'http://localhost').pathname));
    const content = path.includes('..') ? undefined : find(path);
    if (content === undefined) return void response.writeHead(404).end(`no ${path}`);
    response.writeHead(200, {
      'content-type': TYPES[extname(path) || '.html'] ?? 'text/plain',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    });
    response.end(content);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close: () => server.close() };
}

/** build/page and bench/data. */
export const servePage = (root: string, port = 0): Promise<{ url: string; close(): void }> =>
  serve((path) => {
    const file =
      path === '/'
        ? join(root, 'bench/page/page.html')
        : path.startsWith('/data/')
          ? join(root, 'bench', path)
          : join(root, 'build/page', path);
    return existsSync(file) ? readFileSync(file) : undefined;
  }, port);

const FLAGS = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-features=Vulkan',
  '--use-vulkan=swiftshader',
  '--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension', // seconds per pipeline on SwiftShader

  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Debian's Chromium where it is installed (LANEWISE_BROWSER names another), else the headless shell that comes in an npm package. */
export async function launchBrowser(): Promise<Browser> {
  const installed = [process.env.LANEWISE_BROWSER, '/usr/bin/chromium'].find((path) => path && existsSync(path));
  if (installed) return chromium.launch({ executablePath: installed, args: FLAGS });
  const executablePath = await sparticuz.executablePath();
  // On a bare system the browser's NSS libraries are missing; the package brings them too.
  const missing = execFileSync('ldd', [executablePath], { encoding: 'utf8' }).includes('not found');
  const libraries = missing ? join(await unpack('al2023'), 'lib') : undefined;
  return chromium.launch({
    executablePath,
    args: [...FLAGS, '--headless=old', '--single-process', '--no-zygote'],
    ignoreDefaultArgs: ['--headless'],
    env: {
      ...process.env,
      ...(libraries ? { LD_LIBRARY_PATH: [libraries, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':') } : {}),
    } as Record<string, string>,
  });
}

/** The page, open, with everything it complains about collected. */
export async function openPage(browser: Browser, url: string): Promise<{ page: Page; complaints: string[] }> {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  await page.goto(url);
  await page.waitForFunction(() => 'lanewise' in globalThis, undefined, { timeout: 60_000 });
  return { page, complaints };
}
