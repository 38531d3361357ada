// Keys and values as a quantised cache holds them, four components at a time: codes become numbers in registers.
//
//   load_k, load_v(row, vector)   components from 4 · vector on of row kvHead · capacity + key
//
// What is fixed for a cache is fixed at pipeline creation: kScheme (0 affine, 1 symmetric, 2 mxfp4, 3 codebook), kBits (2, 3,
// 4, 8), kAxis (0 a line of codes is a row, 1 a column), kGroupSize (0: the whole line), kScaleType (1: scales and minima are
// halves, two to a word), and the same of v. The uniform says `capacity`, and `recent`: 1 where the codes' place holds f32
// rows instead.
//
// The third array of a side has the minima of an affine scheme or the 16 entries of a codebook, the second scales or, for
// mxfp4, E8M0 bytes. A scheme that lacks one binds another there: it is not read.

override kScheme: u32;
override kBits: u32;
override kAxis: u32;
override kGroupSize: u32;
override kScaleType: u32;
override vScheme: u32;
override vBits: u32;
override vAxis: u32;
override vGroupSize: u32;
override vScaleType: u32;

@group(0) @binding(1) var<storage, read> kCodes: array<u32>;
@group(0) @binding(2) var<storage, read> kScales: array<u32>;
@group(0) @binding(3) var<storage, read> kMinima: array<u32>;
@group(0) @binding(4) var<storage, read> vCodes: array<u32>;
@group(0) @binding(5) var<storage, read> vScales: array<u32>;
@group(0) @binding(6) var<storage, read> vMinima: array<u32>;

const STORED_AFFINE = 0u;
const STORED_SYMMETRIC = 1u;
const STORED_MXFP4 = 2u;
const STORED_CODEBOOK = 3u;

// Where four neighbouring components of a row have their codes and scales. They are in one word and one group, or in four
// of each, side by side.
struct StoredPlace {
  word: u32,
  shift: vec4u,
  high_word: u32, // the third bit of 3-bit codes
  high_shift: vec4u,
  group: u32,
  side_by_side: u32,
}

fn stored_place(row: u32, component: u32, n: u32, bits: u32, axis: u32, group_size: u32) -> StoredPlace {
  var line = row;
  var i = component;
  var length = n;
  if (axis == 1u) {
    line = row / params.capacity;
    i = row % params.capacity;
    length = params.capacity;
  }
  let size = select(group_size, length, group_size == 0u);
  let groups = (length + size - 1u) / size;
  // A 3-bit run: 32 codes in three words, the low two bits first.
  let three = bits == 3u;
  let low = select(bits, 2u, three);
  let words = select((length * bits + 31u) / 32u, (length + 31u) / 32u * 3u, three);
  let word = select(i * bits / 32u, i / 32u * 3u + i / 16u % 2u, three);
  let high_word = i / 32u * 3u + 2u;
  var place: StoredPlace;
  if (axis == 1u) {
    place.word = (line * words + word) * n + component;
    place.high_word = (line * words + high_word) * n + component;
    place.group = (line * groups + i / size) * n + component;
    place.shift = vec4u(i * low % 32u);
    place.high_shift = vec4u(i % 32u);
    place.side_by_side = 1u;
  } else {
    place.word = line * words + word;
    place.high_word = line * words + high_word;
    place.group = line * groups + i / size;
    place.shift = i * low % 32u + low * vec4u(0u, 1u, 2u, 3u);
    place.high_shift = i % 32u + vec4u(0u, 1u, 2u, 3u);
  }
  return place;
}

fn stored_mask(bits: u32) -> vec4u {
  return vec4u((1u << select(bits, 2u, bits == 3u)) - 1u);
}

// Codes of all schemes but the codebook as numbers, before their scale.
fn stored_numbers(codes: vec4u, scheme: u32, bits: u32) -> vec4f {
  if (scheme == STORED_SYMMETRIC) {
    let half = 1u << (bits - 1u);
    return vec4f(vec4i(codes) - vec4i(select(vec4u(0), vec4u(2u * half), codes >= vec4u(half))));
  }
  if (scheme == STORED_MXFP4) {
    // E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
    let code = codes & vec4u(7);
    let large = vec4f((code & vec4u(1)) + 2u) * vec4f(vec4u(1) << ((max(code, vec4u(4)) >> vec4u(1)) - 2u));
    let size = select(large, vec4f(code) * 0.5, code < vec4u(4));
    return select(size, -size, codes >= vec4u(8));
  }
  return vec4f(codes);
}

// 2^(byte - 127); 255: NaN.
fn stored_e8m0(byte: u32) -> f32 {
  if (byte == 255u) {
    return nan_f32();
  }
  return bitcast<f32>(select(byte << 23u, 0x400000u, byte == 0u));
}

// Number `index` of an array of f32, or of halves, from its word.
fn stored_float(word: u32, index: u32, scale_type: u32) -> f32 {
  if (scale_type == 0u) {
    return bitcast<f32>(word);
  }
  return bitcast<f32>(float_bits_of_half((word >> (16u * (index % 2u))) & 0xffffu));
}

fn stored_k_scale(group: u32) -> f32 {
  if (kScheme == STORED_MXFP4) {
    return stored_e8m0((kScales[group / 4u] >> (group % 4u * 8u)) & 255u);
  }
  return stored_float(kScales[group >> kScaleType], group, kScaleType);
}

fn stored_k_minimum(group: u32) -> f32 {
  return stored_float(kMinima[group >> kScaleType], group, kScaleType);
}

fn stored_v_scale(group: u32) -> f32 {
  if (vScheme == STORED_MXFP4) {
    return stored_e8m0((vScales[group / 4u] >> (group % 4u * 8u)) & 255u);
  }
  return stored_float(vScales[group >> vScaleType], group, vScaleType);
}

fn stored_v_minimum(group: u32) -> f32 {
  return stored_float(vMinima[group >> vScaleType], group, vScaleType);
}

fn load_k(row: u32, vector: u32) -> vec4f {
  let c = min(vector * 4u, headDim - 4u);
  var value: vec4f;
  if (params.recent != 0u) {
    let i = row * headDim + c;
    value = bitcast<vec4f>(vec4u(kCodes[i], kCodes[i + 1u], kCodes[i + 2u], kCodes[i + 3u]));
  } else {
    let at = stored_place(row, c, headDim, kBits, kAxis, kGroupSize);
    let word = at.word + at.side_by_side * vec4u(0u, 1u, 2u, 3u);
    let group = at.group + at.side_by_side * vec4u(0u, 1u, 2u, 3u);
    var codes = (vec4u(kCodes[word.x], kCodes[word.y], kCodes[word.z], kCodes[word.w]) >> at.shift) & stored_mask(kBits);
    if (kBits == 3u) {
      let high = at.high_word + at.side_by_side * vec4u(0u, 1u, 2u, 3u);
      let words = vec4u(kCodes[high.x], kCodes[high.y], kCodes[high.z], kCodes[high.w]);
      codes |= ((words >> at.high_shift) & vec4u(1)) << vec4u(2);
    }
    value = stored_numbers(codes, kScheme, kBits);
    if (kScheme == STORED_CODEBOOK) {
      value = bitcast<vec4f>(vec4u(kMinima[codes.x], kMinima[codes.y], kMinima[codes.z], kMinima[codes.w]));
    }
    value *= vec4f(stored_k_scale(group.x), stored_k_scale(group.y), stored_k_scale(group.z), stored_k_scale(group.w));
    if (kScheme == STORED_AFFINE) {
      value += vec4f(
        stored_k_minimum(group.x),
        stored_k_minimum(group.y),
        stored_k_minimum(group.z),
        stored_k_minimum(group.w),
      );
    }
  }
  return select(value, vec4f(0), vector * 4u >= headDim);
}

fn load_v(row: u32, vector: u32) -> vec4f {
  let c = min(vector * 4u, valueDim - 4u);
  var value: vec4f;
  if (params.recent != 0u) {
    let i = row * valueDim + c;
    value = bitcast<vec4f>(vec4u(vCodes[i], vCodes[i + 1u], vCodes[i + 2u], vCodes[i + 3u]));
  } else {
    let at = stored_place(row, c, valueDim, vBits, vAxis, vGroupSize);
    let word = at.word + at.side_by_side * vec4u(0u, 1u, 2u, 3u);
    let group = at.group + at.side_by_side * vec4u(0u, 1u, 2u, 3u);
    var codes = (vec4u(vCodes[word.x], vCodes[word.y], vCodes[word.z], vCodes[word.w]) >> at.shift) & stored_mask(vBits);
    if (vBits == 3u) {
      let high = at.high_word + at.side_by_side * vec4u(0u, 1u, 2u, 3u);
      let words = vec4u(vCodes[high.x], vCodes[high.y], vCodes[high.z], vCodes[high.w]);
      codes |= ((words >> at.high_shift) & vec4u(1)) << vec4u(2);
    }
    value = stored_numbers(codes, vScheme, vBits);
    if (vScheme == STORED_CODEBOOK) {
      value = bitcast<vec4f>(vec4u(vMinima[codes.x], vMinima[codes.y], vMinima[codes.z], vMinima[codes.w]));
    }
    value *= vec4f(stored_v_scale(group.x), stored_v_scale(group.y), stored_v_scale(group.z), stored_v_scale(group.w));
    if (vScheme == STORED_AFFINE) {
      value += vec4f(
        stored_v_minimum(group.x),
        stored_v_minimum(group.y),
        stored_v_minimum(group.z),
        stored_v_minimum(group.w),
      );
    }
  }
  return select(value, vec4f(0), vector * 4u >= valueDim);
}
