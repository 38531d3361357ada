/** `npm start -- validate`: a user's arrays against every implementation here and against the reference. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import Table from 'cli-table3';
import { judge } from '../../test/lib/check.js';
import type { Implementation } from '../../test/lib/implementations.js';
import type { Arrays, KernelSpec, ReferenceArrays } from '../../test/lib/spec.js';
import { readTensor, type Tensor } from '../../test/lib/tensors.js';
import { type ArrayContract, type DType, dtypeOf, type Params } from '../../ts/contract.js';
import { fromHalves } from '../../ts/half.js';
import { checked } from '../../ts/reference/runtime.js';
import { converted, isNarrow, nameOf, nearest, tensorOf, wanted } from './convert.js';
import { sizesOf } from './shapes.js';
import { allSpecs } from './table.js';

export interface Request {
  kernel?: string;
  input?: string[];
  expected?: string[];
  /** JSON: sizes and switches that the arrays' shapes do not tell, and small arrays. */
  options?: string;
  implementations: Implementation[];
  /** Where relative paths begin. Default: the working directory. */
  folder?: string;
}

type Tensors = Map<string, Tensor>;

/** Every input a user may give: the kernel's, and what the typed-array function takes besides. */
function inputsOf({ contract, arrays, user }: KernelSpec): Record<string, ArrayContract & { shape: string }> {
  const own = Object.entries(contract.arrays).filter(([, { role }]) => role === 'in');
  const more = Object.entries(user?.arrays ?? {}).map(([name, array]) => [name, { ...array, role: 'in' }]);
  return {
    ...Object.fromEntries(own.map(([name, array]) => [name, { ...array, shape: arrays[name]!.shape }])),
    ...Object.fromEntries(more),
  };
}

const outputsOf = ({ contract }: KernelSpec): string[] =>
  Object.keys(contract.arrays).filter((name) => contract.arrays[name]!.role === 'out');

/** `name=path#tensor`; without a name, the first of `names`. */
function load(flag: string, names: string[], items: string[], folder: string): Tensors {
  const found: Tensors = new Map();
  for (const item of items) {
    const [, given, path, tensor] = /^(?:(\w+)=)?([^#]+)(?:#(.+))?$/.exec(item) ?? [];
    const name = given ?? names[0]!;
    if (!path || !names.includes(name))
      throw new Error(`--${flag} ${item}: expected [name=]path[#tensor] with name one of ${names.join(', ')}`);
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(resolve(folder, path));
    } catch (error) {
      throw new Error(`--${flag} ${path}: ${(error as Error).message}`);
    }
    found.set(name, readTensor(bytes, path, tensor));
  }
  return found;
}

/** --options: arrays of numbers go to the inputs. Answers with the rest. */
function optionsOf(spec: KernelSpec, json: string | undefined, inputs: Tensors): Record<string, unknown> {
  let given: unknown = {};
  try {
    if (json) given = JSON.parse(json);
  } catch (error) {
    throw new Error(`--options is not JSON: ${(error as Error).message}`);
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new Error(`--options expected an object, got ${json}`);
  const options: Record<string, unknown> = {};
  const arrays = Object.keys(inputsOf(spec));
  for (const [name, value] of Object.entries(given)) {
    if (arrays.includes(name) && Array.isArray(value)) inputs.set(name, tensorOf(name, value));
    else if (arrays.includes(name) || name in spec.axes) options[name] = value;
    else
      throw new Error(
        `--options: ${spec.contract.kernel} has no "${name}" (options: ${Object.keys(spec.axes).join(', ')}; arrays: ${arrays.join(', ')})`,
      );
  }
  return options;
}

interface Call {
  inputs: Arrays;
  options: any;
  params: Params;
  /** What conversion lost. */
  remarks: string[];
}

/** The kernel's call from a user's arrays and options: sizes are read from shapes, and its contract confirms them. */
function callOf(spec: KernelSpec, inputs: Tensors, outputs: Tensors, given: Record<string, unknown>): Call {
  const { contract } = spec;
  const known = inputsOf(spec);
  const remarks: string[] = [];
  const convert = (name: string, dtype: ArrayContract['dtype'], tensor: Tensor) => {
    const { array, remark } = converted(name, dtype, tensor);
    if (remark) remarks.push(remark);
    return array;
  };
  // Those whose dtype hangs on an option have to wait for it.
  const [now, later] = [false, true].map((waits) => [...inputs].filter(([name]) => !!known[name]!.dtypeIf === waits));
  const ready: Arrays = Object.fromEntries(
    now!.map(([name, tensor]) => [name, convert(name, known[name]!.dtype, tensor)]),
  );
  const texts = Object.fromEntries(
    [...Object.entries(spec.arrays), ...Object.entries(known)].map(([name, { shape }]) => [name, shape]),
  );
  const arrays = [...inputs, ...outputs].map(([name, { shape }]) => ({ name, shape }));

  let first: Error | undefined;
  for (const sizes of sizesOf(texts, arrays, (size) => size in spec.axes, given)) {
    try {
      const user = { inputs: ready, options: { ...sizes, ...given } };
      const call = spec.user?.call(user.inputs, user.options) ?? user;
      const left = Object.keys(call.options).find((name) => name in known);
      if (left) throw new Error(`--options: "${left}" expected array, got ${JSON.stringify(call.options[left])}`);
      const params = contract.params(call.options as never);
      const lengths = contract.lengths(params);
      for (const [name, { data, shape }] of [...inputs, ...outputs]) {
        const length = (call.inputs[name] ?? data).length;
        if (name in contract.arrays && length !== lengths[name])
          throw new Error(
            `"${name}" expected ${lengths[name]} values for ${told(call.options)}, got ${length} (shape [${shape.join(', ')}])`,
          );
      }
      for (const [name, { role, optional }] of Object.entries(contract.arrays))
        if (role === 'in' && !optional && lengths[name] && !call.inputs[name] && !inputs.has(name))
          throw new Error(`--input ${name}=FILE is missing (${texts[name]})`);
      for (const [name, tensor] of later!)
        call.inputs = { ...call.inputs, [name]: convert(name, dtypeOf(known[name]!, params), tensor) };
      checked(contract, call.inputs, call.options as never);
      return { ...call, params, remarks };
    } catch (error) {
      const read = Object.entries(sizes).map(([name, size]) => `${name} ${size}`);
      first ??= new Error(`${(error as Error).message}\n(read from shapes: ${read.join(', ') || 'nothing'})`);
    }
  }
  throw first;
}

/** Options in one line, without arrays. */
const told = (options: Record<string, unknown>): string =>
  Object.entries(options)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const text = JSON.stringify(value, (_, part) => (ArrayBuffer.isView(part) ? undefined : part));
      return `${name} ${text.replace(/^"|"$/g, '')}`;
    })
    .join(', ');

/**
 * What is wanted, with ours wherever both mean the same: zeros of either sign, and numbers that a narrow dtype rounds to the
 * same. Each such kind is remarked, save where the output's own dtype is that narrow.
 */
function settled(name: string, got: ArrayLike<number>, want: ReferenceArrays[string], tensor: Tensor, dtype: DType) {
  const remarks: string[] = [];
  if (!(want instanceof Float64Array) || got.length !== want.length) return { want, remarks };
  const same = want.slice();
  const narrow = isNarrow(dtype, tensor);
  let zeros = 0;
  for (let i = 0; i < same.length; i++) {
    if (narrow && !Number.isNaN(same[i])) same[i] = nearest(tensor, i, same[i]!, got[i]!);
    if (same[i] === 0 && got[i] === 0 && !Object.is(same[i], got[i])) {
      same[i] = got[i]!;
      zeros++;
    }
  }
  if (narrow && nameOf(tensor) !== dtype) remarks.push(`${name}: compared up to the rounding of ${nameOf(tensor)}`);
  if (zeros) remarks.push(`${name}: ${zeros} zeros of the other sign, which are equal`);
  return { want: same, remarks };
}

/** The usage of `validate`; with a kernel, its arrays and options too. */
export function helpOf(kernel?: string): string {
  const usage = `npm start -- validate --kernel NAME --input [ARRAY=]FILE ... --expected [ARRAY=]FILE ... [--options JSON] [--only cpu|gpu]
  FILE   .npy or .safetensors, FILE#tensor where that holds several; relative to where npm is called
  ARRAY  the kernel's name for it; without one, its first
  JSON   what shapes do not tell, and small arrays: '{"k": 8}', '{"table": "nf4", "groupSize": 64}', '{"signs": [1, -1]}'
         Sizes are read from shapes (leading axes fold into the first), unless they are given here.
  Values are converted where nothing is lost; where floats are rounded, it says so. Exit status: 0 yes, 1 NO, 2 a fault in the call.
npm start -- validate --kernel NAME --help         that kernel's arrays and options`;
  if (!kernel) return usage;
  const spec = allSpecs[kernel]!;
  const inputs = inputsOf(spec);
  const meanings = { ...spec.arrays, ...spec.user?.arrays };
  const line = (name: string, { dtype, optional }: ArrayContract) =>
    `  ${name}  ${dtype} ${meanings[name]!.shape}: ${meanings[name]!.meaning}${optional ? ' (optional)' : ''}`;
  return [
    usage,
    '',
    `${kernel}: ${spec.summary}`,
    '--input',
    ...Object.entries(inputs).map(([name, array]) => line(name, array)),
    '--expected',
    ...outputsOf(spec).map((name) => line(name, spec.contract.arrays[name]!)),
    '--options',
    ...Object.entries(spec.axes).map(([name, meaning]) => `  ${name}  ${meaning}`),
  ].join('\n');
}

export async function validate({
  kernel,
  input = [],
  expected = [],
  options,
  implementations,
  folder = '.',
}: Request): Promise<{ text: string; ok: boolean }> {
  if (!kernel) throw new Error('validate: --kernel is missing');
  const spec = allSpecs[kernel]!;
  if (!input.length || !expected.length) throw new Error('validate: needs --input and --expected');
  const given = load('input', Object.keys(inputsOf(spec)), input, folder);
  const tensors = load('expected', outputsOf(spec), expected, folder);
  const rest = optionsOf(spec, options, given);
  const { inputs, options: all, params, remarks } = callOf(spec, given, tensors, rest);
  const dtype = (name: string) => dtypeOf(spec.contract.arrays[name]!, params);
  const want: ReferenceArrays = Object.fromEntries(
    [...tensors].map(([name, tensor]) => [name, wanted(name, dtype(name), tensor)]),
  );

  const held: KernelSpec = { ...spec, tolerance: { ...spec.tolerance, ...spec.user?.tolerance } };
  const table = new Table({
    head: ['implementation', 'error', 'allowed', 'ok'],
    style: { head: [], border: [], compact: true },
  });
  let ok = true;
  const faults: string[] = [];
  const found = new Map<string, string[]>();
  const add = (who: string, kind: 'cpu' | 'gpu', outputs: ReferenceArrays) => {
    // Halves are judged as the numbers they stand for.
    const ours: ReferenceArrays = Object.fromEntries(
      Object.entries(outputs).map(([name, array]) => [
        name,
        array instanceof Uint16Array && dtype(name) === 'f16' ? fromHalves(array) : array,
      ]),
    );
    const ties = spec.ties?.(inputs, params, ours, want);
    const notes = ties ? [ties.remark] : [];
    const judged = { ...ours, ...ties?.outputs };
    const theirs: ReferenceArrays = {};
    for (const [name, tensor] of tensors) {
      const result = settled(name, judged[name]!, want[name]!, tensor, dtype(name));
      theirs[name] = result.want;
      notes.push(...result.remarks);
    }
    const verdict = judge(held, kind, judged, theirs, inputs, all);
    ok &&= verdict.ok;
    table.push([
      who,
      `${+verdict.error.toPrecision(3)} ${verdict.unit}`,
      String(+verdict.tolerance.toPrecision(3)),
      verdict.ok ? 'yes' : 'NO',
    ]);
    for (const note of notes) found.set(note, [...(found.get(note) ?? []), who]);
    if (verdict.fault) faults.push(`${who}: ${verdict.fault}`);
  };
  add('reference (float64)', 'cpu', spec.reference(inputs, all));
  const here = implementations.filter((i) => i.kernels.includes(kernel));
  for (const implementation of here) {
    const prepared = await implementation.prepare(spec.contract, all, inputs, { checked: true });
    await prepared.run();
    add(implementation.name, implementation.kind, await prepared.outputs());
    prepared.destroy();
  }
  const lines = [...found].map(([note, who]) => `${note} (${who.join(', ')})`);
  if (!ok && remarks.some((remark) => remark.includes('rounded')))
    lines.push('Inputs were rounded: what is expected has to come of the rounded values.');
  if (!here.length) {
    ok = false;
    faults.push(`nothing here runs ${kernel}: only its reference was validated`);
  }
  return {
    text: [`${kernel}: ${told(all)}`, ...new Set(remarks), table.toString(), ...lines, ...faults].join('\n'),
    ok,
  };
}
