import type { Random } from '../test/lib/random.js';
import type { Arrays } from '../test/lib/spec.js';
import { attention_blocksparse_quantized_f32, attention_decode_quantized_f32 } from '../ts/contract/qattention.js';
import { type Contract, dtypeOf } from '../ts/contract.js';
import { toHalves } from '../ts/half.js';
import {
  type AttentionBlocksparseQuantizedOptions,
  type AttentionDecodeQuantizedOptions,
  whole,
} from '../ts/reference/qattention.js';
import attention from './attention.bench.js';
import type { FamilyBench } from './lib/bench.js';

const KIVI = { kScheme: 'affine', kAxis: 'column', vScheme: 'affine' } as const;
const LLAMA = { heads: 32, kvHeads: 8, keys: 8192, headDim: 128 };

/** Any codes; scales and minima that put values around 0. */
function inputsOf(contract: Contract<any>, o: object, r: Random): Arrays {
  const params = contract.params(o);
  const lengths = contract.lengths(params);
  return Object.fromEntries(
    Object.entries(contract.arrays)
      .filter(([name, { role }]) => role === 'in' && lengths[name])
      .map(([name, array]) => {
        const length = lengths[name]!;
        const dtype = dtypeOf(array, params);
        if (dtype === 'u32') return [name, r.words(length)];
        if (dtype === 'u8') return [name, new Uint8Array(length).fill(124)];
        const values = r.normals(length, name === 'q' ? 1 : 0.1);
        return [name, dtype === 'f16' ? toHalves(values) : values];
      }),
  );
}

const decode = (title: string, options: AttentionDecodeQuantizedOptions, quick?: true) => ({
  title,
  options,
  inputs: (r: Random) => inputsOf(attention_decode_quantized_f32, options, r),
  ...(quick ? { quick } : {}),
});

/** One query, one key block of 64 in eight. */
const chosen = {
  indptr: Uint32Array.of(0, 16),
  indices: Uint32Array.from({ length: 16 }, (_, i) => 8 * i),
  blockQueries: 16,
  blockKeys: 64,
};
const quest: AttentionBlocksparseQuantizedOptions = {
  ...LLAMA,
  queries: 1,
  ...KIVI,
  kGroupSize: 128,
  vGroupSize: 128,
  blocks: chosen,
};

const bench: FamilyBench = {
  attention_decode_quantized_f32: {
    sizes: [
      ...[2, 3, 4, 8].flatMap((bits) =>
        [128, 32].map((size) =>
          decode(`KIVI ${bits} bit, groups of ${size}, 32 heads on 8 x 8192 x 128`, {
            ...LLAMA,
            ...KIVI,
            kBits: bits,
            vBits: bits,
            kGroupSize: size,
            vGroupSize: size,
          }),
        ),
      ),
      decode('KIVI 4 bit, groups of 32, f16 scales, the same', {
        ...LLAMA,
        ...KIVI,
        kScaleType: 'f16',
        vScaleType: 'f16',
      }),
      ...[4, 8].map((bits) =>
        decode(`${bits} bit symmetric per token, groups of 32, f16 scales, the same`, {
          ...LLAMA,
          kScheme: 'symmetric',
          vScheme: 'symmetric',
          kBits: bits,
          vBits: bits,
          kScaleType: 'f16',
          vScaleType: 'f16',
        }),
      ),
      decode('mxfp4, the same', { ...LLAMA, kScheme: 'mxfp4', vScheme: 'mxfp4' }),
      decode('codebooks, the same', {
        ...LLAMA,
        kScheme: 'codebook',
        vScheme: 'codebook',
        kGroupSize: 0,
        vGroupSize: 0,
      }),
      decode('KIVI 4 bit, 8 heads on 8 x 512 x 64', { heads: 8, kvHeads: 8, keys: 512, headDim: 64, ...KIVI }, true),
    ],
    // The cache dequantised beforehand.
    javascript(arrays, o: AttentionDecodeQuantizedOptions) {
      const dense = whole(arrays, attention_decode_quantized_f32.params(o));
      return attention.attention_decode_f32!.javascript!({ ...dense }, o as never);
    },
  },
  attention_blocksparse_quantized_f32: {
    sizes: [
      {
        title: 'KIVI 4 bit, one query, one block in eight, 32 heads on 8 x 8192 x 128',
        options: quest,
        inputs: (r: Random) => ({
          ...inputsOf(attention_blocksparse_quantized_f32, quest, r),
          indptr: chosen.indptr,
          indices: chosen.indices,
        }),
        quick: true,
      },
    ],
    javascript(arrays, o: AttentionBlocksparseQuantizedOptions) {
      const dense = whole(arrays, attention_blocksparse_quantized_f32.params(o));
      return attention.attention_blocksparse_f32!.javascript!(
        { ...dense, ...(o.blocks && { indptr: o.blocks.indptr, indices: o.blocks.indices }) },
        o as never,
      );
    },
  },
};

export default bench;
