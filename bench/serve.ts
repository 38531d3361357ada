/** `npm run bench:page`: the table as a page for a person with a real browser and GPU. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { servePage } from './lib/browser.js';

const { values } = parseArgs({ options: { port: { type: 'string', default: '8080' } } });
const { url } = await servePage(fileURLToPath(new URL('..', import.meta.url)), Number(values.port));
console.log(`${url} (Ctrl+C ends it)`);
