/** `npm start` as a user meets it: rows, exit codes, and `validate` on good, wrong and broken files. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dump } from 'npyjs';
import { afterAll, expect, test } from 'vitest';
import { root } from '../scripts/house.js';
import { absences, type Implementation } from './lib/implementations.js';

const folder = mkdtempSync(join(tmpdir(), 'lanewise-run-'));
afterAll(() => rmSync(folder, { recursive: true }));

const run = (...args: string[]) => runIn({}, ...args);

function runIn(env: Record<string, string>, ...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'build/run.js'), ...args], {
    encoding: 'utf8',
    cwd: root,
    env: { ...process.env, ...env },
  });
  return { status, output: stdout + stderr };
}

function file(name: string, data: Float32Array | Float64Array | Int32Array, shape: number[]): string {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(dump(data, shape)));
  return path;
}

test('the table: validated rows with all that --json promises, exit 0', () => {
  const json = join(folder, 'rows.json');
  const { status, output } = run('--only', 'cpu', '--kernel', 'hadamard_f32', '--quick', '--json', json);
  expect(output).toMatch(/(\d+) of \1 right/);
  expect(status).toBe(0);
  const rows = JSON.parse(readFileSync(json, 'utf8')) as Record<string, unknown>[];
  expect(rows.length).toBeGreaterThan(0);
  for (const row of rows) {
    expect(row).toMatchObject({
      kernel: 'hadamard_f32',
      ok: true,
      implementation: expect.stringMatching(/^cpu (simd|relaxed)$/),
      size: expect.any(String),
    });
    for (const key of ['error', 'tolerance', 'medianMs', 'gbPerS', 'copyRatio'])
      expect(row[key], key).toEqual(expect.any(Number));
  }
});

test.each([
  [['--kernel', 'nothing_f32'], '--kernel expected one of'],
  [['--only', 'npu'], '--only expected cpu or gpu'],
  [['--fast'], "Unknown option '--fast'"],
  [['measure'], 'unknown command "measure"'],
])('%j is refused', (args, message) => {
  const { status, output } = run(...args);
  expect(output).toContain(message);
  expect(status).toBe(2);
});

const x = file('x.npy', Float32Array.of(3, 1, 4, 1, 5, 9, 2, 6), [2, 4]);
const y = file('y.npy', Float64Array.of(9, 5, -1, -1, 22, -8, 6, 0), [2, 4]);
const hadamard = (...rest: string[]) =>
  run('validate', '--only', 'cpu', '--kernel', 'hadamard_f32', '--options', '{"scale": 1}', ...rest);

test('validate: right arrays exit 0, wrong ones 1 with the place', () => {
  const right = hadamard('--input', x, '--expected', y);
  expect(right.output).toContain('cpu simd');
  expect(right.status).toBe(0);
  const wrong = hadamard(
    '--input',
    x,
    '--expected',
    file('wrong.npy', Float32Array.of(9, 5, -1, -1, 22, -8, 6, 1), [2, 4]),
  );
  expect(wrong.output).toContain('(at 7: 0, expected 1)');
  expect(wrong.status).toBe(1);
});

test('validate: where nothing runs the kernel the reference alone is not enough', () => {
  // No driver, so no adapter.
  const env = { LANEWISE_STARTED: '1', VK_DRIVER_FILES: '/none', VK_ICD_FILENAMES: '/none' };
  const args = ['validate', '--kernel', 'hadamard_f32', '--options', '{"scale": 1}', '--input', x, '--expected', y];
  const { status, output } = runIn(env, ...args, '--only', 'gpu');
  expect(output).toContain('GPU skipped: ');
  expect(output).toContain('nothing here runs hadamard_f32: only its reference was validated');
  expect(status).toBe(1);
  expect(runIn(env, ...args)).toMatchObject({ status: 0, output: expect.stringContaining('GPU skipped: ') });
});

test('what a device lacks is named, of all kernels or of one', () => {
  const gpu = { name: 'gpu X base', absent: { a_f16: 'shader-f16', b_f16: 'shader-f16', c_f32: 'other' } };
  const implementations = [{ name: 'cpu simd' }, gpu] as unknown as Implementation[];
  expect(absences(implementations)).toEqual([
    'gpu X base lacks shader-f16: without a_f16, b_f16',
    'gpu X base lacks other: without c_f32',
  ]);
  expect(absences(implementations, 'b_f16')).toEqual(['gpu X base lacks shader-f16: without b_f16']);
  expect(absences(implementations, 'd_f32')).toEqual([]);
});

test('validate: relative paths begin where npm was called', () => {
  const env = { npm_lifecycle_event: 'start', INIT_CWD: folder };
  const scale = ['--options', '{"scale": 1}'];
  const args = ['validate', '--only', 'cpu', '--kernel', 'hadamard_f32', '--input', 'x.npy', '--expected', 'y.npy'];
  expect(runIn(env, ...args, ...scale)).toMatchObject({ status: 0, output: expect.stringContaining('yes') });
  expect(run(...args, ...scale).output).toContain('x.npy: ENOENT');
});

test("validate --help: usage, and a kernel's arrays and options", () => {
  expect(run('validate', '--help')).toMatchObject({
    status: 0,
    output: expect.stringContaining('--expected [ARRAY=]'),
  });
  const { status, output } = run('validate', '--kernel', 'codebook_quantize_f32', '--help');
  expect(status).toBe(0);
  for (const part of ['  table  f32 [2^bits]', '  codes  u8 [rows, codeBytes]', '  nibbles  '])
    expect(output).toContain(part);
});

test('validate: several arrays by name', () => {
  const values = file('values.npy', Float32Array.of(4, 3, 9, 6), [2, 2]);
  const indices = file('indices.npy', Int32Array.of(2, 0, 1, 3), [2, 2]);
  const { status, output } = run(
    'validate',
    '--only',
    'cpu',
    '--kernel',
    'topk_f32',
    '--input',
    x,
    '--expected',
    `values=${values}`,
    '--expected',
    `indices=${indices}`,
  );
  expect(output).toContain('yes');
  expect(status).toBe(0);
});

test('validate: tensors of a safetensors file', () => {
  const { status, output } = run(
    'validate',
    '--only',
    'cpu',
    '--kernel',
    'hadamard_f32',
    '--options',
    '{"scale": 1, "n": 1, "rows": 131072}',
    '--input',
    'bench/data/kv-layer1.safetensors#k',
    '--expected',
    'bench/data/kv-layer1.safetensors#k',
  );
  expect(output).toContain('yes');
  expect(status).toBe(0);
});

const truncated = join(folder, 'truncated.npy');
writeFileSync(truncated, readFileSync(x).subarray(0, -4));
const garbage = join(folder, 'garbage.safetensors');
writeFileSync(garbage, new Uint8Array([9, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));

test.each([
  [
    'truncated',
    [truncated, y],
    'truncated.npy: truncated or malformed: shape (2,4) of <f4 needs 32 bytes, the file has 28',
  ],
  ['not npy', [join(root, 'README.md'), y], 'README.md: not a .npy file'],
  ['not safetensors', [garbage, y], 'garbage.safetensors: malformed: its header is not JSON'],
  ['missing', [join(folder, 'none.npy'), y], 'none.npy: ENOENT'],
  [
    'too large a value',
    [file('huge.npy', Float64Array.of(1, 1e300), [1, 2]), y],
    '"x" expected values that f32 can hold, got 1e+300 at 1 (dtype f64)',
  ],
  [
    'wrong shape',
    [x, file('short.npy', new Float32Array(6), [2, 3])],
    '"out" has n = 3 (shape [2, 3]), but another array has n = 4',
  ],
  [
    'several tensors',
    ['bench/data/kv-layer1.safetensors', y],
    'holds several tensors: add #name (q, k, v, q_pre, k_pre)',
  ],
  [
    'size out of bounds',
    [file('odd.npy', new Float32Array(6), [2, 3]), file('odd2.npy', new Float32Array(6), [2, 3])],
    'hadamard_f32: "n" expected',
  ],
])('validate: %s is a clear error', (_, [input, expected], message) => {
  const { status, output } = hadamard('--input', input!, '--expected', expected!);
  expect(output).toContain(message);
  expect(output).not.toContain('    at ');
  expect(status).toBe(2);
});
