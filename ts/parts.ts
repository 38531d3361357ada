import type { Contract, Params } from './contract.js';

/** What an instance of a family is made of. `instantiate` notes it here; the thread pool makes instances on other threads of it. */
export interface Parts {
  readonly module: WebAssembly.Module;
  /** Each kernel's parameter names in order, between spaces. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly contracts: Readonly<Record<string, Contract<any>>>;
  /** Every number, alignment and bound of a pointer call. */
  check(contract: Contract<any>, given: Params, buffer: ArrayBuffer | SharedArrayBuffer): void;
}

export const parts = new WeakMap<object, Parts>();
