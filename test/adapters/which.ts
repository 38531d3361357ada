import { parseArgs } from 'node:util';
import type { Which } from '../lib/conformance.js';

/** `--only cpu|gpu`, `--kernels a,b` (these alone), `--cases 6` (at most so many of each, spread evenly), `--compile`. */
export function whichOf(args: string[]): Which & { compile?: boolean } {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string' },
      kernels: { type: 'string' },
      cases: { type: 'string' },
      compile: { type: 'boolean' },
    },
  });
  const { only, kernels, cases, compile } = values;
  return {
    ...(only === 'cpu' || only === 'gpu' ? { only } : {}),
    ...(kernels ? { kernels: kernels.split(',') } : {}),
    ...(cases ? { cases: Number(cases) } : {}),
    ...(compile ? { compile } : {}),
  };
}
