/** Values of GGUF's block formats as halves: ggml-dequantize.ts's code, rounded once. */
import { ggml_dequantize_f32 } from './ggml-dequantize';
import { narrow } from './lib/half';

/** Values made in f32 at a time: whole blocks of any type. */
const CHUNK: u32 = 1024;

/**
 * As ggml_dequantize_f32 with out f16 [rows, n]: its f32 values rounded to nearest, ties to even; from 65520 on infinity. out is
 * aligned to 2 bytes. scratch: f32 [1024].
 */
export function ggml_dequantize_f16(blocks: usize, rows: u32, n: u32, type: u32, out: usize, scratch: usize): void {
  // Of CHUNK values.
  let bytes: u32;
  if (type == 2 || type == 20) bytes = 18 * 32;
  else if (type == 3) bytes = 20 * 32;
  else if (type == 6) bytes = 22 * 32;
  else if (type == 7) bytes = 24 * 32;
  else if (type == 8) bytes = 34 * 32;
  else if (type == 9) bytes = 36 * 32;
  else if (type == 10) bytes = 84 * 4;
  else if (type == 11) bytes = 110 * 4;
  else if (type == 12) bytes = 144 * 4;
  else if (type == 13) bytes = 176 * 4;
  else if (type == 14) bytes = 210 * 4;
  else if (type == 15) bytes = 292 * 4;
  else if (type == 23) bytes = 136 * 4;
  else if (type == 34) bytes = 54 * 4;
  else if (type == 35) bytes = 66 * 4;
  else if (type == 39) bytes = 17 * 32;
  else if (type == 40) bytes = 36 * 16;
  else if (type == 41) bytes = 18 * 8;
  else bytes = 18 * 16;
  for (let left = rows * n; left > 0; ) {
    const count = min(left, CHUNK);
    ggml_dequantize_f32(blocks, 1, count, type, scratch);
    narrow(scratch, count, out);
    blocks += bytes;
    out += count << 1;
    left -= count;
  }
}
