/** AssemblyScript of a test's own round the helpers of assembly/lib, whose parts no kernel shows alone. */
import { readFileSync } from 'node:fs';
import asc from 'assemblyscript/asc';

const root = new URL('../..', import.meta.url);

/** Compiles as the build does and answers with the exports, in `memory`. Imports are written from the repository's root. */
export async function assemble<Exports>(source: string, level: string, memory: WebAssembly.Memory): Promise<Exports> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [
      'blocks.ts',
      '--outFile',
      'blocks.wasm',
      '--runtime',
      'stub',
      '--importMemory',
      '--noExportMemory',
      '--initialMemory',
      '1',
      '-O3',
      '--enable',
      'simd',
      ...(level === 'relaxed' ? ['--enable', 'relaxed-simd'] : []),
    ],
    {
      readFile: (name) => {
        if (name === 'blocks.ts') return source;
        try {
          return readFileSync(new URL(name, root), 'utf8');
        } catch {
          return null;
        }
      },
      writeFile: (_, content) => void (binary = content as Uint8Array),
      listFiles: () => [],
    },
  );
  if (error) throw new Error(stderr.toString());
  return new WebAssembly.Instance(new WebAssembly.Module(binary as BufferSource), { env: { memory } })
    .exports as unknown as Exports;
}
