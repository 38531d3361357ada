/** A file's values as a kernel takes them: nothing is lost but by rounding floats, and that is said. */
import { NARROW, type Tensor } from '../../test/lib/tensors.js';
import { ARRAY_OF, type DType, type TypedArray } from '../../ts/contract.js';
import { fromHalves, toHalves } from '../../ts/half.js';

const isInteger = (dtype: string) => /^[iub]\d$/.test(dtype);
const isFloat = (dtype: DType) => dtype === 'f32' || dtype === 'f16';

/** The dtype as our own arrays' are named: by its bits, where numpy counts bytes. */
export const nameOf = ({ dtype }: Tensor): string =>
  dtype === 'b1' ? 'bool' : dtype.replace(/^([fiu])(\d)$/, (_, kind, bytes) => kind + 8 * bytes);

/** JSON numbers, nested or not. */
export function tensorOf(name: string, value: unknown[]): Tensor {
  const shape: number[] = [];
  for (let part: unknown = value; Array.isArray(part); part = part[0]) shape.push(part.length);
  const flat: unknown[] = value.flat(Infinity);
  const bad = flat.findIndex((item) => typeof item !== 'number');
  if (bad >= 0) throw new Error(`--options: "${name}[${bad}]" expected number, got ${JSON.stringify(flat[bad])}`);
  return { dtype: 'f8', shape, data: Float64Array.from(flat as number[]) };
}

export interface Converted {
  array: TypedArray;
  /** What was lost. */
  remark?: string;
}

/** The array `name` of a call. Throws with the position of a value that its dtype has not. */
export function converted(name: string, dtype: DType, tensor: Tensor): Converted {
  return isFloat(dtype) ? floats(name, dtype, tensor) : { array: integers(name, dtype, tensor) };
}

const refuse = (name: string, dtype: DType, tensor: Tensor, at: number): never => {
  throw new Error(
    `"${name}" expected values that ${dtype} can hold, got ${tensor.data[at]} at ${at} (dtype ${nameOf(tensor)})`,
  );
};

function integers(name: string, dtype: DType, tensor: Tensor): TypedArray {
  const Type = ARRAY_OF[dtype];
  const { dtype: from, data, bits } = tensor;
  // Codes that are signed in the file, and float8s whose bytes are the codes, keep their bits.
  const same = isInteger(from) ? data : bits;
  if (same?.BYTES_PER_ELEMENT === Type.BYTES_PER_ELEMENT) return new Type(same.slice().buffer as ArrayBuffer);
  const array = new Type(data.length);
  for (let i = 0; i < array.length; i++) {
    const value = Number(data[i]);
    array[i] = value;
    if (array[i] !== value) refuse(name, dtype, tensor, i);
  }
  return array;
}

function floats(name: string, dtype: DType, tensor: Tensor): Converted {
  const { dtype: from, data, bits } = tensor;
  const half = dtype === 'f16';
  // u2: halves as their bits, as kernels take them.
  if (half && (from === 'f2' || from === 'u2')) return { array: (bits ?? data) as Uint16Array };
  const given = Float64Array.from(data as Float64Array, Number);
  const array = half ? toHalves(given) : Float32Array.from(given);
  const kept = half ? fromHalves(array) : array;
  let rounded = 0;
  for (let i = 0; i < given.length; i++) {
    if (kept[i] === given[i] || Number.isNaN(given[i])) continue;
    if (isInteger(from) || (Number.isFinite(given[i]) && !Number.isFinite(kept[i]))) refuse(name, dtype, tensor, i);
    rounded++;
  }
  if (isInteger(from)) return { array, remark: `${name}: integers (${nameOf(tensor)}) taken as numbers` };
  if (!rounded) return { array };
  return {
    array,
    remark: `${name}: rounded from ${nameOf(tensor)} to ${dtype} (${rounded} of ${given.length} values)`,
  };
}

/** The output `name` as the file has it: floats as numbers, integers as the kernel's dtype has them. */
export function wanted(name: string, dtype: DType, tensor: Tensor): TypedArray | Float64Array {
  if (!isFloat(dtype)) return integers(name, dtype, tensor);
  if (dtype === 'f16' && tensor.dtype === 'u2') return Float64Array.from(fromHalves(tensor.data as Uint16Array));
  return Float64Array.from(tensor.data as Float64Array, Number);
}

/** Halves way to the next value below and above, in magnitude, of a narrow float. */
function roundsTo(decode: (bits: number) => number, bits: number, sign: number): [least: number, most: number] {
  const magnitude = bits & (sign - 1);
  const value = decode(magnitude);
  const below = magnitude ? (decode(magnitude - 1) + value) / 2 : -decode(1) / 2;
  const next = decode(magnitude + 1);
  return [below, Number.isFinite(next) ? (value + next) / 2 : value + (value - below)];
}

/** `want[i]`, or of the numbers that round to it in the file's coarser dtype the nearest to `got`. */
export function nearest({ dtype, bits }: Tensor, i: number, want: number, got: number): number {
  const sign = bits instanceof Uint16Array ? 0x8000 : 0x80;
  const [least, most] = roundsTo(NARROW[dtype]!, bits![i]!, sign);
  return Math.sign(want || got) * Math.min(Math.max(Math.sign(want || got) * got, least), most);
}

/** Were the file's numbers rounded to a narrow dtype, as coarse as the output's at least? (e8m0 is for scales.) */
export const isNarrow = (dtype: DType, { dtype: from }: Tensor): boolean =>
  from in NARROW && from !== 'e8m0' && isFloat(dtype);
