import type { Peer } from './contender.js';
import { jax } from './jax.js';
import { javascript, lanewise } from './lanewise.js';
import { onnxruntimeNode, onnxruntimeWeb } from './onnxruntime.js';
import { tfjs } from './tfjs.js';

/** Everyone, in the order in which they take turns. */
export const peers: Record<string, Peer> = {
  lanewise,
  javascript,
  'onnxruntime-web': onnxruntimeWeb,
  tfjs,
  jax,
  'onnxruntime-node': onnxruntimeNode,
};
