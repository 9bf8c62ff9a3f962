// Matrix products by MPSMatrixMultiplication: float32 and float16, batched, transposed, added to what is there.
#include <string>

#include "link.h"
#include "ops.h"

namespace needle {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 31;

// A stack of matrices as MPS describes it, in elements.
struct Stack {
  const View* view;
  int64_t count, rows, columns, row, matrix;  // the last two: from one to the next
};

Stack stack_of(const View& x) {
  const int q = x.rank - 2;
  const int64_t rows = x.shape[q], columns = x.shape[q + 1];
  const int64_t row = rows == 1 ? columns : x.strides[q];              // a stride along an axis of one says nothing
  const int64_t count = q == 1 && x.strides[0] != 0 ? x.shape[0] : 1;  // stride 0: the same matrix for all
  return {&x, count, rows, columns, row, count == 1 ? rows * row : x.strides[0]};
}

// Matrices that lie row after row are one high matrix.
bool flatten(Stack& x) {
  if (x.count > 1 && x.matrix != x.rows * x.row) return false;
  x.rows *= x.count;
  x.matrix = x.rows * x.row;
  x.count = 1;
  return true;
}

// What MPS's descriptors take: rows hold their columns, matrices are whole rows apart; offsets as Metal's are.
bool describable(const Stack& x) {
  const Place place = place_of(*x.view);
  return place.offset % 4 == 0 && x.row >= x.columns &&
         (x.count == 1 || (x.matrix % x.row == 0 && x.matrix >= x.rows * x.row));
}

Ref<MPSMatrix*> matrix_of(const Stack& x) {
  const Place place = place_of(*x.view);
  const NSUInteger item = NSUInteger(item_size(x.view->dtype));
  MPSMatrixDescriptor* descriptor = [MPSMatrixDescriptor matrixDescriptorWithRows:NSUInteger(x.rows)
                                                                          columns:NSUInteger(x.columns)
                                                                         matrices:NSUInteger(x.count)
                                                                         rowBytes:NSUInteger(x.row) * item
                                                                      matrixBytes:NSUInteger(x.matrix) * item
                                                                         dataType:mps_type(x.view->dtype)];
  return Ref<MPSMatrix*>([[MPSMatrix alloc] initWithBuffer:place.buffer offset:place.offset descriptor:descriptor]);
}

Cache<Ref<MPSMatrixMultiplication*>>& products() {
  static Cache<Ref<MPSMatrixMultiplication*>>* const only = new Cache<Ref<MPSMatrixMultiplication*>>;
  return *only;
}

MPSMatrixMultiplication* product_of(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double beta) {
  std::string key = transpose_a ? "t" : "n";
  key += transpose_b ? 't' : 'n';
  for (int64_t part : {m, n, k, int64_t(beta)}) (key += ',') += std::to_string(part);
  const auto make = [&] {
    return Ref<MPSMatrixMultiplication*>([[MPSMatrixMultiplication alloc] initWithDevice:metal_device()
                                                                           transposeLeft:transpose_a
                                                                          transposeRight:transpose_b
                                                                              resultRows:NSUInteger(m)
                                                                           resultColumns:NSUInteger(n)
                                                                         interiorColumns:NSUInteger(k)
                                                                                   alpha:1
                                                                                    beta:beta]);
  };
  return products().get(key, make).get();
}

bool product(const View& dst, const View& a, const View& b, bool transpose_a, bool transpose_b, double beta) {
  if (!is_mps_type(dst.dtype) || dst.size == 0 || a.size == 0 || b.size == 0) return false;
  @autoreleasepool {
    Stack left = stack_of(a), right = stack_of(b), result = stack_of(dst);
    if (result.count > 1 && right.count == 1) {  // the same matrix for all
      if (transpose_a || left.count != result.count || !flatten(left) || !flatten(result)) return false;
    }
    if (left.count != result.count || right.count != result.count) return false;
    if (!describable(left) || !describable(right) || !describable(result)) return false;
    const int64_t m = result.rows, n = result.columns, k = transpose_a ? left.rows : left.columns;
    // MPS's offsets within a result have 31 bits, and reach beyond its end: JuliaGPU/Metal.jl issue 381.
    if ((m * result.count + 2 * k) * n * item_size(dst.dtype) >= kMaxBytes) return false;
    const Ref<MPSMatrix*> x = matrix_of(left), y = matrix_of(right), z = matrix_of(result);
    Encoding encoding({dst, a, b});
    [product_of(transpose_a, transpose_b, m, n, k, beta) encodeToCommandBuffer:encoding.commands()
                                                                    leftMatrix:x.get()
                                                                   rightMatrix:y.get()
                                                                  resultMatrix:z.get()];
    encoding.done();
  }
  return true;
}

}  // namespace

bool matmul(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  return product(dst, a, b, transpose_a, transpose_b, 0);
}

bool add_matmul(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_b) {
  return product(dst, a, b, false, transpose_b, 1);
}

CacheCounts product_counts() { return products().counts(); }

void clear_products() {
  @autoreleasepool {
    products().clear();
  }
}

}  // namespace needle
