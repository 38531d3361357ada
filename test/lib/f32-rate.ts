/** How many f32 multiply-adds a device does in a second: beside its copy bandwidth the other roof of the tables. */

/**
 * Eight chains of multiply-adds in each invocation, which wait for nothing but themselves. The factors come from a buffer and
 * the sums go to one, so that no compiler may compute or drop them; they tend to 2/3, far from overflow and denormals.
 */
const SHADER = `
@group(0) @binding(0) var<uniform> factors: vec2f;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4f, 256>;

@compute @workgroup_size(256)
fn multiply_add(@builtin(local_invocation_index) local: u32) {
  let m = vec4f(factors.x);
  let c = vec4f(factors.y);
  var a = vec4f(f32(local));
  var b = -a;
  for (var round = 0u; round < 256u; round++) {
    a = fma(a, m, c); b = fma(b, m, c);
    a = fma(a, m, c); b = fma(b, m, c);
    a = fma(a, m, c); b = fma(b, m, c);
    a = fma(a, m, c); b = fma(b, m, c);
    a = fma(a, m, c); b = fma(b, m, c);
    a = fma(a, m, c); b = fma(b, m, c);
    a = fma(a, m, c); b = fma(b, m, c);
    a = fma(a, m, c); b = fma(b, m, c);
  }
  sums[local] = a + b;
}
`;

/** Of one workgroup: invocations · rounds · multiply-adds in a round · 2. */
const OPERATIONS = 256 * 256 * 64 * 2;

/** A dispatch shorter than this (ms) is mostly its own start and end. */
const LONG = 5;
/** As many workgroups as every device dispatches along one dimension, as a power of two. */
const MOST = 32768;

/** The best rate (10⁹ operations a second) that `time` (ms of so many workgroups) shows, with twice the work until it is long enough. */
export async function bestRate(time: (workgroups: number) => Promise<number>, operations: number): Promise<number> {
  let best = 0;
  let workgroups = 1;
  const run = async () => {
    const ms = await time(workgroups);
    // A clock too coarse to see the work says 0.
    if (ms > 0) best = Math.max(best, (workgroups * operations) / ms / 1e6);
    return ms;
  };
  // Drivers finish their compiling with the first dispatch.
  await time(1);
  while ((await run()) < LONG && workgroups < MOST) workgroups *= 2;
  // What else the machine did meanwhile is no property of the device.
  for (let again = 0; again < 8; again++) await run();
  return best;
}

/** A device's rate in GFLOP/s; `timed` gives the milliseconds of what is recorded. */
export async function f32Rate(
  device: GPUDevice,
  timed: (record: (encoder: GPUCommandEncoder) => void) => Promise<number>,
): Promise<number> {
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code: SHADER }), entryPoint: 'multiply_add' },
  });
  const factors = device.createBuffer({ size: 8, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  const sums = device.createBuffer({ size: 4096, usage: GPUBufferUsage.STORAGE });
  device.queue.writeBuffer(factors, 0, Float32Array.of(0.25, 0.5));
  const bindGroup = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [factors, sums].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  try {
    return await bestRate(
      (workgroups) =>
        timed((encoder) => {
          const pass = encoder.beginComputePass();
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, bindGroup);
          pass.dispatchWorkgroups(workgroups);
          pass.end();
        }),
      OPERATIONS,
    );
  } finally {
    factors.destroy();
    sums.destroy();
  }
}
