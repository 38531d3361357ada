/** `npm run new -- name`: a new family with one kernel, `name_f32` (out = factor · x), that builds, conforms and shows in every table. What is left to do is printed. */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { root } from './house.js';

/** Every file of a new family, by path. */
export function scaffold(name: string): Record<string, string> {
  const Name = name[0]!.toUpperCase() + name.slice(1);
  const kernel = `${name}_f32`;
  return {
    [`ts/contract/${name}.ts`]: `import type { Contract } from '../contract.js';
import { elements, finite, integer, options } from '../validate.js';

export interface ${Name}Options {
  /** Independent rows. */
  rows: number;
  /** Values per row. */
  n: number;
  /** Multiplies x. Default 1. */
  factor?: number;
}

export const ${kernel}: Contract<${Name}Options> = {
  kernel: '${kernel}',
  arrays: {
    x: { dtype: 'f32', role: 'in' },
    out: { dtype: 'f32', role: 'out', inPlace: 'x' },
  },
  params(given) {
    const { rows, n, factor = 1 } = options('${kernel}', given);
    return { rows, n, factor };
  },
  lengths({ rows, n, factor }) {
    integer('${kernel}', 'rows', rows, 0);
    integer('${kernel}', 'n', n, 0);
    finite('${kernel}', 'factor', factor);
    const length = elements('${kernel}', 'x', rows!, n!);
    return { x: length, out: length };
  },
};
`,
    [`assembly/${name}.ts`]: `/**
 * ${kernel}: out = factor · x.
 *
 *   x      f32 [rows, n]
 *   factor f32           any finite number
 *   out    f32 [rows, n] out; may be x
 *
 * NaN and infinities go through. The caller guarantees 4-byte alignment.
 * Method: one load, multiply and store per four values.
 *
 * Not done: nothing was tried yet.
 */
export function ${kernel}(x: usize, rows: u32, n: u32, factor: f32, out: usize): void {
  const end = x + ((<usize>rows * n) << 2);
  const factor_f32x4 = f32x4.splat(factor);
  for (; x + 16 <= end; x += 16, out += 16) v128.store(out, f32x4.mul(v128.load(x), factor_f32x4));
  for (; x < end; x += 4, out += 4) store<f32>(out, load<f32>(x) * factor);
}
`,
    [`ts/cpu/${name}.ts`]: `import { type ${Name}Options, ${kernel} } from '../contract/${name}.js';
import type { Out } from '../contract.js';
import * as code from '../generated/cpu/${name}.js';
import { type Instance, type InstantiateOptions, family } from './runtime.js';

export type { ${Name}Options };
export type ${Name}Kernels = Instance<code.Kernels>;

const ${name}Family = /* @__PURE__ */ family<code.Kernels>(code, { ${kernel} });

/** The kernels inside your own memory: byte offsets, no copy, no allocation by us. */
export function instantiate(memory: WebAssembly.Memory, options?: InstantiateOptions): ${Name}Kernels {
  return ${name}Family.instantiate(memory, options);
}

/** Compiles asynchronously ahead of the first call. Never needed, useful on a main thread. */
export function preload(options?: InstantiateOptions): Promise<void> {
  return ${name}Family.preload(options);
}

/** factor · x; \`out\` may be x. */
export function ${name}(x: Float32Array, options: ${Name}Options & Out<Float32Array>): Float32Array {
  return ${name}Family.run(${kernel}, { x }, options);
}
`,
    [`ts/gpu/${name}.ts`]: `import { type ${Name}Options, ${kernel} } from '../contract/${name}.js';
import { shader } from '../generated/gpu/${name}.js';
import { gpuKernel } from './runtime.js';

export type { ${Name}Options };

/** factor · x. Buffers: x, out (which may be x). */
export const ${name} = /* @__PURE__ */ gpuKernel<${Name}Options>({
  contract: ${kernel},
  shader,
  dynamic: { rows: {} },
  steps: ({ params, same }) => [
    { entry: same('x', 'out') ? '${kernel}__inplace' : '${kernel}', workgroups: Math.ceil((params.rows! * params.n!) / 256) },
  ],
});
`,
    [`wgsl/${name}.wgsl`]: `// ${kernel}: out = factor · x; ${kernel}__inplace: the same within out.
struct ${Name}Params {
  rows: u32,
  n: u32,
  factor: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> params: ${Name}Params;

@compute @workgroup_size(256)
fn ${kernel}(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (id.x + id.y * count.x) * 256u + local;
  if (at < params.rows * params.n) {
    out[at] = params.factor * x[at];
  }
}

@compute @workgroup_size(256)
fn ${kernel}__inplace(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (id.x + id.y * count.x) * 256u + local;
  if (at < params.rows * params.n) {
    out[at] = params.factor * out[at];
  }
}
`,
    [`ts/reference/${name}.ts`]: `import { type ${Name}Options, ${kernel} } from '../contract/${name}.js';
import type { Out } from '../contract.js';
import { checked, run } from './runtime.js';

export type { ${Name}Options };

/** factor · x; \`out\` may be x. */
export function ${name}(x: Float32Array, options: ${Name}Options & Out<Float32Array>): Float32Array {
  return run(${kernel}, { x }, options, () => ({ out: ${name}F64(x, options) }));
}

/** ${name} before its results are rounded to f32. */
export function ${name}F64(x: Float32Array, options: ${Name}Options): Float64Array {
  const { factor } = checked(${kernel}, { x }, options);
  return Float64Array.from(x, (value) => Math.fround(factor!) * value);
}
`,
    [`test/${name}.spec.ts`]: `import { ${kernel} } from '../ts/contract/${name}.js';
import { ${name}F64, type ${Name}Options } from '../ts/reference/${name}.js';
import type { Case, FamilySpec, KernelSpec } from './lib/spec.js';
import { ulp } from './lib/tolerance.js';

/** Sizes around the four lanes of a SIMD register and the 256 invocations of a workgroup. */
const SIZES = [0, 1, 3, 4, 5, 255, 257];

const spec: KernelSpec<${Name}Options> = {
  contract: ${kernel},
  summary: 'TODO: one line.',
  source: 'TODO: the paper or format specification.',
  axes: { rows: 'independent rows', n: 'values per row', factor: 'multiplies x (default 1)' },
  arrays: { x: { shape: '[rows, n]', meaning: 'any values' }, out: { shape: '[rows, n]', meaning: 'factor · x' } },
  reference: ({ x }, options) => ({ out: ${name}F64(x as Float32Array, options) }),
  cases: SIZES.flatMap((n): Case<${Name}Options>[] =>
    [1, 3].map((rows) => ({
      title: \`\${rows} x \${n}\`,
      options: { rows, n, factor: 0.3 },
      inputs: (random) => ({ x: random.normals(rows * n) }),
    })),
  ),
  tolerance: { out: ulp(1, 'one rounding, and one of the reference') },
  cost: ({ rows, n }) => ({ bytesRead: 4 * rows! * n!, bytesWritten: 4 * rows! * n!, operations: rows! * n! }),
};

export default { ${kernel}: spec } satisfies FamilySpec;
`,
    [`test/${name}.test.ts`]: `/** ${name}: properties and golden values. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ${name} } from '../ts/cpu/${name}.js';

test('doubling twice is multiplying by four', () => {
  fc.assert(
    fc.property(fc.float32Array({ noNaN: true }), (x) => {
      const shape = { rows: 1, n: x.length };
      expect(${name}(${name}(x, { ...shape, factor: 2 }), { ...shape, factor: 2 })).toEqual(${name}(x, { ...shape, factor: 4 }));
    }),
  );
});
`,
    [`bench/${name}.bench.ts`]: `import type { ${Name}Options } from '../ts/contract/${name}.js';
import type { FamilyBench, KernelBench } from './lib/bench.js';

const bench: KernelBench<${Name}Options> = {
  sizes: [
    { title: 'real keys, layer 1', options: { rows: 2048, n: 64, factor: 0.5 }, inputs: (_, real) => ({ x: real.layer1.k }), quick: true },
    { title: '1024 x 4096', options: { rows: 1024, n: 4096, factor: 0.5 }, inputs: (random) => ({ x: random.normals(1024 * 4096) }) },
  ],
  javascript({ x }, { factor = 1 }) {
    const out = new Float32Array(x!.length);
    return () => {
      for (let i = 0; i < out.length; i++) out[i] = x![i]! * factor;
    };
  },
};

export default { ${kernel}: bench } satisfies FamilyBench;
`,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { positionals } = parseArgs({ allowPositionals: true });
  const [name] = positionals;
  if (!name || !/^[a-z][a-z0-9]*$/.test(name))
    throw new Error('npm run new -- NAME: one lower-case word, such as topk');
  const files = scaffold(name);
  for (const path of Object.keys(files)) if (existsSync(`${root}/${path}`)) throw new Error(`${path} exists`);
  for (const [path, text] of Object.entries(files)) writeFileSync(`${root}/${path}`, text);
  // Line breaks and the order of imports depend on the name.
  const formatted = Object.keys(files).filter((path) => /^(ts|test|bench)\//.test(path));
  execFileSync(`${root}/node_modules/.bin/biome`, ['check', '--write', ...formatted], { cwd: root });
  console.log(
    `${Object.keys(files).join('\n')}\n\nNext: npm run generate && npx vitest run test/${name}.test.ts test/conformance -t ${name}
Then: how ${name}_f32 divides over threads (ts/contract/split.ts, test/pool.test.ts asks for it), npm run catalogue`,
  );
}
