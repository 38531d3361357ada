/**
 * Hadamard matrices of the orders that are no power of two and that QuaRot uses, packed as kernels take them. They are
 * made, not stored: by R. Paley's two constructions (1933) and J. Williamson's (1944), signs and arrangement as in QuaRot
 * (S. Ashkboos et al., 2024), so that what one rotates the other rotates back.
 */

import { message } from './errors.js';

/** Orders besides the powers of two. */
export const HADAMARD_ORDERS = [12, 20, 28, 36, 40, 52, 60, 108, 140, 156, 172] as const;

/** The part of n that no power of two explains: n = order · 2^p, with QuaRot's choice of 40 over 20 where both go. NaN: there is none. */
export function hadamardOrder(n: number): number {
  const isPower = (value: number) => Number.isInteger(value) && 2 ** Math.round(Math.log2(value)) === value;
  if (isPower(n)) return 1;
  return HADAMARD_ORDERS.findLast((order) => isPower(n / order)) ?? NaN;
}

/** Is a a square modulo the prime q? 1: yes, -1: no, 0: a is 0. */
function character(a: number, q: number): number {
  const rest = ((a % q) + q) % q;
  if (rest === 0) return 0;
  for (let root = 1; root < q; root++) if ((root * root) % q === rest) return 1;
  return -1;
}

type Entry = (i: number, j: number) => number;

/** Order q + 1 for a prime q = 3 modulo 4. */
const paley =
  (q: number): Entry =>
  (i, j) =>
    j === 0 ? 1 : i === 0 ? -1 : i === j ? 1 : -character(j - i, q);

/** Order 2(q + 1) for a prime q = 1 modulo 4: blocks C + I, C − I; C − I, −C − I of a symmetric C. */
const paleyDouble =
  (q: number): Entry =>
  (i, j) => {
    const [a, b, half] = [i % (q + 1), j % (q + 1), q + 1];
    const both = i >= half && j >= half;
    if (a === b) return i >= half || j >= half ? -1 : 1;
    return (both ? -1 : 1) * (a === 0 || b === 0 ? 1 : character(b - a, q));
  };

/** Order 4q from four symmetric circulants of order q: bit d of one says that its entries d off the diagonal are −1. */
const williamson =
  (q: number, circulants: readonly number[]): Entry =>
  (i, j) => {
    const [row, column] = [Math.floor(i / q), Math.floor(j / q)];
    const distance = Math.abs((i % q) - (j % q));
    const bit = (circulants[row ^ column]! >>> Math.min(distance, q - distance)) & 1;
    return bit ^ ((0b0011_1001_0101_0000 >>> (4 * row + column)) & 1) ? -1 : 1;
  };

/** Sylvester's step: [M M; M −M]. */
const doubled =
  (half: number, entry: Entry): Entry =>
  (i, j) =>
    entry(i % half, j % half) * (i >= half && j >= half ? -1 : 1);

const MATRICES: Readonly<Record<number, Entry>> = {
  1: () => 1,
  12: paley(11),
  20: paley(19),
  28: paleyDouble(13),
  36: paleyDouble(17),
  40: doubled(20, paley(19)),
  52: williamson(13, [0x1a, 0xe, 0x34, 0x5e]),
  60: paley(59),
  108: paley(107),
  140: paley(139),
  156: williamson(39, [0xcdf58, 0xaf370, 0xdae98, 0x47d4e]),
  172: williamson(43, [0x2450ce, 0x135e04, 0x342b28, 0x3cda1c]),
};

const made = new Map<number, Uint32Array>();

/**
 * The Hadamard matrix of an order in HADAMARD_ORDERS (or 1), a bit per entry, 1 for −1: u32 [order, ceil(order/32)], low
 * bits first, every row in words of its own. A new array each time. RangeError for other orders.
 */
export function hadamardMatrix(order: number): Uint32Array {
  let matrix = made.get(order);
  if (!matrix) {
    const entry = MATRICES[order];
    if (!entry)
      throw new RangeError(message('hadamardMatrix', 'order', `one of 1, ${HADAMARD_ORDERS.join(', ')}`, order));
    const words = Math.ceil(order / 32);
    matrix = new Uint32Array(order * words);
    for (let i = 0; i < order; i++)
      for (let j = 0; j < order; j++) if (entry(i, j) < 0) matrix[i * words + (j >>> 5)]! |= 1 << (j & 31);
    made.set(order, matrix);
  }
  return matrix.slice();
}

/** What stands in for a matrix that is not given: that of the order, if there is one and it needs one. */
export const knownMatrix = (order: number): Uint32Array | undefined =>
  (HADAMARD_ORDERS as readonly number[]).includes(order) ? hadamardMatrix(order) : undefined;
