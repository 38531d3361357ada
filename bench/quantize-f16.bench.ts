import * as contract from '../ts/contract/quantize.js';
import { halfBench } from './lib/half.js';
import bench from './quantize.bench.js';

export default halfBench(bench, contract);
