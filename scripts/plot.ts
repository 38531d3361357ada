/**
 * `npm run plot`: docs/formats.md's table and plot from bench/results/formats.json (`npm run bench:formats -- --json ...`).
 * Error of the attention output against bits per value, keys and values side by side.
 */
import { writeFileSync } from 'node:fs';
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { cells, HEAD, type Origin, type Results } from '../bench/formats/row.js';
import { MODEL_HEAD, type ModelResults, modelCells } from '../bench/model/row.js';
import { read, root } from './house.js';

const results = JSON.parse(read('bench/results/formats.json')) as Results;
const points = results.rows.flatMap((row) => [
  { ...row, what: 'keys', error: row.attentionKeys },
  { ...row, what: 'values', error: row.attentionValues },
]);
const { document } = parseHTML('<!doctype html><html><body></body></html>');
const at = { x: 'bitsPerValue', y: 'error', fx: 'what', title: 'format' };
const plot = Plot.plot({
  document: document as unknown as Document,
  width: 960,
  height: 480,
  marginLeft: 60,
  grid: true,
  inset: 24,
  fx: { label: null },
  x: { label: 'bits per value, scales included' },
  y: { type: 'log', label: 'error of the attention output, relative', tickFormat: '~g' },
  color: { legend: false, scheme: 'Dark2' },
  marks: [
    Plot.frame(),
    Plot.dot(
      points.filter(({ rotated }) => !rotated),
      { ...at, fill: 'family', r: 3 },
    ),
    Plot.dot(
      points.filter(({ rotated }) => rotated),
      { ...at, stroke: 'family', r: 4 },
    ),
    // The legend; rotated ones are hollow.
    ...[...new Set(points.map(({ family }) => family)), '(hollow: rotated first)'].map((family, i) =>
      Plot.text([{ family, what: 'values' }], {
        fx: 'what',
        frameAnchor: 'top-right',
        dx: -8,
        dy: 8 + 14 * i,
        text: 'family',
        textAnchor: 'end',
        fill: points.some((point) => point.family === family) ? 'family' : 'currentColor',
      }),
    ),
    // The best of each width, by name.
    Plot.text(
      points.filter(({ error, bitsPerValue, what }) =>
        points.every(
          (p) =>
            p.what !== what ||
            p.bitsPerValue > bitsPerValue ||
            (p.bitsPerValue === bitsPerValue ? p.error >= error : p.error > 1.03 * error),
        ),
      ),
      { ...at, text: 'format', dy: 10, fontSize: 8, textAnchor: 'middle' },
    ),
  ],
});
const svg = (plot.tagName.toLowerCase() === 'svg' ? plot : plot.querySelector('svg'))!;
svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
writeFileSync(`${root}/docs/formats.svg`, `${svg.outerHTML}\n`);

/** What stands in docs/formats.md between `<!-- name: ... -->` and `<!-- /name -->`. */
function fill(
  page: string,
  name: string,
  head: string[],
  rows: string[][],
  { machine, node, level, date }: Origin,
): string {
  const from = page.indexOf('-->', page.indexOf(`<!-- ${name}:`)) + 3;
  const table = [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`);
  const origin = `${machine}, Node ${node}, level \`${level}\`, one thread, ${date}:`;
  return `${page.slice(0, from)}\n\n${origin}\n\n${table.join('\n')}\n${page.slice(page.indexOf(`<!-- /${name} -->`))}`;
}

const model = JSON.parse(read('bench/results/model.json')) as ModelResults;
const page = fill(read('docs/formats.md'), 'formats', HEAD, results.rows.map(cells), results);
writeFileSync(`${root}/docs/formats.md`, fill(page, 'model', MODEL_HEAD, model.rows.map(modelCells), model));
