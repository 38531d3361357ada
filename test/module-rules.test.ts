/** The build refuses a module that could not live in somebody else's memory. */
import binaryen from 'binaryen';
import { describe, expect, test } from 'vitest';
import { checkModule } from '../scripts/wasm.js';

const IMPORT = '(import "env" "memory" (memory 1))';
const KERNEL = '(func (export "demo_f32") (param i32))';

function wasm(...fields: string[]): Uint8Array {
  const module = binaryen.parseText(`(module ${fields.join(' ')})`);
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}

test('a kernel and the memory alone are allowed', () => {
  expect(() => checkModule('demo', wasm(IMPORT, KERNEL), ['demo_f32'])).not.toThrow();
});

describe('refused', () => {
  test.each([
    ['a data segment', [IMPORT, KERNEL, '(data (i32.const 1024) "x")'], /a data segment/],
    ['a start function', [IMPORT, KERNEL, '(func $s) (start $s)'], /a start function/],
    ['a table', [IMPORT, KERNEL, '(table 1 funcref)'], /a table/],
    ['a heap pointer', [IMPORT, KERNEL, '(global $heap (mut i32) (i32.const 1024))'], /a global/],
    ['another import', [IMPORT, '(import "env" "abort" (func))', KERNEL], /imports \[.*env\.abort func.*\]/],
    ['its own memory', ['(memory 1)', KERNEL], /imports \[\]/],
    ['another export', [IMPORT, KERNEL, '(func (export "helper"))'], /exports \[.*helper func.*\]/],
    ['a missing kernel', [IMPORT], /exports \[\]/],
  ])('%s', (_, fields, message) => {
    expect(() => checkModule('demo', wasm(...fields), ['demo_f32'])).toThrow(message);
  });
});
