/** One cache format in the language model, as bench/results/model.json keeps it and tables show it. */
import type { Origin } from '../formats/row.js';

export interface ModelRow {
  format: string;
  /** Of what is stored, scales included; recent positions in full precision are not counted. */
  bitsPerValue: number;
  bitsPerByte: number;
  /** Nats per byte more than with the cache in full precision, and what a NumPy implementation found. */
  natsOver: number;
  yardstick?: number;
  /** Time in the attention kernel, all layers, for a token; over that of f32. */
  microseconds: number;
  timeRatio: number;
}

export interface ModelResults extends Origin {
  windows: number;
  rows: ModelRow[];
}

export const MODEL_HEAD = [
  'cache',
  'bits per value',
  'memory against f16',
  'bits per byte',
  'nats per byte more',
  'yardstick',
  'attention µs a token',
  'over f32',
];

export const modelCells = (row: ModelRow): string[] => [
  row.format,
  row.bitsPerValue.toFixed(2),
  `${((100 * row.bitsPerValue) / 16).toFixed(0)} %`,
  row.bitsPerByte.toFixed(4),
  row.natsOver.toFixed(4),
  row.yardstick === undefined ? '' : String(row.yardstick),
  row.microseconds.toFixed(1),
  row.timeRatio.toFixed(2),
];
