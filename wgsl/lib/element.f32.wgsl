// What a shader's arrays of `element` hold. It reads f32(x[i]), computes in f32 and writes element(value).
alias element = f32;
