/** Rows as `run.ts --json` writes them become the table of README.md: `tsx bench/peers/table.ts bench/results/peers-*.json`. */
import { readFileSync } from 'node:fs';
import type { Row } from './run.js';
import { works } from './works.js';

const digits = (x: number) => (x >= 100 ? x.toFixed(0) : String(+x.toPrecision(x < 1 ? 2 : 3)));

/** The best of a peer's whole ways, and the same way's call. */
function cell(rows: Row[], who: string): string {
  const best = (name: string) =>
    rows.filter((row) => row.who === name && !row.partial && row.ratio !== null).sort((a, b) => a.ratio! - b.ratio!)[0];
  const kernel = best(`${who} (kernel)`) ?? best(who);
  const call = best(`${who} (call)`);
  if (!kernel) return '–';
  return `${digits(kernel.ratio!)}×${call ? ` (${digits(call.ratio!)}×)` : ''}`;
}

const PEERS = ['memory copy', 'JavaScript loop', 'onnxruntime-web', 'tfjs wasm', 'jax-js wasm', 'onnxruntime-node'];

for (const file of process.argv.slice(2)) {
  const { node, machine, date, level, rows } = JSON.parse(readFileSync(file, 'utf8')) as {
    node: string;
    machine: string;
    date: string;
    level: string;
    rows: Row[];
  };
  for (const threads of new Set(rows.map((row) => row.threads))) {
    console.log(
      `\nNode ${node}, level \`${level}\`, ${threads === 1 ? 'one thread' : `${threads} threads`}, ${machine}, ${date.slice(0, 10)}:\n`,
    );
    console.log(`| work | lanewise, ms | ${PEERS.join(' | ')} |\n|---|---|${PEERS.map(() => '---|').join('')}`);
    for (const { name, title } of works) {
      const mine = rows.filter((row) => row.work === name && row.threads === threads);
      const ours = mine.find((row) => row.who === 'lanewise');
      if (!ours) continue;
      console.log(`| ${title} | ${digits(ours.medianMs)} | ${PEERS.map((who) => cell(mine, who)).join(' | ')} |`);
    }
  }
}
