import * as contract from '../ts/contract/softmax.js';
import { halfSpec } from './lib/half.js';
import spec from './softmax.spec.js';

export default halfSpec(spec, contract);
