import { splits } from './contract/split.js';
import type { Contract, Params } from './contract.js';
import { CALL } from './pool-thread.js';

/** Numbers that the description of a call may take: enough for forty arguments and more. */
export const CALL_LENGTH = 512;

const roundUp64 = (bytes: number) => Math.ceil(bytes / 64) * 64;

/** Scratch of each thread in a call that needs `bytes` alone: on cache lines of its own, with one for its status word. */
export const threadScratchBytes = (bytes: number) => roundUp64(bytes) + 64;

/**
 * Writes a kernel's call into `call` as `share` reads it; false where it does not divide, or not into parts of `partBytes`.
 * `kernel` is its number in the list that all threads hold, `list` its parameters' names in order.
 */
export function callWriter(
  contract: Contract<any>,
  list: readonly string[],
  kernel: number,
  threads: number,
  partBytes: number,
) {
  const split = splits[contract.kernel] ?? (() => []);
  const optional = list.map((name) => !!contract.arrays[name]?.optional);
  const position = new Map(list.map((name, i) => [name, i]));

  return (call: Float64Array, given: Params): boolean => {
    const axes = split(given, threads);
    const inner = axes[axes.length - 1];
    if (!inner) return false;
    let units = 1;
    for (const axis of axes) units *= axis.units;
    let bytes = 0;
    for (const name in inner.bytes) bytes += inner.bytes[name]!;
    const least = Math.max(1, Math.ceil(partBytes / bytes));
    // Said so that NaN, which nonsense in a raw call may lead to, does not divide either.
    if (!(units >= 2 * Math.min(least, inner.units))) return false;

    call[CALL.kernel] = kernel;
    call[CALL.length] = list.length;
    call[CALL.axes] = axes.length;
    call[CALL.units] = units;
    call[CALL.least] = least;
    call[CALL.shares] = 2 * threads;
    call[CALL.scratch] = -1;
    call[CALL.status] = -1;
    if (given.scratch && contract.arrays.scratch) {
      const own = threadScratchBytes(4 * contract.lengths(given).scratch!);
      call[CALL.scratch] = position.get('scratch')!;
      call[CALL.scratchBytes] = own;
      if (given.status && contract.arrays.status) {
        call[CALL.status] = position.get('status')!;
        call[CALL.statusBytes] = own - 64;
      }
    }

    let at = CALL.rest;
    for (const axis of axes) call[at++] = axis.units;
    call[at++] = Object.keys(inner.counts).length;
    for (const name in inner.counts) {
      const [unit, all] = inner.counts[name]!;
      call[at++] = position.get(name)!;
      call[at++] = unit;
      call[at++] = all;
    }
    call[at++] = Object.keys(inner.ends ?? {}).length;
    for (const name in inner.ends) {
      const [unit, all, offset] = inner.ends[name]!;
      call[at++] = position.get(name)!;
      call[at++] = unit;
      call[at++] = all;
      call[at++] = offset;
    }
    const args = at;
    for (const name of list) call[at++] = given[name]!;
    for (const axis of axes) {
      // A part has one unit of each outer axis; what it has of the last is counted for each part.
      if (axis !== inner) for (const name in axis.counts) call[args + position.get(name)!] = axis.counts[name]![0];
      for (let i = 0; i < list.length; i++) {
        const name = list[i]!;
        call[at++] = optional[i] && !given[name] ? 0 : (axis.bytes[name] ?? 0);
      }
    }
    return true;
  };
}
