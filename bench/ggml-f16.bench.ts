import * as contract from '../ts/contract/ggml.js';
import bench from './ggml.bench.js';
import { halfBench } from './lib/half.js';

export default halfBench(bench, contract);
