enable subgroups;

// Reductions over a workgroup of WORKGROUP invocations in one dimension, or over each aligned group of `width` of them (a
// power of two up to WORKGROUP, uniform). Every invocation gets its result. `local` is the local_invocation_index.
// All invocations must call, in uniform control flow; calls may follow one another. Sums are added in a fixed order: the
// same bits every time.
// This level: subgroups of any size (a power of two from 4 to 128) reduce first, then partial results go through workgroup
// memory. A subgroup is taken to hold consecutive invocations, as it does everywhere for one-dimensional workgroups. Its
// size is counted, not asked: the subgroup_size some drivers report is not the one they run.

const WORKGROUP: u32 = 256u;

// Room for subgroups of 4.
var<workgroup> reduce_f32: array<f32, WORKGROUP / 4u>;
var<workgroup> reduce_u32: array<u32, WORKGROUP / 4u>;

fn workgroup_max(value: f32, local: u32) -> f32 {
  let size = subgroupAdd(1u);
  let partial = subgroupMax(value);
  workgroupBarrier();
  if (local % size == 0u) {
    reduce_f32[local / size] = partial;
  }
  workgroupBarrier();
  var result = LOWEST_F32;
  for (var i = local % size; i < WORKGROUP / size; i += size) {
    result = max(result, reduce_f32[i]);
  }
  return subgroupMax(result);
}

fn workgroup_sum(value: f32, local: u32) -> f32 {
  let size = subgroupAdd(1u);
  let partial = subgroupAdd(value);
  workgroupBarrier();
  if (local % size == 0u) {
    reduce_f32[local / size] = partial;
  }
  workgroupBarrier();
  var result = 0.0;
  for (var i = local % size; i < WORKGROUP / size; i += size) {
    result = result + reduce_f32[i];
  }
  return subgroupAdd(result);
}

fn group_sum(value: f32, local: u32, width: u32) -> f32 {
  let size = subgroupAdd(1u);
  var result = value;
  for (var distance = 1u; distance < min(width, 128u); distance <<= 1u) {
    let other = subgroupShuffleXor(result, distance % size);
    result = select(result, result + other, distance < size);
  }
  if (width > 4u) {
    workgroupBarrier();
    if (local % size == 0u) {
      reduce_f32[local / size] = result;
    }
    workgroupBarrier();
    if (width > size) {
      let first = local & ~(width - 1u);
      result = 0.0;
      for (var i = first / size; i < (first + width) / size; i++) {
        result = result + reduce_f32[i];
      }
    }
  }
  return result;
}

fn workgroup_max_u32(value: u32, local: u32) -> u32 {
  let size = subgroupAdd(1u);
  let partial = subgroupMax(value);
  workgroupBarrier();
  if (local % size == 0u) {
    reduce_u32[local / size] = partial;
  }
  workgroupBarrier();
  var result = 0u;
  for (var i = local % size; i < WORKGROUP / size; i += size) {
    result = max(result, reduce_u32[i]);
  }
  return subgroupMax(result);
}

fn group_max_u32(value: u32, local: u32, width: u32) -> u32 {
  let size = subgroupAdd(1u);
  var result = value;
  for (var distance = 1u; distance < min(width, 128u); distance <<= 1u) {
    let other = subgroupShuffleXor(result, distance % size);
    result = select(result, max(result, other), distance < size);
  }
  if (width > 4u) {
    workgroupBarrier();
    if (local % size == 0u) {
      reduce_u32[local / size] = result;
    }
    workgroupBarrier();
    if (width > size) {
      let first = local & ~(width - 1u);
      result = 0u;
      for (var i = first / size; i < (first + width) / size; i++) {
        result = max(result, reduce_u32[i]);
      }
    }
  }
  return result;
}

fn workgroup_min_u32(value: u32, local: u32) -> u32 {
  let size = subgroupAdd(1u);
  let partial = subgroupMin(value);
  workgroupBarrier();
  if (local % size == 0u) {
    reduce_u32[local / size] = partial;
  }
  workgroupBarrier();
  var result = 0xffffffffu;
  for (var i = local % size; i < WORKGROUP / size; i += size) {
    result = min(result, reduce_u32[i]);
  }
  return subgroupMin(result);
}

fn workgroup_sum_u32(value: u32, local: u32) -> u32 {
  let size = subgroupAdd(1u);
  let partial = subgroupAdd(value);
  workgroupBarrier();
  if (local % size == 0u) {
    reduce_u32[local / size] = partial;
  }
  workgroupBarrier();
  var result = 0u;
  for (var i = local % size; i < WORKGROUP / size; i += size) {
    result = result + reduce_u32[i];
  }
  return subgroupAdd(result);
}
