// Reductions over a workgroup of WORKGROUP invocations in one dimension, or over each aligned group of `width` of them (a
// power of two up to WORKGROUP, uniform). Every invocation gets its result. `local` is the local_invocation_index.
// All invocations must call, in uniform control flow; calls may follow one another. Sums are added in a fixed order: the
// same bits every time.
// This level: workgroup memory only. One in 16 adds 16 values, then everybody adds what those have: two barriers where a
// tree takes eight.

const WORKGROUP: u32 = 256u;

var<workgroup> reduce_f32: array<f32, WORKGROUP>;
var<workgroup> reduce_u32: array<u32, WORKGROUP>;

fn workgroup_max(value: f32, local: u32) -> f32 {
  workgroupBarrier();
  reduce_f32[local] = value;
  workgroupBarrier();
  var result = LOWEST_F32;
  if (local < 16u) {
    for (var i = local; i < WORKGROUP; i += 16u) {
      result = max(result, reduce_f32[i]);
    }
    reduce_f32[local] = result;
  }
  workgroupBarrier();
  result = LOWEST_F32;
  for (var i = 0u; i < 16u; i++) {
    result = max(result, reduce_f32[i]);
  }
  return result;
}

fn group_sum(value: f32, local: u32, width: u32) -> f32 {
  let first = local & ~(width - 1u);
  let partials = max(width / 16u, 1u);
  workgroupBarrier();
  reduce_f32[local] = value;
  workgroupBarrier();
  var result = 0.0;
  if (local - first < partials) {
    for (var i = local; i < first + width; i += partials) {
      result = result + reduce_f32[i];
    }
    reduce_f32[local] = result;
  }
  workgroupBarrier();
  result = 0.0;
  for (var i = first; i < first + partials; i++) {
    result = result + reduce_f32[i];
  }
  return result;
}

fn workgroup_sum(value: f32, local: u32) -> f32 {
  return group_sum(value, local, WORKGROUP);
}

fn group_max_u32(value: u32, local: u32, width: u32) -> u32 {
  let first = local & ~(width - 1u);
  let partials = max(width / 16u, 1u);
  workgroupBarrier();
  reduce_u32[local] = value;
  workgroupBarrier();
  var result = 0u;
  if (local - first < partials) {
    for (var i = local; i < first + width; i += partials) {
      result = max(result, reduce_u32[i]);
    }
    reduce_u32[local] = result;
  }
  workgroupBarrier();
  result = 0u;
  for (var i = first; i < first + partials; i++) {
    result = max(result, reduce_u32[i]);
  }
  return result;
}

fn workgroup_max_u32(value: u32, local: u32) -> u32 {
  return group_max_u32(value, local, WORKGROUP);
}

fn workgroup_min_u32(value: u32, local: u32) -> u32 {
  workgroupBarrier();
  reduce_u32[local] = value;
  workgroupBarrier();
  var result = 0xffffffffu;
  if (local < 16u) {
    for (var i = local; i < WORKGROUP; i += 16u) {
      result = min(result, reduce_u32[i]);
    }
    reduce_u32[local] = result;
  }
  workgroupBarrier();
  result = 0xffffffffu;
  for (var i = 0u; i < 16u; i++) {
    result = min(result, reduce_u32[i]);
  }
  return result;
}

fn workgroup_sum_u32(value: u32, local: u32) -> u32 {
  workgroupBarrier();
  reduce_u32[local] = value;
  workgroupBarrier();
  var result = 0u;
  if (local < 16u) {
    for (var i = local; i < WORKGROUP; i += 16u) {
      result = result + reduce_u32[i];
    }
    reduce_u32[local] = result;
  }
  workgroupBarrier();
  result = 0u;
  for (var i = 0u; i < 16u; i++) {
    result = result + reduce_u32[i];
  }
  return result;
}
