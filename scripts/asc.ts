/** AssemblyScript as this house compiles it: a module that brings nothing of its own to the memory it runs in. */
import asc from 'assemblyscript/asc';
import { read, root } from './house.js';

export const LEVELS = { simd: ['simd'], relaxed: ['simd', 'relaxed-simd'] } as const;
export type Level = keyof typeof LEVELS;

/** The module of `source`, whose imports are written from `entry`, a path from the repository's root that need not exist. */
export async function compileAssembly(entry: string, source: string, level: Level): Promise<Uint8Array> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [
      entry,
      '--outFile',
      'module.wasm',
      '--baseDir',
      root,
      '--runtime',
      'stub',
      '--importMemory',
      '--noExportMemory',
      '--initialMemory',
      '1',
      '--noAssert',
      '-O3',
      ...LEVELS[level].flatMap((feature) => ['--enable', feature]),
    ],
    {
      readFile: (name) => {
        if (name === entry) return source;
        try {
          return read(name);
        } catch {
          return null;
        }
      },
      writeFile: (_name, content) => void (binary = content as Uint8Array),
      listFiles: () => [],
    },
  );
  if (error) throw new Error(`asc, ${entry} (${level}): ${error.message}\n${stderr.toString()}`);
  return binary!;
}
