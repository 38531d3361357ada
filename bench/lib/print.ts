import Table from 'cli-table3';
import { cells, HEAD, type Row } from './table.js';

/** The rows as a table, then what is wrong, a line each. */
export function printRows(rows: Row[]): void {
  const table = new Table({ head: HEAD, style: { head: [], border: [], compact: true } });
  for (const row of rows) table.push(cells(row));
  console.log(table.toString());
  for (const row of rows.filter(({ ok }) => !ok))
    console.log(`WRONG ${row.kernel} ${row.size} (${row.implementation}): ${row.fault}`);
}
