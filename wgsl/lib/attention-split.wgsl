// Decode attention but for its loads: what attention-decode.wgsl and attention-decode-vec4.wgsl share. They bind the arrays
// and supply
//   load_k, load_v(row, vector)   4 components of a row from 4 · vector on, 0 past the last
//
// Method: Flash-Decoding (Dao et al. 2023). The range of keys is cut into `splits` parts of equal length; a workgroup takes
// one part for up to 4 query heads of one kv head, so that each key and value is fetched once for them (larger groups: the
// workgroups of one part are neighbours and share it in cache). For each byte of keys one multiply-add: bound by memory.
// Tiles of 64 keys:
// 1. 8 neighbours share a key: each adds up every eighth vector for 4 keys × 4 heads in registers, its loads coalesced;
// 2. one invocation per key sums the 8 parts; the tile's maximum in two steps; weights;
// 3. an invocation owns one vector of the values (4 heads) for every `slots`-th key: coalesced loads, weights broadcast.
// The slots are summed at the end, always in the same order. 14 KiB of workgroup memory. A second dispatch merges the parts,
// a workgroup for each head.
//
// Not done (no device here to time them): groups of 8 heads in one workgroup (twice the registers); the values' loads ahead
// of the softmax; subgroup operations in step 2 (no size of subgroup may be assumed).

const DECODE_WORKGROUP = 128u;
const DECODE_TILE = 64u; // keys
const DECODE_HEADS = 4u;
const DECODE_SHARERS = 8u; // invocations per key
const DECODE_ROW = 65u; // vectors from one sharer's parts to the next: 64 keys and padding
var<workgroup> decode_queries: array<vec4f, 256>; // [4 heads][64]
var<workgroup> decode_parts: array<vec4f, 520>; // [8 sharers][65]; at the end [4 heads][128 invocations]
var<workgroup> decode_weights: array<vec4f, 64>; // by key, 4 heads: logits, then weights, at the end sums
var<workgroup> decode_maxima: array<vec4f, 8>;

var<private> decode_sums: array<vec4f, 4>; // by head, of this invocation's vector and slot
var<private> decode_largest: vec4f; // by head, in units of log 2
var<private> decode_sum: vec4f; // by head, of this invocation's key of each tile

// A workgroup's share: some heads of one kv head, some keys.
struct DecodeShare {
  kv_head: u32,
  head: u32,
  to_head: u32, // not past head: no share
  split: u32,
  from_key: u32,
  to_key: u32,
}

fn decode_share(id: vec3u, count: vec3u) -> DecodeShare {
  let group = params.heads / params.kvHeads;
  let parts = (group + DECODE_HEADS - 1u) / DECODE_HEADS;
  let index = id.x + id.y * count.x;
  let kv_index = index / parts;
  var share: DecodeShare;
  share.split = kv_index / params.kvHeads;
  if (share.split >= params.splits) {
    return share;
  }
  share.kv_head = kv_index % params.kvHeads;
  share.head = share.kv_head * group + index % parts * DECODE_HEADS;
  share.to_head = min(share.head + DECODE_HEADS, (share.kv_head + 1u) * group);
  let tiles = (params.toKey - params.fromKey + DECODE_TILE - 1u) / DECODE_TILE;
  let length = (tiles + params.splits - 1u) / params.splits * DECODE_TILE;
  share.from_key = min(params.fromKey + share.split * length, params.toKey);
  share.to_key = min(share.from_key + length, params.toKey);
  return share;
}

fn head_vectors() -> u32 {
  return (headDim + 3u) / 4u;
}

fn value_vectors() -> u32 {
  return (valueDim + 3u) / 4u;
}

// Invocations that own the same vector of the values, at most one for each key.
fn value_slots() -> u32 {
  return min(DECODE_WORKGROUP / value_vectors(), DECODE_TILE);
}

fn decode(share: DecodeShare, local: u32) {
  let factor = logit_factor(params.scale, params.softcap);
  for (var i = local; i < DECODE_HEADS * 64u; i += DECODE_WORKGROUP) {
    let head = share.head + i / 64u;
    var x = vec4f(0);
    if (head < share.to_head && i % 64u < head_vectors()) {
      x = load_q(head, i % 64u) * factor;
    }
    decode_queries[i] = x;
  }
  decode_largest = vec4f(LOWEST_F32);
  for (var key = share.from_key; key < share.to_key; key += DECODE_TILE) {
    workgroupBarrier();
    decode_products(share, local, key);
    workgroupBarrier();
    decode_tile_weights(share, local, key);
    workgroupBarrier();
    decode_values(share, local, key);
  }
}

fn decode_products(share: DecodeShare, local: u32, key: u32) {
  let sharer = local % DECODE_SHARERS;
  let slot = local / DECODE_SHARERS;
  let rows = share.kv_head * params.keys + min(key + slot + vec4u(0u, 16u, 32u, 48u), vec4u(share.to_key - 1u));
  var products_0 = vec4f(0);
  var products_1 = vec4f(0);
  var products_2 = vec4f(0);
  var products_3 = vec4f(0);
  for (var c = sharer; c < head_vectors(); c += DECODE_SHARERS) {
    let key_0 = load_k(rows.x, c);
    let key_1 = load_k(rows.y, c);
    let key_2 = load_k(rows.z, c);
    let key_3 = load_k(rows.w, c);
    let query_0 = decode_queries[c];
    let query_1 = decode_queries[c + 64u];
    let query_2 = decode_queries[c + 128u];
    let query_3 = decode_queries[c + 192u];
    products_0 = add_products(key_0, query_0, query_1, query_2, query_3, products_0);
    products_1 = add_products(key_1, query_0, query_1, query_2, query_3, products_1);
    products_2 = add_products(key_2, query_0, query_1, query_2, query_3, products_2);
    products_3 = add_products(key_3, query_0, query_1, query_2, query_3, products_3);
  }
  let at = sharer * DECODE_ROW + slot;
  decode_parts[at] = products_0;
  decode_parts[at + 16u] = products_1;
  decode_parts[at + 32u] = products_2;
  decode_parts[at + 48u] = products_3;
}

fn decode_tile_weights(share: DecodeShare, local: u32, key: u32) {
  let seen = local < min(DECODE_TILE, share.to_key - key);
  var logit = vec4f(LOWEST_F32);
  if (seen) {
    logit = decode_parts[local];
    for (var i = 1u; i < DECODE_SHARERS; i++) {
      logit += decode_parts[i * DECODE_ROW + local];
    }
    logit = logits(logit, params.softcap);
  }
  if (local < DECODE_TILE) {
    decode_weights[local] = logit;
  }
  workgroupBarrier();
  if (local < 8u) {
    var most = decode_weights[local];
    for (var i = local + 8u; i < DECODE_TILE; i += 8u) {
      most = max(most, decode_weights[i]);
    }
    decode_maxima[local] = most;
  }
  workgroupBarrier();
  let before = decode_largest;
  for (var i = 0u; i < 8u; i++) {
    decode_largest = max(decode_largest, decode_maxima[i]);
  }
  let rescale = exp2(before - decode_largest);
  let weight = select(vec4f(0), exp2(logit - decode_largest), seen);
  decode_sum = decode_sum * rescale + weight;
  if (local < DECODE_TILE) {
    decode_weights[local] = weight;
  }
  decode_sums[0] *= rescale.x;
  decode_sums[1] *= rescale.y;
  decode_sums[2] *= rescale.z;
  decode_sums[3] *= rescale.w;
}

fn decode_values(share: DecodeShare, local: u32, key: u32) {
  let slots = value_slots();
  let vector = local % value_vectors();
  let slot = local / value_vectors();
  if (slot >= slots) {
    return;
  }
  let count = min(DECODE_TILE, share.to_key - key);
  for (var from_key = slot; from_key < count; from_key += 4u * slots) {
    let keys = from_key + vec4u(0u, slots, 2u * slots, 3u * slots);
    let rows = share.kv_head * params.keys + key + min(keys, vec4u(count - 1u));
    let value_0 = load_v(rows.x, vector);
    let value_1 = load_v(rows.y, vector);
    let value_2 = load_v(rows.z, vector);
    let value_3 = load_v(rows.w, vector);
    add_value_of(value_0, keys.x, count);
    add_value_of(value_1, keys.y, count);
    add_value_of(value_2, keys.z, count);
    add_value_of(value_3, keys.w, count);
  }
}

fn add_value_of(value: vec4f, key: u32, count: u32) {
  let weight = select(vec4f(0), decode_weights[min(key, DECODE_TILE - 1u)], key < count);
  decode_sums[0] = fma(vec4f(weight.x), value, decode_sums[0]);
  decode_sums[1] = fma(vec4f(weight.y), value, decode_sums[1]);
  decode_sums[2] = fma(vec4f(weight.z), value, decode_sums[2]);
  decode_sums[3] = fma(vec4f(weight.w), value, decode_sums[3]);
}

// Puts every slot's sums where `decode_value` finds them; answers with the sum of weights by head.
fn decode_gather(local: u32) -> vec4f {
  workgroupBarrier();
  decode_parts[local] = decode_sums[0];
  decode_parts[local + DECODE_WORKGROUP] = decode_sums[1];
  decode_parts[local + 2u * DECODE_WORKGROUP] = decode_sums[2];
  decode_parts[local + 3u * DECODE_WORKGROUP] = decode_sums[3];
  if (local < DECODE_TILE) {
    decode_weights[local] = decode_sum;
  }
  workgroupBarrier();
  if (local < 8u) {
    var sum = decode_weights[local];
    for (var i = local + 8u; i < DECODE_TILE; i += 8u) {
      sum += decode_weights[i];
    }
    decode_maxima[local] = sum;
  }
  workgroupBarrier();
  var sum = decode_maxima[0];
  for (var i = 1u; i < 8u; i++) {
    sum += decode_maxima[i];
  }
  return sum;
}

// Component c of a head's values, divided by its sum of weights.
fn decode_value(head: u32, c: u32, sum: f32) -> f32 {
  var value = 0.0;
  for (var slot = 0u; slot < value_slots(); slot++) {
    value += decode_parts[head * DECODE_WORKGROUP + slot * value_vectors() + c / 4u][c % 4u];
  }
  return select(0.0, value / sum, sum > 0.0);
}

// In units of log 2; LOWEST_F32 where there is no key.
fn decode_lse(head: u32, sum: f32) -> f32 {
  return select(LOWEST_F32, decode_largest[head] + log2(max(sum, 1.0)), sum > 0.0);
}

const MERGE_WORKGROUP = 256u; // and the most splits there may be
var<workgroup> merge_lses: array<f32, 256>;
var<workgroup> merge_weights: array<f32, 256>;
var<workgroup> merge_values: array<f32, 256>;

// A head's answer from its states in scratch: [splits, heads, valueDim] values, then [splits, heads] log-sum-exps.
fn merge_states(head: u32, local: u32) {
  if (local < params.splits) {
    merge_lses[local] = scratch[params.splits * params.heads * valueDim + local * params.heads + head];
  }
  workgroupBarrier();
  var most = LOWEST_F32;
  for (var i = 0u; i < params.splits; i++) {
    most = max(most, merge_lses[i]);
  }
  if (local < params.splits) {
    merge_weights[local] = exp2(merge_lses[local] - most);
  }
  workgroupBarrier();
  // Invocations that own the same component take splits in turn, four loads under way together.
  let turns = MERGE_WORKGROUP / valueDim;
  let turn = local / valueDim;
  var value = 0.0;
  if (turn < turns) {
    for (var i = turn; i < params.splits; i += 4u * turns) {
      let value_0 = split_value(i, head, local % valueDim);
      let value_1 = split_value(i + turns, head, local % valueDim);
      let value_2 = split_value(i + 2u * turns, head, local % valueDim);
      let value_3 = split_value(i + 3u * turns, head, local % valueDim);
      value += value_0 + value_1 + value_2 + value_3;
    }
  }
  merge_values[local] = value;
  workgroupBarrier();
  if (local >= valueDim) {
    return;
  }
  var sum = 0.0;
  for (var i = 0u; i < params.splits; i++) {
    sum += merge_weights[i];
  }
  for (var i = 1u; i < turns; i++) {
    value += merge_values[local + i * valueDim];
  }
  output[head * valueDim + local] = element(value / sum);
  if (local == 0u) {
    lse[head] = natural_lse(most + log2(sum));
  }
}

fn split_value(split: u32, head: u32, c: u32) -> f32 {
  let at = min(split, params.splits - 1u);
  let weight = select(0.0, merge_weights[at], split < params.splits);
  return weight * scratch[(at * params.heads + head) * valueDim + c];
}

// Entry points' work. A share's states go to scratch, from `first_state` of `states` on by its split.
fn decode_states(id: vec3u, count: vec3u, local: u32, first_state: u32, states: u32) {
  let share = decode_share(id, count);
  if (share.head >= share.to_head) {
    return;
  }
  decode(share, local);
  let sums = decode_gather(local);
  let first = (first_state + share.split) * params.heads + share.head;
  for (var i = local; i < (share.to_head - share.head) * valueDim; i += DECODE_WORKGROUP) {
    let head = i / valueDim;
    let c = i % valueDim;
    scratch[first * valueDim + i] = decode_value(head, c, sums[head]);
    if (c == 0u) {
      scratch[states * params.heads * valueDim + first + head] = decode_lse(head, sums[head]);
    }
  }
}

fn merge_heads(id: vec3u, count: vec3u, local: u32) {
  let head = id.x + id.y * count.x;
  if (head < params.heads) {
    merge_states(head, local);
  }
}

// Heads without a key.
fn empty_heads(id: vec3u, count: vec3u, local: u32) {
  let head = id.x + id.y * count.x;
  if (head < params.heads && local < valueDim) {
    output[head * valueDim + local] = element(0.0);
    if (local == 0u) {
      lse[head] = negative_infinity_f32();
    }
  }
}
