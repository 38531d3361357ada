import type { Contract, Params } from './contract.js';

/** What an instance of a family is made of. `instantiate` notes it here; the thread pool makes instances on other threads of it. */
export interface Parts {
  readonly module: WebAssembly.Module;
  /** Each kernel's parameter names in order, between spaces. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly contracts: Readonly<Record<string, Contract<any>>>;
  /** Every number, alignment and bound of a pointer call; answers with its arguments by name. */
  check(
    contract: Contract<any>,
    list: readonly string[],
    args: readonly number[],
    buffer: ArrayBuffer | SharedArrayBuffer,
  ): Params;
}

/** A pointer call's arguments by name, as wasm takes them: what is left out is 0. */
export function named(list: readonly string[], args: readonly number[]): Record<string, number> {
  const given: Record<string, number> = {};
  for (let i = 0; i < list.length; i++) given[list[i]!] = args[i] ?? 0;
  return given;
}

export const parts = new WeakMap<object, Parts>();
