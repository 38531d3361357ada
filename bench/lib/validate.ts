/** `npm start -- validate`: a user's arrays against every implementation here and against the reference. */
import { readFileSync } from 'node:fs';
import Table from 'cli-table3';
import { judge } from '../../test/lib/check.js';
import type { Implementation } from '../../test/lib/implementations.js';
import type { Arrays, KernelSpec, ReferenceArrays } from '../../test/lib/spec.js';
import { readTensor, type Tensor } from '../../test/lib/tensors.js';
import { ARRAY_OF, type DType, dtypeOf, type TypedArray } from '../../ts/contract.js';
import { toHalves } from '../../ts/half.js';
import { allSpecs } from './table.js';

export interface Request {
  kernel?: string;
  input?: string[];
  expected?: string[];
  /** JSON: sizes and switches that the arrays' shapes do not tell. */
  options?: string;
  implementations: Implementation[];
}

/** numpy dtypes an array of this dtype may come in; outputs may be given more precisely than we make them. */
const ACCEPTED: Record<DType, { input: string[]; expected: string[] }> = {
  f32: { input: ['f4'], expected: ['f4', 'f8'] },
  f16: { input: ['f2', 'u2'], expected: ['f2', 'u2', 'f4', 'f8'] },
  u32: { input: ['u4', 'i4'], expected: ['u4', 'i4'] },
  i32: { input: ['u4', 'i4'], expected: ['u4', 'i4'] },
  i16: { input: ['i2'], expected: ['i2'] },
  u8: { input: ['u1'], expected: ['u1'] },
  i8: { input: ['i1'], expected: ['i1'] },
};

/** A file's values as a kernel takes them; f16 files are read as floats. */
const arrayOf = (dtype: DType, { dtype: from, data }: Tensor): TypedArray =>
  dtype === 'f16' && from === 'f2' ? toHalves(data as Float32Array) : ARRAY_OF[dtype].from(data as Float32Array);

/** `name=path#tensor`; without a name, the kernel's first array of that role. */
function load(spec: KernelSpec, flag: 'input' | 'expected', items: string[]): Map<string, Tensor> {
  const role = flag === 'input' ? 'in' : 'out';
  const names = Object.entries(spec.contract.arrays)
    .filter(([, array]) => array.role === role)
    .map(([name]) => name);
  const found = new Map<string, Tensor>();
  for (const item of items) {
    const [, given, path, tensor] = /^(?:(\w+)=)?([^#]+)(?:#(.+))?$/.exec(item) ?? [];
    const name = given ?? names[0]!;
    if (!path || !names.includes(name))
      throw new Error(`--${flag} ${item}: expected [name=]path[#tensor] with name one of ${names.join(', ')}`);
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      throw new Error(`--${flag} ${path}: ${(error as Error).message}`);
    }
    const read = readTensor(bytes, path, tensor);
    const { dtype, dtypeIf } = spec.contract.arrays[name]!;
    const accepted = [dtype, ...Object.values(dtypeIf ?? {})].flatMap((d) => ACCEPTED[d][flag]);
    if (!accepted.includes(read.dtype))
      throw new Error(`${path}: "${name}" expected dtype ${accepted.join(' or ')}, got ${read.dtype}`);
    found.set(name, read);
  }
  return found;
}

/** Axes from shapes: `[rows, n]` against [2, 3, 64] gives rows 6, n 64 (leading axes fold into the first). */
function axes(spec: KernelSpec, tensors: Map<string, Tensor>): Record<string, number> {
  const known: Record<string, number> = {};
  for (const [name, { shape }] of tensors) {
    const symbols = (spec.arrays[name]?.shape ?? '')
      .replace(/^\[|\]$/g, '')
      .split(',')
      .map((s) => s.trim());
    if (shape.length < symbols.length) {
      if (symbols.length === shape.length + 1) shape.unshift(1);
      else throw new Error(`"${name}" expected shape [${symbols.join(', ')}], got [${shape.join(', ')}]`);
    }
    const folded = [
      shape.slice(0, shape.length - symbols.length + 1).reduce((a, b) => a * b, 1),
      ...shape.slice(shape.length - symbols.length + 1),
    ];
    for (const [i, symbol] of symbols.entries()) {
      if (!/^[a-zA-Z]+$/.test(symbol)) continue;
      if (known[symbol] !== undefined && known[symbol] !== folded[i])
        throw new Error(
          `"${name}" has ${symbol} = ${folded[i]} (shape [${shape.join(', ')}]), but another array has ${symbol} = ${known[symbol]}`,
        );
      known[symbol] = folded[i]!;
    }
  }
  return known;
}

export async function validate({
  kernel,
  input = [],
  expected = [],
  options,
  implementations,
}: Request): Promise<{ text: string; ok: boolean }> {
  if (!kernel) throw new Error('validate: --kernel is missing');
  const spec = allSpecs[kernel]!;
  if (!input.length || !expected.length) throw new Error('validate: needs --input and --expected');
  const inputs = load(spec, 'input', input);
  const wanted = load(spec, 'expected', expected);
  let given: Record<string, unknown> = {};
  try {
    given = options ? JSON.parse(options) : {};
  } catch (error) {
    throw new Error(`--options is not JSON: ${(error as Error).message}`);
  }
  const all: any = { ...axes(spec, new Map([...inputs, ...wanted])), ...given };
  const { arrays: declared, params } = spec.contract;
  const arrays: Arrays = Object.fromEntries(
    [...inputs].map(([name, tensor]) => [name, arrayOf(dtypeOf(declared[name]!, params(all as never)), tensor)]),
  );
  // The options object of a sparse mask holds arrays itself.
  if (arrays.indptr && arrays.indices)
    all.blocks = { ...(all.blocks as object), indptr: arrays.indptr, indices: arrays.indices };
  const lengths = spec.contract.lengths(spec.contract.params(all));
  for (const [name, tensor] of [...inputs, ...wanted])
    if (tensor.data.length !== lengths[name])
      throw new Error(
        `"${name}" expected ${lengths[name]} values for ${JSON.stringify(all, (_, v) => (ArrayBuffer.isView(v) ? undefined : v))}, got ${tensor.data.length} (shape [${tensor.shape.join(', ')}])`,
      );
  for (const [name, array] of Object.entries(spec.contract.arrays))
    if (array.role === 'in' && !array.optional && lengths[name] && !arrays[name])
      throw new Error(`--input ${name}=FILE is missing (${spec.arrays[name]!.shape})`);

  const want: ReferenceArrays = Object.fromEntries(
    [...wanted].map(([name, tensor]) => [
      name,
      tensor.dtype === 'f2' ? arrayOf('f16', tensor) : (tensor.data as Float64Array),
    ]),
  );
  const table = new Table({
    head: ['implementation', 'error', 'allowed', 'ok'],
    style: { head: [], border: [], compact: true },
  });
  const reference = spec.reference(arrays, all);
  let ok = true;
  const faults: string[] = [];
  const add = (who: string, kind: 'cpu' | 'gpu', outputs: ReferenceArrays) => {
    const verdict = judge(spec, kind, outputs, want, arrays, all);
    ok &&= verdict.ok;
    table.push([
      who,
      `${+verdict.error.toPrecision(3)} ${verdict.unit}`,
      String(+verdict.tolerance.toPrecision(3)),
      verdict.ok ? 'yes' : 'NO',
    ]);
    if (verdict.fault) faults.push(`${who}: ${verdict.fault}`);
  };
  add('reference (float64)', 'cpu', Object.fromEntries(Object.entries(reference).map(([name, data]) => [name, data])));
  for (const implementation of implementations.filter((i) => i.kernels.includes(kernel))) {
    const prepared = await implementation.prepare(spec.contract, all, arrays);
    await prepared.run();
    add(implementation.name, implementation.kind, await prepared.outputs());
    prepared.destroy();
  }
  return { text: [table.toString(), ...faults].join('\n'), ok };
}
