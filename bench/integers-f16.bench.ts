import * as contract from '../ts/contract/integers.js';
import bench from './integers.bench.js';
import { halfBench } from './lib/half.js';

export default halfBench(bench, contract);
