/**
 * wgsl/*.wgsl + wgsl/lib → per stem: whole WGSL text for each level and reflected bindings in ts/generated/gpu/<stem>.ts.
 * A stem without entry points has those of the stem that it is a variant of: `attention-vec4`, `attention`.
 * A stem with arrays of `element` (or another part of the library that differs between dtypes) is made twice: its kernels `..._f32`, and as <stem>-f16 the kernels `..._f16`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { WgslReflect } from 'wgsl_reflect/wgsl_reflect.module.js';
import { contracts, familyOf, read, root, stems } from './house.js';

export const LEVELS = ['base', 'subgroups'] as const;
export type Level = (typeof LEVELS)[number];
/** What `element` stands for: a shader that mentions it is made for both. */
export const DTYPES = ['f32', 'f16'] as const;
export type Element = (typeof DTYPES)[number];

interface Part {
  /** `reduce.subgroups` → name `reduce`, variant `subgroups` (a level, or an element's dtype); none: the same for each. */
  name: string;
  variant?: string;
  text: string;
  declares: { name: string; use: RegExp }[];
}

/** Module-scope names that one text may declare once. */
const DECLARATION = /^(fn|const|override|struct|alias|var<?[\w, ]*>?)\s+(\w+)/gm;

const withoutComments = (text: string) => text.replace(/\/\/.*$/gm, '').replace(/^\s*\n/gm, '');

/** A stem's text; entry points end it. */
function source(stem: string): string {
  const text = withoutComments(read(`wgsl/${stem}.wgsl`));
  if (/^@compute/m.test(text)) return text;
  const dash = stem.lastIndexOf('-');
  if (dash < 0) throw new Error(`wgsl/${stem}.wgsl: has no entry point`);
  const plain = source(stem.slice(0, dash));
  return text + plain.slice(plain.search(/^@compute/m));
}

function library(): Part[] {
  return stems('wgsl/lib', '.wgsl').map((stem) => {
    const [name, variant] = stem.split('.');
    const text = withoutComments(read(`wgsl/lib/${stem}.wgsl`));
    // Functions are known by their calls, so that a local variable may share a name.
    const declares = [...text.matchAll(DECLARATION)].map(([, kind, name]) => ({
      name: name!,
      use: new RegExp(`\\b${name}\\b${kind === 'fn' ? '\\(' : ''}`),
    }));
    return { name: name!, variant, text, declares };
  });
}

/**
 * The stem's text with every library part whose names it (or a part it needs) mentions and does not declare, `enable` lines first. With
 * elements of f16 its kernels' names end so too.
 */
export function compose(stem: string, level: Level, dtype: Element = 'f32', parts = library()): string {
  let text = source(stem);
  if (dtype !== 'f32') text = text.replace(/(@compute[^{(]*\([^)]*\)\s*fn \w+)_f32(?=\(|__)/g, `$1_${dtype}`);
  const open = parts.filter((part) => !part.variant || part.variant === level || part.variant === dtype);
  const declared = () => [...text.matchAll(DECLARATION)].map(([, , name]) => name!);
  for (;;) {
    const own = new Set(declared());
    const at = open.findIndex((part) => part.declares.some(({ name, use }) => !own.has(name) && use.test(text)));
    if (at < 0) break;
    text = open.splice(at, 1)[0]!.text + text;
  }
  const names = declared();
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice) throw new Error(`wgsl/${stem}.wgsl: "${twice}" is declared twice, by it or parts of wgsl/lib`);
  const enables = new Set(text.match(/^enable .*;$/gm));
  return [...enables, text.replace(/^enable .*;\n/gm, '')].join('\n');
}

/** Mentions a library part that differs between dtypes, such as `element`. */
function hasTwin(stem: string, parts: Part[]): boolean {
  const text = source(stem);
  return parts.some((part) => part.variant === 'f16' && part.declares.some(({ use }) => use.test(text)));
}

/** A WGSL variable `x__vec4` is the array `x` read another way. */
const arrayOf = (variable: string) => variable.split('__')[0]!;

function reflect(stem: string, wgsl: string, known: Record<string, { arrays: object }>) {
  let module: WgslReflect;
  try {
    // wgsl_reflect 1.6 takes the identifier `block` for a keyword.
    module = new WgslReflect(wgsl.replace(/\bblock\b/g, 'block_'));
  } catch (error) {
    const line = Number(/Line: (\d+)/.exec(String(error))?.[1]);
    throw new Error(
      `wgsl/${stem}.wgsl: ${(error as Error).message}\n${wgsl
        .split('\n')
        .slice(Math.max(0, line - 3), line + 1)
        .join('\n')}`,
    );
  }
  const entries: Record<string, unknown> = {};
  for (const entry of module.entry.compute) {
    const contract = known[entry.name.split('__')[0]!];
    if (!contract) throw new Error(`wgsl/${stem}.wgsl: entry point ${entry.name} belongs to no kernel of ts/contract`);
    let fields: [string, string][] = [];
    let uniform = -1;
    const bindings: Record<string, [binding: number, access: string]> = {};
    for (const variable of [...entry.resources].sort((a, b) => a.binding - b.binding)) {
      if (variable.group !== 0) throw new Error(`${entry.name}: ${variable.name} is not in group 0`);
      if (variable.resourceType === 0) {
        uniform = variable.binding;
        fields = variable.members!.map((m, i) => {
          if (m.offset !== 4 * i) throw new Error(`${entry.name}: params.${m.name} is not a plain 4-byte scalar`);
          return [m.name, m.type.name];
        });
        continue;
      }
      const array = arrayOf(variable.name);
      if (!(array in contract.arrays))
        throw new Error(`${entry.name}: binding ${variable.name} is no array of its contract`);
      bindings[array] = [variable.binding, variable.access === 'read' ? 'read-only-storage' : 'storage'];
    }
    if (uniform < 0) throw new Error(`${entry.name}: has no uniform parameters`);
    entries[entry.name] = { bindings, uniform, params: fields };
  }
  const overrides = Object.fromEntries(module.overrides.map((o) => [o.name, o.type?.name ?? 'u32']));
  return { entries, overrides };
}

export async function buildWgsl(): Promise<{ stem: string; level: Level; bytes: number }[]> {
  const known = await contracts();
  const parts = library();
  mkdirSync(`${root}/ts/generated/gpu`, { recursive: true });
  mkdirSync(`${root}/dist/wgsl`, { recursive: true });
  const report: { stem: string; level: Level; bytes: number }[] = [];
  const chosen = stems('wgsl', '.wgsl').filter(
    (s) => !process.env.LANEWISE_ONLY || familyOf(s) === process.env.LANEWISE_ONLY,
  );
  for (const [name, dtype] of chosen.flatMap((name) =>
    DTYPES.filter((d) => d === 'f32' || hasTwin(name, parts)).map((d) => [name, d] as const),
  )) {
    const stem = dtype === 'f32' ? name : `${name}-${dtype}`;
    const [base, subgroups] = LEVELS.map((level) => compose(name, level, dtype, parts)) as [string, string];
    const reflected = reflect(stem, base, known);
    if (JSON.stringify(reflect(stem, subgroups, known)) !== JSON.stringify(reflected))
      throw new Error(`wgsl/${stem}.wgsl: its interface differs between levels`);
    for (const [level, text] of [
      ['base', base],
      ['subgroups', subgroups],
    ] as const) {
      writeFileSync(`${root}/dist/wgsl/${stem}.${level}.wgsl`, text);
      report.push({ stem, level, bytes: text.length });
    }
    const features = /^enable f16;$/m.test(base) ? { features: ['shader-f16'] } : {};
    writeFileSync(
      `${root}/ts/generated/gpu/${stem}.ts`,
      [
        '// Generated by scripts/wgsl.ts from wgsl/. Do not edit.',
        "import type { Shader } from '../../gpu/runtime.js';",
        `const base = ${JSON.stringify(base)};`,
        `export const shader: Shader = ${JSON.stringify({ ...reflected, ...features, wgsl: 0 }).replace(
          '"wgsl":0',
          `wgsl: { base, subgroups: ${base === subgroups ? 'base' : JSON.stringify(subgroups)} }`,
        )};`,
        '',
      ].join('\n'),
    );
  }
  return report;
}
