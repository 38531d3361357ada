/** Everything under ts/generated and test/generated: `npm run generate`. LANEWISE_ONLY=topk restricts it to one family while you work on it. */
import { fileURLToPath } from 'node:url';
import { newest } from './house.js';
import { buildRegistry } from './registry.js';
import { buildWasm } from './wasm.js';
import { buildWgsl } from './wgsl.js';

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
