/** `npm run bench:page`: the table of `npm start` in a browser. Tests and `bench:browser` drive it through `lanewise` below. */
import { gpuImplementations } from '../../test/lib/adapters.js';
import { conform, type Result, type Which } from '../../test/lib/conformance.js';
import { cpuImplementations } from '../../test/lib/implementations.js';
import { type Layer, layerFrom, type Real } from '../lib/bench.js';
import { EFFORT } from '../lib/measure.js';
import { allSpecs, cells, HEAD, type Row, runTable } from '../lib/table.js';
import { targetLines } from '../lib/targets.js';

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const status = (text: string) => (element('status').textContent = text);

async function layer(name: string): Promise<Layer> {
  const file = `${name}.safetensors`;
  const response = await fetch(`data/${file}`);
  if (!response.ok) throw new Error(`data/${file}: ${response.status}`);
  return layerFrom(new Uint8Array(await response.arrayBuffer()), file);
}

export interface PageResult {
  rows: Row[];
  reason?: string;
  errors: string[];
}

/** The table; rows appear on the page as they come. */
async function table({
  kernel,
  quick = false,
  only,
}: {
  kernel?: string;
  quick?: boolean;
  only?: string;
}): Promise<PageResult> {
  element('rows').replaceChildren();
  element('targets').replaceChildren();
  const real: Real = { layer1: await layer('kv-layer1'), layer4: await layer('kv-layer4') };
  const gpu = only === 'cpu' ? { implementations: [], errors: [], reason: undefined } : await gpuImplementations();
  const rows = await runTable({
    implementations: [...(only === 'gpu' ? [] : cpuImplementations()), ...gpu.implementations],
    real,
    quick,
    effort: EFFORT[quick ? 'quick' : 'normal'],
    kernel,
    progress: status,
    row(row) {
      const line = element<HTMLTableSectionElement>('rows').insertRow();
      line.className = row.ok ? '' : 'wrong';
      line.title = row.fault ?? '';
      for (const cell of cells(row)) line.insertCell().textContent = cell;
    },
  });
  for (const line of targetLines(rows))
    element('targets').append(Object.assign(document.createElement('li'), { textContent: line }));
  const errors = gpu.errors.flat();
  const wrong = rows.filter((row) => !row.ok).length + errors.length;
  status(
    [`${rows.length - wrong} of ${rows.length} right`, gpu.reason && `GPU skipped: ${gpu.reason}`, ...errors]
      .filter(Boolean)
      .join('. '),
  );
  return { rows, reason: gpu.reason, errors };
}

/** Of each kernel on an adapter: the shaders' answers are tested in full without a browser. */
const GPU_CASES = 6;

/** Every spec on everything this browser has. */
async function conformance(which: Which = {}): Promise<Result[]> {
  const results: Result[] = [];
  for await (const result of conform({ ...which, gpuCases: which.cases ?? GPU_CASES })) {
    if ('kernel' in result) status(`${result.kernel}: ${result.implementation}`);
    results.push(result);
  }
  return results;
}

Object.assign(globalThis, { lanewise: { table, conformance } });

element('head').append(...HEAD.map((title) => Object.assign(document.createElement('th'), { textContent: title })));
element('kernel').append(...Object.keys(allSpecs).map((name) => new Option(name)));
element('start').addEventListener('click', () => {
  table({
    kernel: element<HTMLSelectElement>('kernel').value || undefined,
    quick: element<HTMLInputElement>('quick').checked,
  }).catch((error: Error) => status(String(error)));
});
