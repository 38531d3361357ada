import * as contract from '../ts/contract/topk.js';
import { halfBench } from './lib/half.js';
import bench from './topk.bench.js';

export default halfBench(bench, contract);
