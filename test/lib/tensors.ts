/** Reads .npy and .safetensors: every fault of a file is an Error that names it. */
import { parse } from 'npyjs';
import { fromHalves } from '../../ts/half.js';

export interface Tensor {
  /** numpy's short name: f4, f8, u4, i4, i1, u1, f2 ... */
  dtype: string;
  shape: number[];
  /** Halves (f2) as the numbers they stand for. */
  data:
    | Float32Array
    | Float64Array
    | Uint32Array
    | Int32Array
    | Uint16Array
    | Int16Array
    | Int8Array
    | Uint8Array
    | BigInt64Array;
}

/** Node's Buffer overrides slice() with one that does not copy. */
const copyOf = (bytes: Uint8Array, from: number, to: number) =>
  Uint8Array.prototype.slice.call(bytes, from, to).buffer as ArrayBuffer;

const product = (shape: number[]) => shape.reduce((a, b) => a * b, 1);

const fail = (file: string, what: string): never => {
  throw new Error(`${file}: ${what}`);
};

const ITEM_BYTES: Record<string, number> = {
  '<f2': 2,
  '<f4': 4,
  '<f8': 8,
  '<i2': 2,
  '<u2': 2,
  '|i1': 1,
  '|u1': 1,
  '|b1': 1,
  '<i4': 4,
  '<u4': 4,
  '<i8': 8,
};

/** A NumPy array file, format 1 to 3, little-endian, C order. */
export function readNpy(bytes: Uint8Array, file: string): Tensor {
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(1, 6)) !== 'NUMPY' || bytes[0] !== 0x93)
    fail(file, 'not a .npy file (its first bytes are not \\x93NUMPY)');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const wide = bytes[6]! > 1;
  const start = wide ? 12 : 10;
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  if (end > bytes.length) fail(file, 'truncated: its header is not complete');
  const header = new TextDecoder().decode(bytes.subarray(start, end));
  const descr = /'descr':\s*'([^']+)'/.exec(header)?.[1];
  const shapeText = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (descr === undefined || shapeText === undefined) fail(file, 'malformed: its header has no descr or no shape');
  const itemBytes =
    ITEM_BYTES[descr!] ?? fail(file, `dtype ${descr} is not supported (${Object.keys(ITEM_BYTES).join(', ')} are)`);
  if (/'fortran_order':\s*True/.test(header)) fail(file, 'is in Fortran order, expected C order');
  const shape = shapeText!
    .split(',')
    .map((s) => s.trim())
    .filter(Boolean)
    .map(Number);
  if (shape.some((axis) => !Number.isInteger(axis) || axis < 0)) fail(file, `malformed: shape (${shapeText})`);
  const expected = product(shape) * itemBytes;
  if (bytes.length - end !== expected)
    fail(
      file,
      `truncated or malformed: shape (${shape}) of ${descr} needs ${expected} bytes, the file has ${bytes.length - end}`,
    );
  const array = parse(copyOf(bytes, 0, bytes.length));
  return { dtype: array.dtype, shape: array.shape, data: array.data as Tensor['data'] };
}

const SAFETENSORS = {
  F32: ['f4', Float32Array],
  F64: ['f8', Float64Array],
  F16: ['f2', Uint16Array],
  U32: ['u4', Uint32Array],
  I32: ['i4', Int32Array],
  I8: ['i1', Int8Array],
  U8: ['u1', Uint8Array],
} as const;

/** Every tensor of a safetensors file by name. */
export function readSafetensors(bytes: Uint8Array, file: string): Map<string, Tensor> {
  if (bytes.length < 8) fail(file, 'truncated: a safetensors file begins with 8 bytes of header length');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = Number(view.getBigUint64(0, true));
  if (8 + length > bytes.length)
    fail(file, `truncated or malformed: its header should be ${length} bytes, the file has ${bytes.length}`);
  let header: Record<string, { dtype: keyof typeof SAFETENSORS; shape: number[]; data_offsets: [number, number] }> = {};
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  } catch {
    fail(file, 'malformed: its header is not JSON');
  }
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [dtype, Type] =
      SAFETENSORS[entry.dtype] ??
      fail(
        file,
        `tensor "${name}": dtype ${entry.dtype} is not supported (${Object.keys(SAFETENSORS).join(', ')} are)`,
      );
    const [from, to] = entry.data_offsets ?? fail(file, `malformed: tensor "${name}" has no data_offsets`);
    if (to - from !== product(entry.shape) * Type.BYTES_PER_ELEMENT)
      fail(file, `malformed: tensor "${name}" of shape [${entry.shape}] has ${to - from} bytes`);
    if (8 + length + to > bytes.length)
      fail(file, `truncated: tensor "${name}" ends at byte ${8 + length + to} of ${bytes.length}`);
    const data = new Type(copyOf(bytes, 8 + length + from, 8 + length + to));
    tensors.set(name, { dtype, shape: entry.shape, data: dtype === 'f2' ? fromHalves(data) : data });
  }
  return tensors;
}

/** One tensor: the file's only one, or the one called `name`. */
export function readTensor(bytes: Uint8Array, file: string, name?: string): Tensor {
  if (!file.endsWith('.safetensors')) return readNpy(bytes, file);
  const tensors = readSafetensors(bytes, file);
  const names = [...tensors.keys()];
  const wanted = name ?? (names.length === 1 ? names[0]! : undefined);
  return (
    tensors.get(wanted ?? '') ??
    fail(
      file,
      `${wanted === undefined ? 'holds several tensors: add #name' : `has no tensor "${wanted}"`} (${names.join(', ')})`,
    )
  );
}
