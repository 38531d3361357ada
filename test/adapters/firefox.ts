/**
 * Specs in a headless Firefox, whose path is the first argument: SpiderMonkey, and wgpu where it finds a Vulkan driver. Over WebDriver
 * BiDi, which Debian's build speaks. Options and lines as of conform.ts.
 */
import { servePage } from '../../bench/lib/browser.js';
import { root } from '../../scripts/house.js';
import type { Result } from '../lib/conformance.js';
import { whichOf } from './which.js';

/** What is used of it: it is installed beside this file, on first use. */
interface Puppeteer {
  launch(options: object): Promise<{
    newPage(): Promise<{
      goto(url: string): Promise<unknown>;
      waitForFunction(there: () => boolean): Promise<unknown>;
      evaluate<Given, Result>(work: (given: Given) => Promise<Result>, given: Given): Promise<Result>;
    }>;
    close(): Promise<void>;
  }>;
}
const name = 'puppeteer-core';
const { default: puppeteer } = (await import(name)) as { default: Puppeteer };

const [executablePath, ...args] = process.argv.slice(2);
const { compile: _, ...which } = whichOf(args);
const server = await servePage(root);
const browser = await puppeteer.launch({
  browser: 'firefox',
  executablePath,
  headless: true,
  protocolTimeout: 1_800_000,
  // Drivers of a folder of ours are outside its sandboxes.
  env: { ...process.env, MOZ_DISABLE_CONTENT_SANDBOX: '1', MOZ_DISABLE_GPU_SANDBOX: '1', MOZ_DISABLE_RDD_SANDBOX: '1' },
  extraPrefsFirefox: {
    'dom.webgpu.enabled': true,
    'gfx.webgpu.ignore-blocklist': true,
    'layers.gpu-process.enabled': true,
    'layers.gpu-process.force-enabled': true,
  },
});
const page = await browser.newPage();
await page.goto(server.url);
await page.waitForFunction(() => 'lanewise' in globalThis);
const results = await page.evaluate(
  (asked): Promise<Result[]> => (globalThis as any).lanewise.conformance(asked),
  which,
);
for (const result of results) console.log(JSON.stringify(result));
await browser.close();
server.close();
process.exit(0);
