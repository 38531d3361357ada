/** assembly/*.ts → per family (and once more for its f16 kernels): wasm for each level (checked against the module rules) and ts/generated/cpu/<family>.ts. */
import { mkdirSync, writeFileSync } from 'node:fs';
import binaryen from 'binaryen';
import { compileAssembly, LEVELS, type Level } from './asc.js';
import { contracts, families, familyOf, moduleOf, read, root, stems } from './house.js';

/** V8's old limit for a synchronous compile on a browser's main thread. */
const SYNCHRONOUS_BYTES = 4096;

/** Exported functions of an AssemblyScript file with their parameters' names and types, in order. */
function signatures(source: string): Record<string, [name: string, type: string][]> {
  const found: Record<string, [string, string][]> = {};
  for (const [, name, list] of source.matchAll(/^export function (\w+)\(([^)]*)\): void/gm))
    found[name!] = [...list!.matchAll(/(\w+): (\w+)/g)].map(([, parameter, type]) => [parameter!, type!]);
  return found;
}

/** One compile per level: every family in one module, split afterwards. */
const compile = (level: Level, sources: string[]): Promise<Uint8Array> =>
  compileAssembly('assembly/all.ts', sources.map((stem) => `export * from './${stem}';`).join('\n'), level);

/** Only these exports and what they need. */
function split(all: Uint8Array, keep: Set<string>): Uint8Array {
  const module = binaryen.readBinary(all);
  module.setFeatures(binaryen.Features.All);
  for (let i = module.getNumExports() - 1; i >= 0; i--) {
    const { name } = binaryen.getExportInfo(module.getExportByIndex(i));
    if (!keep.has(name)) module.removeExport(name);
  }
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(0);
  module.runPasses([
    'remove-unused-module-elements',
    'duplicate-function-elimination',
    'vacuum',
    'strip-debug',
    'strip-producers',
    'strip-target-features',
  ]);
  if (!module.validate()) throw new Error(`binaryen: the module of ${[...keep]} does not validate`);
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}

/**
 * The same module optimised once more, with less inlined than asc does: a hundredth smaller, taken only where it then
 * compiles synchronously everywhere.
 */
function smaller(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= SYNCHRONOUS_BYTES) return bytes;
  const module = binaryen.readBinary(bytes);
  module.setFeatures(binaryen.Features.All);
  // Binaryen's defaults: asc leaves its own behind.
  binaryen.setAlwaysInlineMaxSize(2);
  binaryen.setFlexibleInlineMaxSize(20);
  binaryen.setOneCallerInlineMaxSize(-1);
  binaryen.setAllowInliningFunctionsWithLoops(false);
  binaryen.setLowMemoryUnused(false);
  binaryen.setFastMath(false);
  binaryen.setClosedWorld(false);
  module.optimize();
  if (!module.validate()) throw new Error('binaryen: a module does not validate after it was optimised again');
  const less = module.emitBinary();
  module.dispose();
  return less.length <= SYNCHRONOUS_BYTES ? less : bytes;
}

/** A module may live in somebody else's memory: it brings nothing of its own. Throws with the rule it breaks. */
export function checkModule(name: string, bytes: Uint8Array, kernels: string[]): void {
  const module = binaryen.readBinary(bytes);
  const text = module.emitText();
  module.dispose();
  const refuse = (rule: string) => {
    throw new Error(`${name}: ${rule}`);
  };
  const imports = [...text.matchAll(/\(import "(.*?)" "(.*?)" \((\w+)/g)].map(
    ([, from, field, kind]) => `${from}.${field} ${kind}`,
  );
  if (imports.join() !== 'env.memory memory') refuse(`imports [${imports}], only env.memory is allowed`);
  const exported = [...text.matchAll(/\(export "(.*?)" \((\w+)/g)].map(([, field, kind]) => `${field} ${kind}`).sort();
  if (
    exported.join() !==
    kernels
      .map((kernel) => `${kernel} func`)
      .sort()
      .join()
  )
    refuse(`exports [${exported}], expected the kernels [${kernels}]`);
  const FORBIDDEN = {
    start: 'a start function',
    data: 'a data segment',
    table: 'a table',
    elem: 'an element segment',
    global: 'a global (a heap or a stack pointer)',
  };
  for (const [section, what] of Object.entries(FORBIDDEN))
    if (new RegExp(`^ \\(${section}\\b`, 'm').test(text)) refuse(`has ${what}`);
}

export interface ModuleReport {
  family: string;
  level: Level;
  bytes: number;
  synchronous: boolean;
}

export async function buildWasm(): Promise<ModuleReport[]> {
  const sources = stems('assembly', '.ts').filter((stem) => families().includes(familyOf(stem)));
  const contract = await contracts();
  const all = Object.fromEntries(
    await Promise.all(
      (Object.keys(LEVELS) as Level[]).map(async (level) => [level, await compile(level, sources)] as const),
    ),
  ) as Record<Level, Uint8Array>;
  mkdirSync(`${root}/ts/generated/cpu`, { recursive: true });
  mkdirSync(`${root}/dist/wasm`, { recursive: true });
  const report: ModuleReport[] = [];
  for (const family of new Set(sources.map(moduleOf))) {
    const kernels = Object.assign(
      {},
      ...sources.filter((s) => moduleOf(s) === family).map((s) => signatures(read(`assembly/${s}.ts`))),
    ) as ReturnType<typeof signatures>;
    const names = Object.keys(kernels);
    if (!names.length) continue;
    const code = {} as Record<Level, string>;
    for (const level of Object.keys(LEVELS) as Level[]) {
      const bytes = smaller(split(all[level], new Set(names)));
      checkModule(`${family} (${level})`, bytes, names);
      writeFileSync(`${root}/dist/wasm/${family}.${level}.wasm`, bytes);
      report.push({ family, level, bytes: bytes.length, synchronous: bytes.length <= SYNCHRONOUS_BYTES });
      code[level] = Buffer.from(bytes).toString('base64');
    }
    const declarations = names.map((name) => {
      const known = contract[name];
      if (!known) throw new Error(`assembly exports ${name}, but ts/contract has no such kernel`);
      const parameters = kernels[name]!;
      for (const array of Object.keys(known.arrays))
        if (!parameters.some(([p]) => p === array))
          throw new Error(`${name}: assembly has no parameter for the array "${array}"`);
      // Everything after the last array that must be given may be left out: it then arrives as 0.
      const last = parameters.findLastIndex(([p]) => known.arrays[p] && !known.arrays[p].optional);
      return `  ${name}(${parameters.map(([p], i) => `${p}${i > last ? '?' : ''}: number`).join(', ')}): void;`;
    });
    writeFileSync(
      `${root}/ts/generated/cpu/${family}.ts`,
      [
        '// Generated by scripts/wasm.ts from assembly/. Do not edit.',
        "/** The module's exports: pointers are byte offsets into the memory, sizes are in elements. */",
        'export interface Kernels {',
        ...declarations,
        '}',
        'export const parameters = {',
        ...names.map((name) => `  ${name}: ${JSON.stringify(kernels[name]!.map(([p]) => p).join(' '))},`),
        '} as const;',
        `export const simd = '${code.simd}';`,
        code.relaxed === code.simd ? 'export const relaxed = simd;' : `export const relaxed = '${code.relaxed}';`,
        '',
      ].join('\n'),
    );
  }
  return report;
}
