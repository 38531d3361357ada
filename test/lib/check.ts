/** Runs one case of a spec on one implementation and judges every output array. */
import { dtypeOf, type Params } from '../../ts/contract.js';
import { fromHalves } from '../../ts/half.js';
import type { How, Implementation } from './implementations.js';
import { random } from './random.js';
import type { Case, KernelSpec } from './spec.js';
import type { Tolerance } from './tolerance.js';

export interface Verdict {
  ok: boolean;
  /** The largest error in units of its tolerance's limit decides which array is reported. */
  error: number;
  tolerance: number;
  unit: string;
  /** What is wrong, if anything. */
  fault?: string;
}

const toleranceOf = (spec: KernelSpec, array: string, kind: 'cpu' | 'gpu'): Tolerance => {
  const entry = spec.tolerance[array]!;
  return 'cpu' in entry ? entry[kind] : entry;
};

/** Halves are judged as the numbers they stand for. */
const valuesOf = ({ contract: { arrays } }: KernelSpec, array: string, params: Params, given: any) =>
  arrays[array] && dtypeOf(arrays[array], params) === 'f16' && given instanceof Uint16Array ? fromHalves(given) : given;

/** How far `outputs` are from the reference. */
export function judge(
  spec: KernelSpec,
  kind: 'cpu' | 'gpu',
  outputs: Record<string, any>,
  want: Record<string, any>,
  inputs: Record<string, any>,
  options: unknown,
): Verdict {
  const params = spec.contract.params(options as never);
  let worst: Verdict = { ok: true, error: 0, tolerance: 0, unit: 'values' };
  let worstShare = -1;
  const faults: string[] = [];
  for (const array of Object.keys(want)) {
    const tolerance = toleranceOf(spec, array, kind);
    const values = (given: any) => valuesOf(spec, array, params, given);
    const [got, expected] = [values(outputs[array]), values(want[array])];
    const error = got ? tolerance.error(got, expected, inputs, params) : Infinity;
    const limit = tolerance.limit(params);
    const ok = error <= limit;
    if (!ok) {
      const wrong = (part: any) => !(tolerance.error(got, part, inputs, params) <= limit);
      faults.push(`${array}: error ${error} ${tolerance.unit}, allowed ${limit}${firstWrong(got, expected, wrong)}`);
    }
    const share = limit === 0 ? (error ? Infinity : 0) : error / limit;
    if (share > worstShare || share !== share) {
      worstShare = share;
      worst = { ok, error, tolerance: limit, unit: tolerance.unit };
    }
  }
  return faults.length ? { ...worst, ok: false, fault: faults.join('; ') } : worst;
}

/** Where the error first passes what is allowed: `wrong` tells that of what is wanted up to there, and got from there on. */
function firstWrong(got: any, want: any, wrong: (part: any) => boolean): string {
  if (!got) return ' (no such output)';
  if (got.length !== want.length) return ` (${got.length} values, expected ${want.length})`;
  let right = 0;
  let past = want.length;
  while (past - right > 1) {
    const middle = (right + past) >> 1;
    const part = want.slice();
    part.set(got.subarray(middle), middle);
    if (wrong(part)) past = middle;
    else right = middle;
  }
  return past ? ` (at ${right}: ${got[right]}, expected ${want[right]})` : '';
}

/** Poisoned outputs and guards round every array; two runs must give the same bits. */
export async function checkCase(
  spec: KernelSpec,
  one: Case<any>,
  implementation: Implementation,
  seed: number,
  how: How = {},
): Promise<Verdict> {
  const inputs = one.inputs(random(seed));
  const want = spec.reference(inputs, one.options);
  const prepared = await implementation.prepare(spec.contract, one.options, inputs, how);
  try {
    await prepared.run();
    const outputs = await prepared.outputs();
    const verdict = judge(spec, implementation.kind, outputs, want, inputs, one.options);
    const damage = await prepared.damage();
    if (damage) return { ...verdict, ok: false, fault: [verdict.fault, damage].filter(Boolean).join('; ') };
    if (!how.inPlace && verdict.ok) {
      await prepared.run();
      const again = await prepared.outputs();
      for (const [name, first] of Object.entries(outputs)) {
        const a = new Uint8Array(first.buffer);
        const b = new Uint8Array(again[name]!.buffer);
        if (a.some((byte, i) => byte !== b[i]))
          return { ...verdict, ok: false, fault: `${name}: a second run gave other bits` };
      }
    }
    return verdict;
  } finally {
    prepared.destroy();
  }
}
