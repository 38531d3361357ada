/** The other WGSL compiler: every shader through Naga (wgpu, in Deno), and a case of each kernel. `npm run test:adapters` runs more. */
import { beforeAll, describe, expect, test } from 'vitest';
import { allHosts, type Host, start } from './lib/hosts.js';
import { allSpecs } from './lib/specs.js';

describe('wgpu and Naga in Deno', () => {
  let host: Host | undefined;

  beforeAll(async () => {
    try {
      host = (await allHosts()).find(({ name }) => name === 'wgpu');
    } catch (error) {
      // A machine that npm gives no Deno says so; CI demands it.
      if (process.env.CI) throw error;
      console.log(`Naga skipped: ${(error as Error).message.split('\n')[0]}`);
    }
  });

  test('every entry point of every shader compiles', { timeout: 300_000 }, async ({ skip }) => {
    if (!host) return skip();
    const [result] = await start(host, ['--compile']);
    if (result && 'reason' in result && !process.env.CI) return skip(result.reason);
    expect(result).toMatchObject({ faults: [] });
    const { compiled, absent } = result as { compiled: number; absent: string[] };
    console.log(`Naga: ${compiled} entry points${absent.length ? `; without ${absent.join(', ')}` : ''}`);
    expect(compiled).toBeGreaterThan(0);
  });

  test('a case of each kernel is right', { timeout: 300_000 }, async ({ skip }) => {
    if (!host) return skip();
    const results = await start(host, ['--cases', '1']);
    if (results.some((result) => 'reason' in result) && !process.env.CI) return skip();
    const wrong = results.filter(
      (result) => !('faults' in result && !result.faults.length) && !('errors' in result && !result.errors.length),
    );
    expect(wrong).toEqual([]);
    expect(results.flatMap((result) => ('kernel' in result ? [result.kernel] : [])).sort()).toEqual(
      Object.keys(allSpecs).sort(),
    );
  });
});
