/** GGUF files (llama.cpp's) written from a few lines: as much of the format as a model of ours needs. */

/** ggml's numbers of tensor types. */
export const GGML = { f32: 0, q4_0: 2 } as const;

/** A number with a fraction is written as f32, other numbers as u32. */
type Value = number | string | string[] | Float32Array | Int32Array;

export interface GgufTensor {
  name: string;
  type: keyof typeof GGML;
  /** What is contiguous first. */
  dims: number[];
  /** A multiple of 32 bytes, so that nothing need be filled up. */
  data: Uint8Array<ArrayBuffer>[];
}

const ALIGNMENT = 32;
const little = (bytes: 4 | 8, x: number) => Array.from({ length: bytes }, (_, i) => Math.floor(x / 2 ** (8 * i)) % 256);
const text = (value: string) => {
  const utf8 = new TextEncoder().encode(value);
  return [...little(8, utf8.length), ...utf8];
};
const raw = (array: Float32Array | Int32Array) => [...new Uint8Array(array.buffer, array.byteOffset, array.byteLength)];

/** Its type's number, then the value. */
function field(value: Value): number[] {
  if (typeof value === 'string') return [...little(4, 8), ...text(value)];
  if (typeof value === 'number')
    return Number.isInteger(value)
      ? [...little(4, 4), ...little(4, value)]
      : [...little(4, 6), ...raw(Float32Array.of(value))];
  const [type, bytes] = Array.isArray(value)
    ? [8, value.flatMap(text)]
    : [value instanceof Float32Array ? 6 : 5, raw(value)];
  return [...little(4, 9), ...little(4, type), ...little(8, value.length), ...bytes];
}

export function gguf(metadata: Record<string, Value>, tensors: GgufTensor[]): Blob {
  let offset = 0;
  const described = tensors.flatMap(({ name, type, dims, data }) => {
    const at = offset;
    offset += data.reduce((sum, part) => sum + part.length, 0);
    return [
      ...text(name),
      ...little(4, dims.length),
      ...dims.flatMap((dim) => little(8, dim)),
      ...little(4, GGML[type]),
      ...little(8, at),
    ];
  });
  const fields = Object.entries(metadata);
  const header = [
    ...new TextEncoder().encode('GGUF'),
    ...little(4, 3),
    ...little(8, tensors.length),
    ...little(8, fields.length),
    ...fields.flatMap(([key, value]) => [...text(key), ...field(value)]),
    ...described,
  ];
  while (header.length % ALIGNMENT) header.push(0);
  return new Blob([Uint8Array.from(header), ...tensors.flatMap(({ data }) => data)]);
}
