/** What the house holds, read from its files: the one list every script, test and table starts from. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Contract } from '../ts/contract.js';

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

export const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');

/** The newest change under these folders, in ms. */
export function newest(...paths: string[]): number {
  let time = 0;
  for (const path of paths) {
    const stat = statSync(`${root}/${path}`, { throwIfNoEntry: false });
    if (!stat) continue;
    time = Math.max(time, stat.mtimeMs);
    if (stat.isDirectory())
      for (const name of readdirSync(`${root}/${path}`)) time = Math.max(time, newest(`${path}/${name}`));
  }
  return time;
}

/** Stems of the files `<folder>/<stem><ending>`, sorted. */
export function stems(folder: string, ending: string): string[] {
  return readdirSync(`${root}/${folder}`)
    .filter((file) => file.endsWith(ending))
    .map((file) => file.slice(0, -ending.length))
    .sort();
}

/** `attention-decode` is a second stem of the family `attention`. */
export const familyOf = (stem: string) => stem.split('-')[0]!;

/** The wasm module a stem's kernels are in: its family's, or that of the family's f16 kernels. */
export const moduleOf = (stem: string) => `${familyOf(stem)}${stem.endsWith('-f16') ? '-f16' : ''}`;

/** Families with a contract and a CPU half; LANEWISE_ONLY names one to work on alone. */
export const families = () =>
  [...new Set(stems('ts/contract', '.ts').map(familyOf))].filter(
    (family) =>
      existsSync(`${root}/assembly/${family}.ts`) &&
      (!process.env.LANEWISE_ONLY || process.env.LANEWISE_ONLY === family),
  );

/** Every kernel's contract by kernel name; of one family, if it is named. */
export async function contracts(family?: string): Promise<Record<string, Contract>> {
  const all: Record<string, Contract> = {};
  for (const stem of stems('ts/contract', '.ts')) {
    if (family && familyOf(stem) !== family) continue;
    const file: Record<string, unknown> = await import(`../ts/contract/${stem}.ts`);
    for (const value of Object.values(file)) {
      const contract = value as Contract;
      if (contract?.kernel && contract.arrays) all[contract.kernel] = contract;
    }
  }
  return all;
}
