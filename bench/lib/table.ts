/** The main job, free of any host: every kernel × implementation × size, validated, then timed. */

import { benches } from '../../test/generated/registry.js';
import { judge } from '../../test/lib/check.js';
import type { Implementation } from '../../test/lib/implementations.js';
import { random } from '../../test/lib/random.js';
import { allSpecs } from '../../test/lib/specs.js';
import type { KernelBench, Real, Size } from './bench.js';
import { type Effort, inTurn, inTurnTimed, type Timing } from './measure.js';
import { isSoftware } from './targets.js';

export interface Row {
  kernel: string;
  implementation: string;
  size: string;
  /** The largest deviation from the float64 reference and what is allowed, in `unit`. */
  error: number;
  tolerance: number;
  unit: string;
  ok: boolean;
  /** What is wrong, where something is. */
  fault?: string;
  medianMs: number;
  /** Bytes that must be read and written. */
  bytes?: number;
  /** Those over the time. */
  gbPerS?: number;
  gflopPerS?: number;
  /** Time over that of copying as many bytes on the same device, measured in turn. */
  copyRatio?: number;
  /** Time over that of as many f32 multiply-adds' operations at the device's measured rate (GPU). The lesser of the two ratios is that to the roofline. */
  f32Ratio?: number;
  /** Time of plain JavaScript loops over ours, measured in turn (CPU). */
  javascriptRatio?: number;
}

export { allSpecs };
export const allBenches: Record<string, KernelBench> = Object.assign(
  {},
  ...Object.values(benches).map((file) => (file as { default: object }).default),
);

export interface Plan {
  implementations: Implementation[];
  real: Real;
  effort: Effort;
  /** Sizes marked quick only. */
  quick: boolean;
  kernel?: string;
  progress(text: string): void;
  row(row: Row): void;
}

/** Does an implementation run a size? Adapters that are CPUs prove answers, not speed: they run the quick ones. */
const runs = ({ kind, name }: Implementation, size: Size, quick: boolean): boolean => {
  const device = kind === 'gpu' && !isSoftware(name);
  return size.device ? device && !quick : size.quick === true || !(quick || (kind === 'gpu' && !device));
};

async function measureRow(
  name: string,
  size: Size,
  implementation: Implementation,
  plan: Plan,
  inputs: Record<string, any>,
  want: Record<string, any>,
): Promise<Row> {
  const spec = allSpecs[name]!;
  const prepared = await implementation.prepare(spec.contract, size.options, inputs);
  try {
    await prepared.run();
    const { ok, error, tolerance, unit, fault } = judge(
      spec,
      implementation.kind,
      await prepared.outputs(),
      want,
      inputs,
      size.options,
    );
    const cost = spec.cost(spec.contract.params(size.options));
    const bytes = cost.bytesRead + cost.bytesWritten;
    const copy = await implementation.copy(bytes);
    const gpu = implementation.kind === 'gpu';
    // A submission costs far more than a small kernel: several kernels go into one.
    const began = performance.now();
    await prepared.run();
    const count = gpu ? Math.max(1, Math.min(64, Math.floor(4 / (performance.now() - began)))) : 1;
    const javascript = gpu ? undefined : allBenches[name]!.javascript(inputs, size.options);
    const byClock =
      prepared.timeMany && copy.timeMany
        ? await inTurnTimed({ kernel: () => prepared.timeMany!(count), copy: () => copy.timeMany!(count) }, plan.effort)
        : undefined;
    // Where a clock is too coarse to see the work (browsers round it), whole submissions are timed.
    const times: Partial<Record<'javascript', Timing>> & Record<'kernel' | 'copy', Timing> =
      byClock?.kernel.medianMs && byClock.copy.medianMs
        ? byClock
        : await inTurn(
            {
              kernel: { work: () => prepared.runMany(count), asynchronous: gpu },
              copy: { work: () => copy.runMany(count), asynchronous: gpu },
              ...(javascript ? { javascript: { work: javascript } } : {}),
            } as Record<'kernel' | 'copy' | 'javascript', { work: () => void | Promise<void>; asynchronous?: boolean }>,
            plan.effort,
          );
    copy.destroy();
    const medianMs = times.kernel.medianMs / count;
    const f32Rate = cost.operations && (await implementation.f32Rate?.());
    return {
      kernel: name,
      implementation: implementation.name,
      size: size.title,
      error,
      tolerance,
      unit,
      ok,
      ...(fault ? { fault } : {}),
      medianMs,
      bytes,
      gbPerS: bytes / medianMs / 1e6,
      ...(cost.operations ? { gflopPerS: cost.operations / medianMs / 1e6 } : {}),
      copyRatio: times.kernel.medianMs / times.copy.medianMs,
      ...(f32Rate ? { f32Ratio: (medianMs * f32Rate * 1e6) / cost.operations! } : {}),
      ...(times.javascript ? { javascriptRatio: times.javascript.medianMs / times.kernel.medianMs } : {}),
    };
  } finally {
    prepared.destroy();
  }
}

/** Runs the plan; answers with all rows. A kernel that throws gives a row that says so. */
export async function runTable(plan: Plan): Promise<Row[]> {
  const rows: Row[] = [];
  const names = Object.keys(allSpecs).filter((name) => !plan.kernel || name === plan.kernel);
  for (const name of names) {
    const spec = allSpecs[name]!;
    for (const [seed, size] of (allBenches[name]?.sizes ?? []).entries()) {
      const users = plan.implementations.filter((i) => i.kernels.includes(name) && runs(i, size, plan.quick));
      if (!users.length) continue;
      plan.progress(`${name} ${size.title}: reference`);
      const inputs = size.inputs(random(seed), plan.real);
      const want = spec.reference(inputs, size.options);
      for (const implementation of users) {
        plan.progress(`${name} ${size.title}: ${implementation.name}`);
        const row = await measureRow(name, size, implementation, plan, inputs, want).catch(
          (error: Error): Row => ({
            kernel: name,
            implementation: implementation.name,
            size: size.title,
            error: Infinity,
            tolerance: 0,
            unit: '',
            ok: false,
            fault: error.message,
            medianMs: NaN,
          }),
        );
        rows.push(row);
        plan.row(row);
      }
    }
  }
  return rows;
}

const digits = (x: number | undefined, n = 3) =>
  x === undefined || Number.isNaN(x)
    ? ''
    : x !== 0 && Math.abs(x) < 0.001
      ? x.toExponential(1)
      : String(+x.toPrecision(n));

export const HEAD = [
  'kernel',
  'implementation',
  'size',
  'error',
  'allowed',
  'ok',
  'median ms',
  'GB/s',
  'GFLOP/s',
  'time / copy',
  'time / f32',
  'JS / time',
];

export const cells = (row: Row): string[] => [
  row.kernel,
  row.implementation,
  row.size,
  `${digits(row.error, 2)} ${row.unit}`,
  digits(row.tolerance, 2),
  row.ok ? 'yes' : 'NO',
  digits(row.medianMs),
  digits(row.gbPerS),
  digits(row.gflopPerS),
  digits(row.copyRatio),
  digits(row.f32Ratio),
  digits(row.javascriptRatio),
];
