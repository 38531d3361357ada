import * as contract from '../ts/contract/softmax.js';
import { halfBench } from './lib/half.js';
import bench from './softmax.bench.js';

export default halfBench(bench, contract);
