import * as contract from '../ts/contract/attention.js';
import spec from './attention.spec.js';
import { halfSpec } from './lib/half.js';

export default halfSpec(spec, contract);
