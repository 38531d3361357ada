/** AssemblyScript of a test's own round the helpers of assembly/lib, whose parts no kernel shows alone. */
import { compileAssembly, type Level } from '../../scripts/asc.js';

/** Compiles as the build does and answers with the exports, in `memory`. Imports are written from the repository's root. */
export async function assemble<Exports>(source: string, level: Level, memory: WebAssembly.Memory): Promise<Exports> {
  const binary = await compileAssembly('blocks.ts', source, level);
  return new WebAssembly.Instance(new WebAssembly.Module(binary as BufferSource), { env: { memory } })
    .exports as unknown as Exports;
}
