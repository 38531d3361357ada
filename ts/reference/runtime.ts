import { arraysOf, checkArrays, comesBack, returned } from '../arrays.js';
import { ARRAY_OF, type Contract, dtypeOf, type Params, type TypedArray } from '../contract.js';
import { toHalves } from '../half.js';

/** The contract's numbers, after it has checked them, the inputs' kinds and lengths, and the data. */
export function checked<O>(contract: Contract<O>, inputs: object, options: O): Params {
  const params = contract.params(options);
  checkArrays(contract, params, arraysOf(contract, inputs));
  return params;
}

/**
 * One call: everything checked, then computed. Results are rounded to what the contract stores them in, and go where the
 * options' `out` says.
 */
export function run<O, R>(
  contract: Contract<O>,
  inputs: object,
  options: O,
  compute: (params: Params) => Readonly<Record<string, ArrayLike<number>>>,
): R {
  const params = contract.params(options);
  const arrays = arraysOf(contract, inputs, (options as { out?: unknown }).out);
  const lengths = checkArrays(contract, params, arrays);
  const results: Record<string, TypedArray> = {};
  for (const [name, values] of Object.entries(compute(params))) {
    const declared = contract.arrays[name]!;
    const given = arrays[name];
    if (!given && !comesBack(declared, lengths[name]!)) continue;
    const dtype = dtypeOf(declared, params);
    const type = ARRAY_OF[dtype];
    const stored = values instanceof type ? values : dtype === 'f16' ? toHalves(values) : type.from(values);
    given?.set(stored);
    results[name] = given ?? stored;
  }
  return returned(contract, results);
}
