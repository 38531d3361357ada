/**
 * The other WGSL compiler: every shader through Naga (alone, and in Deno's wgpu), and a case of each kernel. `npm run test:adapters`
 * runs more; where it follows anyway (LANEWISE_ADAPTERS, set by .ci/run), the part in Deno is left to it.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Shader } from '../ts/gpu/runtime.js';
import { shaders } from './generated/registry.js';
import { allHosts, type Host, naga, start } from './lib/hosts.js';
import { allSpecs } from './lib/specs.js';

/** Every text there is, by file and level. */
const texts = Object.entries(shaders as Record<string, { shader: Shader }>).flatMap(([stem, { shader }]) =>
  Object.entries(shader.wgsl)
    .filter(([level, text]) => level === 'base' || text !== shader.wgsl.base)
    .map(([level, text]) => [`${stem} ${level}`, text] as const),
);

describe('Naga alone, which no device keeps from a feature', () => {
  let faultOf: ((wgsl: string) => string | undefined) | undefined;

  beforeAll(async () => {
    try {
      faultOf = await naga();
    } catch (error) {
      if (process.env.CI) throw error;
      console.log(`Naga skipped: ${(error as Error).message.split('\n')[0]}`);
    }
  }, 60_000);

  test('it finds what is wrong', ({ skip }) => {
    if (!faultOf) return skip();
    expect(faultOf('enable f16; const h: f16 = 1f;')).toMatch(/f16/);
    expect(faultOf('const h: f16 = 1h;')).toMatch(/f16/);
    expect(faultOf('enable subgroups; fn f() -> u32 { return subgroupAdd(1f); }')).toMatch(/./);
  });

  test('every text is valid, those with f16 and subgroups among them', ({ skip }) => {
    if (!faultOf) return skip();
    for (const feature of ['f16', 'subgroups'])
      expect(
        texts.filter(([, text]) => text.includes(`enable ${feature};`)),
        feature,
      ).not.toEqual([]);
    expect(texts.flatMap(([name, text]) => faultOf!(text)?.replace(/^/, `${name}: `) ?? [])).toEqual([]);
  });
});

describe.skipIf(process.env.LANEWISE_ADAPTERS)('wgpu and Naga in Deno', () => {
  let host: Host | undefined;

  beforeAll(async () => {
    try {
      host = (await allHosts({ mesa: false })).find(({ name }) => name === 'wgpu');
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
