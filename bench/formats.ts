/**
 * `npm run bench:formats`: every number format on the real keys and values of bench/data, with and without rotation: bits
 * per value, mean squared error, error of the attention output, speed. `--json FILE` keeps the rows; scripts/plot.ts
 * makes docs/formats.md's table and plot of them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { root } from '../scripts/house.js';
import { cpuImplementation, type Implementation } from '../test/lib/implementations.js';
import type { Arrays } from '../test/lib/spec.js';
import { attentionBlocksparse } from '../ts/cpu/attention.js';
import { hadamard } from '../ts/cpu/hadamard.js';
import { bestLevel } from '../ts/cpu/runtime.js';
import { formats, type KernelCall } from './formats/formats.js';
import { cells, HEAD, type Results, type Row } from './formats/row.js';
import { type Layer, layerFrom } from './lib/bench.js';
import { EFFORT, inTurn } from './lib/measure.js';
import { allSpecs } from './lib/table.js';

const { values: given } = parseArgs({ options: { json: { type: 'string' } } });

const [heads, kvHeads, positions, headDim] = [4, 2, 1024, 64];
const shape = { rows: kvHeads * positions, n: headDim };
const layers = ['kv-layer1', 'kv-layer4'].map((name): Layer => {
  const file = `bench/data/${name}.safetensors`;
  return layerFrom(readFileSync(`${root}/${file}`), file);
});

/** Σ (a - b)² and Σ a². */
function squares(a: Float32Array, b: Float32Array): [error: number, size: number] {
  let [error, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    error += (a[i]! - b[i]!) ** 2;
    size += a[i]! ** 2;
  }
  return [error, size];
}

/** Over both layers: of the sums of squares, their ratio. */
function ratio(pairs: [number, number][]): number {
  const [error, size] = pairs.reduce(([e, s], [de, ds]) => [e + de, s + ds], [0, 0]);
  return error / size;
}

const attention = (q: Float32Array, k: Float32Array, v: Float32Array) =>
  attentionBlocksparse({ q, k, v }, { heads, kvHeads, queries: positions, keys: positions, headDim, causal: true })
    .output;
const exact = layers.map(({ q, k, v }) => attention(q, k, v));

/** An implementation's memory holds one call at a time. */
const [encoder, decoder] = [cpuImplementation(bestLevel()), cpuImplementation(bestLevel())] as const;

/** A kernel's outputs, and itself to be timed. */
async function call(
  implementation: Implementation,
  { kernel, options, inputs }: KernelCall,
): Promise<{ outputs: Arrays; run: () => void }> {
  const prepared = await implementation.prepare(allSpecs[kernel]!.contract, options, inputs);
  await prepared.run();
  return { outputs: await prepared.outputs(), run: () => void prepared.run() };
}

const bytesOf = (arrays: Arrays) => Object.values(arrays).reduce((sum, { byteLength }) => sum + byteLength, 0);

const rows: Row[] = [];
for (const format of formats)
  for (const rotated of [false, true]) {
    const turn = (x: Float32Array) => (rotated ? hadamard(x, shape) : x);
    const through = async (x: Float32Array) => {
      const { outputs } = await call(encoder, format.encode(turn(x), shape));
      return turn((await call(decoder, format.decode(outputs, shape))).outputs.out as Float32Array);
    };
    const kept: { k: Float32Array; v: Float32Array }[] = [];
    for (const { k, v } of layers) kept.push({ k: await through(k), v: await through(v) });
    const x = turn(layers[0]!.k);
    const encode = await call(encoder, format.encode(x, shape));
    const decode = await call(decoder, format.decode(encode.outputs, shape));
    const times = await inTurn({ encode: { work: encode.run }, decode: { work: decode.run } }, EFFORT.quick);
    rows.push({
      format: format.name,
      family: format.family,
      rotated,
      bitsPerValue: (8 * bytesOf(encode.outputs)) / x.length,
      keys: ratio(layers.map(({ k }, i) => squares(k, kept[i]!.k))),
      values: ratio(layers.map(({ v }, i) => squares(v, kept[i]!.v))),
      attentionKeys: Math.sqrt(ratio(layers.map(({ q, v }, i) => squares(exact[i]!, attention(q, kept[i]!.k, v))))),
      attentionValues: Math.sqrt(ratio(layers.map(({ q, k }, i) => squares(exact[i]!, attention(q, k, kept[i]!.v))))),
      encodeSpeed: x.length / times.encode.medianMs / 1e6,
      decodeSpeed: x.length / times.decode.medianMs / 1e6,
    });
    process.stderr.write(`${format.name}${rotated ? ', rotated' : ''}\n`);
  }

const table = new Table({ head: HEAD, style: { head: [], border: [], compact: true } });
table.push(...rows.map(cells));
console.log(table.toString());
if (given.json) {
  const results: Results = {
    node: process.version,
    level: bestLevel(),
    machine: cpus()[0]!.model,
    date: new Date().toISOString().slice(0, 10),
    rows,
  };
  writeFileSync(given.json, `${JSON.stringify(results, null, 1)}\n`);
}
