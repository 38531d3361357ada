/** One format on real tensors, as bench/results/formats.json keeps it and tables show it. */
export interface Row {
  format: string;
  family: string;
  rotated: boolean;
  bitsPerValue: number;
  /** Squared error over squared size, keys and values of both layers. */
  keys: number;
  values: number;
  /** Error of the attention output over its size when only the keys, only the values are kept so. */
  attentionKeys: number;
  attentionValues: number;
  /** Billions of values a second, one thread, from and to the cache. */
  encodeSpeed: number;
  decodeSpeed: number;
}

export interface Results {
  node: string;
  level: string;
  machine: string;
  date: string;
  rows: Row[];
}

export const HEAD = [
  'format',
  'rotated',
  'bits per value',
  'MSE, keys',
  'MSE, values',
  'attention, keys',
  'attention, values',
  'encode G/s',
  'decode G/s',
];

const digits = (x: number) => (x < 0.001 ? x.toExponential(1) : String(+x.toPrecision(2)));

export const cells = (row: Row): string[] => [
  row.format,
  row.rotated ? 'yes' : '',
  row.bitsPerValue.toFixed(2),
  ...[row.keys, row.values, row.attentionKeys, row.attentionValues, row.encodeSpeed, row.decodeSpeed].map(digits),
];
