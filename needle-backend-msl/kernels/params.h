// What launchers hand to kernels: structs of 4-byte numbers only, so that host and device agree on every offset.
#ifndef NEEDLE_MSL_PARAMS_H
#define NEEDLE_MSL_PARAMS_H

#include <needle/compiler.h>

namespace needle {

struct Strides {  // how to walk up to three operands of one shape
  int32_t rank;
  int32_t shape[16];
  int32_t strides[3][16];
};

struct Walk {  // how to walk one operand
  int32_t rank;
  int32_t shape[16];
  int32_t strides[16];
};

struct Number {  // as both of what it may stand for
  float real;
  int32_t low, high;  // the halves of a whole number
};

struct Steps {  // contiguous operands: 1, or 0 for one element that stands for all
  int32_t a, b, c;
};

struct Rows {
  int32_t rows, n;
};

struct Gemm {  // c (batch, m, n) = a @ b, rows `ld` elements apart, matrices of a batch `batch` elements apart
  int32_t m, n, k;
  int32_t lda, ldb, ldc;
  int32_t batch_a, batch_b, batch_c;
  int32_t transpose_a, transpose_b;
  int32_t has_bias, activation;  // activation: a number of Unary, or -1
};

struct Places {  // gather and scatter: x (outer, n, inner), index (outer, m, inner)
  int32_t outer, n, m, inner;
};

struct Window {  // an image (batch, h, w, c) and its result (batch, oh, ow, o), windows of kh by kw
  int32_t batch, h, w, c, oh, ow, o;
  int32_t kh, kw, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  int32_t groups, mean;                        // mean: of pooling, else the largest
  int32_t step_batch, step_y, step_x, step_c;  // elements from one of the image to the next; of convolutions
};

// How many arrays a step of an optimizer binds at once: of Metal's 31 buffers, but for two of numbers.
enum { MOST_ARRAYS = 28, MOST_PARTS = 14, CHUNK = 4096 };

struct Parts {  // the parameters of one dispatch: their sizes, and the first threadgroup that works on each
  int32_t count;
  int32_t n[MOST_PARTS], first[MOST_PARTS];
};

struct Attention {  // t queries and s keys of d elements, values of e
  int32_t t, s, d, e;
  int32_t causal;
  float scale;
};

struct Sort {  // rows of n; runs that are in order already
  int32_t n, descending, run;
};

struct Sgd {
  int32_t has_velocity, nesterov;
  float lr, momentum, dampening, weight_decay;
};

struct Adam {
  int32_t decoupled;
  float lr, beta1, beta2, eps, weight_decay, correction1, correction2;
};

struct Draw {
  uint32_t seed[2], offset[2];  // low word first
  int32_t n;
};

}  // namespace needle

#endif  // NEEDLE_MSL_PARAMS_H
