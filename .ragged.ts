import { cpuImplementation } from '/work/wt/ints/test/lib/implementations.js';
import { random } from '/work/wt/ints/test/lib/random.js';
import { bestLevel } from '/work/wt/ints/ts/cpu/runtime.js';
import * as q from '/work/wt/ints/ts/contract/quantize.js';
import * as g from '/work/wt/ints/ts/contract/integers.js';
const base = { rows: 1024, n: 4096, bits: 4, groupSize: 32, scheme: 'affine', axis: 'row' };
const shapes: any[] = [base, { ...base, rows: 65536, n: 33 },{ ...base, rows: 65536, n: 33, bits:8, scheme:'symmetric' }, { ...base, rows: 65536, n: 40 }, { ...base, rows: 65536, n: 63 }, { ...base, rows: 65536, n: 65 },{ ...base, rows: 65536*4, n: 7 },{ ...base, n: 4097 }, { ...base, n: 4095 },{...base, groupSize:0,n:4097}, { ...base, axis:'column', n: 4097 },{ ...base, axis:'column', n: 64, rows:65536 }];
const which = process.argv[2] ?? 'quantize';
const more = process.argv[3] ? JSON.parse(process.argv[3]) : {};
const contracts: any = which === 'quantize' ? [q.quantize_f32, q.dequantize_f32] : [g.quantize_integers_f32, g.dequantize_integers_f32];
const normals = random(1).normals(65521);
for (const c of contracts) {
  const things: any[] = [];
  for (const s0 of shapes) {
    const s = { ...s0, ...more };
    const l = c.lengths(c.params(s));
    const f16 = s.scaleType === 'f16';
    const inputs: any = {};
    for (const [name, a] of Object.entries<any>(c.arrays)) if (a.role === 'in' && name !== 'lows' && name !== 'highs' && l[name]) inputs[name] = name==='codes' ? Uint32Array.from({length: l[name]}, (_, i) => (i * 2654435761)>>>0) : a.dtypeIf && f16 ? new Uint16Array(l[name]).fill(0x3c01) : Float32Array.from({ length: l[name] }, (_, i) => normals[i % 65521]!);
    const p = await cpuImplementation(bestLevel()).prepare(c, s, inputs);
    things.push({ s, p, units: s.rows * s.n, ns: [] });
    for (let i = 0; i < 20; i++) p.run();
  }
  for (let t = 0; t < 25; t++) for (const x of things) { const b = performance.now(); x.p.run(); x.ns.push((performance.now() - b) * 1e6 / x.units); }
  const med = (a: number[]) => a.sort((x, y) => x - y)[a.length >> 1]!;
  const first = med(things[0].ns);
  for (const x of things) console.log(c.kernel, JSON.stringify(x.s), med(x.ns).toFixed(3), (med(x.ns) / first).toFixed(2));
}
