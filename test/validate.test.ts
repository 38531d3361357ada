/** `npm start -- validate` on what other people's code made: yes on every family, NO at the right place where one value differs. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dump } from 'npyjs';
import { afterAll, describe, expect, test } from 'vitest';
import { validate } from '../bench/lib/validate.js';
import { root } from '../scripts/house.js';
import { toHalves } from '../ts/half.js';
import { attentionDecodeF64 } from '../ts/reference/attention.js';
import { attentionDecode as attentionDecodeHalf } from '../ts/reference/attention-f16.js';
import { pack } from '../ts/reference/gemm.js';
import { cpuImplementations } from './lib/implementations.js';
import { random } from './lib/random.js';
import { allSpecs } from './lib/specs.js';
import { readTensor, type Tensor } from './lib/tensors.js';

const folder = mkdtempSync(join(tmpdir(), 'lanewise-validate-'));
afterAll(() => rmSync(folder, { recursive: true }));

const golden = (name: string) => join(root, 'test/golden', name);
const read = (item: string) => {
  const [path, tensor] = item.split('#') as [string, string?];
  return readTensor(readFileSync(path), path, tensor);
};

type Data = Exclude<Tensor['data'], never>;
let files = 0;
/** A .npy of this test's own. */
function npy(data: Data, shape: number[]): string {
  const path = join(folder, `${files++}.npy`);
  writeFileSync(path, new Uint8Array(dump(data, shape)));
  return path;
}

/** A .safetensors with one tensor, of a dtype that .npy has not. */
function safetensors(dtype: string, data: Data, shape: number[]): string {
  const path = join(folder, `${files++}.safetensors`);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const header = new TextEncoder().encode(JSON.stringify({ a: { dtype, shape, data_offsets: [0, bytes.length] } }));
  const length = new BigUint64Array([BigInt(header.length)]);
  writeFileSync(path, Buffer.concat([new Uint8Array(length.buffer), header, bytes]));
  return path;
}

const implementations = cpuImplementations();

interface Case {
  kernel: string;
  /** Arrays by name: files, or file#tensor. */
  input: Record<string, string>;
  expected: Record<string, string>;
  options?: object;
}

const run = ({ kernel, input, expected, options }: Case) => {
  const items = (arrays: Record<string, string>) => Object.entries(arrays).map(([name, item]) => `${name}=${item}`);
  return validate({
    kernel,
    input: items(input),
    expected: items(expected),
    ...(options && { options: JSON.stringify(options) }),
    implementations,
  });
};

const npyOf = (family: string) => (name: string) => golden(`${family}/${name}.npy`);
const kivi = (name: string) => `${golden('quantize/kivi.safetensors')}#${name}`;
const mx = (name: string) => `${golden('mx/mx.safetensors')}#${name}`;
const microxcaling = (name: string) => `${golden('mx/microxcaling.safetensors')}#${name}`;
const ggml = (name: string) => `${golden('ggml/ggml.safetensors')}#${name}`;
const [bnb, quarot, scipy, torch, topk] = ['codebook', 'hadamardmixed', 'hadamard', 'attention', 'topk'].map(npyOf) as [
  (name: string) => string,
  (name: string) => string,
  (name: string) => string,
  (name: string) => string,
  (name: string) => string,
];
const softmax = npyOf('softmax');
const one = npyOf('quantize');

const stored = (set: string) => ({
  codes: kivi(`${set}.codes`),
  scales: kivi(`${set}.scales`),
  minima: kivi(`${set}.minima`),
});
const qkv = (set: string) => ({ q: torch(`${set}_q`), k: torch(`${set}_k`), v: torch(`${set}_v`) });
const outputs = (set: string) => ({ output: torch(`${set}_out`), lse: torch(`${set}_lse`) });

/** The first `count` of the leading axis. */
function first(item: string, count: number): string {
  const { data, shape } = read(item);
  const rest = shape.slice(1).reduce((a, b) => a * b, 1);
  return npy(data.slice(0, count * rest) as Data, [count, ...shape.slice(1)]);
}

/** A mask of blocks, as torch people have it, as lists. */
function lists(mask: string) {
  const { data, shape } = read(mask);
  const [heads, rows, columns] = shape as [number, number, number];
  const indptr: number[] = [];
  const indices: number[] = [];
  for (let row = 0; row < heads * rows; row++) {
    if (row % rows === 0) indptr.push(indices.length);
    for (let column = 0; column < columns; column++) if (data[row * columns + column]) indices.push(column);
    indptr.push(indices.length);
  }
  return {
    indptr: npy(BigInt64Array.from(indptr, BigInt), [heads, rows + 1]),
    indices: npy(BigInt64Array.from(indices, BigInt), [indices.length]),
  };
}

const cases: Record<string, () => Case> = {};
for (const [side, axis] of [
  ['k', 'column'],
  ['v', 'row'],
] as const)
  for (const bits of [2, 4]) {
    const options = { bits, groupSize: 32, scheme: 'affine', axis };
    const set = `${side}.b${bits}`;
    for (const family of ['', 'integers_']) {
      cases[`quantize_${family}f32: KIVI ${set}, heads and tokens`] = () => ({
        kernel: `quantize_${family}f32`,
        input: { x: kivi(`${side}.x`) },
        expected: stored(set),
        options,
      });
      cases[`dequantize_${family}f32: KIVI ${set}`] = () => ({
        kernel: `dequantize_${family}f32`,
        input: stored(set),
        expected: { out: kivi(`${set}.values`) },
        options,
      });
    }
    cases[`dequantize_f16: KIVI ${set}`] = () => ({
      kernel: 'dequantize_f16',
      input: stored(set),
      expected: { out: kivi(`${set}.values`) },
      options,
    });
  }
for (const [table, groupSize] of [
  ['nf4', 64],
  ['nf4', 128],
  ['fp4', 64],
] as const)
  cases[`codebook_quantize_f32: bitsandbytes ${table}, blocks of ${groupSize}`] = () => ({
    kernel: 'codebook_quantize_f32',
    input: { x: bnb('input_f32') },
    expected: {
      codes: bnb(`${table}_bs${groupSize}_packed`),
      ...(groupSize === 64 && { scales: bnb(`${table}_bs64_absmax_f32`) }),
    },
    options: { table, groupSize, nibbles: 'high' },
  });
cases['codebook_quantize_f32: bitsandbytes, flattened, a table as input'] = () => ({
  kernel: 'codebook_quantize_f32',
  input: { x: bnb('input_f32'), table: bnb('code_fp4_f32') },
  expected: {
    // As bitsandbytes gives them.
    codes: npy(read(bnb('fp4_bs64_packed')).data, [24 * 512, 1]),
    scales: npy(read(bnb('fp4_bs64_absmax_f32')).data, [24 * 16]),
  },
  options: { groupSize: 64, nibbles: 'high' },
});
cases['codebook_quantize_f32: bitsandbytes dynamic 8 bits'] = () => ({
  kernel: 'codebook_quantize_f32',
  input: { x: bnb('input_f32') },
  expected: { codes: bnb('dyn8_bs256_codes_python'), scales: bnb('dyn8_bs256_absmax_f32') },
  options: { table: [...read(bnb('code_dynamic8_signed_f32')).data].map(Number), groupSize: 256 },
});
cases['codebook_dequantize_f32: bitsandbytes nf4'] = () => ({
  kernel: 'codebook_dequantize_f32',
  input: { codes: bnb('nf4_bs64_packed'), scales: bnb('nf4_bs64_absmax_f32') },
  expected: { out: bnb('nf4_bs64_dequant_f32') },
  options: { table: 'nf4', groupSize: 64, nibbles: 'high' },
});
for (const type of ['q4_0', 'q8_0', 'iq4_nl', 'mxfp4', 'nvfp4'])
  cases[`ggml_quantize_f32: ${type}`] = () => ({
    kernel: 'ggml_quantize_f32',
    input: { x: ggml('x') },
    expected: { blocks: ggml(`${type}.blocks`) },
    options: { type },
  });
for (const type of ['q2_K', 'q4_K', 'q6_K', 'iq4_xs'])
  for (const dtype of ['f32', 'f16'])
    cases[`ggml_dequantize_${dtype}: ${type}`] = () => ({
      kernel: `ggml_dequantize_${dtype}`,
      input: { blocks: ggml(`${type}.blocks`) },
      expected: { out: ggml(`${type}.values`) },
      options: { type },
    });
for (const format of ['mxfp4', 'mxfp8_e4m3', 'mxfp6_e2m3'])
  cases[`mx_quantize_f32: torchao ${format}`] = () => ({
    kernel: 'mx_quantize_f32',
    input: { x: mx('x') },
    expected: { codes: mx(`${format}.floor.codes`), scales: mx(`${format}.floor.scales`) },
    options: { format, ...(format === 'mxfp6_e2m3' && { unpacked: true }) },
  });
cases['mx_quantize_f32: torchao nvfp4, codes and scales as float8'] = () => ({
  kernel: 'mx_quantize_f32',
  input: { x: mx('nv.x') },
  expected: { codes: mx('nv.codes'), scales: safetensors('F8_E4M3', read(mx('nv.scales')).data, [12, 16]) },
  options: { format: 'nvfp4' },
});
for (const format of ['mxint8', 'mxfp4'])
  cases[`mx_dequantize_f32: microxcaling ${format}`] = () => ({
    kernel: 'mx_dequantize_f32',
    input: { codes: microxcaling(`${format}.codes`), scales: microxcaling(`${format}.exponents`) },
    expected: { out: microxcaling(`${format}.values`) },
    options: { format, unpacked: true },
  });
for (const n of [8, 128])
  cases[`hadamard_f32: scipy ${n}`] = () => ({
    kernel: 'hadamard_f32',
    input: { x: scipy(`pow2_${n}_x_f32`) },
    expected: { out: scipy(`pow2_${n}_y_f64`) },
    options: { scale: 1 },
  });
for (const kernel of ['hadamard_mixed_f32', 'rotate_f32'])
  for (const n of [12, 20, 96])
    for (const inverse of [false, true])
      cases[`${kernel}: QuaRot ${n}${inverse ? ', inverse' : ''}`] = () => ({
        kernel,
        input: { x: quarot(`quarot_${n}_x_f32`) },
        expected: { out: quarot(`quarot_${n}_y${inverse ? 'T' : ''}_f64`) },
        ...(inverse && { options: { inverse } }),
      });
cases['hadamard_mixed_f32: scipy 8, across heads'] = () => {
  const across = (name: string) => {
    const data = read(scipy(name)).data as Float64Array;
    return npy(
      data.slice().map((_, i) => data[(i % 16) * 8 + Math.floor(i / 16)]!),
      [1, 8, 16],
    );
  };
  return {
    kernel: 'hadamard_mixed_f32',
    input: { x: across('pow2_8_x_f32') },
    expected: { out: across('pow2_8_y_f64') },
    options: { scale: 1, inner: 16 },
  };
};
for (const order of ['stable', 'torch'])
  for (const largest of [true, false])
    for (const dtype of ['f32', 'f16'])
      cases[`topk_${dtype}: torch, ${order} indices, largest ${largest}`] = () => {
        const set = `ints_ties_16x257_k32_${largest ? 'max' : 'min'}`;
        return {
          kernel: `topk_${dtype}`,
          input: { x: topk('ints_ties_16x257_x') },
          expected: { values: topk(`${set}_values`), indices: topk(`${set}_${order}_idx`) },
          ...(!largest && { options: { largest } }),
        };
      };
cases['attention_decode_f32: torch'] = () => ({
  kernel: 'attention_decode_f32',
  input: qkv('decode_sk7'),
  expected: outputs('decode_sk7'),
});
cases['attention_blocksparse_f32: torch, causal'] = () => ({
  kernel: 'attention_blocksparse_f32',
  input: qkv('prefill_odd'),
  expected: outputs('prefill_odd'),
  options: { causal: true },
});
cases['attention_blocksparse_f32: torch, window'] = () => ({
  kernel: 'attention_blocksparse_f32',
  input: qkv('sliding_left31'),
  expected: outputs('sliding_left31'),
  options: { window: 32 },
});
cases['attention_blocksparse_f32: torch, block mask'] = () => ({
  kernel: 'attention_blocksparse_f32',
  input: { ...qkv('bs16'), ...lists(torch('bs16_d30_causal_blockmask')) },
  expected: outputs('bs16_d30_causal'),
  options: { causal: true, blocks: { blockQueries: 16, blockKeys: 16, perHead: true } },
});
cases['softmax_f32: torch'] = () => ({
  kernel: 'softmax_f32',
  // torch has NaN for a row that is all -inf.
  input: { x: first(softmax('softmax_x'), 5) },
  expected: { out: first(softmax('softmax_f64'), 5) },
});
cases['logsumexp_f32: torch'] = () => ({
  kernel: 'logsumexp_f32',
  input: { x: softmax('softmax_x') },
  expected: { lse: softmax('softmax_lse_f64') },
});
cases['softmax_state_f32: torch'] = () => {
  const x = read(softmax('softmax_x')).data as Float32Array;
  const max = Float32Array.from({ length: 3 }, (_, row) => Math.max(...x.subarray(300 * row, 300 * (row + 1))));
  const lse = read(softmax('softmax_lse_f64')).data as Float64Array;
  return {
    kernel: 'softmax_state_f32',
    input: { x: first(softmax('softmax_x'), 3) },
    expected: {
      max: npy(max, [3]),
      sum: npy(
        Float64Array.from(max, (m, row) => Math.exp(lse[row]! - m)),
        [3],
      ),
    },
  };
};
cases['softmax_merge_f32: torch'] = () => {
  const parts = ['0_1', '1_130', '130_512', '512_1000'];
  const all = (kind: string) =>
    Float64Array.from(
      parts.flatMap((part) => [...(read(softmax(`merge_decode_part_${part}_${kind}_f64`)).data as Float64Array)]),
    );
  return {
    kernel: 'softmax_merge_f32',
    input: { outputs: npy(all('v'), [4, 8, 64]), lses: npy(all('s'), [4, 8]) },
    expected: { output: softmax('merge_decode_out_f64'), lse: softmax('merge_decode_lse_f64') },
  };
};
const keys = { scheme: 'affine', groupSize: 32 } as const;
cases['gemm_pack_u32 and gemm_quantized_f32: weights of KIVI, rows of the identity'] = () => {
  const format = { n: 128, k: 64, bits: 4, ...keys } as const;
  const floats = (name: string) => Float32Array.from(read(one(name)).data as Float32Array);
  const codes = Uint32Array.from(read(one('v_b4_codes')).data as Int32Array);
  const packed = pack({ codes, scales: floats('v_b4_scales'), minima: floats('v_b4_minima') }, format);
  const values = floats('v_b4_values');
  return {
    kernel: 'gemm_quantized_f32',
    input: {
      x: npy(
        Float32Array.from({ length: 64 * 64 }, (_, at) => Number(at % 65 === 0)),
        [64, 64],
      ),
      packed: npy(packed, [packed.length]),
    },
    expected: {
      out: npy(
        Float32Array.from(values, (_, i) => values[(i % 128) * 64 + Math.floor(i / 128)]!),
        [64, 128],
      ),
    },
    options: { bits: 4, ...keys },
  };
};
for (const kernel of ['attention_decode_quantized_f32', 'attention_blocksparse_quantized_f32'])
  cases[`${kernel}: KIVI's codes, attention in float64 over KIVI's values`] = () => {
    const q = random(3).normals(2 * 64);
    const values = (name: string) => Float32Array.from(read(one(name)).data as Float32Array);
    const { output, lse } = attentionDecodeF64(
      { q, k: values('k_b2_values'), v: values('v_b4_values') },
      { heads: 2, kvHeads: 1, keys: 128, headDim: 64 },
    );
    const one4d = (name: string) => {
      const { data, shape } = read(one(name));
      return npy(data, [1, 1, ...shape]);
    };
    const shape = kernel.includes('decode') ? [2] : [2, 1];
    return {
      kernel,
      input: {
        q: npy(q, [...shape, 64]),
        ...Object.fromEntries(
          ['Codes', 'Scales', 'Minima'].flatMap((part) => [
            [`k${part}`, one4d(`k_b2_${part.toLowerCase()}`)],
            [`v${part}`, one4d(`v_b4_${part.toLowerCase()}`)],
          ]),
        ),
      },
      expected: { output: npy(output, [...shape, 64]), lse: npy(lse, shape) },
      options: { kScheme: 'affine', kBits: 2, kAxis: 'column', vScheme: 'affine', vBits: 4 },
    };
  };

/** `item` with the value at `at` another one: the lowest bit of a code, more than any tolerance for a float. */
function spoiled(item: string, at: number): string {
  const { data, shape, bits } = read(item);
  const copy = data.slice() as Float32Array;
  if (bits) throw new Error(`${item}: narrow`);
  if (data instanceof Float32Array || data instanceof Float64Array) {
    let most = 1;
    for (const value of data) if (Number.isFinite(value)) most = Math.max(most, Math.abs(value));
    copy[at] = (copy[at]! > 0 ? -1 : 1) * most;
  } else copy[at]! ^= 1;
  return npy(copy, shape);
}

describe.each(Object.entries(cases))('%s', (_, make) => {
  test('as it lies: yes; one value changed: NO, and where', async () => {
    const made = make();
    const right = await run(made);
    expect(right.ok, right.text).toBe(true);
    const [name, item] = Object.entries(made.expected)[0]!;
    const at = Math.floor(read(item).data.length * 0.6);
    const wrong = await run({ ...made, expected: { ...made.expected, [name]: spoiled(item, at) } });
    expect(wrong.ok).toBe(false);
    for (const { name: who } of implementations)
      expect(wrong.text).toMatch(new RegExp(`^${who}: .*${name}: error .*\\(at ${at}: `, 'm'));
  });
});

test('every kernel has golden arrays here, but those that nobody else has, or in halves alone', () => {
  const tried = new Set(Object.values(cases).map((make) => make().kernel));
  const left = Object.keys(allSpecs).filter((kernel) => !tried.has(kernel) && !kernel.endsWith('_f16'));
  expect(left).toEqual([
    'gemm_pack_u32',
    'gemm_quantized_i16',
    'gemm_quantized_i8',
    'outliers_extract_f32',
    'outliers_restore_f32',
    'rotate_quantize_f32',
    'rotate_dequantize_f32',
  ]);
});

describe.each(Object.entries(allSpecs))('%s', (kernel, { contract, cases, reference }) => {
  test('cases of its spec, through files, against float64', async () => {
    const full = cases.filter(({ options }) => {
      const lengths = contract.lengths(contract.params(options as never));
      return Object.entries(contract.arrays).every(([name, { optional }]) => optional || lengths[name]);
    });
    for (const index of [0.2, 0.7]) {
      const one = full[Math.floor(index * full.length)]!;
      const inputs = one.inputs(random(1));
      const filesOf = (arrays: Record<string, any>) =>
        Object.fromEntries(
          Object.entries(arrays)
            .filter(([name, array]) => contract.arrays[name] && array?.length)
            .map(([name, array]) => [name, npy(array, [array.length])]),
        );
      // Flat arrays tell no size: all are given.
      const { headDim: valueDim, recentKeys: recentCapacity } = one.options;
      const plain = (_: string, value: unknown) => (ArrayBuffer.isView(value) ? [...(value as Uint32Array)] : value);
      const options = JSON.parse(JSON.stringify({ valueDim, recentCapacity, ...one.options }, plain));
      const { ok, text } = await run({
        kernel,
        input: filesOf(inputs),
        expected: filesOf(reference(inputs, one.options)),
        options,
      });
      expect(ok, `${one.title}\n${text}`).toBe(true);
    }
  });
});

test('every option of a case is documented in axes, and so accepted', () => {
  for (const [kernel, { axes, cases }] of Object.entries(allSpecs))
    for (const { options } of cases)
      for (const name of Object.keys(options)) expect(Object.keys(axes), kernel).toContain(name);
});

describe('dtypes', () => {
  const options = { scale: 1 };
  const out = npy(Float64Array.of(9, 5, -1, -1, 22, -8, 6, 0), [2, 4]);
  const values = [3, 1, 4, 1, 5, 9, 2, 6];
  const bf16 = Uint16Array.from(new Uint32Array(Float32Array.from(values).buffer), (word) => word >>> 16);
  const e4m3 = Uint8Array.from([0x44, 0x38, 0x48, 0x38, 0x4a, 0x51, 0x40, 0x4c]);
  const e5m2 = Uint8Array.from([0x42, 0x3c, 0x44, 0x3c, 0x45, 0x48, 0x40, 0x46]);
  const x = (data: Data, type?: string) => (type ? safetensors(type, data, [2, 4]) : npy(data, [2, 4]));

  test.each([
    ['f64', x(Float64Array.from(values))],
    ['bf16', x(bf16, 'BF16')],
    ['f16', x(toHalves(values), 'F16')],
    ['e4m3', x(e4m3, 'F8_E4M3')],
    ['i64, named', x(BigInt64Array.from(values, BigInt)), 'x: integers (i64) taken as numbers'],
    ['u8, named', x(Uint8Array.from(values)), 'x: integers (u8) taken as numbers'],
    ['u16, named', x(Uint16Array.from(values), 'U16'), 'x: integers (u16) taken as numbers'],
  ])('f32 takes %s', async (_, input, remark = '') => {
    const { ok, text } = await run({ kernel: 'hadamard_f32', input: { x: input }, expected: { out }, options });
    expect(text).toContain(remark);
    expect(text).not.toContain('rounded');
    expect(ok).toBe(true);
  });

  test('e5m2 widens as it is (its 9 is 8)', async () => {
    const input = { x: x(e5m2, 'F8_E5M2') };
    const expected = { out: npy(Float32Array.of(9, 5, -1, -1, 21, -7, 5, 1), [2, 4]) };
    expect(await run({ kernel: 'hadamard_f32', input, expected, options })).toMatchObject({ ok: true });
  });

  test('f64 is rounded, and f32 for an f16 kernel: named', async () => {
    const third = npy(Float64Array.of(1 / 3, 1), [1, 2]);
    const f32 = await run({ kernel: 'softmax_f32', input: { x: third }, expected: { out: third } });
    expect(f32.text).toContain('x: rounded from f64 to f32 (1 of 2 values)');
    expect(f32.text).toContain('Inputs were rounded');
    const f16 = await run({
      kernel: 'hadamard_f16',
      input: { x: npy(Float32Array.of(1 / 3, 1), [1, 2]) },
      expected: { out: npy(Float32Array.of(1.3331299, -0.6669922), [1, 2]) },
      options,
    });
    expect(f16.text).toContain('x: rounded from f32 to f16 (1 of 2 values)');
  });

  test('an expected half stands for what rounds to it', async () => {
    const x = toHalves(random(5).normals(64));
    const want = attentionDecodeHalf({ q: x, k: x, v: x }, { heads: 1, kvHeads: 1, keys: 1, headDim: 64 }).output;
    for (const [off, ok] of [
      [0, true],
      [1, true],
      [2, false],
    ] as const) {
      const output = want.slice();
      output[7]! += off;
      const half = (array: Uint16Array, shape: number[]) => safetensors('F16', array, shape);
      const input = { q: half(x, [1, 64]), k: half(x, [1, 1, 64]), v: half(x, [1, 1, 64]) };
      const result = await run({ kernel: 'attention_decode_f16', input, expected: { output: half(output, [1, 64]) } });
      expect([off, result.ok], result.text).toEqual([off, ok]);
      expect(result.text).not.toContain('compared up to');
    }
  });
  test('what is expected in a coarser dtype is compared up to its rounding', async () => {
    const expected = (data: Uint16Array) => ({ out: safetensors('F16', data, [1, 2]) });
    const input = { x: npy(Float32Array.of(0.1, 1), [1, 2]) };
    const near = await run({ kernel: 'hadamard_f32', input, expected: expected(toHalves([1.1, -0.9])), options });
    expect(near.text).toContain('out: compared up to the rounding of f16');
    expect(near.ok).toBe(true);
    const far = await run({ kernel: 'hadamard_f32', input, expected: expected(toHalves([1.1, -0.901])), options });
    expect(far.ok).toBe(false);
    expect(far.text).toContain('(at 1: ');
  });

  const kivi2 = { ...stored('v.b2') };
  const codes = read(kivi2.codes).data as Int32Array;
  const dequantize = (data: Data, type?: string) =>
    run({
      kernel: 'dequantize_f32',
      input: { ...kivi2, codes: type ? safetensors(type, data, [128, 2]) : npy(data, [128, 2]) },
      expected: { out: kivi('v.b2.values') },
      options: { bits: 2, groupSize: 32, scheme: 'affine', axis: 'row' },
    });

  test('integers of any width for codes, where values fit; of the same width, bits', async () => {
    expect((await dequantize(BigInt64Array.from(codes, (word) => BigInt(word >>> 0)))).ok).toBe(true);
    await expect(dequantize(BigInt64Array.from(codes, (_, i) => (i === 3 ? -1n : 0n)))).rejects.toThrow(
      '"codes" expected values that u32 can hold, got -1 at 3 (dtype i64)',
    );
    const small = await dequantize(new Int16Array(256), 'I16');
    expect(small.text).toContain('(at ');
    await expect(dequantize(new Int16Array(256).fill(-2), 'I16')).rejects.toThrow('got -2 at 0 (dtype i16)');
  });

  test('signs as numbers, floats or booleans', async () => {
    const signed = (signs: object | undefined, file?: string) =>
      run({
        kernel: 'hadamard_f32',
        input: { x: npy(Float32Array.of(3, 1, 4, 1), [1, 4]), ...(file && { signs: file }) },
        expected: { out: npy(Float32Array.of(7, 7, 1, -3), [1, 4]) },
        options: { ...options, ...signs },
      });
    expect((await signed({ signs: [1, 1, 1, -1] })).ok).toBe(true);
    expect((await signed(undefined, npy(Float32Array.of(1, 1, 1, -1), [4]))).ok).toBe(true);
    await expect(signed(undefined, safetensors('BOOL', Uint8Array.of(1, 1, 1, 0), [4]))).rejects.toThrow(
      'hadamard_f32: "signs[3]" expected 1 or -1, got 0',
    );
  });
});

test('zeros of the other sign are equal, and remarked', async () => {
  const made = cases['mx_dequantize_f32: microxcaling mxint8']!();
  const { ok, text } = await run(made);
  expect(text).toMatch(/out: \d+ zeros of the other sign, which are equal/);
  expect(ok).toBe(true);
});

describe('ties', () => {
  test('SnapKV: scores that max-pooling made equal', async () => {
    const { ok, text } = await run({
      kernel: 'topk_f32',
      input: { x: topk('snapkv_maxpool_k5_scores_f32') },
      expected: { indices: topk('snapkv_maxpool_k5_idx_i32') },
    });
    expect(text).toMatch(/indices: \d+ of equal values, in another order/);
    expect(ok).toBe(true);
  });

  const x = npy(Float32Array.of(5, 1, 5, 5, 2, 0), [1, 6]);
  const chosen = (kernel: string, ...indices: number[]) =>
    run({ kernel, input: { x }, expected: { indices: npy(Int32Array.from(indices), [1, indices.length]) } });

  test.each([
    [[2, 3], true],
    [[3, 0], true],
    [[3, 3], false],
    [[3, 4], false],
    [[0, 9], false],
  ])('topk_f32: %j of 5 1 5 5 2 0', async (indices, right) => {
    const { ok, text } = await chosen('topk_f32', ...indices);
    expect(ok, text).toBe(right);
    if (!right) expect(text).toContain('(at 1: ');
  });

  test.each([
    [[2, 3], true],
    [[3, 0], true],
    [[2, 2], false],
    [[0, 4], false],
  ])('outliers_extract_f32: %j of 5 1 5 5 2 0', async (indices, right) => {
    expect(await chosen('outliers_extract_f32', ...indices)).toMatchObject({ ok: right });
  });

  test('outliers_extract_f32: values and rest follow the choice', async () => {
    const extract = (rest: Float32Array) =>
      run({
        kernel: 'outliers_extract_f32',
        input: { x: npy(Float32Array.of(1, -4, 4, 2), [1, 4]) },
        expected: {
          values: npy(Float32Array.of(4), [1, 1]),
          indices: npy(BigInt64Array.of(2n), [1, 1]),
          rest: npy(rest, [1, 4]),
        },
      });
    const right = await extract(Float32Array.of(1, -4, 0, 2));
    expect(right.text).toContain('indices: 1 others of equal magnitude');
    expect(right.ok).toBe(true);
    const wrong = await extract(Float32Array.of(1, -4, 0, 3));
    expect(wrong.text).toContain('rest: error 1 values, allowed 0 (at 3: 2, expected 3)');
  });
});

describe('refused, with what is known', () => {
  const x = npy(new Float32Array(48), [4, 12]);
  const refused = (kernel: string, options: object, input: object = { x }, expected: object = { out: x }) =>
    expect(run({ kernel, input: input as Case['input'], expected: expected as Case['input'], options })).rejects;

  test('an unknown option', async () => {
    await refused('softmax_f32', { sclae: 1 }).toThrow(
      '--options: softmax_f32 has no "sclae" (options: rows, n, scale; arrays: x)',
    );
    const qkv = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, npy(new Float32Array(64), [1, 4, 16])]));
    const blocks = { blockQuery: 16, indptr: [0, 1], indices: [0] };
    await refused('attention_blocksparse_f32', { blocks }, qkv, { output: qkv.q }).toThrow(
      'blocks have no "blockQuery"',
    );
  });

  test('a table that is not known, or not there', async () => {
    await refused('codebook_quantize_f32', { table: 'nf5' }, { x }, { codes: x }).toThrow(
      '"table" expected nf4, fp4, af4, dynamic8,',
    );
    await refused('codebook_quantize_f32', { bits: 4 }, { x }, { codes: x }).toThrow('--input table=FILE is missing');
  });

  test('an order that no matrix is known of, and an array that an option needs', async () => {
    await refused('hadamard_mixed_f32', { order: 4, rows: 3, n: 16 }).toThrow(
      '"matrix" expected Uint32Array of length 4, got undefined',
    );
    await refused(
      'dequantize_f32',
      { bits: 4, groupSize: 0, scheme: 'affine', axis: 'row' },
      { codes: npy(new Uint32Array(8), [4, 2]), scales: npy(new Float32Array(4), [4, 1]) },
    ).toThrow('"minima" expected Float32Array of length 4, got undefined');
  });

  test('a length that options contradict, with the sizes that were read', async () => {
    const codes = npy(new Uint32Array(8), [4, 2]);
    await refused(
      'quantize_f32',
      { bits: 8, groupSize: 0, scheme: 'symmetric', axis: 'row' },
      { x },
      { codes },
    ).toThrow(
      /^"codes" expected 12 values for rows 4, n 12, .* got 8 \(shape \[4, 2\]\)\n\(read from shapes: rows 4, n 12\)$/,
    );
  });

  test('an array option that is a word', async () => {
    await refused('rotate_f32', { signs: 'random' }).toThrow('--options: "signs" expected array, got "random"');
    await refused('rotate_f32', { signs: ['a'] }).toThrow('--options: "signs[0]" expected number, got "a"');
  });
});
