import * as contract from '../ts/contract/hadamard.js';
import spec from './hadamard.spec.js';
import { halfSpec } from './lib/half.js';

export default halfSpec(spec, contract, {
  scratch: { shape: '[hadamardScratchBytes / 4]', meaning: 'CPU only' },
});
