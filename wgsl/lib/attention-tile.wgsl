// Block-sparse attention but for its loads: what attention.wgsl and attention-vec4.wgsl share. They bind the arrays and
// supply
//   load_q, load_k, load_v(row, vector)   4 components of a row from 4 · vector on, 0 past the last
//   store_output(row, vector, x)          the same back, nothing past the last
//   store_lse(row, lse)                   in units of log 2; LOWEST_F32: the row saw no key
//   key_row(kv_head)                      the row of a kv head's first key
//   first_position()                      where query 0 stands, counted from key 0
//   load_indptr, load_index(i)            block lists
//   uniform_indptr, uniform_index(i)      the same where all invocations ask for one, as a uniform value
//
// Method: online softmax over key tiles (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022). A tile is 32
// queries × 32 keys. An invocation owns 4 queries × 4 keys of its scores, and the same 4 queries × every eighth vector of
// the output: maxima, sums and accumulators stay in registers, and only tile maxima and weights cross the workgroup.
// Scores go over headDim in chunks of 32, values over valueDim in chunks of 64: 13 KiB of workgroup memory whatever the
// dimensions. A vector read from workgroup memory feeds 8 multiply-adds in the scores and 8 to 11 in the values, one from
// global memory 85. Rows of the score chunks are padded to 9 vectors, so that 8 neighbours lie in different banks.
// Loops that would index registers are written out: not every compiler unrolls them.
//
// Not done (no device here to time them): tiles of 64 queries (a third less cache traffic, but half the workgroups, and
// blocks of 16 or 32 queries would leave most of them idle); several blocks of 16 keys in one tile; the next chunk's loads
// ahead of this one's arithmetic; maxima by subgroup operations.

const TILE_SIDE = 32u; // queries, and keys, of a tile
const OWNERS = 8u; // 8 × 8 invocations, 4 queries × 4 keys each
const SCORE_ROW = 9u; // vectors from one row of a score chunk to the next: 8 and padding
const VALUE_ROW = 16u; // vectors of a row of a value chunk

// Where things lie in the tile. Weights and values overlay the score chunks.
const TILE_QUERIES = 0u; // [32 queries][9]
const TILE_KEYS = 288u; // [32 keys][9]
const TILE_WEIGHTS = 0u; // [32 keys][8 owners]: the owner's 4 queries
const TILE_VALUES = 256u; // [32 keys][16]
const TILE_PARTS = 768u; // [8 columns][8 owners]: maxima over a column's keys, at the end sums
var<workgroup> attention_tile: array<vec4f, 832>;

// What an invocation owns: queries `own_row + EIGHTHS` of its tile, keys `own_column + EIGHTHS`.
const EIGHTHS = vec4u(0u, 8u, 16u, 24u);
var<private> own_row: u32;
var<private> own_column: u32;
var<private> own_from: vec4u; // by query: it sees keys in [own_from, own_to)
var<private> own_to: vec4u;
var<private> own_scores_0: vec4f; // logits, before the cap, of query 0 with the 4 keys
var<private> own_scores_1: vec4f;
var<private> own_scores_2: vec4f;
var<private> own_scores_3: vec4f;
var<private> own_largest: vec4f; // by query, in units of log 2
var<private> own_sum: vec4f; // by query, over its own keys only
var<private> own_rescale: vec4f;
var<private> own_values_0: array<vec4f, 8>; // of value chunk 0: by query, vector `own_column`, then `own_column + 8`
var<private> own_values_1: array<vec4f, 8>;
var<private> own_values_2: array<vec4f, 8>;
var<private> own_values_3: array<vec4f, 8>;

// A workgroup's share: some queries of one block of one head, and which keys any of them sees.
struct AttentionShare {
  head: u32,
  kv_head: u32,
  block: u32,
  from_query: u32,
  to_query: u32, // not past from_query: no share
  from_key: u32,
  to_key: u32,
}

fn query_blocks(block_queries: u32) -> u32 {
  return (params.queries + block_queries - 1u) / block_queries;
}

// Tiles are numbered from the last queries, which see most keys when causal; heads of one tile are neighbours.
fn attention_share(id: vec3u, count: vec3u, block_queries: u32) -> AttentionShare {
  let tiles_per_block = (block_queries + TILE_SIDE - 1u) / TILE_SIDE;
  let tiles = query_blocks(block_queries) * tiles_per_block;
  let index = id.x + id.y * count.x;
  var share: AttentionShare;
  if (index / params.heads >= tiles) {
    return share;
  }
  let at = tiles - 1u - index / params.heads;
  let within = at % tiles_per_block * TILE_SIDE;
  share.head = index % params.heads;
  share.kv_head = share.head / (params.heads / params.kvHeads);
  share.block = at / tiles_per_block;
  share.from_query = share.block * block_queries + within;
  share.to_query = min(share.from_query + min(TILE_SIDE, block_queries - within), params.queries);
  if (share.from_query < share.to_query) {
    share.from_key = sees_from(vec4u(share.from_query)).x;
    share.to_key = sees_to(vec4u(share.to_query - 1u)).x;
  }
  return share;
}

// Queries see keys in [sees_from, sees_to).
fn sees_from(queries: vec4u) -> vec4u {
  if (params.window == 0u) {
    return vec4u(0);
  }
  return vec4u(max(vec4i(queries) + first_position() + 1 - i32(params.window), vec4i(0)));
}

fn sees_to(queries: vec4u) -> vec4u {
  if (params.window == 0u && params.causal == 0u) {
    return vec4u(params.keys);
  }
  return vec4u(clamp(vec4i(queries) + first_position() + 1, vec4i(0), vec4i(i32(params.keys))));
}

fn attention_begin(local: u32, share: AttentionShare) {
  own_row = local / OWNERS;
  own_column = local % OWNERS;
  let queries = share.from_query + own_row + EIGHTHS;
  own_from = sees_from(queries);
  own_to = select(vec4u(0), sees_to(queries), queries < vec4u(share.to_query));
  own_largest = vec4f(LOWEST_F32);
}

// `count` vectors of every query and key of the tile are staged: their products are added to the scores.
fn add_scores(count: u32) {
  for (var c = 0u; c < count; c++) {
    let key_0 = attention_tile[TILE_KEYS + own_column * SCORE_ROW + c];
    let key_1 = attention_tile[TILE_KEYS + (own_column + 8u) * SCORE_ROW + c];
    let key_2 = attention_tile[TILE_KEYS + (own_column + 16u) * SCORE_ROW + c];
    let key_3 = attention_tile[TILE_KEYS + (own_column + 24u) * SCORE_ROW + c];
    let query_0 = attention_tile[TILE_QUERIES + own_row * SCORE_ROW + c];
    let query_1 = attention_tile[TILE_QUERIES + (own_row + 8u) * SCORE_ROW + c];
    let query_2 = attention_tile[TILE_QUERIES + (own_row + 16u) * SCORE_ROW + c];
    let query_3 = attention_tile[TILE_QUERIES + (own_row + 24u) * SCORE_ROW + c];
    own_scores_0 = add_products(query_0, key_0, key_1, key_2, key_3, own_scores_0);
    own_scores_1 = add_products(query_1, key_0, key_1, key_2, key_3, own_scores_1);
    own_scores_2 = add_products(query_2, key_0, key_1, key_2, key_3, own_scores_2);
    own_scores_3 = add_products(query_3, key_0, key_1, key_2, key_3, own_scores_3);
  }
}

// Scores of keys [key, end) become weights exp2(logit - own_largest) in the tile; 0 where a query does not see.
fn weigh_scores(key: u32, end: u32) {
  let keys = key + own_column + EIGHTHS;
  let from_key = max(own_from, vec4u(key));
  let seen = max(min(own_to, vec4u(end)), from_key) - from_key;
  let sees_0 = keys - from_key.x < vec4u(seen.x);
  let sees_1 = keys - from_key.y < vec4u(seen.y);
  let sees_2 = keys - from_key.z < vec4u(seen.z);
  let sees_3 = keys - from_key.w < vec4u(seen.w);
  let logits_0 = select(vec4f(LOWEST_F32), logits(own_scores_0, params.softcap), sees_0);
  let logits_1 = select(vec4f(LOWEST_F32), logits(own_scores_1, params.softcap), sees_1);
  let logits_2 = select(vec4f(LOWEST_F32), logits(own_scores_2, params.softcap), sees_2);
  let logits_3 = select(vec4f(LOWEST_F32), logits(own_scores_3, params.softcap), sees_3);
  own_scores_0 = vec4f(0);
  own_scores_1 = vec4f(0);
  own_scores_2 = vec4f(0);
  own_scores_3 = vec4f(0);
  let parts = vec4f(most_of(logits_0), most_of(logits_1), most_of(logits_2), most_of(logits_3));
  attention_tile[TILE_PARTS + own_column * OWNERS + own_row] = parts;
  workgroupBarrier();
  let before = own_largest;
  for (var i = 0u; i < OWNERS; i++) {
    own_largest = max(own_largest, attention_tile[TILE_PARTS + i * OWNERS + own_row]);
  }
  own_rescale = exp2(before - own_largest);
  // Where a query has seen no key yet, own_largest is LOWEST_F32 and so are its scores: weight 0, not 1.
  let w_0 = select(vec4f(0), exp2(logits_0 - own_largest.x), sees_0);
  let w_1 = select(vec4f(0), exp2(logits_1 - own_largest.y), sees_1);
  let w_2 = select(vec4f(0), exp2(logits_2 - own_largest.z), sees_2);
  let w_3 = select(vec4f(0), exp2(logits_3 - own_largest.w), sees_3);
  let key_0 = vec4f(w_0.x, w_1.x, w_2.x, w_3.x);
  let key_1 = vec4f(w_0.y, w_1.y, w_2.y, w_3.y);
  let key_2 = vec4f(w_0.z, w_1.z, w_2.z, w_3.z);
  let key_3 = vec4f(w_0.w, w_1.w, w_2.w, w_3.w);
  attention_tile[TILE_WEIGHTS + own_column * OWNERS + own_row] = key_0;
  attention_tile[TILE_WEIGHTS + (own_column + 8u) * OWNERS + own_row] = key_1;
  attention_tile[TILE_WEIGHTS + (own_column + 16u) * OWNERS + own_row] = key_2;
  attention_tile[TILE_WEIGHTS + (own_column + 24u) * OWNERS + own_row] = key_3;
  own_sum = own_sum * own_rescale + (key_0 + key_1 + key_2 + key_3);
}

fn most_of(x: vec4f) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}

// A chunk of `count` keys' values is staged; it is `wide` if it has more than 8 vectors.
fn add_values(sums: ptr<private, array<vec4f, 8>>, count: u32, wide: bool) {
  (*sums)[0] *= own_rescale.x;
  (*sums)[1] *= own_rescale.y;
  (*sums)[2] *= own_rescale.z;
  (*sums)[3] *= own_rescale.w;
  if (wide) {
    (*sums)[4] *= own_rescale.x;
    (*sums)[5] *= own_rescale.y;
    (*sums)[6] *= own_rescale.z;
    (*sums)[7] *= own_rescale.w;
  }
  for (var key = 0u; key < count; key += 4u) {
    add_value(sums, key, wide);
    add_value(sums, key + 1u, wide);
    add_value(sums, key + 2u, wide);
    add_value(sums, key + 3u, wide);
  }
}

fn add_value(sums: ptr<private, array<vec4f, 8>>, key: u32, wide: bool) {
  let weight = attention_tile[TILE_WEIGHTS + key * OWNERS + own_row];
  let value = attention_tile[TILE_VALUES + key * VALUE_ROW + own_column];
  (*sums)[0] = fma(vec4f(weight.x), value, (*sums)[0]);
  (*sums)[1] = fma(vec4f(weight.y), value, (*sums)[1]);
  (*sums)[2] = fma(vec4f(weight.z), value, (*sums)[2]);
  (*sums)[3] = fma(vec4f(weight.w), value, (*sums)[3]);
  if (wide) {
    let other = attention_tile[TILE_VALUES + key * VALUE_ROW + own_column + OWNERS];
    (*sums)[4] = fma(vec4f(weight.x), other, (*sums)[4]);
    (*sums)[5] = fma(vec4f(weight.y), other, (*sums)[5]);
    (*sums)[6] = fma(vec4f(weight.z), other, (*sums)[6]);
    (*sums)[7] = fma(vec4f(weight.w), other, (*sums)[7]);
  }
}

// Writes the log-sum-exp; answers with what turns sums into means, by query.
fn finish_rows(share: AttentionShare) -> vec4f {
  attention_tile[TILE_PARTS + own_column * OWNERS + own_row] = own_sum;
  workgroupBarrier();
  var all = attention_tile[TILE_PARTS + own_row];
  for (var i = 1u; i < OWNERS; i++) {
    all += attention_tile[TILE_PARTS + i * OWNERS + own_row];
  }
  if (own_column == 0u) {
    let logs = own_largest + log2(max(all, vec4f(1)));
    for (var i = 0u; i < 4u; i++) {
      let query = share.from_query + own_row + i * OWNERS;
      if (query < share.to_query) {
        store_lse(share.head * params.queries + query, select(LOWEST_F32, logs[i], all[i] > 0.0));
      }
    }
  }
  return select(vec4f(0), 1.0 / all, all > vec4f(0));
}

// Loads first, then stores: the loads are under way together.
fn stage_scores(share: AttentionShare, key: u32, chunk: u32) {
  let c = chunk + own_column;
  let queries = share.head * params.queries + min(share.from_query + own_row + EIGHTHS, vec4u(params.queries - 1u));
  let keys = key_row(share.kv_head) + min(key + own_row + EIGHTHS, vec4u(params.keys - 1u));
  let query_0 = load_q(queries.x, c);
  let query_1 = load_q(queries.y, c);
  let query_2 = load_q(queries.z, c);
  let query_3 = load_q(queries.w, c);
  let key_0 = load_k(keys.x, c);
  let key_1 = load_k(keys.y, c);
  let key_2 = load_k(keys.z, c);
  let key_3 = load_k(keys.w, c);
  let factor = logit_factor(params.scale, params.softcap);
  let at = own_row * SCORE_ROW + own_column;
  attention_tile[TILE_QUERIES + at] = query_0 * factor;
  attention_tile[TILE_QUERIES + at + 8u * SCORE_ROW] = query_1 * factor;
  attention_tile[TILE_QUERIES + at + 16u * SCORE_ROW] = query_2 * factor;
  attention_tile[TILE_QUERIES + at + 24u * SCORE_ROW] = query_3 * factor;
  attention_tile[TILE_KEYS + at] = key_0;
  attention_tile[TILE_KEYS + at + 8u * SCORE_ROW] = key_1;
  attention_tile[TILE_KEYS + at + 16u * SCORE_ROW] = key_2;
  attention_tile[TILE_KEYS + at + 24u * SCORE_ROW] = key_3;
}

// Two rounds of 16 keys. Past `end` 0: a weight of 0 does not cancel whatever lies there.
fn stage_values(share: AttentionShare, key: u32, end: u32, chunk: u32) {
  let c = own_column + own_row % 2u * OWNERS;
  for (var from_row = own_row / 2u; from_row < TILE_SIDE; from_row += 16u) {
    let keys = key + from_row + vec4u(0u, 4u, 8u, 12u);
    let rows = key_row(share.kv_head) + min(keys, vec4u(params.keys - 1u));
    let value_0 = load_v(rows.x, chunk + c);
    let value_1 = load_v(rows.y, chunk + c);
    let value_2 = load_v(rows.z, chunk + c);
    let value_3 = load_v(rows.w, chunk + c);
    let at = TILE_VALUES + from_row * VALUE_ROW + c;
    attention_tile[at] = select(vec4f(0), value_0, keys.x < end);
    attention_tile[at + 4u * VALUE_ROW] = select(vec4f(0), value_1, keys.y < end);
    attention_tile[at + 8u * VALUE_ROW] = select(vec4f(0), value_2, keys.z < end);
    attention_tile[at + 12u * VALUE_ROW] = select(vec4f(0), value_3, keys.w < end);
  }
}

// Every query of the share attends to keys [from_key, end).
fn attend(share: AttentionShare, from_key: u32, end: u32) {
  for (var key = from_key; key < end; key += TILE_SIDE) {
    let count = min(end - key, TILE_SIDE);
    for (var chunk = 0u; chunk * 4u < headDim; chunk += 8u) {
      workgroupBarrier();
      stage_scores(share, key, chunk);
      workgroupBarrier();
      add_scores(min(8u, (headDim + 3u) / 4u - chunk));
    }
    weigh_scores(key, end);
    stage_values(share, key, end, 0u);
    workgroupBarrier();
    add_values(&own_values_0, count, valueDim > 32u);
    if (valueDim > 64u) {
      workgroupBarrier();
      stage_values(share, key, end, 16u);
      workgroupBarrier();
      add_values(&own_values_1, count, valueDim > 96u);
    }
    if (valueDim > 128u) {
      workgroupBarrier();
      stage_values(share, key, end, 32u);
      workgroupBarrier();
      add_values(&own_values_2, count, valueDim > 160u);
    }
    if (valueDim > 192u) {
      workgroupBarrier();
      stage_values(share, key, end, 48u);
      workgroupBarrier();
      add_values(&own_values_3, count, valueDim > 224u);
    }
  }
}

fn attention_finish(share: AttentionShare) {
  let by = finish_rows(share);
  store_chunk(share, &own_values_0, by, 0u);
  if (valueDim > 64u) {
    store_chunk(share, &own_values_1, by, 16u);
  }
  if (valueDim > 128u) {
    store_chunk(share, &own_values_2, by, 32u);
  }
  if (valueDim > 192u) {
    store_chunk(share, &own_values_3, by, 48u);
  }
}

fn store_chunk(share: AttentionShare, sums: ptr<private, array<vec4f, 8>>, by: vec4f, chunk: u32) {
  store_query(share, 0u, chunk, (*sums)[0] * by.x, (*sums)[4] * by.x);
  store_query(share, 8u, chunk, (*sums)[1] * by.y, (*sums)[5] * by.y);
  store_query(share, 16u, chunk, (*sums)[2] * by.z, (*sums)[6] * by.z);
  store_query(share, 24u, chunk, (*sums)[3] * by.w, (*sums)[7] * by.w);
}

fn store_query(share: AttentionShare, at: u32, chunk: u32, low: vec4f, high: vec4f) {
  let query = share.from_query + own_row + at;
  if (query < share.to_query) {
    store_output(share.head * params.queries + query, chunk + own_column, low);
    store_output(share.head * params.queries + query, chunk + own_column + OWNERS, high);
  }
}

// Where in indptr the list of a block row begins.
fn list_at(head: u32, block: u32) -> u32 {
  return block + params.perHead * head * (query_blocks(params.blockQueries) + 1u);
}

fn attend_listed(share: AttentionShare) {
  let list = list_at(share.head, share.block);
  let begin = uniform_indptr(list);
  let to = min(uniform_indptr(list + 1u), params.indicesLength);
  for (var at = begin; at < to; at++) {
    let block = uniform_index(at);
    if (block < key_blocks()) {
      let key = block * params.blockKeys;
      attend(share, max(key, share.from_key), min(key + params.blockKeys, share.to_key));
    }
  }
}

fn key_blocks() -> u32 {
  return (params.keys + params.blockKeys - 1u) / params.blockKeys;
}

var<workgroup> list_faults: array<u32, 64>;

// 1 + the lowest listed position that holds a block index out of range, or 0. An invocation for each block row, in turns.
fn first_fault(local: u32) -> u32 {
  let rows = query_blocks(params.blockQueries);
  var lowest = 0xffffffffu;
  for (var i = local; i < rows * select(1u, params.heads, params.perHead != 0u); i += 64u) {
    let list = list_at(i / rows, i % rows);
    let to = min(load_indptr(list + 1u), params.indicesLength);
    for (var at = load_indptr(list); at < min(to, lowest); at++) {
      if (load_index(at) >= key_blocks()) {
        lowest = at;
      }
    }
  }
  list_faults[local] = lowest;
  workgroupBarrier();
  for (var i = 0u; i < 64u; i++) {
    lowest = min(lowest, list_faults[i]);
  }
  return lowest + 1u;
}

// The two entry points' work: every key its position lets a query see, or those of its block row's lists.
fn attend_densely(id: vec3u, count: vec3u, local: u32) {
  let share = attention_share(id, count, TILE_SIDE);
  if (share.from_query >= share.to_query) {
    return;
  }
  attention_begin(local, share);
  attend(share, share.from_key, share.to_key);
  attention_finish(share);
}

fn attend_by_lists(id: vec3u, count: vec3u, local: u32) {
  let share = attention_share(id, count, params.blockQueries);
  if (share.from_query >= share.to_query) {
    return;
  }
  attention_begin(local, share);
  attend_listed(share);
  attention_finish(share);
}
