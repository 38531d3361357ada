// attention_decode_f32 where headDim and valueDim are multiples of 4: attention-decode.wgsl, whose entry points these are, with loads of 16 bytes.

override headDim: u32;
override valueDim: u32;

@group(0) @binding(0) var<storage, read> q: array<vec4<element>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<element>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<element>>;
@group(0) @binding(3) var<storage, read_write> output: array<element>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(6) var<uniform> params: DecodeParams;

fn load_q(row: u32, vector: u32) -> vec4f {
  return vec4f(q[row * (headDim / 4u) + vector]);
}

fn load_k(row: u32, vector: u32) -> vec4f {
  return vec4f(k[row * (headDim / 4u) + vector]);
}

fn load_v(row: u32, vector: u32) -> vec4f {
  return vec4f(v[row * (valueDim / 4u) + vector]);
}
