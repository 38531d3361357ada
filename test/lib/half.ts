/** The spec of kernels' f16 twins from their own: the same cases with their values in halves, judged by the same bounds. */
import type { Contract, Params, TypedArray } from '../../ts/contract.js';
import { fromHalf, fromHalves, toHalf, toHalves } from '../../ts/half.js';
import type { Arrays, FamilySpec, KernelSpec } from './spec.js';
import type { Tolerance } from './tolerance.js';

/** `arrays` with those that the contract has in f16 converted. */
export function converted<T>(
  contract: Contract<any>,
  arrays: Record<string, T>,
  convert: (array: any) => any,
): Record<string, T> {
  return Object.fromEntries(
    Object.entries(arrays).map(([name, array]) => [
      name,
      contract.arrays[name]?.dtype === 'f16' && array !== undefined ? convert(array) : array,
    ]),
  );
}

/** Largest magnitude that may come out as 0 where subnormals are flushed: the smallest normal half. */
const FLUSHED = 2 ** -14;

/** Of the numbers that round to the half `got`, the nearest to `want`. */
export function before(got: number, want: number, flush = false): number {
  if (Number.isNaN(got) || Number.isNaN(want) || got === want) return got;
  if (flush && got === 0 && Math.abs(want) < FLUSHED) return want;
  const sign = got < 0 ? -1 : 1;
  const size = Math.abs(got);
  const bits = toHalf(size);
  const above = bits === 0x7c00 ? Infinity : (size + Math.min(fromHalf(bits + 1), 65536)) / 2;
  const below = bits ? (fromHalf(bits - 1) + Math.min(size, 65536)) / 2 : -above;
  return sign * Math.min(Math.max(sign * want, below), above);
}

/** Inputs as f32, converted once: what tolerances keep of a call is kept by its inputs. */
const inputsInF32 = new WeakMap<Arrays, Arrays>();
function inF32(contract: Contract<any>, inputs: Arrays): Arrays {
  const known = inputsInF32.get(inputs) ?? converted(contract, inputs, fromHalves);
  inputsInF32.set(inputs, known);
  return known;
}

/** Right where the half is the rounding of a number that `tolerance` accepts. */
const rounded = (contract: Contract<any>, tolerance: Tolerance, half: boolean, flush: boolean): Tolerance => ({
  unit: tolerance.unit,
  reason: half ? [tolerance.reason, 'then rounded to f16'].filter(Boolean).join('; ') : tolerance.reason,
  error(got: TypedArray, want: ArrayLike<number>, inputs: Arrays, params: Params) {
    const values = half ? new Float64Array(got).map((value, i) => before(value, want[i]!, flush)) : got;
    return tolerance.error(values as TypedArray, want, inF32(contract, inputs), params);
  },
  limit: tolerance.limit,
});

function halves<O>(spec: KernelSpec<O>, contract: Contract<O>, more: KernelSpec['arrays']): KernelSpec<O> {
  const bytes = (role: string, params: Params) => {
    const lengths = contract.lengths(params);
    return Object.entries(contract.arrays)
      .filter(([, array]) => array.dtype === 'f16' && array.role === role)
      .reduce((sum, [name]) => sum + 2 * lengths[name]!, 0);
  };
  return {
    ...spec,
    contract,
    arrays: Object.fromEntries(Object.keys(contract.arrays).map((name) => [name, (more[name] ?? spec.arrays[name])!])),
    summary: `${spec.summary}; values in f16`,
    reference: (inputs, options) => spec.reference(converted(contract, inputs, fromHalves), options),
    cases: spec.cases.map((one) => ({
      ...one,
      inputs: (random) => converted(contract, one.inputs(random), toHalves),
    })),
    tolerance: Object.fromEntries(
      Object.entries(spec.tolerance).map(([name, entry]) => {
        const half = contract.arrays[name]!.dtype === 'f16';
        const { cpu, gpu } = 'cpu' in entry ? entry : { cpu: entry, gpu: entry };
        return [name, { cpu: rounded(contract, cpu, half, false), gpu: rounded(contract, gpu, half, true) }];
      }),
    ),
    cost(params) {
      const { bytesRead, bytesWritten, ...rest } = spec.cost(params);
      return { ...rest, bytesRead: bytesRead - bytes('in', params), bytesWritten: bytesWritten - bytes('out', params) };
    },
  };
}

/** Kernels `..._f16` of `contracts` from the specs of `..._f32`; `more` describes arrays that those do not have, or otherwise. */
export const halfSpec = (spec: FamilySpec, contracts: object, more: KernelSpec['arrays'] = {}): FamilySpec =>
  Object.fromEntries(
    // In the order of the f32 kernels: that of a namespace object depends on who loads it.
    Object.entries(spec).flatMap(([kernel, one]) => {
      const contract = (contracts as Record<string, Contract<any> | undefined>)[kernel.replace(/_f32$/, '_f16')];
      return contract ? [[contract.kernel, halves(one, contract, more)]] : [];
    }),
  );
