/** benchmark.js looks for lodash and platform in places that ES modules and bundles do not have: hand it lodash. */
import type BenchmarkType from 'benchmark';
import lodash from 'lodash';

(globalThis as { _?: unknown })._ = lodash;
const module = (await import('benchmark')) as unknown as {
  default: typeof BenchmarkType & { runInContext(context: object): typeof BenchmarkType };
};

const host = globalThis as { Benchmark?: unknown };
export const Benchmark: any = module.default.runInContext({
  ...globalThis,
  _: lodash,
  Date,
  Math,
  Function,
  Object,
  Array,
  Error,
  RegExp,
  String,
  Number,
  performance,
  setTimeout,
  clearTimeout,
});
// In a page it compiles what it times through a script element, which finds it under its global name.
host.Benchmark = Benchmark;
