// Reductions over a whole workgroup of WORKGROUP invocations in one dimension; every invocation gets the result.
// `local` is the invocation's local_invocation_index. All invocations must call, in uniform control flow, and a call
// starts with a barrier, so calls may follow one another. The order of additions is fixed: the same bits every time.
// This level: workgroup memory only. 16 invocations add 16 values each, then everybody adds those 16: two barriers where
// a tree takes eight.

const WORKGROUP: u32 = 256u;

var<workgroup> reduce_f32: array<f32, WORKGROUP>;
var<workgroup> reduce_u32: array<u32, WORKGROUP>;

fn workgroup_max(value: f32, local: u32) -> f32 {
  workgroupBarrier();
  reduce_f32[local] = value;
  workgroupBarrier();
  var total = LOWEST_F32;
  if (local < 16u) {
    for (var i = local; i < WORKGROUP; i += 16u) {
      total = max(total, reduce_f32[i]);
    }
    reduce_f32[local] = total;
  }
  workgroupBarrier();
  total = LOWEST_F32;
  for (var i = 0u; i < 16u; i++) {
    total = max(total, reduce_f32[i]);
  }
  return total;
}

fn workgroup_sum(value: f32, local: u32) -> f32 {
  workgroupBarrier();
  reduce_f32[local] = value;
  workgroupBarrier();
  var total = 0.0;
  if (local < 16u) {
    for (var i = local; i < WORKGROUP; i += 16u) {
      total = total + reduce_f32[i];
    }
    reduce_f32[local] = total;
  }
  workgroupBarrier();
  total = 0.0;
  for (var i = 0u; i < 16u; i++) {
    total = total + reduce_f32[i];
  }
  return total;
}

fn workgroup_max_u32(value: u32, local: u32) -> u32 {
  workgroupBarrier();
  reduce_u32[local] = value;
  workgroupBarrier();
  var total = 0u;
  if (local < 16u) {
    for (var i = local; i < WORKGROUP; i += 16u) {
      total = max(total, reduce_u32[i]);
    }
    reduce_u32[local] = total;
  }
  workgroupBarrier();
  total = 0u;
  for (var i = 0u; i < 16u; i++) {
    total = max(total, reduce_u32[i]);
  }
  return total;
}

fn workgroup_min_u32(value: u32, local: u32) -> u32 {
  workgroupBarrier();
  reduce_u32[local] = value;
  workgroupBarrier();
  var total = 0xffffffffu;
  if (local < 16u) {
    for (var i = local; i < WORKGROUP; i += 16u) {
      total = min(total, reduce_u32[i]);
    }
    reduce_u32[local] = total;
  }
  workgroupBarrier();
  total = 0xffffffffu;
  for (var i = 0u; i < 16u; i++) {
    total = min(total, reduce_u32[i]);
  }
  return total;
}

fn workgroup_sum_u32(value: u32, local: u32) -> u32 {
  workgroupBarrier();
  reduce_u32[local] = value;
  workgroupBarrier();
  var total = 0u;
  if (local < 16u) {
    for (var i = local; i < WORKGROUP; i += 16u) {
      total = total + reduce_u32[i];
    }
    reduce_u32[local] = total;
  }
  workgroupBarrier();
  total = 0u;
  for (var i = 0u; i < 16u; i++) {
    total = total + reduce_u32[i];
  }
  return total;
}
