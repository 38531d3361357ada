import { ARRAY_OF, type Contract, dtypeOf, type Params, type TypedArray } from '../contract.js';
import { message } from '../errors.js';

/** The contract's numbers, after it has checked them, the arrays' kinds and lengths, and the data. */
export function checked<O>(
  contract: Contract<O>,
  arrays: Readonly<Record<string, TypedArray | undefined>>,
  options: O,
): Params {
  const params = contract.params(options);
  const lengths = contract.lengths(params);
  for (const [name, declared] of Object.entries(contract.arrays)) {
    const { role, optional } = declared;
    const array = arrays[name];
    if (array === undefined && (role !== 'in' || optional || lengths[name] === 0)) continue;
    const type = ARRAY_OF[dtypeOf(declared, params)];
    const expected = `${type.name} of length ${lengths[name]}`;
    if (!(array instanceof type)) throw new TypeError(message(contract.kernel, name, expected, array));
    if (array.length !== lengths[name]) throw new RangeError(message(contract.kernel, name, expected, array));
  }
  contract.checkData?.(params, arrays);
  return params;
}
