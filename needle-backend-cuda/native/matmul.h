// Stacks of matrices in views, and the ways to multiply them: the library's, a tiled kernel of our own, a naive one.
#ifndef NEEDLE_CUDA_MATMUL_H
#define NEEDLE_CUDA_MATMUL_H

#include "ops.h"

namespace needle {

// Rows and columns as stored; the last stride is 1.
struct Matrices {
  int64_t batch = 1, rows, columns, batch_stride = 0, row_stride;

  explicit Matrices(const ShapedView& view) {
    const int last = view.rank - 1;
    rows = view.shape[last - 1];
    columns = view.shape[last];
    row_stride = view.contiguous || rows <= 1 ? columns : view.strides[last - 1];
    if (last < 2 || view.shape[last - 2] == 1) return;
    batch = view.shape[last - 2];
    batch_stride = view.contiguous ? rows * columns : view.strides[last - 2];
  }
};

// c (batch, m, n) = a @ b, sizes and strides of all three.
struct Product {
  int64_t batch, m, n, k;
  int64_t lda, ldb, ldc;                 // elements from one stored row to the next
  int64_t a_stride, b_stride, c_stride;  // from one matrix of the stack to the next
  bool transpose_a, transpose_b;
  char padding[6] = {};  // products are compared by their bytes

  Product(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b);
};

void matmul_tiled(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b);
void multiply_tiled(const Product& product, const View& dst, const View& a, const View& b);

// float32 products round their operands to TF32, which the tensor cores multiply. Off by default.
void set_tf32(bool on);
bool tf32();
void set_tuning(bool on);  // measure the library's candidates for each new problem; else take its first
bool tuning();

}  // namespace needle

#endif  // NEEDLE_CUDA_MATMUL_H
