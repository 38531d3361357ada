import type { FamilyBench } from './lib/bench.js';

const bench: FamilyBench = {};
export default bench;
