import * as contract from '../ts/contract/hadamard.js';
import bench from './hadamard.bench.js';
import { halfBench } from './lib/half.js';

export default halfBench(bench, contract);
