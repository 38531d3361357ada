/** `out`, in every function of typed arrays, on the CPU and in the reference: results land in the caller's arrays, or nothing happens. */
import { describe, expect, test } from 'vitest';
import type { TypedArray } from '../ts/contract.js';
import { NF4 } from '../ts/cpu/codebook.js';
import { allocate, release, reserve } from '../ts/cpu/runtime.js';
import { toHalves } from '../ts/half.js';
import { cpu, references } from './generated/registry.js';
import { random } from './lib/random.js';

type Results = TypedArray | Record<string, TypedArray>;
type Functions = Record<string, Record<string, (...args: unknown[]) => Results>>;
const layers = { cpu, reference: references } as unknown as Record<string, Functions>;
const reference = layers.reference!;

const values = (length: number) => random(length).normals(length);
const halves = (length: number) => toHalves(values(length));

const [rows, n] = [32, 32];
const axes = { rows, n };
const x = values(rows * n);
const half = halves(rows * n);
const affine = { ...axes, bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' };
const halfScales = { ...affine, bits: 3, scaleType: 'f16' };
const turned = { ...axes, bits: 4, groupSize: 32, scheme: 'affine' };
const nf4 = { ...axes, bits: 4, groupSize: 32 };
const outliers = { ...axes, k: 3 };
const mx = { ...axes, format: 'mxfp4' };
const weights = { n: rows, k: n, bits: 4, groupSize: 32, scheme: 'affine' };
const times = { ...weights, m: 3, activations: 'f32' };
const heads = { heads: 2, kvHeads: 1, keys: rows, headDim: n };
const blocks = { indptr: Uint32Array.of(0, 1), indices: Uint32Array.of(1), blockQueries: 16, blockKeys: 16 };
const stored = { ...heads, kScheme: 'affine', vScheme: 'affine', kGroupSize: 32, vGroupSize: 32 };

const codes = reference.quantize!.quantize!(x, affine);
const dense = { q: values(2 * n), k: x, v: x };
const denseHalf = { q: halves(2 * n), k: half, v: half };
const state = { output: x, lse: values(rows) };
const { rest, ...taken } = reference.outliers!.outliersExtract!(x, outliers) as Record<string, TypedArray>;

/** family, function, what it takes before its options, options. */
const calls: [string, string, unknown[], object][] = [
  ['attention', 'attentionDecode', [dense], heads],
  ['attention', 'attentionBlocksparse', [dense], { ...heads, queries: 1, blocks }],
  ['attention-f16', 'attentionDecode', [denseHalf], heads],
  ['attention-f16', 'attentionBlocksparse', [denseHalf], { ...heads, queries: 1, blocks }],
  ['codebook', 'codebookQuantize', [x, NF4], nf4],
  ['codebook', 'codebookDequantize', [reference.codebook!.codebookQuantize!(x, NF4, nf4), NF4], nf4],
  ['gemm', 'pack', [codes], weights],
  ['gemm', 'gemm', [values(3 * n), reference.gemm!.pack!(codes, weights)], times],
  ['ggml', 'ggmlQuantize', [x], { ...axes, type: 'q8_0' }],
  ['ggml', 'ggmlDequantize', [new Uint8Array(34 * rows)], { ...axes, type: 'q8_0' }],
  ['ggml-f16', 'ggmlDequantize', [new Uint8Array(34 * rows)], { ...axes, type: 'q8_0' }],
  ['hadamard', 'hadamard', [x], axes],
  ['hadamard-f16', 'hadamard', [half], axes],
  ['hadamardmixed', 'hadamardMixed', [x], axes],
  ['integers', 'quantize', [x], halfScales],
  ['integers', 'dequantize', [reference.integers!.quantize!(x, halfScales)], halfScales],
  ['integers-f16', 'quantize', [half], halfScales],
  ['integers-f16', 'dequantize', [reference.integers!.quantize!(x, halfScales)], halfScales],
  ['mx', 'mxQuantize', [x], mx],
  ['mx', 'mxDequantize', [reference.mx!.mxQuantize!(x, mx)], mx],
  ['outliers', 'outliersExtract', [x], outliers],
  ['outliers', 'outliersRestore', [rest, taken], outliers],
  ['qattention', 'attentionDecodeQuantized', [{ q: dense.q, k: codes, v: codes }], stored],
  [
    'qattention',
    'attentionBlocksparseQuantized',
    [{ q: dense.q, k: codes, v: codes }],
    { ...stored, queries: 1, blocks },
  ],
  ['quantize', 'quantize', [x], affine],
  ['quantize', 'dequantize', [codes], affine],
  ['quantize-f16', 'quantize', [half], affine],
  ['quantize-f16', 'dequantize', [codes], affine],
  ['rotate', 'rotate', [x], axes],
  ['rotate', 'rotateQuantize', [x], turned],
  ['rotate', 'rotateDequantize', [reference.rotate!.rotateQuantize!(x, turned)], turned],
  ['softmax', 'softmax', [x], axes],
  ['softmax', 'logsumexp', [x], axes],
  ['softmax', 'softmaxState', [x], axes],
  ['softmax', 'softmaxMerge', [[state, state]], axes],
  ['softmax-f16', 'softmax', [half], axes],
  ['softmax-f16', 'logsumexp', [half], axes],
  ['softmax-f16', 'softmaxState', [half], axes],
  ['softmax-f16', 'softmaxMerge', [[{ ...state, output: half }]], axes],
  ['topk', 'topk', [x], outliers],
  ['topk-f16', 'topk', [half], outliers],
];

test('every function of typed arrays is here', () => {
  // Of numbers, of tables, or of several families at once.
  const others =
    /^(instantiate|preload|quantileRanges|ggmlTypeOf|hadamardOrder|hadamardMatrix|packedLength|codebook|lloydMax)$|ScratchBytes$/;
  const all = Object.entries(layers.cpu!).flatMap(([family, functions]) =>
    Object.keys(functions)
      .filter((name) => typeof functions[name] === 'function' && !others.test(name))
      .map((name) => `${family} ${name}`),
  );
  const here = calls.map(([family, name]) => `${family} ${name}`);
  expect(here.sort()).toEqual(all.sort());
});

const functionOf = (layer: string, family: string, name: string) => layers[layer]![family]![name]!;
const byName = (results: Results): Record<string, TypedArray> =>
  ArrayBuffer.isView(results) ? { out: results } : results;
const bytesOf = ({ buffer, byteOffset, byteLength }: TypedArray) => [...new Uint8Array(buffer, byteOffset, byteLength)];
const empty = (array: TypedArray, length = array.length) => new (array.constructor as Float32ArrayConstructor)(length);
const mapped = (results: Results, change: (array: TypedArray) => unknown): any =>
  ArrayBuffer.isView(results)
    ? change(results)
    : Object.fromEntries(Object.entries(results).map(([name, array]) => [name, change(array)]));

describe.each(Object.keys(layers))('%s', (layer) => {
  describe.each(calls)('%s %s', (family, name, args, options) => {
    const call = (out?: unknown) => functionOf(layer, family, name)(...args, { ...options, out });
    const want = call();

    test("fills and returns the caller's arrays, all or some, anywhere", () => {
      reserve(1 << 20);
      const start = allocate(Uint8Array, 0);
      for (const make of [
        empty,
        (array: TypedArray) => allocate(array.constructor as Float32ArrayConstructor, array.length),
      ]) {
        const out = mapped(want, make);
        const got = call(out);
        const given = byName(out);
        for (const [key, array] of Object.entries(byName(got))) {
          expect(array).toBe(given[key]);
          expect(bytesOf(array)).toEqual(bytesOf(byName(want)[key]!));
        }
        expect(Object.keys(byName(got))).toEqual(Object.keys(byName(want)));
      }
      release(start);
      if (ArrayBuffer.isView(want)) return;
      const [[key, array]] = Object.entries(want) as [[string, TypedArray]];
      const one = empty(array);
      const got = call({ [key]: one }) as Record<string, TypedArray>;
      expect(got[key]).toBe(one);
      for (const key in want) expect(bytesOf(got[key]!)).toEqual(bytesOf(want[key]!));
    });

    test('other kinds, lengths and places are errors, before anything is written', () => {
      const sample = mapped(want, (array) => empty(array).fill(7));
      const untouched = (out: unknown, Kind: ErrorConstructor, message: RegExp) => {
        expect(() => call(out)).toThrow(Kind);
        expect(() => call(out)).toThrow(message);
        for (const array of Object.values(byName(sample))) expect(array.every((value) => value === 7)).toBe(true);
      };
      const form = (text: string) => new RegExp(`^\\w+: "\\w+" expected ${text}`);
      for (const out of [null, 5, 'x']) untouched(out, TypeError, form('.+, got '));
      if (ArrayBuffer.isView(want)) {
        untouched(new Float64Array(want.length), TypeError, form(`\\w+ of length ${want.length}, got Float64Array`));
        untouched(empty(want, want.length + 1), RangeError, form(`\\w+ of length ${want.length}, got \\w+ of length`));
        untouched({ out: sample }, TypeError, form(`\\w+ of length ${want.length}, got Object`));
      } else {
        const names = Object.keys(want);
        untouched(sample[names[0]!], TypeError, form(`object of ${names[0]}.*, got \\w+Array of length`));
        for (const key of names) {
          const { length } = want[key]!;
          untouched(
            { ...sample, [key]: new Float64Array(length) },
            TypeError,
            form(`\\w+ of length ${length}, got Float64Array`),
          );
          untouched(
            { ...sample, [key]: empty(want[key]!, length + 1) },
            RangeError,
            form(`\\w+ of length ${length}, got`),
          );
        }
        // Two results in one place.
        const [a, b] = names.map((key) => want[key]!) as [TypedArray, TypedArray];
        const room = new ArrayBuffer(a.byteLength + b.byteLength);
        const at = (array: TypedArray, offset: number) =>
          new (array.constructor as Float32ArrayConstructor)(room, offset, array.length);
        untouched(
          { [names[0]!]: at(a, 0), [names[1]!]: at(b, a.byteLength - 4) },
          RangeError,
          form('range that does not overlap "\\w+" \\(bytes \\d+ to \\d+\\), got \\d+$'),
        );
      }
    });

    test('never partly in an input', () => {
      // Merged states are copied one after the other first.
      if (name === 'softmaxMerge') return;
      const first = args[0] as TypedArray | Record<string, TypedArray>;
      const [key, input] = ArrayBuffer.isView(first) ? [undefined, first] : Object.entries(first)[0]!;
      const [result, target] = Object.entries(byName(want))[0]!;
      for (const make of [
        (bytes: number) => ({ buffer: new ArrayBuffer(bytes), offset: 0 }),
        (bytes: number) => {
          const { buffer, byteOffset } = allocate(Uint8Array, bytes);
          return { buffer, offset: byteOffset };
        },
      ]) {
        reserve(1 << 20);
        const start = allocate(Uint8Array, 0);
        const { buffer, offset } = make(input.byteLength + target.byteLength);
        const at = (array: TypedArray, from: number) =>
          new (array.constructor as Float32ArrayConstructor)(buffer as ArrayBuffer, offset + from, array.length);
        const inside = at(input, 0);
        inside.set(input as Float32Array);
        const out = at(target, input.byteLength - 4);
        const changed = [key === undefined ? inside : { ...first, [key]: inside }, ...args.slice(1)];
        const run = () =>
          functionOf(
            layer,
            family,
            name,
          )(...changed, { ...options, out: ArrayBuffer.isView(want) ? out : { [result]: out } });
        expect(run).toThrow(RangeError);
        expect(run).toThrow(/"\w+" expected range that does not overlap "\w+" \(bytes \d+ to \d+\), got \d+$/);
        release(start);
      }
    });
  });
});

test.each(Object.keys(layers))('%s: in place where it is said, and a state merges into itself', (layer) => {
  const at = (family: string, name: string, ...args: unknown[]) => functionOf(layer, family, name)(...args);
  for (const [family, name, array] of [
    ['softmax', 'softmax', x],
    ['hadamard', 'hadamard', x],
    ['softmax-f16', 'softmax', half],
    ['hadamard-f16', 'hadamard', half],
  ] as const) {
    const mine = array.slice();
    expect(at(family, name, mine, { ...axes, out: mine })).toBe(mine);
    expect(mine).toEqual(at(family, name, array, axes));
  }
  const mine = x.slice();
  expect((at('outliers', 'outliersExtract', mine, { ...outliers, out: { rest: mine } }) as any).rest).toBe(mine);
  expect(at('outliers', 'outliersRestore', mine, taken, { ...outliers, out: mine })).toBe(mine);
  expect(mine).toEqual(x);
  const [whole, running] = [
    { output: x, lse: state.lse },
    { output: x.slice(), lse: state.lse.slice() },
  ];
  const want = at('softmax', 'softmaxMerge', [whole, whole], axes);
  expect(at('softmax', 'softmaxMerge', [running, whole], { ...axes, out: running })).toEqual(want);
  expect({ ...running }).toEqual(want);
});
