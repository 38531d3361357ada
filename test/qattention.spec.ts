import type { Blocks } from '../ts/contract/attention.js';
import {
  type AttentionBlocksparseQuantizedOptions,
  type AttentionDecodeQuantizedOptions,
  attention_blocksparse_quantized_f32,
  attention_decode_quantized_f32,
  formatOf,
  groupSizeOf,
  STORED_SCHEMES,
} from '../ts/contract/qattention.js';
import type { Contract, Params } from '../ts/contract.js';
import { fromHalves, toHalves } from '../ts/half.js';
import { visibleKeys } from '../ts/reference/attention.js';
import { attentionBlocksparseQuantizedF64, attentionDecodeQuantizedF64, whole } from '../ts/reference/qattention.js';
import { withBlocks } from './attention.spec.js';
import { namedTables } from './codebook.spec.js';
import {
  type Analysis,
  accumulated,
  attentionTolerance,
  type Route,
  summed,
  tileOf,
  tilesOfSplit,
  together,
  UNIT,
} from './lib/attention.js';
import { type Random, random } from './lib/random.js';
import type { Arrays, Case, FamilySpec, KernelSpec } from './lib/spec.js';
import { exact } from './lib/tolerance.js';

type Options = AttentionDecodeQuantizedOptions | AttentionBlocksparseQuantizedOptions;

/** Any codes (those past the last of a line too), scales of about `scale`, minima that put values around 0. */
function inputsOf(contract: Contract<any>, o: Options, r: Random, scale = 0.3): Arrays {
  const p = contract.params(o);
  const lengths = contract.lengths(p);
  const side = (name: 'k' | 'v') => {
    const { bits, scaleType } = formatOf(p, name);
    const of = (part: string) => lengths[name + part]!;
    // The same range of values whatever the bits.
    const size = () => (scale * (0.5 + r.uniform())) / 2 ** (bits - 2);
    const scales = r.floats(of('Scales'), size);
    const minima = scales.map((s) => -s * 2 ** (bits - 1) + scale * r.normal());
    const as = (x: Float32Array) => (scaleType ? toHalves(x) : x);
    return {
      [`${name}Codes`]: r.words(of('Codes')),
      ...(of('Scales') ? { [`${name}Scales`]: as(scales) } : {}),
      ...(of('Minima') ? { [`${name}Minima`]: as(minima) } : {}),
      ...(of('Exponents')
        ? { [`${name}Exponents`]: Uint8Array.from({ length: of('Exponents') }, () => r.int(122, 126)) }
        : {}),
      ...(of('Table') ? { [`${name}Table`]: r.normals(16, 4) } : {}),
    };
  };
  const blocks = (o as AttentionBlocksparseQuantizedOptions).blocks;
  return {
    q: r.normals(lengths.q!),
    ...side('k'),
    ...side('v'),
    ...(lengths.kRecent ? { kRecent: r.normals(lengths.kRecent), vRecent: r.normals(lengths.vRecent!) } : {}),
    ...(blocks ? { indptr: blocks.indptr, indices: blocks.indices } : {}),
  };
}

function largest(values: ArrayLike<number>, from = 0, to = values.length): number {
  let most = 0;
  for (let i = from; i < to; i++) most = Math.max(most, Math.abs(values[i]!));
  return most;
}

function caseOf<O extends Options>(contract: Contract<O>) {
  return (title: string, o: O, change: (arrays: Arrays, r: Random) => void = () => {}, cpuOnly?: string): Case<O> => ({
    title,
    options: o,
    inputs(r) {
      const arrays = inputsOf(contract, o, r);
      change(arrays, r);
      return arrays;
    },
    ...(cpuOnly ? { cpuOnly } : {}),
  });
}
const decode = caseOf(attention_decode_quantized_f32);
const sparse = caseOf(attention_blocksparse_quantized_f32);

/** assembly/lib/qattention-products.ts: queries and weights are rounded to integers up to this, of their largest or this small. */
const LEVELS = 32639;
const TINY = 1e-30;
/** assembly/lib/qattention.ts: keys whose weights are rounded together, those with the same number by this. */
const CHUNK = 64;

/** One side as numbers, element by element `[kvHeads, keys + recentKeys, n]`; recent ones lie `scale` 0 around `middle` 0. */
interface Numbers {
  value: Float32Array;
  /** A value is its code, counted from the middle of codes, times `scale`, above `middle`. */
  scale: Float32Array;
  middle: Float32Array;
  /** What rounding value in f32 is worth, in UNIT: the reference and a GPU do, the CPU multiplies codes. */
  rounded: Float32Array;
  /** What the CPU takes for a value less the value: a codebook is rounded to 14 bits. */
  shift: Float32Array;
}

function numbersOf(arrays: Arrays, p: Params, name: 'k' | 'v', value: Float32Array): Numbers {
  const { kvHeads, keys, capacity, recentKeys } = p as Record<string, number>;
  const n = name === 'k' ? p.headDim! : p.valueDim!;
  const format = formatOf(p, name);
  const scheme = STORED_SCHEMES[format.scheme]!;
  const of = (part: string) => {
    const array = (arrays[name + part] ?? []) as ArrayLike<number>;
    return format.scaleType && part !== 'Table' ? fromHalves(array) : array;
  };
  const minima = of('Minima');
  const scales = scheme === 'mxfp4' ? Array.from(of('Exponents'), (e) => 2 ** (e - 127)) : of('Scales');
  const step = Math.fround(largest(of('Table')) / 8191);
  const size = groupSizeOf(format, format.axis ? capacity! : n);
  const groups = Math.ceil((format.axis ? capacity! : n) / size);
  const all = keys! + recentKeys!;
  const empty = () => new Float32Array(value.length);
  const out = { value, scale: empty(), middle: empty(), rounded: empty(), shift: empty() };
  for (let head = 0; head < kvHeads!; head++)
    for (let key = 0; key < keys!; key++)
      for (let d = 0, at = (head * all + key) * n; d < n; d++, at++) {
        const group = format.axis
          ? (head * groups + Math.floor(key / size)) * n + d
          : (head * capacity! + key) * groups + Math.floor(d / size);
        const scale = scales[group]!;
        out.scale[at] = scale;
        if (scheme !== 'mxfp4') out.rounded[at] = Math.abs(value[at]!);
        if (scheme === 'affine') {
          out.middle[at] = minima[group]! + 2 ** (format.bits - 1) * scale;
          out.rounded[at]! += Math.abs(value[at]! - minima[group]!);
        }
        if (scheme === 'codebook' && scale)
          out.shift[at] = scale * Math.round(value[at]! / scale / step) * step - value[at]!;
      }
  return out;
}

function routeOf(p: Params): Route {
  if (p.to === undefined) return { chunk: CHUNK, rescalings: (keys) => Math.ceil(keys / tileOf(p)), merged: true };
  const parts = [tilesOfSplit(p.to - p.from!, p, 224), tilesOfSplit(p.recentKeys!, p, 32)];
  return { chunk: CHUNK, rescalings: () => Math.max(...parts), merged: true };
}

/**
 * q·k as Σ q·middle, in f32, and Σ of integers: q (times scale, where that is per channel) in units of its largest / LEVELS. Half a
 * unit of each, times what is multiplied with it. GPUs multiply values.
 */
function productsOf(arrays: Arrays, p: Params, k: Numbers, kind: 'cpu' | 'gpu'): Analysis['product'] {
  const q = arrays.q as Float32Array;
  const [n, all] = [p.headDim!, p.keys! + p.recentKeys!];
  return (row, key) => {
    const stored = key % all < p.keys!;
    let [middles, middleSquares, rest, restSquares, values, codes, codeSquares, shift] = [0, 0, 0, 0, 0, 0, 0, 0];
    let most = TINY;
    for (let d = 0, a = row * n, b = key * n; d < n; d++) {
      const query = q[a + d]!;
      const scale = k.scale[b + d]!;
      const above = k.value[b + d]! - k.middle[b + d]!;
      const m = query * k.middle[b + d]!;
      const r = query * above;
      middles += m;
      middleSquares += m * m;
      rest += r;
      restSquares += r * r;
      values += Math.abs(query) * k.rounded[b + d]!;
      shift += query * k.shift[b + d]!;
      // What is rounded, and what that is multiplied with.
      most = Math.max(most, Math.abs(p.kAxis ? query * scale : query));
      const code = !stored ? 0 : !p.kAxis ? above : scale ? above / scale : 0;
      codes += Math.abs(code);
      codeSquares += code * code;
    }
    const dot = middles + rest;
    // Of products as in attention.spec.ts, and a few more where sums over codes take in scales.
    const sums = (kind === 'cpu' ? 8 : 2) + n;
    const error = UNIT * (summed(sums, middles, middleSquares) + summed(sums, rest, restSquares) + values);
    return {
      dot,
      error: kind === 'gpu' ? error : error + (most / LEVELS / 2) * together(codes, codeSquares) + Math.abs(shift),
    };
  };
}

/**
 * p·v alike: weights (times scale, where that is per token, over its largest) in units of their largest / LEVELS, a chunk at a time.
 * Their roundings are taken for independent: the same key a thousand times over is not.
 */
function valuesOf(p: Params, v: Numbers, kind: 'cpu' | 'gpu'): Analysis['values'] {
  const n = p.valueDim!;
  const highest = (base: number, chunk: number) => {
    const most = new Float64Array(n).fill(TINY);
    for (let key = chunk * CHUNK; key < Math.min((chunk + 1) * CHUNK, p.keys!); key++)
      for (let c = 0; c < n; c++) most[c] = Math.max(most[c]!, Math.abs(v.scale[(base + key) * n + c]!));
    return most;
  };
  const known = new Map<string, Float64Array>();
  return (bounds, { base, keys, weights }) => {
    const sums = () => new Float64Array(n);
    const [middles, middleSquares, rest, restSquares] = [sums(), sums(), sums(), sums()];
    const [values, codes, codeSquares, shift] = [sums(), sums(), sums(), sums()];
    const ends = keys.flatMap((key, i) =>
      Math.floor(key / CHUNK) === Math.floor((keys[i + 1] ?? -1) / CHUNK) ? [] : [i + 1],
    );
    for (let from = 0; ends.length; ) {
      const end = ends.shift()!;
      const chunk = Math.floor(keys[from]! / CHUNK);
      const most = known.get(`${base},${chunk}`) ?? highest(base, chunk);
      known.set(`${base},${chunk}`, most);
      const unit = largest(weights, from, end) / LEVELS;
      for (; from < end; from++) {
        const weight = weights[from]!;
        const stored = keys[from]! < p.keys!;
        for (let c = 0, at = (base + keys[from]!) * n; c < n; c++, at++) {
          const scale = v.scale[at]!;
          const above = v.value[at]! - v.middle[at]!;
          const m = weight * v.middle[at]!;
          const r = weight * above;
          middles[c]! += m;
          middleSquares[c]! += m * m;
          rest[c]! += r;
          restSquares[c]! += r * r;
          values[c]! += weight * v.rounded[at]!;
          shift[c]! += weight * v.shift[at]!;
          const code = !stored ? 0 : p.vAxis ? above : scale ? (above / scale) * most[c]! : 0;
          let off = (unit / 2) * Math.abs(code);
          // Weights below half a unit become 0, all of a chunk together.
          if (stored && Math.abs(r) < off) {
            off = Math.abs(r);
            shift[c]! -= r;
          }
          codes[c]! += off;
          codeSquares[c]! += off * off;
        }
      }
    }
    // On the CPU in f32 only from chunk to chunk (recent keys apart), and Σ weight·middle of a chunk in four sums.
    const count = kind === 'gpu' ? keys.length + 1 : keys.length / 16 + p.recentKeys! + 24;
    for (let c = 0; c < n; c++) {
      const f32 =
        accumulated(count, middles[c]!, middleSquares[c]!) + accumulated(count, rest[c]!, restSquares[c]!) + values[c]!;
      bounds[c]! += UNIT * f32;
      if (kind === 'cpu') bounds[c]! += together(codes[c]!, codeSquares[c]!) + Math.abs(shift[c]!);
    }
  };
}

function analysisOf(arrays: Arrays, p: Params, kind: 'cpu' | 'gpu'): Analysis {
  const { k, v } = whole(arrays, p);
  const all = p.keys! + p.recentKeys!;
  const decoding = p.to !== undefined && [
    ...Array.from({ length: p.to - p.from! }, (_, i) => p.from! + i),
    ...Array.from({ length: p.recentKeys! }, (_, i) => p.keys! + i),
  ];
  return {
    v,
    keys: all,
    keysOf: (head, query) => decoding || visibleKeys(p, arrays as { indptr?: Uint32Array }, head, query),
    product: productsOf(arrays, p, numbersOf(arrays, p, 'k', k), kind),
    values: valuesOf(p, numbersOf(arrays, p, 'v', v), kind),
  };
}

const tolerance = {
  ...attentionTolerance(analysisOf, routeOf, {
    output: 'as of attention_decode_f32, with q and weights rounded to 16 bits of their largest (CPU)',
    lse: 'as of attention_decode_f32, with q rounded to 16 bits of its largest (CPU)',
  }),
  status: exact,
};

/** Formats: KIVI's (K per channel, V per token), then the others of K and V in turn. */
const kivi = { kScheme: 'affine', kAxis: 'column', kGroupSize: 32, vScheme: 'affine', vGroupSize: 32 } as const;
const FORMATS: { title: string; format: Omit<Options, 'heads' | 'kvHeads' | 'queries' | 'keys' | 'headDim'> }[] = [];
for (const bits of [2, 3, 4, 8]) {
  FORMATS.push({ title: `KIVI ${bits} bit`, format: { ...kivi, kBits: bits, vBits: bits } });
  FORMATS.push({
    title: `${bits} bit symmetric, per token`,
    format: { kScheme: 'symmetric', kBits: bits, kGroupSize: 16, vScheme: 'symmetric', vBits: bits, vGroupSize: 0 },
  });
  FORMATS.push({
    title: `${bits} bit, K per token and V per channel`,
    format: {
      kScheme: 'affine',
      kBits: bits,
      kGroupSize: 64,
      vScheme: 'affine',
      vBits: bits,
      vAxis: 'column',
      vGroupSize: 48,
    },
  });
}
FORMATS.push(
  { title: 'mxfp4', format: { kScheme: 'mxfp4', vScheme: 'mxfp4' } },
  { title: 'codebooks', format: { kScheme: 'codebook', vScheme: 'codebook', kGroupSize: 64, vGroupSize: 0 } },
  { title: 'mxfp4 K, codebook V', format: { kScheme: 'mxfp4', vScheme: 'codebook' } },
  {
    title: 'K symmetric over whole columns, V 2 bit',
    format: { kScheme: 'symmetric', kAxis: 'column', kGroupSize: 0, vScheme: 'affine', vBits: 2, vGroupSize: 256 },
  },
  {
    title: 'K 8 bit per channel, V 3 bit symmetric per channel',
    format: {
      kScheme: 'affine',
      kBits: 8,
      kAxis: 'column',
      kGroupSize: 16,
      vScheme: 'symmetric',
      vBits: 3,
      vAxis: 'column',
    },
  },
);
/** Scales and minima as halves: of K, V or both, on either axis, groups a number of them that fills no word. */
const half = { kScaleType: 'f16', vScaleType: 'f16' } as const;
FORMATS.push(
  { title: 'KIVI 4 bit, f16 scales', format: { ...kivi, ...half } },
  {
    title: '8 bit symmetric per token, f16 scales',
    format: { kScheme: 'symmetric', kBits: 8, kGroupSize: 0, vScheme: 'symmetric', vBits: 8, vGroupSize: 16, ...half },
  },
  {
    title: '3 bit, K per token and V per channel, f16 scales',
    format: { kScheme: 'affine', kBits: 3, kGroupSize: 16, vScheme: 'affine', vBits: 3, vAxis: 'column', ...half },
  },
  {
    title: 'codebook K with f16 scales, 2-bit V with f32 scales',
    format: { kScheme: 'codebook', kGroupSize: 0, kScaleType: 'f16', vScheme: 'affine', vBits: 2 },
  },
  {
    title: '2-bit K with f32 scales, codebook V with f16 scales',
    format: { ...kivi, kBits: 2, vScheme: 'codebook', vScaleType: 'f16' },
  },
);

const storedAxes = (side: 'k' | 'v') => ({
  [`${side}Scheme`]: 'affine, symmetric, mxfp4 or codebook',
  [`${side}Bits`]: '2, 3, 4 (default) or 8',
  [`${side}Axis`]: 'row (per token, default) or column (per channel)',
  [`${side}GroupSize`]: 'multiple of 16 from 16 to 256 (default 32), or 0 for the whole axis',
  [`${side}ScaleType`]: 'what scales and minima are stored in, f32 (default; mxfp4 has no other) or f16',
});
const HEAD_AXES = {
  heads: 'query heads, a multiple of kvHeads',
  kvHeads: 'key and value heads, 1 or more; query head h reads kv head floor(h / (heads / kvHeads))',
  keys: 'stored keys per kv head, 0 to capacity',
  capacity: 'keys there is room for: kv heads lie this far apart; default keys',
  recentKeys: 'rows of kRecent and vRecent in use: the newest keys, after the stored ones; default 0',
  recentCapacity: 'rows of kRecent and vRecent per kv head; default recentKeys',
  headDim: 'multiple of 8 from 16 to 256',
  valueDim: 'multiple of 8 from 16 to 256; default headDim',
  ...storedAxes('k'),
  ...storedAxes('v'),
  scale: 'multiplies q·k; default 1 / sqrt(headDim)',
  softcap: 'scores become softcap · tanh(score / softcap); 0 (default): no cap',
};
const STORED_ARRAYS = Object.fromEntries(
  (['k', 'v'] as const).flatMap((side) => {
    const n = side === 'k' ? 'headDim' : 'valueDim';
    return [
      [
        `${side}Codes`,
        {
          shape: `[kvHeads, capacity, words of ${n}] or [kvHeads, words of capacity, ${n}]`,
          meaning: 'codes as quantize_f32 lays them out, for each kv head',
        },
      ],
      [
        `${side}Scales`,
        { shape: `[kvHeads, capacity, groups] or [kvHeads, groups, ${n}]`, meaning: 'a scale for each group' },
      ],
      [`${side}Minima`, { shape: `as ${side}Scales`, meaning: 'affine only' }],
      [`${side}Exponents`, { shape: `[kvHeads, capacity, ceil(${n} / 32)]`, meaning: 'E8M0 bytes, mxfp4 only' }],
      [`${side}Table`, { shape: '[16]', meaning: 'values of the codes, codebook only' }],
      [`${side}Recent`, { shape: `[kvHeads, recentCapacity, ${n}]`, meaning: 'newest rows in full precision' }],
    ];
  }),
);

const cpuNaN = 'WGSL may assume finite numbers';
/** Software adapters take a second or two to compile each. */
const cpuPipeline = 'a pipeline of its own, and another case runs its format or its dimension';
const small = { heads: 4, kvHeads: 2, headDim: 32, ...kivi };
/** Around pairs of keys, words, groups and chunks. */
const KEYS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130];

/** All keys are in use where nothing else is said; tables may be named. */
const withCache: NonNullable<KernelSpec['user']> = {
  call(inputs, { kTable, vTable, ...given }) {
    const { capacity: keys, recentCapacity: recentKeys } = given;
    const options = { ...(keys !== undefined && { keys }), ...(recentKeys !== undefined && { recentKeys }), ...given };
    return { inputs: { ...namedTables({ kTable, vTable }), ...inputs }, options };
  },
};

const decodeSpec: KernelSpec<AttentionDecodeQuantizedOptions> = {
  contract: attention_decode_quantized_f32,
  summary:
    'attention_decode_f32 on a quantised cache: reads codes of 2, 3, 4 or 8 bits, MXFP4 or a codebook, and recent keys in full precision',
  source: 'Liu et al., KIVI (2024): K per channel, V per token, a recent window in full precision',
  axes: { ...HEAD_AXES, from: 'first stored key attended to; default 0', to: 'one past the last; default keys' },
  arrays: {
    q: { shape: '[heads, headDim]', meaning: 'one query per head' },
    ...STORED_ARRAYS,
    output: { shape: '[heads, valueDim]', meaning: 'softmax(scores)·v; 0 when there is no key' },
    lse: { shape: '[heads]', meaning: 'natural log-sum-exp of the scores; -inf when there is no key' },
    scratch: { shape: '[quantizedAttentionScratchBytes / 4]', meaning: 'CPU only' },
  },
  user: withCache,
  reference: (arrays, o) => ({ ...attentionDecodeQuantizedF64(arrays, o) }),
  cases: [
    ...FORMATS.flatMap(({ title, format }) => [
      decode(title, { heads: 4, kvHeads: 2, keys: 100, headDim: 64, ...format }, undefined, cpuPipeline),
      decode(`${title}, part of a larger cache, odd sizes`, {
        heads: 6,
        kvHeads: 2,
        keys: 131,
        capacity: 200,
        headDim: 40,
        valueDim: 24,
        from: 19,
        to: 117,
        recentKeys: 5,
        recentCapacity: 9,
        ...format,
      }),
    ]),
    ...KEYS.map((keys) => decode(`${keys} keys`, { ...small, keys })),
    ...[1, 2, 3, 4, 5, 7, 8, 9, 71].map((group) =>
      decode(`groups of ${group} heads`, { ...small, heads: 2 * group, keys: 67 }),
    ),
    ...[16, 24, 48, 64, 80, 96, 128, 256].flatMap((dim, i) =>
      [2, 3, 4, 8].map((bits, j) =>
        decode(
          `headDim ${dim}, ${bits} bit`,
          { ...small, headDim: dim, keys: 35, kBits: bits, vBits: bits, vGroupSize: 16 },
          undefined,
          j === i % 4 ? undefined : cpuPipeline,
        ),
      ),
    ),
    ...[16, 24, 80, 136].map((headDim) =>
      decode(`headDim ${headDim}, K per token, V per channel`, {
        ...small,
        headDim,
        keys: 35,
        kAxis: 'row',
        vAxis: 'column',
        kBits: headDim === 24 ? 3 : 4,
      }),
    ),
    ...[1, 63, 64, 65, 100, 129].map((from) =>
      decode(`from ${from}`, { ...small, keys: 131, from, to: Math.min(131, from + 66) }),
    ),
    decode('an empty range', { ...small, keys: 30, from: 7, to: 7 }),
    decode('no keys', { ...small, keys: 0 }),
    decode('no keys yet in a cache for 100', { ...small, keys: 0, capacity: 100 }),
    decode('recent keys only', { ...small, keys: 0, capacity: 64, recentKeys: 17, recentCapacity: 32 }),
    decode('stored and recent keys', { ...small, keys: 64, capacity: 96, recentKeys: 31, recentCapacity: 32 }),
    decode('many keys', { heads: 4, kvHeads: 1, headDim: 64, ...kivi, keys: 1029 }),
    decode('soft cap 20', { ...small, keys: 130, softcap: 20, scale: 1 }),
    decode('negative scale', { ...small, keys: 30, scale: -0.5 }),
    decode('large scores', { ...small, keys: 130, scale: 20 }),
    ...[24, 256].map((dim) =>
      decode(`headDim ${dim}, f16 scales over whole rows and columns`, {
        ...{ ...small, ...half, headDim: dim, keys: 101 },
        ...{ kAxis: 'row', kGroupSize: 0, vAxis: 'column', vGroupSize: 0 },
      }),
    ),
    decode('subnormal halves as scales', { ...small, ...half, keys: 70 }, (arrays) => {
      arrays.kScales!.fill(3);
      arrays.vScales!.fill(1023);
    }),
    decode('huge scores', { ...small, keys: 70 }, ({ q }) => void q!.set(q!.map((x) => x * 1e9))),
    decode('scores that keep rising', { ...small, keys: 700, kAxis: 'row' }, (arrays) => {
      arrays.q!.fill(1);
      arrays.kMinima!.set(arrays.kMinima!.map((_, i) => i / 100));
    }),
    decode('a key far above the others', { ...small, keys: 200, kAxis: 'row' }, (arrays) => {
      arrays.q!.fill(1);
      arrays.kMinima![150] = 40;
    }),
    decode('zero query', { ...small, keys: 70 }, ({ q }) => void q!.fill(0)),
    decode('denormal query', { ...small, keys: 70 }, ({ q }) => void q!.fill(1e-42)),
    decode('scales of 0: constant groups', { ...small, keys: 70 }, (arrays) => {
      arrays.kScales!.fill(0, 0, 40);
      arrays.vScales!.fill(0, 0, 40);
    }),
    decode('all scales 0', { ...small, keys: 70, kAxis: 'row' }, (arrays) => {
      arrays.kScales!.fill(0);
      arrays.vScales!.fill(0);
    }),
    decode('denormal scales', { ...small, keys: 70 }, (arrays) => {
      arrays.kScales!.fill(1e-42);
      arrays.vScales!.fill(1e-42);
    }),
    decode('negative scales', { ...small, keys: 70 }, (arrays) => {
      arrays.kScales!.set(arrays.kScales!.map((s, i) => (i % 3 ? s : -s)));
      arrays.vScales!.set(arrays.vScales!.map((s, i) => (i % 3 ? s : -s)));
    }),
    ...(['affine', 'symmetric'] as const).flatMap((scheme) =>
      (['row', 'column'] as const).flatMap((axis) => [
        decode(
          `NaN scale of one K group, ${scheme} ${axis}`,
          { ...small, keys: 70, kScheme: scheme, kAxis: axis },
          ({ kScales }) => void (kScales![13] = Number.NaN),
          cpuNaN,
        ),
        decode(
          `NaN scale of one V group, ${scheme} ${axis}`,
          { ...small, keys: 70, vScheme: scheme, vAxis: axis },
          ({ vScales }) => void (vScales![13] = Number.NaN),
          cpuNaN,
        ),
      ]),
    ),
    decode(
      'NaN in f16 scales and minima',
      { ...small, ...half, keys: 70 },
      (arrays) => {
        arrays.kMinima![13] = 0x7e00;
        arrays.vScales![13] = 0xfe00;
      },
      cpuNaN,
    ),
    decode(
      'NaN exponents',
      { ...small, keys: 70, headDim: 64, kScheme: 'mxfp4', kAxis: 'row', vScheme: 'mxfp4' },
      ({ vExponents }) => void (vExponents![13] = 255),
      cpuNaN,
    ),
    decode(
      'NaN and infinity in queries',
      { ...small, keys: 70 },
      ({ q }) => {
        q![3] = Number.NaN;
        q![40] = Infinity;
      },
      cpuNaN,
    ),
    decode(
      'NaN in a recent key',
      { ...small, keys: 70, recentKeys: 3 },
      ({ kRecent }) => void (kRecent![5] = Number.NaN),
      cpuNaN,
    ),
  ],
  tolerance: { output: tolerance.output, lse: tolerance.lse },
  cost: (p) => costOf(p, p.to! - p.from!, p.heads! * (p.to! - p.from! + p.recentKeys!)),
};

/** Bytes of one stored key and value, scales and minima included. */
function keyBytes(p: Params): number {
  const side = (name: 'k' | 'v', n: number) => {
    const { scheme, bits, axis, groupSize, scaleType } = formatOf(p, name);
    const size = groupSize || (axis ? p.capacity! : n);
    const scale = STORED_SCHEMES[scheme] === 'mxfp4' ? 1 : scaleType ? 2 : 4;
    const scales = STORED_SCHEMES[scheme] === 'affine' ? 2 * scale : scale;
    return n * (bits / 8 + scales / Math.min(size, axis ? p.capacity! : n));
  };
  return side('k', p.headDim!) + side('v', p.valueDim!);
}

function costOf(p: Params, keys: number, pairs: number) {
  const { heads, kvHeads, queries = 1, recentKeys, headDim, valueDim } = p as Record<string, number>;
  return {
    bytesRead: Math.ceil(
      4 * heads! * queries * headDim! + kvHeads! * (keys * keyBytes(p) + 4 * recentKeys! * (headDim! + valueDim!)),
    ),
    bytesWritten: 4 * heads! * queries * (valueDim! + 1),
    operations: 2 * pairs * (headDim! + valueDim!),
  };
}

/** Every block row lists the key blocks that `listed` takes, last first. */
function blocksOf(
  o: { heads: number; queries: number; keys: number },
  blockQueries: number,
  blockKeys: number,
  listed: (block: number, row: number, head: number, r: Random) => boolean,
  perHead = false,
): Blocks {
  const r = random(blockQueries + blockKeys);
  const indptr: number[] = [];
  const indices: number[] = [];
  for (let head = 0; head < (perHead ? o.heads : 1); head++) {
    indptr.push(indices.length);
    for (let row = 0; row * blockQueries < o.queries; row++) {
      for (let block = Math.ceil(o.keys / blockKeys) - 1; block >= 0; block--)
        if (listed(block, row, head, r)) indices.push(block);
      indptr.push(indices.length);
    }
  }
  return { indptr: Uint32Array.from(indptr), indices: Uint32Array.from(indices), blockQueries, blockKeys, perHead };
}

const quest = { heads: 8, kvHeads: 2, queries: 1, keys: 300, headDim: 64 };
const banded = { ...small, queries: 80, keys: 80 };

const sparseSpec: KernelSpec<AttentionBlocksparseQuantizedOptions> = {
  contract: attention_blocksparse_quantized_f32,
  summary:
    'attention_blocksparse_f32 on a quantised cache: block lists over stored keys, recent keys in full precision',
  source:
    'Tang et al., Quest (2024), and Gao et al., SeerAttention (2024): decoding over chosen blocks; KIVI for the cache',
  axes: {
    ...HEAD_AXES,
    queries: 'queries per head, 0 to 2^30; query i stands at position i + keys + recentKeys - queries',
    causal: 'a query sees no key after its position',
    window: 'a query sees its position and the window - 1 keys before it; 0 (default): no window',
    blocks:
      'the block mask over stored keys: indptr, indices, blockQueries and blockKeys (multiples of 16 from 16 to 128), perHead; default dense',
  },
  arrays: {
    q: { shape: '[heads, queries, headDim]', meaning: 'queries' },
    ...STORED_ARRAYS,
    indptr: {
      shape: '[queryBlocks + 1] or [heads, queryBlocks + 1]',
      meaning: 'where each block row begins and ends in indices',
    },
    indices: { shape: '[indicesLength]', meaning: 'key blocks of each block row, in any order' },
    output: { shape: '[heads, queries, valueDim]', meaning: 'softmax(scores)·v; 0 where no key is visible' },
    lse: { shape: '[heads, queries]', meaning: 'natural log-sum-exp of the scores; -inf where no key is visible' },
    scratch: { shape: '[quantizedAttentionScratchBytes / 4]', meaning: 'CPU only' },
    status: { shape: '[1]', meaning: '0, or 1 + the position in indices of a block out of range' },
  },
  user: {
    call(inputs, options) {
      const cache = withCache.call(inputs, options);
      return withBlocks.call(cache.inputs, cache.options);
    },
  },
  reference: (arrays, o) => ({ ...attentionBlocksparseQuantizedF64(arrays, o), status: Uint32Array.of(0) }),
  cases: [
    ...FORMATS.map(({ title, format }, i) => {
      const o = { ...quest, ...format, keys: 290 + i, capacity: 320, recentKeys: i, recentCapacity: 32 };
      return sparse(
        `one query, ${title}`,
        { ...o, blocks: blocksOf(o, 16, 16 * (1 + (i % 8)), (_b, _r, _h, r) => r.uniform() < 0.5) },
        undefined,
        i % 2 ? cpuPipeline : undefined,
      );
    }),
    sparse('one query, lists per head', {
      ...quest,
      ...kivi,
      blocks: blocksOf(quest, 16, 32, (_b, _r, _h, r) => r.uniform() < 0.4, true),
    }),
    sparse('dense', banded),
    sparse('f16 scales', { ...banded, ...half, recentKeys: 3, causal: true }),
    sparse('f16 scales, K per token, V per channel', { ...banded, ...half, keys: 81, kAxis: 'row', vAxis: 'column' }),
    sparse('dense, causal', { ...banded, causal: true }),
    sparse('causal, more keys than queries, recent ones too', {
      ...small,
      queries: 7,
      keys: 90,
      recentKeys: 4,
      causal: true,
    }),
    sparse('causal, more queries than recent keys', { ...small, queries: 20, keys: 50, recentKeys: 6, causal: true }),
    sparse('causal, more queries than keys: the first see nothing', { ...small, queries: 40, keys: 7, causal: true }),
    sparse('window of 1', { ...banded, window: 1 }),
    sparse('window of 20', { ...banded, window: 20, recentKeys: 9 }),
    sparse('window within the recent keys', { ...banded, queries: 2, window: 5, recentKeys: 9 }),
    sparse('window past the beginning', { ...banded, window: 2 ** 30 }),
    sparse('no queries', { ...small, queries: 0, keys: 5 }),
    sparse('no keys', { ...small, queries: 5, keys: 0 }),
    sparse(
      'groups of 3, causal, blocks of 32',
      (() => {
        const o = { ...small, heads: 6, queries: 70, keys: 90, recentKeys: 3, causal: true };
        return { ...o, blocks: blocksOf(o, 32, 32, (_b, _r, _h, r) => r.uniform() < 0.6) };
      })(),
    ),
    sparse(
      'lists per head, window',
      (() => {
        const o = { ...small, queries: 50, keys: 170, window: 100, kAxis: 'row' as const };
        return { ...o, blocks: blocksOf(o, 48, 80, (_b, _r, _h, r) => r.uniform() < 0.6, true) };
      })(),
    ),
    sparse('no blocks at all', { ...banded, blocks: blocksOf(banded, 16, 16, () => false) }),
    sparse('no blocks at all, recent keys', {
      ...banded,
      recentKeys: 3,
      blocks: blocksOf(banded, 16, 16, () => false),
    }),
    sparse('a block listed twice counts twice', {
      ...small,
      queries: 3,
      keys: 20,
      blocks: { indptr: Uint32Array.of(0, 3), indices: Uint32Array.of(1, 0, 1), blockQueries: 16, blockKeys: 16 },
    }),
    sparse('soft cap 5, 3 bit', { ...banded, softcap: 5, scale: 1, kBits: 3, vBits: 3 }),
    sparse(
      'NaN in one query',
      { ...small, queries: 9, keys: 70 },
      ({ q }) => void (q![3 * 32 + 5] = Number.NaN),
      cpuNaN,
    ),
  ],
  tolerance,
  cost(p) {
    const { heads, queries, keys, recentKeys, indicesLength, blockQueries, blockKeys, perHead } = p as Record<
      string,
      number
    >;
    const dense = blockQueries === 0;
    const listed = (perHead ? 1 : heads!) * indicesLength! * Math.min(blockQueries!, queries!) * blockKeys!;
    const pairs = dense ? heads! * queries! * keys! : listed;
    const read = dense ? keys! : Math.min(keys!, indicesLength! * blockKeys!);
    return costOf(p, read, pairs + heads! * queries! * recentKeys!);
  },
};

export default {
  attention_decode_quantized_f32: decodeSpec,
  attention_blocksparse_quantized_f32: sparseSpec,
} satisfies FamilySpec;
