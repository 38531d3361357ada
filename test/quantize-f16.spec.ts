import * as contract from '../ts/contract/quantize.js';
import { halfSpec } from './lib/half.js';
import spec from './quantize.spec.js';

export default halfSpec(spec, contract);
