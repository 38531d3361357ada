/** llama.cpp's matrix-vector product (wllama) and ours, in turn in one headless browser, for it runs nowhere else: see wllama-page.ts. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import { build } from 'esbuild';
import { launchBrowser, openPage, serve } from '../lib/browser.js';
import type { Measured } from './wllama-page.js';

export interface WllamaRow {
  /** wllama's build, or our kernel. */
  who: string;
  weights: string;
  megabytes: number;
  /** Weights in the caches, or beyond them as wllama's always are. */
  cache: 'hot' | 'cold';
  medianMs: number;
  /** The time of wllama's faster build over it. */
  ratio: number;
}

/** Its faster build's time over ours from the cache. */
const TARGETS = { f32: 5, i16: 13, i8: 22 } as const;

const here = fileURLToPath(new URL('.', import.meta.url));
const PACKAGES = `${here}node_modules/@wllama`;

async function measured(turns: number): Promise<{ browser: string; result: Measured }> {
  const bundled = await build({
    entryPoints: [`${here}wllama-page.ts`],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    logLevel: 'warning',
  });
  const server = await serve((path) => {
    if (path === '/') return '<!doctype html><script type="module" src="page.js"></script>';
    if (path === '/page.js') return bundled.outputFiles[0]!.text;
    const file = `${PACKAGES}${path}`;
    return existsSync(file) ? readFileSync(file) : undefined;
  });
  const browser = await launchBrowser();
  try {
    const { page } = await openPage(browser, server.url);
    const result = await page.evaluate((turns) => (globalThis as any).lanewise.measure(turns), turns);
    return { browser: browser.version(), result };
  } finally {
    await browser.close();
    server.close();
  }
}

const median = (times: number[]) => [...times].sort((a, b) => a - b)[times.length >> 1]!;
const digits = (x: number) => String(+x.toPrecision(3));

export async function besideWllama(quick: boolean): Promise<{ rows: WllamaRow[]; text: string }> {
  const { browser, result } = await measured(quick ? 3 : 11);
  const { version } = JSON.parse(readFileSync(`${PACKAGES}/wllama/package.json`, 'utf8')) as { version: string };
  const builds = result.theirs.map(({ who, how, tokens }) => {
    const [narrow, middle, wide] = tokens.map(median) as [number, number, number];
    return { who: `${who} (${how})`, tokens: [narrow, middle, wide], ms: (wide - narrow) / result.added };
  });
  const theirs = Math.min(...builds.map(({ ms }) => ms));
  const rows: WllamaRow[] = builds.map(({ who, ms }) => ({
    who,
    weights: 'Q4_0',
    megabytes: (4096 * 4096 * 18) / 32 / 1e6,
    cache: 'cold',
    medianMs: ms,
    ratio: theirs / ms,
  }));
  const verdicts: string[] = [];
  for (const { activations, format, bytes, hot, cold } of result.ours) {
    const row = (cache: 'hot' | 'cold', times: number[]): WllamaRow => ({
      who: `gemm_quantized_${activations}`,
      weights: `groups of ${format.groupSize}, ${format.scheme}`,
      megabytes: bytes / 1e6,
      cache,
      medianMs: median(times),
      ratio: theirs / median(times),
    });
    const [best, worst] = [row('hot', hot), row('cold', cold)];
    rows.push(best, worst);
    const target = TARGETS[activations];
    verdicts.push(
      `${best.who}, ${best.weights}: wllama takes ${digits(best.ratio)} times our time from the cache (${digits(worst.ratio)} cold), target ${target}: ${best.ratio >= target ? 'met' : 'NOT MET'}`,
    );
  }
  const table = new Table({
    head: ['who', 'weights', 'MB', 'cache', 'median ms', "wllama's over it"],
    style: { head: [], border: [], compact: true },
  });
  for (const { who, weights, megabytes, cache, medianMs, ratio } of rows)
    table.push([who, weights, megabytes.toFixed(1), cache, digits(medianMs), digits(ratio)]);
  const text = [
    `one row times 4-bit weights, 4096 x 4096, one thread: wllama ${version} and ours (${result.level}) in Chromium ${browser}`,
    table.toString(),
    ...builds.map(
      ({ who, tokens: [narrow, middle, wide] }) =>
        `${who}: tokens of three models that grow evenly take ${[narrow, middle, wide].map((ms) => digits(ms!)).join(', ')} ms`,
    ),
    ...verdicts,
  ].join('\n');
  return { rows, text };
}
