import * as contract from '../ts/contract/ggml.js';
import spec from './ggml.spec.js';
import { halfSpec } from './lib/half.js';

export default halfSpec(spec, contract, { scratch: { shape: '[1024]', meaning: 'CPU only' } });
