import * as contract from '../ts/contract/integers.js';
import spec from './integers.spec.js';
import { halfSpec } from './lib/half.js';

export default halfSpec(spec, contract, {
  scratch: { shape: '[integersScratchBytes / 4]', meaning: 'CPU only' },
});
