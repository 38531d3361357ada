// The k values of largest magnitude of each row taken out, and put back ("dense and sparse").
//
//   x, rest, out  u32 [rows, n]  the bits of f32: any values
//   values        u32 [rows, k]  bits, by ascending index
//   indices       u32 [rows, k]
//
// Meaning, ties and NaN are those of assembly/outliers.ts: of equal magnitudes the lower indices are taken, NaN last.
// extract is done in integers, and gives the CPU's bits. restore adds in f32; indices not below n are passed over; two equal
// ones in a row are the caller's fault.
//
// Method: the row is copied unless it is worked on in place; one workgroup per row finds the k-th largest magnitude digit
// by digit (radix selection), then each invocation counts and moves its own stretch of the row.
//
// Not done: reading x and writing rest in one go (a buffer cannot be bound for both where it is worked on in place).

struct Params {
  rows: u32,
  n: u32,
  k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> values: array<u32>;
@group(0) @binding(3) var<storage, read_write> indices: array<u32>;
@group(0) @binding(4) var<storage, read_write> rest: array<u32>;

@group(0) @binding(1) var<storage, read> rest__read: array<u32>;
@group(0) @binding(2) var<storage, read> values__read: array<f32>;
@group(0) @binding(3) var<storage, read> indices__read: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> out__bits: array<u32>;

const THREADS = 256u;
const DIGIT = 8u;

// The k-th magnitude so far: its upper digits, and how many are still to take among those that share them.
struct Threshold {
  rank: u32,
  need: u32,
}

var<workgroup> bins: array<atomic<u32>, THREADS>;
var<workgroup> sums: array<vec2u, THREADS>;
var<workgroup> threshold: Threshold;

// Ascends from the largest magnitude to the smallest; NaN last.
fn rank_of(bits: u32) -> u32 {
  let magnitude = bits & 0x7fffffffu;
  return select(0x7fffffffu - magnitude, 0xffffffffu, magnitude > 0x7f800000u);
}

// The sum over all invocations before this one. All invocations must call.
fn sum_before(value: vec2u, thread: u32) -> vec2u {
  workgroupBarrier();
  sums[thread] = value;
  workgroupBarrier();
  for (var distance = 1u; distance < THREADS; distance *= 2u) {
    var add = vec2u(0u);
    if (thread >= distance) {
      add = sums[thread - distance];
    }
    workgroupBarrier();
    sums[thread] += add;
    workgroupBarrier();
  }
  return sums[thread] - value;
}

@compute @workgroup_size(THREADS)
fn outliers_extract_f32__copy(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = (id.x + id.y * count.x) * THREADS + thread;
  if (at < params.rows * params.n) {
    rest[at] = x[at];
  }
}

@compute @workgroup_size(THREADS)
fn outliers_extract_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = id.x + id.y * count.x;
  if (row >= params.rows) {
    return;
  }
  let start = row * params.n;
  if (thread == 0u) {
    threshold = Threshold(0u, params.k);
  }
  for (var low = 32u; low > 0u; ) {
    let known = select(0xffffffffu << low, 0u, low == 32u);
    low -= DIGIT;
    atomicStore(&bins[thread], 0u);
    let t = workgroupUniformLoad(&threshold);
    for (var i = thread; i < params.n; i += THREADS) {
      let rank = rank_of(rest[start + i]);
      if ((rank & known) == t.rank) {
        atomicAdd(&bins[(rank >> low) & (THREADS - 1u)], 1u);
      }
    }
    workgroupBarrier();
    let here = atomicLoad(&bins[thread]);
    let before = sum_before(vec2u(here, 0u), thread).x;
    if (before < t.need && t.need <= before + here) {
      threshold = Threshold(t.rank | (thread << low), t.need - before);
    }
    workgroupBarrier();
  }
  let t = workgroupUniformLoad(&threshold);
  // A stretch each: how many are better, how many equal.
  let stretch = (params.n + THREADS - 1u) / THREADS;
  let from_ = min(thread * stretch, params.n);
  let to = min(from_ + stretch, params.n);
  var found = vec2u(0u);
  for (var i = from_; i < to; i++) {
    let rank = rank_of(rest[start + i]);
    found += vec2u(u32(rank < t.rank), u32(rank == t.rank));
  }
  let before = sum_before(found, thread);
  var place = row * params.k + before.x + min(before.y, t.need);
  var ties = before.y;
  for (var i = from_; i < to; i++) {
    let bits = rest[start + i];
    let rank = rank_of(bits);
    if (rank < t.rank || (rank == t.rank && ties < t.need)) {
      values[place] = bits;
      indices[place] = i;
      rest[start + i] = 0u;
      place += 1u;
    }
    ties += u32(rank == t.rank);
  }
}

@compute @workgroup_size(THREADS)
fn outliers_restore_f32__copy(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = (id.x + id.y * count.x) * THREADS + thread;
  if (at < params.rows * params.n) {
    out__bits[at] = rest__read[at];
  }
}

@compute @workgroup_size(THREADS)
fn outliers_restore_f32(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = (id.x + id.y * count.x) * THREADS + thread;
  if (at >= params.rows * params.k) {
    return;
  }
  let index = indices__read[at];
  if (index < params.n) {
    out[at / params.k * params.n + index] += values__read[at];
  }
}
