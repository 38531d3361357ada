/**
 * assembly/lib/dot.ts: the relaxed level has two paths, for hosts with an instruction for a dot product of bytes and for those
 * without. A host takes one of them; here it is made to take the other, which is exact on every host.
 */
import { describe, expect, test } from 'vitest';
import { family, supports } from '../ts/cpu/runtime.js';
import * as gemm from '../ts/generated/cpu/gemm.js';
import * as qattention from '../ts/generated/cpu/qattention.js';
import { faultsOf } from './lib/conformance.js';
import { cpuImplementation } from './lib/implementations.js';
import { allSpecs } from './lib/specs.js';

/** What dotsSaturate ends with: i32.const 65534, i32.eq. */
const QUESTION = Buffer.of(0x41, 0xfe, 0xff, 0x03, 0x46);
const NOT_EQUAL = 0x47;

function otherHost(module: string): string {
  const bytes = Buffer.from(module, 'base64');
  const at = bytes.indexOf(QUESTION);
  expect(at, 'the module asks').toBeGreaterThan(0);
  expect(bytes.indexOf(QUESTION, at + 1), 'the module asks in one place').toBe(-1);
  bytes[at + QUESTION.length - 1] = NOT_EQUAL;
  return bytes.toString('base64');
}

describe.skipIf(!supports('relaxed'))('the path of other hosts', () => {
  test.each([
    ['gemm_quantized_i8', { gemm }],
    ['attention_decode_quantized_f32', { qattention }],
    ['attention_blocksparse_quantized_f32', { qattention }],
  ] as const)('%s', async (kernel, modules) => {
    const families = Object.fromEntries(
      Object.entries(modules).map(([name, code]) => {
        const contracts = Object.fromEntries(Object.keys(code.parameters).map((k) => [k, allSpecs[k]!.contract]));
        return [name, family({ ...code, relaxed: otherHost(code.relaxed) }, contracts)];
      }),
    );
    expect(await faultsOf(allSpecs[kernel]!, cpuImplementation('relaxed', { families }))).toEqual([]);
  });
});
