/** `npm run bench:browser`: the page of bench:page in a headless browser, its table printed here. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launchBrowser, openPage, servePage } from './lib/browser.js';
import { printRows } from './lib/print.js';
import type { PageResult } from './page/page.js';

const { values } = parseArgs({
  options: {
    kernel: { type: 'string' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const server = await servePage(fileURLToPath(new URL('..', import.meta.url)));
const browser = await launchBrowser();
console.log(`Chromium ${browser.version()}, headless`);
const { page, complaints } = await openPage(browser, server.url);
const result: PageResult = await page.evaluate((options) => (globalThis as any).lanewise.table(options), values);
await browser.close();
server.close();

printRows(result.rows);
if (result.reason) console.log(`GPU skipped: ${result.reason}`);
for (const error of [...result.errors, ...complaints]) console.log(`page: ${error}`);
if (values.json) writeFileSync(values.json, `${JSON.stringify(result.rows, null, 1)}\n`);
process.exit(result.rows.length && result.rows.every((row) => row.ok) && !result.errors.length ? 0 : 1);
