// topk_f32: the k largest (or smallest) values of each row with their positions, in order. Exact.
//
//   x        u32 [rows, n]  the bits of f32 (or of f16, two to a word, in topk_f16): any values
//   values   as x [rows, k] out: the best as stored in x, best first (f32: on the way there, their ranks)
//   indices  u32 [rows, k]  out: their positions in the row
//   scratch  u32 [rows, passes · 264 + 8]  histograms and thresholds; only where a row takes many workgroups
//
// Order: equal values keep the lower index first, -0 equals +0, NaN comes last in both directions (by index).
// Everything is done in integers: the rank of a value ascends from the best to the worst, (rank, place) is unique.
//
// Method: radix selection. Counting the digits of (rank, place) from the top narrows it to the k-th; digits are skipped
// as soon as the bin that holds the k-th is taken whole, places matter only where ties do. Those up to the k-th are then
// collected in any order (integer atomics) and sorted, so that the result does not depend on that order. Sorting is
// bitonic with mirrored merges: all comparisons go one way, and what lies past the end need not exist.
// T. Alabi et al., "Fast k-selection algorithms for graphics processing units", 2012.
//
//   topk_f32__sort       n ≤ 512: rows are sorted whole, 512 values to a workgroup
//   topk_f32__row        k ≤ 512: one workgroup selects and sorts one row
//   topk_f32__clear, __histogram (once per digit), __collect, __sort, __merge: many workgroups per row
//
// What depends on the dtype is in lib/topk-values: topk_f16 ends in a step __gather that fills whole words of values.
//
// Not done: more slots and bins (the limit of 16 KiB would allow four times as many: fewer passes, but SwiftShader, on which
// the tests run, takes 1 ms to compile each word of workgroup memory); histograms per subgroup.

struct Params {
  rows: u32,
  n: u32,
  k: u32,
  smallest: u32,
  // Sort: slots per row (a power of two) where rows are sorted whole; 0: what is collected of a row.
  width: u32,
  // Histogram and collect: workgroups per row, this pass, its digit and the one before: lowest bit, and whether of the place.
  chunks: u32,
  passes: u32,
  pass_: u32,
  low: u32,
  ofPlace: u32,
  lastLow: u32,
  lastOfPlace: u32,
  // Sort and merge: the size of the merge, its stride (0: the mirrored first step), whether this is the last step.
  size: u32,
  stride: u32,
  last: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> values: array<u32>;
@group(0) @binding(2) var<storage, read_write> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> scratch: array<atomic<u32>>;
@group(0) @binding(4) var<uniform> params: Params;

const THREADS = 256u;
const SLOTS = 512u;
const BINS = 256u;
const DIGIT = 8u;
// Of scratch, per pass: bins, then the threshold.
const PASS = 264u;
// Of a row, per workgroup.
const CHUNK = 16384u;
const WORST = 0xffffffffu;

struct Threshold {
  rank: u32,
  rankMask: u32,
  place: u32,
  placeMask: u32,
  // The bin it stands for: how many to take, how many there are.
  need: u32,
  here: u32,
}

var<workgroup> bins: array<atomic<u32>, BINS>;
var<workgroup> sums: array<u32, THREADS>;
var<workgroup> ranks: array<u32, SLOTS>;
var<workgroup> places: array<u32, SLOTS>;
var<workgroup> threshold: Threshold;
var<workgroup> base: u32;

fn rankOf(bits: u32) -> u32 {
  if ((bits & ~RANK_SIGN) > RANK_INFINITY) {
    return WORST_RANK;
  }
  let canonical = select(bits, 0u, bits == RANK_SIGN);
  let ascending = select(canonical | RANK_SIGN, canonical ^ WORST_RANK, canonical >= RANK_SIGN);
  return select(ascending ^ WORST_RANK, ascending, params.smallest == 1u);
}

fn initial() -> Threshold {
  return Threshold(0u, 0u, 0u, 0u, params.k, params.n);
}

// In the bin that the threshold stands for?
fn atThreshold(t: Threshold, rank: u32, place: u32) -> bool {
  return (rank & t.rankMask) == t.rank && (place & t.placeMask) == t.place;
}

fn upToThreshold(t: Threshold, rank: u32, place: u32) -> bool {
  let masked = rank & t.rankMask;
  return masked < t.rank || (masked == t.rank && (place & t.placeMask) <= t.place);
}

fn clearBins(thread: u32) {
  atomicStore(&bins[thread], 0u);
  workgroupBarrier();
}

// Counts the digits of the values at the threshold among places [first, to) of the row that starts at `start`.
fn countDigits(thread: u32, start: u32, first: u32, to: u32, low: u32, ofPlace: bool) {
  let t = workgroupUniformLoad(&threshold);
  // Neighbours with the same digit are counted together.
  var bin = 0u;
  var run = 0u;
  for (var place = first + thread; place < to; place += THREADS) {
    let rank = rankOf(stored_bits(start + place));
    if (atThreshold(t, rank, place)) {
      let digit = (select(rank, place, ofPlace) >> low) & (BINS - 1u);
      if (digit != bin && run != 0u) {
        atomicAdd(&bins[bin], run);
        run = 0u;
      }
      bin = digit;
      run += 1u;
    }
  }
  if (run != 0u) {
    atomicAdd(&bins[bin], run);
  }
  workgroupBarrier();
}

// Narrows the threshold to the bin in which the need-th value lies.
fn narrow(thread: u32, low: u32, ofPlace: bool) {
  let t = workgroupUniformLoad(&threshold);
  let here = atomicLoad(&bins[thread]);
  sums[thread] = here;
  workgroupBarrier();
  for (var distance = 1u; distance < THREADS; distance *= 2u) {
    var add = 0u;
    if (thread >= distance) {
      add = sums[thread - distance];
    }
    workgroupBarrier();
    sums[thread] += add;
    workgroupBarrier();
  }
  let before = sums[thread] - here;
  if (before < t.need && t.need <= before + here) {
    var next = t;
    next.need -= before;
    next.here = here;
    if (ofPlace) {
      next.place |= thread << low;
      next.placeMask = WORST << low;
    } else {
      next.rank |= thread << low;
      next.rankMask = WORST << low;
    }
    threshold = next;
  }
  workgroupBarrier();
}

fn compareSlots(a: u32, b: u32) {
  let rankA = ranks[a];
  let rankB = ranks[b];
  let placeA = places[a];
  let placeB = places[b];
  if (rankB < rankA || (rankB == rankA && placeB < placeA)) {
    ranks[a] = rankB;
    ranks[b] = rankA;
    places[a] = placeB;
    places[b] = placeA;
  }
}

// One step of a bitonic merge over all slots: pairs at a distance, or mirrored within each `size` slots (distance 0).
fn mergeSlots(thread: u32, size: u32, distance: u32) {
  for (var pair = thread; pair < SLOTS / 2u; pair += THREADS) {
    if (distance == 0u) {
      let half = size / 2u;
      let a = (pair / half) * size + pair % half;
      compareSlots(a, a + size - 1u - 2u * (pair % half));
    } else {
      let a = (pair / distance) * 2u * distance + pair % distance;
      compareSlots(a, a + distance);
    }
  }
  workgroupBarrier();
}

// Sorts each `width` slots (a power of two).
fn sortSlots(thread: u32, width: u32) {
  workgroupBarrier();
  for (var size = 2u; size <= width; size *= 2u) {
    mergeSlots(thread, size, 0u);
    for (var distance = size / 4u; distance > 0u; distance /= 2u) {
      mergeSlots(thread, size, distance);
    }
  }
}

@compute @workgroup_size(256)
fn topk_f32__row(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = id.x + id.y * count.x;
  if (row >= params.rows) {
    return;
  }
  let start = row * params.n;
  if (thread == 0u) {
    threshold = initial();
  }
  // Digits of the rank from its highest bit down, then of the place from its highest bit.
  var top = RANK_BITS;
  var ofPlace = false;
  var t = workgroupUniformLoad(&threshold);
  // Until the k-th's bin is taken whole, or all of it can be sorted anyway.
  while (t.need != t.here && params.k - t.need + t.here > SLOTS) {
    let low = max(top, DIGIT) - DIGIT;
    clearBins(thread);
    countDigits(thread, start, 0u, params.n, low, ofPlace);
    narrow(thread, low, ofPlace);
    top = low;
    if (top == 0u) {
      ofPlace = true;
      top = 32u - countLeadingZeros(params.n - 1u);
    }
    t = workgroupUniformLoad(&threshold);
  }
  for (var slot = thread; slot < SLOTS; slot += THREADS) {
    ranks[slot] = WORST;
    places[slot] = WORST;
  }
  clearBins(thread);
  for (var place = thread; place < params.n; place += THREADS) {
    let rank = rankOf(stored_bits(start + place));
    if (upToThreshold(t, rank, place)) {
      let slot = atomicAdd(&bins[0], 1u);
      ranks[slot] = rank;
      places[slot] = place;
    }
  }
  var width = 1u;
  while (width < params.k - t.need + t.here) {
    width *= 2u;
  }
  sortSlots(thread, width);
  for (var i = thread; i < params.k; i += THREADS) {
    keep_value(row * params.k + i, start + places[i]);
    indices[row * params.k + i] = places[i];
  }
}

@compute @workgroup_size(256)
fn topk_f32__clear(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let end = params.rows * (params.passes * PASS + 8u);
  let first = (id.x + id.y * count.x) * SLOTS + thread;
  for (var i = first; i < min(first + SLOTS, end); i += THREADS) {
    atomicStore(&scratch[i], 0u);
  }
}

// The threshold before pass `params.pass_`, from the one before the last pass and what that counted.
fn loadThreshold(thread: u32, own: u32) {
  if (params.pass_ == 0u) {
    if (thread == 0u) {
      threshold = initial();
    }
    return;
  }
  let last = own + (params.pass_ - 1u) * PASS;
  atomicStore(&bins[thread], atomicLoad(&scratch[last + thread]));
  if (thread == 0u) {
    threshold = initial();
    if (params.pass_ > 1u) {
      let at = last + BINS;
      threshold = Threshold(
        atomicLoad(&scratch[at]),
        atomicLoad(&scratch[at + 1u]),
        atomicLoad(&scratch[at + 2u]),
        atomicLoad(&scratch[at + 3u]),
        atomicLoad(&scratch[at + 4u]),
        atomicLoad(&scratch[at + 5u]),
      );
    }
  }
  let t = workgroupUniformLoad(&threshold);
  if (t.need != t.here) {
    narrow(thread, params.lastLow, params.lastOfPlace == 1u);
  }
}

@compute @workgroup_size(256)
fn topk_f32__histogram(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.x + id.y * count.x;
  let row = group / params.chunks;
  let first = (group % params.chunks) * CHUNK;
  if (row >= params.rows) {
    return;
  }
  let own = row * (params.passes * PASS + 8u);
  loadThreshold(thread, own);
  let t = workgroupUniformLoad(&threshold);
  let pass_ = own + params.pass_ * PASS;
  if (first == 0u && thread == 0u) {
    let at = pass_ + BINS;
    atomicStore(&scratch[at], t.rank);
    atomicStore(&scratch[at + 1u], t.rankMask);
    atomicStore(&scratch[at + 2u], t.place);
    atomicStore(&scratch[at + 3u], t.placeMask);
    atomicStore(&scratch[at + 4u], t.need);
    atomicStore(&scratch[at + 5u], t.here);
  }
  if (t.need == t.here) {
    return;
  }
  clearBins(thread);
  countDigits(thread, row * params.n, first, min(first + CHUNK, params.n), params.low, params.ofPlace == 1u);
  let counted = atomicLoad(&bins[thread]);
  if (counted != 0u) {
    atomicAdd(&scratch[pass_ + thread], counted);
  }
}

@compute @workgroup_size(256)
fn topk_f32__collect(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.x + id.y * count.x;
  let row = group / params.chunks;
  let first = (group % params.chunks) * CHUNK;
  if (row >= params.rows) {
    return;
  }
  let own = row * (params.passes * PASS + 8u);
  loadThreshold(thread, own);
  let t = workgroupUniformLoad(&threshold);
  clearBins(thread);
  let start = row * params.n;
  let to = min(first + CHUNK, params.n);
  // Room for all of this chunk at once, then the same again to fill it.
  var mine = 0u;
  for (var place = first + thread; place < to; place += THREADS) {
    mine += select(0u, 1u, upToThreshold(t, rankOf(stored_bits(start + place)), place));
  }
  var slot = atomicAdd(&bins[0], mine);
  workgroupBarrier();
  if (thread == 0u) {
    base = atomicAdd(&scratch[own + params.passes * PASS], atomicLoad(&bins[0]));
  }
  slot += row * params.k + workgroupUniformLoad(&base);
  for (var place = first + thread; place < to; place += THREADS) {
    let rank = rankOf(stored_bits(start + place));
    if (upToThreshold(t, rank, place)) {
      keep_rank(slot, rank);
      indices[slot] = place;
      slot += 1u;
    }
  }
}

// Sorts rows whole (width > 0), or 512 of what is collected of a row, or (size > 0) ends a merge of two sorted parts: the
// steps that stay inside 512.
@compute @workgroup_size(256)
fn topk_f32__sort(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = id.x + id.y * count.x;
  let collected = params.width == 0u;
  let width = select(params.width, SLOTS, collected);
  let groups = select(1u, (params.k + SLOTS - 1u) / SLOTS, collected);
  let first = (group % groups) * SLOTS;
  let firstRow = (group / groups) * (SLOTS / width);
  let n = select(params.n, params.k, collected);
  for (var slot = thread; slot < SLOTS; slot += THREADS) {
    let row = firstRow + slot / width;
    let i = first + slot % width;
    ranks[slot] = WORST;
    places[slot] = WORST;
    if (row < params.rows && i < n) {
      if (collected) {
        ranks[slot] = kept_rank(row * n + i, row);
        places[slot] = indices[row * n + i];
      } else {
        ranks[slot] = rankOf(stored_bits(row * n + i));
        places[slot] = i;
      }
    }
  }
  if (params.size == 0u) {
    sortSlots(thread, width);
  } else {
    workgroupBarrier();
    for (var distance = SLOTS / 2u; distance > 0u; distance /= 2u) {
      mergeSlots(thread, SLOTS, distance);
    }
  }
  for (var slot = thread; slot < SLOTS; slot += THREADS) {
    let row = firstRow + slot / width;
    let i = first + slot % width;
    if (row < params.rows && i < params.k) {
      if (params.last == 1u) {
        keep_value(row * params.k + i, row * params.n + places[slot]);
      } else {
        keep_rank(row * params.k + i, ranks[slot]);
      }
      indices[row * params.k + i] = places[slot];
    }
  }
}

// One step of a merge over more than 512: one pair per invocation.
@compute @workgroup_size(256)
fn topk_f32__merge(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let size = params.size;
  let half = size / 2u;
  let pairs = (params.k + size - 1u) / size * half;
  let groups = pairs / THREADS;
  let group = id.x + id.y * count.x;
  let row = group / groups;
  let pair = (group % groups) * THREADS + thread;
  var a = (pair / half) * size + pair % half;
  var b = a + size - 1u - 2u * (pair % half);
  if (params.stride != 0u) {
    a = (pair / params.stride) * 2u * params.stride + pair % params.stride;
    b = a + params.stride;
  }
  if (row >= params.rows || b >= params.k) {
    return;
  }
  a += row * params.k;
  b += row * params.k;
  let rankA = kept_rank(a, row);
  let rankB = kept_rank(b, row);
  let placeA = indices[a];
  let placeB = indices[b];
  if (rankB < rankA || (rankB == rankA && placeB < placeA)) {
    keep_rank(a, rankB);
    keep_rank(b, rankA);
    indices[a] = placeB;
    indices[b] = placeA;
  }
}
