import * as contract from '../ts/contract/topk.js';
import { halfSpec } from './lib/half.js';
import spec from './topk.spec.js';

export default halfSpec(spec, contract, {
  scratch: {
    shape: '[topkScratchBytes / 4]',
    meaning: 'CPU: the work on a row; GPU: only where it says so',
  },
});
