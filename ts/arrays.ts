/** The arrays of a call, as the CPU and the reference take and check them. */
import { ARRAY_OF, type ArrayContract, type Arrays, type Contract, dtypeOf, type Params } from './contract.js';
import { message } from './errors.js';

/** May a call leave the array out in which it would have this length? */
export const mayLack = ({ optional }: ArrayContract, length: number): boolean => optional === true || length === 0;

/** Does a call of typed arrays return it? Not a status word, for these throw instead. */
export const comesBack = (declared: ArrayContract, length: number): boolean =>
  declared.role === 'out' && !(declared.optional && mayLack(declared, length));

/** The results that a kernel may have. */
const resultsOf = (contract: Contract<any>): string[] =>
  Object.keys(contract.arrays).filter((name) => comesBack(contract.arrays[name]!, 1));

/** Several results by name; a kernel's only one is returned itself. */
export function returned<R>(contract: Contract<any>, results: Arrays): R {
  const [only, ...more] = resultsOf(contract);
  return (more.length ? results : results[only!]) as R;
}

/** The inputs, and the results' places from the options' `out`. Whatever else an object holds is not looked at. */
export function arraysOf(contract: Contract<any>, inputs: object, out?: unknown): Arrays {
  const arrays: Record<string, unknown> = {};
  const given = { ...inputs } as Arrays;
  for (const [name, { role }] of Object.entries(contract.arrays)) if (role === 'in') arrays[name] = given[name];
  if (out === undefined) return arrays as Arrays;
  const results = resultsOf(contract);
  if (results.length === 1) arrays[results[0]!] = out;
  else if (typeof out !== 'object' || out === null || ArrayBuffer.isView(out))
    throw new TypeError(message(contract.kernel, 'out', `object of ${results.join(', ')}`, out));
  else for (const name of results) arrays[name] = (out as Arrays)[name];
  return arrays as Arrays;
}

/** Kinds, lengths, overlap and data of such arrays; answers with the lengths. */
export function checkArrays(contract: Contract<any>, params: Params, arrays: Arrays): Readonly<Record<string, number>> {
  const lengths = contract.lengths(params);
  const spans: Record<string, Span> = {};
  for (const [name, declared] of Object.entries(contract.arrays)) {
    const array = arrays[name];
    const length = lengths[name]!;
    if (array === undefined && (declared.role !== 'in' || mayLack(declared, length))) continue;
    const type = ARRAY_OF[dtypeOf(declared, params)];
    const expected = `${type.name} of length ${length}`;
    if (!(array instanceof type)) throw new TypeError(message(contract.kernel, name, expected, array));
    if (array.length !== length) throw new RangeError(message(contract.kernel, name, expected, array));
    const { buffer, byteOffset, byteLength } = array;
    if (length) spans[name] = { buffer, from: byteOffset, to: byteOffset + byteLength };
  }
  checkOverlap(contract, spans);
  contract.checkData?.(params, arrays);
  return lengths;
}

/** The bytes of an array that is not empty. */
export interface Span {
  readonly buffer: ArrayBufferLike;
  readonly from: number;
  readonly to: number;
}

/** What a kernel writes must not lie in what it reads, save where the contract says in place. */
export function checkOverlap({ kernel, arrays }: Contract<any>, spans: Readonly<Record<string, Span>>): void {
  const all = Object.entries(spans);
  for (const [name, { buffer, from, to }] of all) {
    const { role, inPlace } = arrays[name]!;
    if (role === 'in') continue;
    for (const [other, its] of all) {
      if (other === name || its.buffer !== buffer || (inPlace === other && its.from === from)) continue;
      if (from < its.to && its.from < to) {
        const expected = `range that does not overlap "${other}" (bytes ${its.from} to ${its.to})`;
        throw new RangeError(message(kernel, name, expected, from));
      }
    }
  }
}
