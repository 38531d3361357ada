/** Everything under ts/generated and test/generated: `npm run generate`. LANEWISE_ONLY=topk restricts it to one family while you work on it. */
import { readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { root } from './house.js';
import { buildRegistry } from './registry.js';
import { buildWasm } from './wasm.js';
import { buildWgsl } from './wgsl.js';

/** The newest change under these folders, in ms. */
function newest(...paths: string[]): number {
  let time = 0;
  for (const path of paths) {
    const stat = statSync(`${root}/${path}`, { throwIfNoEntry: false });
    if (!stat) continue;
    time = Math.max(time, stat.mtimeMs);
    if (stat.isDirectory())
      for (const name of readdirSync(`${root}/${path}`)) time = Math.max(time, newest(`${path}/${name}`));
  }
  return time;
}

/** Answers with one line per module made. */
export async function generate(): Promise<string[]> {
  const report: string[] = [];
  // asc takes seconds: skipped where nothing it reads has changed.
  if (
    process.env.LANEWISE_ONLY ||
    newest('assembly', 'ts/contract', 'scripts', 'package-lock.json') > newest('ts/generated/cpu')
  ) {
    for (const { family, level, bytes, synchronous } of await buildWasm())
      report.push(
        `${family}.${level}.wasm ${bytes} bytes${synchronous ? '' : ' (over 4096: old browsers need preload())'}`,
      );
  }
  for (const { stem, level, bytes } of await buildWgsl()) report.push(`${stem}.${level}.wgsl ${bytes} bytes`);
  buildRegistry();
  return report;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log((await generate()).join('\n'));
