/** What the table says of a GPU's targets. */
import { expect, test } from 'vitest';
import { allBenches, type Row } from '../bench/lib/table.js';
import { targetLines } from '../bench/lib/targets.js';

const row = (more: Partial<Row>): Row => ({
  kernel: 'softmax_f32',
  implementation: 'gpu NVIDIA base',
  size: '4096 x 4096',
  error: 0,
  tolerance: 0,
  unit: '',
  ok: true,
  medianMs: 1,
  bytes: 2 ** 27,
  ...more,
});

const verdicts = (...rows: Row[]) => targetLines(rows).map((line) => line.replace(/.*: /, ''));

test('a kernel that memory bounds reaches 0.8 of a copy, where it is large', () => {
  expect(verdicts(row({ copyRatio: 1.25 }), row({ copyRatio: 1.26 }))).toEqual(['met', 'NOT MET']);
  expect(targetLines([row({ copyRatio: 1.3 })])[0]).toBe(
    'softmax_f32 4096 x 4096 (gpu NVIDIA base), memory-bound, 64 MiB and more: 1.30 of the time of a copy, target 1.25: NOT MET',
  );
  expect(verdicts(row({ copyRatio: 9, bytes: 2 ** 25 }))).toEqual([]);
});

test('CPUs, as implementations and as adapters, have none', () => {
  for (const implementation of ['cpu simd', 'gpu SwiftShader base', 'gpu llvmpipe subgroups'])
    expect(verdicts(row({ implementation, copyRatio: 9 }))).toEqual([]);
});

test('attention and top-k have their own', () => {
  const causal = { kernel: 'attention_blocksparse_f32', size: 'causal, 8 heads x 1024 x 64' };
  expect(verdicts(row({ ...causal, f32Ratio: 2.8 }), row({ ...causal, f32Ratio: 2.9 }))).toEqual(['met', 'NOT MET']);
  const decode = { kernel: 'attention_decode_f16', size: '32 heads on 8 x 8192 x 128' };
  expect(verdicts(row({ ...decode, copyRatio: 1.4 }), row({ ...decode, copyRatio: 1.5 }))).toEqual(['met', 'NOT MET']);
  const topk = { kernel: 'topk_f32', size: '64 of 128 x 32768' };
  expect(verdicts(row({ ...topk, copyRatio: 3 }), row({ ...topk, copyRatio: 3.1 }))).toEqual(['met', 'NOT MET']);
});

test('4-bit decode stands beside f16 on the same device', () => {
  const f16 = row({ kernel: 'attention_decode_f16', size: '32 heads on 8 x 8192 x 128', medianMs: 2 });
  const quantized = row({
    kernel: 'attention_decode_quantized_f32',
    size: 'KIVI 4 bit, groups of 128, 32 heads on 8 x 8192 x 128',
    medianMs: 0.9,
  });
  expect(verdicts(f16, quantized)).toEqual(['met']);
  expect(verdicts(f16, { ...quantized, medianMs: 0.91 })).toEqual(['NOT MET']);
  expect(verdicts({ ...f16, implementation: 'gpu other' }, quantized)).toEqual([]);
});

test('every target is that of a size there is', () => {
  const ratios = { copyRatio: 1, f32Ratio: 1, implementation: 'gpu NVIDIA base' };
  const rows = Object.entries(allBenches).flatMap(([kernel, { sizes }]) =>
    sizes.map(({ title }) => row({ kernel, size: title, ...ratios })),
  );
  for (const what of ['causal attention', 'decode attention', 'decode attention that reads 4-bit codes', 'top-k'])
    expect(
      targetLines(rows).filter((line) => line.includes(`, ${what}: `)),
      what,
    ).not.toEqual([]);
});
