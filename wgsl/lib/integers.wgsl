// Where things lie in the integer formats: what quantize_integers_f32 and dequantize_integers_f32 share. The module declares
// `bits`, `scheme`, `axis`, `scaleType` (override) and `params`.

const INTEGERS_AFFINE: u32 = 0u;
const INTEGERS_SYMMETRIC: u32 = 1u;
const INTEGERS_TERNARY: u32 = 2u;

fn is_sign() -> bool {
  return scheme == INTEGERS_SYMMETRIC && bits == 1u;
}

fn is_packed() -> bool {
  return scheme == INTEGERS_TERNARY && bits == 1u;
}

fn uses_mean() -> bool {
  return scheme == INTEGERS_TERNARY || is_sign();
}

fn highest_code() -> u32 {
  if (bits == 1u) {
    return 1u;
  }
  return (1u << (bits - min(scheme, 1u))) - 1u;
}

// Codes that share words with no others, and their words.
fn run_codes() -> u32 {
  if (is_packed()) {
    return 20u;
  }
  return select(32u / bits, 32u, bits == 3u);
}

fn run_words() -> u32 {
  return select(1u, 3u, bits == 3u);
}

fn parts_of(a: u32, b: u32) -> u32 {
  return a / b + u32(a % b != 0u);
}

// Length of the axis that groups lie along, and how many lines of it there are.
fn line_length() -> u32 {
  return select(params.n, params.rows, axis == 1u);
}

fn line_count() -> u32 {
  return select(params.rows, params.n, axis == 1u);
}

fn group_span() -> u32 {
  return select(min(params.groupSize, line_length()), line_length(), params.groupSize == 0u);
}

// The place in x of value `at` of a line.
fn value_place(line: u32, at: u32) -> u32 {
  return select(line * params.n + at, at * params.n + line, axis == 1u);
}

// The place in scales of the group of value `at` of a line.
fn group_at(line: u32, at: u32) -> u32 {
  let group = at / group_span();
  return select(line * parts_of(line_length(), group_span()) + group, group * params.n + line, axis == 1u);
}

fn word_at(line: u32, word: u32) -> u32 {
  let words = parts_of(line_length(), run_codes()) * run_words();
  return select(line * words + word, word * params.n + line, axis == 1u);
}

// Scale or minimum `index` of an array's word, as f32 bits.
fn float_bits(word: u32, index: u32) -> u32 {
  if (scaleType == 0u) {
    return word;
  }
  return float_bits_of_half((word >> (16u * (index % 2u))) & 0xffffu);
}

fn scale_word(group: u32) -> u32 {
  return group >> scaleType;
}
