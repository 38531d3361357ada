/** Reads .npy and .safetensors: every fault of a file is an Error that names it. */
import { parse } from 'npyjs';
import { fromHalf } from '../../ts/half.js';

export interface Tensor {
  /** numpy's short name: f4, f8, u4, i4, i1, u1, b1, f2 ...; bf16, e4m3, e5m2 and e8m0 are torch's bfloat16 and float8s. */
  dtype: string;
  shape: number[];
  /** Floats of 8 and 16 bits as the numbers they stand for. */
  data:
    | Float32Array
    | Float64Array
    | Uint32Array
    | Int32Array
    | Uint16Array
    | Int16Array
    | Int8Array
    | Uint8Array
    | BigInt64Array
    | BigUint64Array;
  /** The bits of those floats. */
  bits?: Uint8Array | Uint16Array;
}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The numbers that the bits of narrow floats stand for. */
export const NARROW: Readonly<Record<string, (bits: number) => number>> = {
  f2: fromHalf,
  bf16(bits) {
    word[0] = bits << 16;
    return float[0]!;
  },
  e4m3(bits) {
    const [exponent, fraction] = [(bits >> 3) & 15, bits & 7];
    if ((bits & 127) === 127) return NaN;
    const size = exponent ? 2 ** (exponent - 7) * (1 + fraction / 8) : 2 ** -9 * fraction;
    return bits & 128 ? -size : size;
  },
  e5m2: (bits) => fromHalf(bits << 8),
  e8m0: (bits) => (bits === 255 ? NaN : 2 ** (bits - 127)),
};

const tensorOf = (dtype: string, shape: number[], data: Tensor['data']): Tensor => {
  const decode = NARROW[dtype];
  if (!decode) return { dtype, shape, data };
  const bits = data as Uint8Array | Uint16Array;
  return { dtype, shape, data: Float32Array.from(bits, decode), bits };
};

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
  '|b1': 1,
  '|i1': 1,
  '|u1': 1,
  '<i2': 2,
  '<u2': 2,
  '<i4': 4,
  '<u4': 4,
  '<i8': 8,
  '<u8': 8,
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
  const known = `${Object.keys(ITEM_BYTES).join(', ')} are; bfloat16 and float8 come in .safetensors`;
  const itemBytes = ITEM_BYTES[descr!] ?? fail(file, `dtype ${descr} is not supported (${known})`);
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
  const array = parse(copyOf(bytes, 0, bytes.length), { convertFloat16: false });
  // npyjs answers with an Array of booleans.
  const data = array.dtype === 'b1' ? Uint8Array.from(array.data as unknown as number[]) : array.data;
  return tensorOf(array.dtype, array.shape, data as Tensor['data']);
}

const SAFETENSORS = {
  F64: ['f8', Float64Array],
  F32: ['f4', Float32Array],
  F16: ['f2', Uint16Array],
  BF16: ['bf16', Uint16Array],
  F8_E4M3: ['e4m3', Uint8Array],
  F8_E5M2: ['e5m2', Uint8Array],
  F8_E8M0: ['e8m0', Uint8Array],
  I64: ['i8', BigInt64Array],
  I32: ['i4', Int32Array],
  I16: ['i2', Int16Array],
  I8: ['i1', Int8Array],
  U64: ['u8', BigUint64Array],
  U32: ['u4', Uint32Array],
  U16: ['u2', Uint16Array],
  U8: ['u1', Uint8Array],
  BOOL: ['b1', Uint8Array],
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
    tensors.set(name, tensorOf(dtype, entry.shape, data));
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
