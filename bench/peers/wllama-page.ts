/**
 * In the browser: llama.cpp's matrix-vector product beside ours. Driven by wllama.ts.
 *
 * wllama has no call for one product, so it decodes with models that differ in the width of a layer's feed-forward part alone:
 * what a token takes longer is the products added (and silu of their outputs, and rounding of their inputs: below one in a hundred).
 */
import { random } from '../../test/lib/random.js';
import type { Activations, GemmFormat } from '../../ts/contract/gemm.js';
import { gemmScratchBytes, instantiate } from '../../ts/cpu/gemm.js';
import { bestLevel, type CpuLevel } from '../../ts/cpu/runtime.js';
import { gemm } from '../../ts/reference/gemm.js';
import { load } from './contender.js';
import { type GgufTensor, gguf } from './gguf.js';
import { fault, gemv, gemvInputs, works } from './works.js';

const SIZE = 4096;
const BLOCK = 32;
/** ggml's Q4_0: 32 codes of 4 bits after a scale of 16. */
const BLOCK_BYTES = 18;
/** Feed-forward layers of that many times SIZE. The three matrices in one grow with it, and nothing else does. */
const WIDTHS = [1, 3, 5];
/** Products of SIZE x SIZE that the widest model has more than the narrowest. */
const ADDED = 3 * (WIDTHS.at(-1)! - WIDTHS[0]!);
/** Matrices taken in turn when cold, far more than a cache holds: as llama.cpp finds its own. */
const COLD = 8;
/** Tokens of a turn. */
const TOKENS = 6;

/** The three tokens that every vocabulary has, a space, and ASCII as bytes. */
const VOCABULARY = [
  '<unk>',
  '<s>',
  '</s>',
  '\u2581',
  ...Array.from({ length: 128 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
];

/** A llama of one layer. What the codes are does not change the work: all matrices repeat one stretch of random blocks. */
function model(width: number): Blob {
  const stretch = random(1).bytes((SIZE / BLOCK) * BLOCK_BYTES) as Uint8Array<ArrayBuffer>;
  // 0.0034 as f16: weights of about 1 / 64, so that a token leaves a layer as large as it came.
  for (let at = 0; at < stretch.length; at += BLOCK_BYTES) stretch.set([0xf7, 0x1a], at);
  const matrix = (name: string, inputs: number, outputs: number): GgufTensor => ({
    name: `${name}.weight`,
    type: 'q4_0',
    dims: [inputs, outputs],
    data: new Array((inputs * outputs) / SIZE).fill(stretch),
  });
  const ones = new Uint8Array(new Float32Array(SIZE).fill(1).buffer);
  const norm = (name: string): GgufTensor => ({ name: `${name}.weight`, type: 'f32', dims: [SIZE], data: [ones] });
  const inner = width * SIZE;
  return gguf(
    {
      'general.architecture': 'llama',
      'llama.context_length': 256,
      'llama.embedding_length': SIZE,
      'llama.block_count': 1,
      'llama.feed_forward_length': inner,
      'llama.attention.head_count': 32,
      'llama.attention.head_count_kv': 32,
      'llama.attention.layer_norm_rms_epsilon': 1e-5,
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.tokens': VOCABULARY,
      'tokenizer.ggml.scores': new Float32Array(VOCABULARY.length),
      // Unknown, control, control, normal, bytes.
      'tokenizer.ggml.token_type': Int32Array.from(VOCABULARY, (_, i) => [2, 3, 3, 1][i] ?? 6),
      'tokenizer.ggml.bos_token_id': 1,
      'tokenizer.ggml.eos_token_id': 2,
    },
    [
      matrix('token_embd', SIZE, VOCABULARY.length),
      norm('output_norm'),
      norm('blk.0.attn_norm'),
      ...['q', 'k', 'v', 'output'].map((name) => matrix(`blk.0.attn_${name}`, SIZE, SIZE)),
      norm('blk.0.ffn_norm'),
      matrix('blk.0.ffn_gate', SIZE, inner),
      matrix('blk.0.ffn_up', SIZE, inner),
      matrix('blk.0.ffn_down', inner, SIZE),
    ],
  );
}

/** wllama's build for browsers without 64-bit memories and JSPI is the faster one: both are shown. */
const BUILDS = { wllama: 'its default, 64-bit memory', 'wllama-compat': '32-bit memory' } as const;
type Build = keyof typeof BUILDS;

async function llama(build: Build, width: number): Promise<() => Promise<number[]>> {
  const at = (path: string) => new URL(path, location.href).href;
  const { Wllama } = await load(at('wllama/esm/index.js'));
  const errors: string[] = [];
  const quiet = () => {};
  const error = (...said: unknown[]) => errors.push(said.join(' '));
  const wllama = new Wllama(
    { default: at('wllama/esm/wasm/wllama.wasm') },
    { logger: { debug: quiet, log: quiet, warn: quiet, error } },
  );
  wllama.setCompat({ worker: at('wllama-compat/wasm/wllama.js'), wasm: at('wllama-compat/wasm/wllama.wasm') });
  const jspi = WebAssembly as { Suspending?: unknown };
  const { Suspending } = jspi;
  if (build === 'wllama-compat') delete jspi.Suspending;
  const sequence = { prompt: 'a', max_tokens: TOKENS, ignore_eos: true, temperature: 0 };
  try {
    await wllama.loadModel([model(width)], { n_threads: 1, n_gpu_layers: 0, n_ctx: 256, n_parallel: 1 });
    const { choices } = await wllama.createCompletion({ ...sequence, logprobs: 1 });
    const likely: unknown[] = choices[0].logprobs.content.map((token: any) => token.logprob);
    if (likely.length !== TOKENS || !likely.every((x) => Number.isFinite(x) && (x as number) < 0))
      throw new Error(`${TOKENS} logarithms of likelihoods expected, got ${JSON.stringify(likely)}`);
  } catch (reason) {
    throw new Error(`${build}: ${(reason as Error).message} ${errors.slice(-3).join(' ')}`);
  } finally {
    jspi.Suspending = Suspending;
  }
  /** One sequence: milliseconds from token to token. */
  return async () => {
    const stamps: number[] = [];
    const onData = () => stamps.push(performance.now());
    await wllama.createCompletion({ ...sequence, stream: true, onData });
    // The end is told at once after the last token.
    return stamps.slice(1, -1).map((stamp, i) => stamp - stamps[i]!);
  };
}

interface Ours {
  activations: Activations;
  format: GemmFormat;
  /** Bytes of packed weights. */
  bytes: number;
  hot: number[];
  cold: number[];
}

/** One turn: what brings the weights back into the caches where they fit, then as many calls as fit into `ms`. */
function sample(run: (i: number) => void, ms: number): number[] {
  const times: number[] = [];
  run(0);
  const until = performance.now() + ms;
  for (let i = 0; performance.now() < until; ) {
    const began = performance.now();
    for (const end = i + COLD; i < end; i++) run(i);
    times.push((performance.now() - began) / COLD);
  }
  return times;
}

function ours(format: GemmFormat) {
  const options = { ...format, m: 1 };
  const inputs = gemvInputs(options) as Record<'x' | 'packed', any>;
  const bytes = inputs.packed.byteLength;
  const scratchBytes = gemmScratchBytes({ ...options, activations: 'f32' });
  const [x, out] = [1024, 1024 + 4 * SIZE];
  const scratch = out + 4 * SIZE;
  const weights = Math.ceil((scratch + scratchBytes) / 64) * 64;
  const memory = new WebAssembly.Memory({ initial: Math.ceil((weights + COLD * bytes) / 65536) });
  new Float32Array(memory.buffer, x).set(inputs.x);
  for (let i = 0; i < COLD; i++) new Uint32Array(memory.buffer, weights + i * bytes).set(inputs.packed);
  const { raw } = instantiate(memory);
  const want = { out: gemm(inputs.x, inputs.packed, { ...options, activations: 'f32' }) };
  const scheme = +(format.scheme === 'symmetric');
  return (['f32', 'i16', 'i8'] as const).map((activations) => {
    const kernel = raw[`gemm_quantized_${activations}`];
    const run = (i: number) =>
      kernel(x, weights + i * bytes, 1, SIZE, SIZE, format.bits, format.groupSize, scheme, out, scratch, 0);
    run(0);
    const got = { out: new Float32Array(memory.buffer, out, SIZE) };
    const wrong = fault(works.find(({ name }) => name === `gemv-${activations}`)!, got, want, {});
    if (wrong) throw new Error(`lanewise: gemm_quantized_${activations}: ${wrong}`);
    const times: Ours = { activations, format, bytes, hot: [], cold: [] };
    const turn = (ms: number) => {
      times.hot.push(...sample(() => run(0), ms));
      times.cold.push(...sample((i) => run(i % COLD), ms));
    };
    turn(300);
    return { times, turn };
  });
}

export interface Measured {
  level: CpuLevel;
  added: number;
  /** Of each build, a token of each width. */
  theirs: { who: Build; how: string; tokens: number[][] }[];
  ours: Ours[];
}

async function measure(turns: number): Promise<Measured> {
  const theirs: Measured['theirs'] = [];
  const models: { ms: number[]; run(): Promise<number[]> }[] = [];
  for (const who of Object.keys(BUILDS) as Build[]) {
    const tokens: number[][] = WIDTHS.map(() => []);
    for (const [i, ms] of tokens.entries()) models.push({ ms, run: await llama(who, WIDTHS[i]!) });
    theirs.push({ who, how: BUILDS[who], tokens });
  }
  const mine = (
    [
      // What Q4_0 is, but for its scales of 16 bits; with minima; and in as few bytes as Q4_0.
      { ...gemv, scheme: 'symmetric' },
      gemv,
      { ...gemv, groupSize: 128 },
    ] as const
  ).flatMap(ours);
  for (const { times } of mine) Object.assign(times, { hot: [], cold: [] });
  for (let turn = 0; turn < turns; turn++) {
    for (const { ms, run } of models) ms.push(...(await run()));
    for (const { turn } of mine) turn(40);
  }
  return {
    level: bestLevel(),
    added: ADDED,
    theirs,
    ours: mine.map(({ times }) => times),
  };
}

Object.assign(globalThis, { lanewise: { measure } });
