import * as contract from '../ts/contract/attention.js';
import bench from './attention.bench.js';
import { halfBench } from './lib/half.js';

export default halfBench(bench, contract);
