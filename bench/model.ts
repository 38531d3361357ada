/**
 * `npm run bench:model`: a small trained language model reads text it has not seen with its key-value cache in each format,
 * through the fused attention kernels: what a format costs in bits per byte, what it saves in memory, what a token takes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { root } from '../scripts/house.js';
import { bestLevel } from '../ts/cpu/runtime.js';
import { cacheFormats, measured } from './model/caches.js';
import { loadModel, SHAPE } from './model/model.js';

const { values: given } = parseArgs({
  options: { windows: { type: 'string', default: '32' }, only: { type: 'string' }, json: { type: 'string' } },
});
const text = readFileSync(`${root}/bench/data/heldout-shakespeare.txt`);
const windows = Math.min(Number(given.windows), Math.floor(text.length / SHAPE.context));
const chosen = cacheFormats.filter(({ name, keys }) => !keys || !given.only || name.includes(given.only));
const model = await loadModel();

const rows = [];
let baseline: { nats: number; microseconds: number } | undefined;
for (const format of chosen) {
  const cache = measured(format);
  let nats = 0;
  for (let i = 0; i < windows; i++)
    nats += model.natsPerByte(text.subarray(i * SHAPE.context, (i + 1) * SHAPE.context), cache.attention) / windows;
  // Six layers see every position once.
  const microseconds = (1e3 * cache.spent.ms) / (cache.spent.positions / SHAPE.layers);
  baseline ??= { nats, microseconds };
  rows.push({
    format: format.name,
    bitsPerValue: cache.bits(),
    bitsPerByte: nats / Math.LN2,
    natsOver: nats - baseline.nats,
    yardstick: format.yardstick,
    microseconds,
    timeRatio: microseconds / baseline.microseconds,
  });
  process.stderr.write(`${format.name}: ${(nats - baseline.nats).toFixed(4)} nats\n`);
}
const table = new Table({
  head: [
    'cache',
    'bits per value',
    'memory against f16',
    'bits per byte',
    'nats per byte more',
    'yardstick',
    'attention µs a token',
    'over f32',
  ],
  style: { head: [], border: [], compact: true },
});
for (const row of rows)
  table.push([
    row.format,
    row.bitsPerValue.toFixed(2),
    `${((100 * row.bitsPerValue) / 16).toFixed(0)} %`,
    row.bitsPerByte.toFixed(4),
    row.natsOver.toFixed(4),
    row.yardstick ?? '',
    row.microseconds.toFixed(1),
    row.timeRatio.toFixed(2),
  ]);
console.log(`${windows} windows of ${SHAPE.context} bytes, Node ${process.version}, ${bestLevel()}\n${table}`);
if (given.json) {
  const date = new Date().toISOString().slice(0, 10);
  const results = { node: process.version, level: bestLevel(), machine: cpus()[0]!.model, date, windows, rows };
  writeFileSync(given.json, `${JSON.stringify(results, null, 1)}\n`);
}
