/** The conformance suite in a headless browser: every kernel, CPU levels, shared memory, and cases of each on WebGPU. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openPage, servePage } from '../bench/lib/browser.js';
import type { Result } from './lib/conformance.js';

const root = fileURLToPath(new URL('..', import.meta.url));

let browser: Awaited<ReturnType<typeof launchBrowser>> | undefined;
let server: Awaited<ReturnType<typeof servePage>> | undefined;

beforeAll(async () => {
  server = await servePage(root);
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
  server?.close();
});

test('every spec holds in a browser', { timeout: 600_000 }, async ({ skip }) => {
  if (!browser || !server) return skip();
  const { page, complaints } = await openPage(browser, server.url);
  const results: Result[] = await page.evaluate(() => (globalThis as any).lanewise.conformance());
  const ran = new Set(results.flatMap((result) => ('implementation' in result ? [result.implementation] : [])));
  const reason = results.flatMap((result) => ('reason' in result ? [result.reason] : []))[0];
  console.log(`browser ${browser.version()}: ${[...ran].join(', ')}${reason ? `; GPU skipped: ${reason}` : ''}`);
  expect([...ran]).toEqual(expect.arrayContaining(['cpu simd', 'cpu simd shared']));
  expect(results.filter((result) => 'faults' in result && result.faults.length)).toEqual([]);
  expect(results.filter((result) => 'errors' in result && result.errors.length)).toEqual([]);
  expect(complaints).toEqual([]);
  if (process.env.CI) expect(reason).toBeUndefined();
});

test('the bench page makes its table', { timeout: 300_000 }, async ({ skip }) => {
  if (!browser || !server) return skip();
  const { page, complaints } = await openPage(browser, server.url);
  await page.selectOption('#kernel', 'hadamard_f32');
  await page.check('#quick');
  await page.click('#start');
  await page.waitForFunction(() => / right/.test(document.getElementById('status')!.textContent!), undefined, {
    timeout: 240_000,
  });
  expect(await page.textContent('#status')).toMatch(/^(\d+) of \1 right/);
  const titles = await page.locator('#head th').allTextContents();
  const rows = await page.$$eval('#rows tr', (lines) =>
    lines.map((line) => [...(line as HTMLTableRowElement).cells].map((cell) => cell.textContent!)),
  );
  expect(rows.length).toBeGreaterThan(0);
  // Every device has a bandwidth and a rate to stand beside.
  for (const row of rows.filter(([, implementation]) => implementation!.startsWith('gpu')))
    for (const title of ['time / copy', 'time / f32'])
      expect(Number(row[titles.indexOf(title)]), title).toBeGreaterThan(0);
  expect(complaints).toEqual([]);
});
