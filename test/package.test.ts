/** What users get: package contents, types, sizes; one kernel's import brings one kernel. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { catalogue } from '../scripts/catalogue.js';
import { contracts, families, read, root, stems } from '../scripts/house.js';
import { bundleOf } from '../scripts/size.js';
import { cpu, gpu, specs } from './generated/registry.js';
import { allSpecs } from './lib/specs.js';

/** How every module begins, in base64. */
const WASM = 'AGFzbQ';

/** What a function returns goes into the next as it is, taken apart or not, also where a missing property is not an undefined one. */
const PASSED_ON = `
import { attentionBlocksparse, attentionDecode, type AttentionOutputs, type Blocks } from 'lanewise/cpu/attention.js';
import * as codebooks from 'lanewise/cpu/codebook.js';
import { pack } from 'lanewise/cpu/gemm.js';
import { hadamard } from 'lanewise/cpu/hadamard.js';
import * as integers from 'lanewise/cpu/integers.js';
import { mxQuantize } from 'lanewise/cpu/mx.js';
import { attentionDecodeQuantized, type AttentionDecodeQuantizedOptions } from 'lanewise/cpu/qattention.js';
import { dequantize, quantize, type QuantizeOptions } from 'lanewise/cpu/quantize.js';
import { rotate, type Rotation } from 'lanewise/cpu/rotate.js';
import { softmaxMerge } from 'lanewise/cpu/softmax.js';

declare const x: Float32Array, maybe: Float32Array | undefined, signs: Int8Array | undefined, blocks: Blocks | undefined;
declare const format: QuantizeOptions, decode: AttentionDecodeQuantizedOptions, rotation: Rotation;
const shape = { rows: 1, n: 32 };
const heads = { heads: 1, kvHeads: 1, keys: 1, headDim: 32 };
const { codes, scales, minima } = quantize(x, format);
dequantize({ codes, scales, minima }, { ...format, out: maybe });
quantize(x, { ...format, out: { codes, scales, minima } });
pack({ codes, scales, minima }, { n: 1, k: 32, bits: 4, groupSize: 32, scheme: 'affine' });
const all = integers.quantize(x, { ...format, range: integers.quantileRanges(x, { ...format, keep: 0.9 }) });
integers.dequantize({ codes: all.codes, scales: all.scales, minima: all.minima }, format);
const nf4 = codebooks.codebookQuantize(x, codebooks.NF4, { ...shape, bits: 4 });
codebooks.codebookDequantize({ codes: nf4.codes, scales: nf4.scales }, codebooks.NF4, { ...shape, bits: 4 });
const mx = mxQuantize(x, { ...shape, format: 'mxfp4' });
const { codes: nf4Codes, scales: nf4Scales } = nf4;
for (const k of [{ codes, scales, minima }, all, mx, { codes: nf4Codes, scales: nf4Scales, table: codebooks.NF4 }])
  attentionDecodeQuantized({ q: x, k, v: k, kRecent: maybe, vRecent: maybe }, decode);
hadamard(x, { ...shape, signs, out: maybe });
const { permutation, factors, matrix } = rotation;
rotate(x, { ...shape, permutation, factors, signs, matrix });
const running: AttentionOutputs = attentionDecode({ q: x, k: x, v: x }, { ...heads, out: { output: maybe } });
attentionBlocksparse({ q: x, k: x, v: x }, { ...heads, queries: 1, blocks, out: running });
softmaxMerge([running, running], { ...shape, out: running });
`;

describe('npm pack', () => {
  let folder: string;
  let tarball: string;
  let files: string[];

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'lanewise-pack-'));
    const [packed] = JSON.parse(
      execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
        cwd: root,
        encoding: 'utf8',
      }),
    ) as {
      filename: string;
      files: { path: string }[];
    }[];
    tarball = join(folder, packed!.filename);
    files = packed!.files.map(({ path }) => path).sort();
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('holds what users need and nothing else', () => {
    expect(
      files.filter(
        (path) =>
          !/^dist\/([\w-]+|(cpu|gpu|reference|contract|generated\/cpu|generated\/gpu)\/[\w-]+)\.(js|d\.ts)$|^dist\/(wasm\/[\w-]+\.(simd|relaxed)\.wasm|wgsl\/[\w-]+\.(base|subgroups)\.wgsl)$|^docs\/[\w-]+\.(md|svg)$/.test(
            path,
          ),
      ),
    ).toEqual(['CONTRIBUTING.md', 'LICENSE', 'README.md', 'package.json']);
    for (const family of families())
      for (const layer of ['cpu', 'gpu', 'reference']) expect(files).toContain(`dist/${layer}/${family}.js`);
  });

  test('what the README links to is there', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    const linked = [...readme.matchAll(/\]\(([\w./-]+)(#[\w-]+)?\)/g)].map(([, path]) => path!);
    expect(files).toEqual(expect.arrayContaining(linked));
  });

  test('has no runtime dependency', () => {
    expect(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))).not.toHaveProperty('dependencies');
  });

  test('publint finds nothing', () => {
    execFileSync(join(root, 'node_modules/.bin/publint'), ['run', '--strict', '--pack', 'false'], {
      cwd: root,
      stdio: 'pipe',
    });
  });

  test('types resolve under node16 and bundler resolution', () => {
    const entries = [
      '.',
      ...['cpu', 'gpu', 'reference'].flatMap((layer) =>
        readdirSync(join(root, 'ts', layer)).map((file) => `./${layer}/${file.replace(/\.ts$/, '.js')}`),
      ),
    ];
    execFileSync(
      join(root, 'node_modules/.bin/attw'),
      [tarball, '--profile', 'esm-only', '--entrypoints', ...entries],
      { cwd: root, stdio: 'pipe' },
    );
    // TypeScript's own DOM library knows WebGPU; before 6.0 users add @webgpu/types.
    for (const moduleResolution of ['bundler', 'node16'] as const) {
      const config = {
        extends: join(root, 'tsconfig.json'),
        compilerOptions: {
          module: moduleResolution === 'bundler' ? 'esnext' : 'node16',
          moduleResolution,
          types: [],
          skipLibCheck: false,
          exactOptionalPropertyTypes: true,
          rootDir: root,
        },
        include: ['./use.ts'],
      };
      const here = mkdtempSync(join(root, '.cache-types-'));
      try {
        writeFileSync(
          join(here, 'use.ts'),
          entries.map((entry, i) => `import * as m${i} from 'lanewise${entry.slice(1)}';\nvoid m${i};\n`).join('') +
            PASSED_ON,
        );
        writeFileSync(join(here, 'tsconfig.json'), JSON.stringify(config));
        execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', here], { stdio: 'pipe', encoding: 'utf8' });
      } finally {
        rmSync(here, { recursive: true });
      }
    }
  });
});

test('no layer loads the reference', () => {
  for (const file of readdirSync(join(root, 'ts'), { recursive: true, encoding: 'utf8' }))
    if (file.endsWith('.ts') && !file.startsWith('reference'))
      expect(readFileSync(join(root, 'ts', file), 'utf8'), file).not.toMatch(/from '[./]+reference\//);
});

test('importing one kernel brings one kernel', async () => {
  const kernels = Object.keys(await contracts());
  const { text, gzip } = await bundleOf('cpu/topk.js');
  expect(kernels.filter((kernel) => text.includes(kernel))).toEqual(['topk_f32']);
  expect(gzip).toBeLessThan(6.5 * 1024);
});

const modules = ['cpu', 'gpu'].flatMap((layer) =>
  Object.keys(specs).map((stem) => [`${layer}/${stem}.js`, layer, stem as keyof typeof specs] as const),
);

test.each(modules)('importing %s brings no other kernels', async (path, layer, stem) => {
  const own = Object.keys(specs[stem].default);
  // One shader serves both dtypes there.
  if (path.startsWith('gpu/ggml')) own.push('ggml_dequantize_f32', 'ggml_dequantize_f16');
  const others = Object.keys(await contracts()).filter((kernel) => !own.includes(kernel));
  const { text } = await bundleOf(path);
  expect(others.filter((kernel) => new RegExp(`\\b${kernel}(__\\w+)?\\b`).test(text))).toEqual([]);
  expect(text).toContain(layer === 'gpu' ? '@compute' : WASM);
});

test.each(modules)('%s: what is no kernel comes without one', async (path, layer, stem) => {
  const plain = Object.entries({ cpu, gpu }[layer as 'cpu' | 'gpu'][stem]).filter(([name, value]) =>
    layer === 'gpu'
      ? !('compile' in Object(value))
      : typeof value !== 'function' || /(ScratchBytes|Length)$/.test(name),
  );
  for (const [name] of plain) {
    const { text } = await bundleOf(path, `{ ${name} }`);
    expect(text, name).not.toContain('@compute');
    expect(text, name).not.toContain(WASM);
  }
});

/**
 * Public by its path alone: what the files of a layer share. A name that no page of the docs has belongs beside the layer, as
 * ts/gpu-topk.ts is: this list may get shorter, never longer.
 */
const UNNAMED: Record<string, string[]> = {
  'cpu/runtime': ['bestLevel', 'levelOf', 'supports'],
  'gpu/runtime': ['gpuKernel'],
  'reference/attention': ['visibleKeys'],
  'reference/gemm': ['roundActivations', 'unpackerOf'],
  'reference/ggml': ['decoded'],
  'reference/hadamard': ['butterflies'],
  'reference/hadamardmixed': ['entriesOf'],
  'reference/integers': ['decoded', 'encoded', 'packCodes', 'unpackCodes'],
  'reference/quantize': ['decoded', 'encoded'],
  'reference/round': ['roundTiesEven'],
  'reference/runtime': ['checked'],
  'reference/topk': ['topkIndices'],
};

test.each(
  ['cpu', 'gpu', 'reference'].flatMap((layer) => stems(`ts/${layer}`, '.ts').map((stem) => `${layer}/${stem}`)),
)('%s: what it exports is named in the docs', async (path) => {
  const pages = ['README.md', ...stems('docs', '.md').map((stem) => `docs/${stem}.md`)].map(read);
  // Code, in a line and in examples, without its comments.
  const code = pages
    .flatMap((page) => page.match(/```[\s\S]*?```|`[^`\n]+`/g) ?? [])
    .map((text) => text.replace(/\/\/.*/g, ''));
  const words = new Set(code.flatMap((text) => text.match(/\w+/g) ?? []));
  const names = Object.keys((await import(/* @vite-ignore */ join(root, 'dist', `${path}.js`))) as object);
  // A reference's results before they are rounded: <name>F64.
  const unnamed = names.filter((name) => !words.has(path.startsWith('reference/') ? name.replace(/F64$/, '') : name));
  expect(unnamed.sort()).toEqual(UNNAMED[path] ?? []);
});

test('the catalogue is fresh', async () => {
  for (const [path, expected] of Object.entries(await catalogue()))
    expect(readFileSync(join(root, path), 'utf8'), path).toBe(expected);
});

// docs/kernels.md says so of the pointer layer's numbers.
test.each(Object.entries(allSpecs))('%s: the place of a word among those of its option is its number', (_, spec) => {
  const { contract, axes, cases } = spec;
  for (const { options } of cases)
    for (const [name, value] of Object.entries(options as Record<string, unknown>)) {
      const meaning = axes[name];
      if (typeof value !== 'string' || !meaning || name === 'type') continue;
      const number = (word: string) => {
        try {
          return contract.params({ ...(options as object), [name]: word })[name];
        } catch {
          return undefined;
        }
      };
      const words = (meaning.match(/\w+/g) ?? []).filter((word) => number(word) !== undefined);
      expect(words).toContain(value);
      expect([...new Set(words)].map(number), `${name}: ${meaning}`).toEqual([...new Set(words)].map((_, i) => i));
    }
});
