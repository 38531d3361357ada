/** What test/pool-browser.test.ts runs in pages and in a module worker: bundled. */
import * as attention from '../ts/cpu/attention.js';
import { createPool, LanewisePoolError, type PoolOptions, workerSource } from '../ts/cpu/pool.js';
import * as softmax from '../ts/cpu/softmax.js';

const kindOf = (error: unknown) => `${(error as Error).name}: ${(error as Error).message}`;

/** Do two threads give the bits of one, and do both take part? Answers with what is wrong. */
async function compute(options: PoolOptions = {}): Promise<string[]> {
  const pool = await createPool({ threads: 2, ...options });
  pool.memory.grow(256);
  const [one, many] = [attention.instantiate(pool.memory), await pool.instantiate(attention)];
  const bytes = attention.attentionScratchBytes({ headDim: 64 });
  const scratch = 16 << 20;
  const own = (scratch + pool.scratchBytes(bytes) / 2) >> 2;
  const words = new Int32Array(pool.memory.buffer);
  const floats = new Float32Array(pool.memory.buffer);
  for (let i = 0; i < 3 << 18; i++) floats[i] = Math.sin(i * i);
  const faults: string[] = [];
  let helped = false;
  for (const end = performance.now() + 10_000; !helped && performance.now() < end; ) {
    words.fill(7, own, own + (bytes >> 2));
    const results = [one, many].map((kernels) => {
      kernels.attention_blocksparse_f32(
        64,
        1 << 20,
        2 << 20,
        8,
        4,
        120,
        120,
        64,
        64,
        0.125,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        4 << 20,
        8 << 20,
        scratch,
      );
      return [...words.subarray((4 << 20) >> 2, ((4 << 20) >> 2) + 8 * 120 * 64)].join();
    });
    if (results[0] !== results[1]) faults.push('other bits');
    helped = words.subarray(own, own + (bytes >> 2)).some((word) => word !== 7);
  }
  if (!helped) faults.push('the worker took no part');
  await pool.close();
  await pool.instantiate(softmax).then(
    () => faults.push('closed pool instantiates'),
    () => {},
  );
  return faults;
}

/** The error of a call in which a worker hangs, and that of the next. */
async function death(): Promise<string[]> {
  const source = workerSource.replace('take(', '(() => { for (;;); })(');
  const worker = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const pool = await createPool({ threads: 2, timeoutMs: 200, partBytes: 1, worker });
  const { raw } = await pool.instantiate(softmax);
  const errors: unknown[] = [];
  // The worker may miss a call while it wakes up.
  for (let run = 0; run < 10_000 && errors.length < 2; run++) {
    try {
      raw.softmax_f32(64, 1000, 40, 1, 1 << 19);
    } catch (error) {
      errors.push(error);
    }
  }
  await pool.close();
  return errors.map((error) => (error instanceof LanewisePoolError ? error.message : `not ours: ${error}`));
}

const attempt = (options: PoolOptions = {}) =>
  createPool({ threads: 2, ...options }).then((pool) => pool.close().then(() => 'made'), kindOf);

/** The same inside a module worker. */
function inWorker(): Promise<string[]> {
  const worker = new Worker('/page.js', { type: 'module' });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
  });
}

if (typeof document === 'undefined') compute().then(postMessage, (error) => postMessage([kindOf(error)]));
else Object.assign(globalThis, { lanewise: { compute, death, attempt, inWorker } });
