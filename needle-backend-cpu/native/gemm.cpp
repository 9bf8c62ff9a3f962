// matmul and linear: from views to problems of two matrices, batch by batch. Halves and small integers are widened.
#include <algorithm>

#include "launch.h"
#include "ops.h"
#include "packed.h"
#include "strided.h"
#include "workspace.h"

namespace needle {
namespace {

constexpr int64_t kBatchWork = 1 << 17;  // multiplications in a batch that are worth another thread

// A stack of matrices in a view: rows and columns as stored.
struct Matrices {
  int64_t batch = 1, rows, columns, batch_stride = 0, row_stride;

  explicit Matrices(const View& view) {
    const int last = view.rank - 1;
    rows = view.shape[last - 1];
    columns = view.shape[last];
    row_stride = rows > 1 ? view.strides[last - 1] : columns;
    if (last < 2 || view.shape[0] == 1) return;
    batch = view.shape[0];
    batch_stride = view.strides[0];
  }
};

// One matrix as a dense copy in the compute type.
const void* widened_matrix(const View& view, const Matrices& m, int64_t index, void* space) {
  const int64_t item = item_size(view.dtype), wide = compute_size(view.dtype);
  for (int64_t r = 0; r < m.rows; ++r) {
    kernels().widen[static_cast<int>(view.dtype)](bytes_at(view, index * m.batch_stride) + r * m.row_stride * item,
                                                  static_cast<unsigned char*>(space) + r * m.columns * wide, m.columns);
  }
  return space;
}

struct Product {
  const View &dst, &a, &b;
  bool transpose_a, transpose_b;
  const void* bias = nullptr;  // in the compute type
  bool relu = false;
  Matrices ma{a}, mb{b}, mc{dst};

  Gemm problem() const {
    Gemm g{};
    g.m = mc.rows;
    g.n = mc.columns;
    g.k = transpose_a ? ma.rows : ma.columns;
    g.transpose_a = transpose_a;
    g.transpose_b = transpose_b;
    g.bias = bias;
    g.relu = relu;
    return g;
  }

  // A stack times one matrix is a single taller matrix, if the stack is dense.
  void fold_batch() {
    const bool dense_a = ma.batch_stride == ma.rows * ma.row_stride,
               dense_c = mc.batch_stride == mc.rows * mc.row_stride;
    if (mc.batch == 1 || mb.batch != 1 || ma.batch == 1 || transpose_a || !dense_a || !dense_c) return;
    for (Matrices* m : {&ma, &mc}) {
      m->rows *= m->batch;
      m->batch = 1;
      m->batch_stride = 0;
    }
  }

  // b, a single matrix, as the kernel reads it; null if no copy is kept.
  std::shared_ptr<const Packed> packed() const {
    const Compute type = compute_type(dst.dtype);
    Gemm g = problem();
    if (mb.batch > 1 || !worth_packing(g, type)) return nullptr;
    std::vector<int64_t> key{0, key_of(b), mb.row_stride, g.n, g.k, transpose_b};
    return packed_copy(b, std::move(key), static_cast<size_t>(kernels().gemm_packed_bytes[type == kF64](g)),
                       [&](void* out) {
                         const bool narrow = kernels().narrow[static_cast<int>(dst.dtype)] != nullptr;
                         const size_t bytes = static_cast<size_t>(mb.rows * mb.columns * compute_size(dst.dtype));
                         const Workspace space(narrow ? bytes : 1);
                         g.b = narrow ? widened_matrix(b, mb, 0, space.as<void>()) : b.data;
                         g.ldb = narrow ? mb.columns : mb.row_stride;
                         kernels().gemm_pack[type == kF64](g, out);
                       });
  }

  void run_one(int64_t index) const {
    const std::shared_ptr<const Packed> kept = packed();
    const void* const copy = kept == nullptr ? nullptr : kept->data();
    if (kernels().narrow[static_cast<int>(dst.dtype)] != nullptr) return run_widened(index, copy);
    Gemm g = problem();
    g.packed = copy;
    g.a = bytes_at(a, index * ma.batch_stride);
    g.b = bytes_at(b, index * mb.batch_stride);
    g.c = bytes_at(dst, index * mc.batch_stride);
    g.lda = ma.row_stride;
    g.ldb = mb.row_stride;
    g.ldc = mc.row_stride;
    kernels().gemm[compute_type(dst.dtype)](g);
  }

  // The same in the compute type, over dense copies.
  void run_widened(int64_t index, const void* copy) const {
    Gemm g = problem();
    g.packed = copy;
    const size_t item = static_cast<size_t>(compute_size(dst.dtype));
    const Workspace a_space(item * static_cast<size_t>(ma.rows * ma.columns));
    const Workspace b_space(copy != nullptr ? 1 : item * static_cast<size_t>(mb.rows * mb.columns));
    const Workspace c_space(item * static_cast<size_t>(g.m * g.n));
    g.a = widened_matrix(a, ma, index, a_space.as<void>());
    g.b = copy != nullptr ? nullptr : widened_matrix(b, mb, index, b_space.as<void>());
    g.c = c_space.as<void>();
    g.lda = ma.columns;
    g.ldb = mb.columns;
    g.ldc = g.n;
    kernels().gemm[compute_type(dst.dtype)](g);
    unsigned char* out = bytes_at(dst, index * mc.batch_stride);
    kernels().narrow[static_cast<int>(dst.dtype)](g.c, out, g.m * g.n);
  }

  void run() {
    if (dst.size == 0) return;
    fold_batch();
    const Gemm g = problem();
    const int64_t batch = mc.batch, work = g.m * g.n * (g.k + 1);
    if (batch == 1) return run_one(0);
    parallel_for_batches(batch, work);
  }

  // Many small products are shared out whole; large ones share the threads one after the other.
  void parallel_for_batches(int64_t batch, int64_t work) const {
    if (batch < threads_here() || work * batch < 2 * kBatchWork) {
      for (int64_t i = 0; i < batch; ++i) run_one(i);
      return;
    }
    const int64_t tasks = std::min<int64_t>(batch, 4 * threads_here());
    parallel_tasks(tasks, [&](int64_t task) {
      for (int64_t i = batch * task / tasks; i < batch * (task + 1) / tasks; ++i) run_one(i);
    });
  }
};

template <class T> void naive(const Gemm& g) {
  const T *a = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b);
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      T sum = T(0);
      for (int64_t p = 0; p < g.k; ++p) {
        sum += a[g.transpose_a ? p * g.lda + i : i * g.lda + p] * b[g.transpose_b ? j * g.ldb + p : p * g.ldb + j];
      }
      static_cast<T*>(g.c)[i * g.ldc + j] = sum;
    }
  }
}

}  // namespace

void matmul(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  Product{dst, a, b, transpose_a, transpose_b}.run();
}

// The ten lines above, on one pair of float32 or float64 matrices: what the tests hold matmul against.
void matmul_naive(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  const Product product{dst, a, b, transpose_a, transpose_b};
  Gemm g = product.problem();
  g.a = a.data;
  g.b = b.data;
  g.c = dst.data;
  g.lda = product.ma.row_stride;
  g.ldb = product.mb.row_stride;
  g.ldc = product.mc.row_stride;
  return dst.dtype == DType::kFloat64 ? naive<double>(g) : naive<float>(g);
}

void linear(const ShapedView& dst, const ShapedView& a, const ShapedView& b, const View& bias, bool transpose_b,
            std::optional<Unary> activation) {
  Product product{dst, a, b, false, transpose_b};
  const Workspace space(static_cast<size_t>(bias.size + 1) * sizeof(double));
  const auto widen = kernels().widen[static_cast<int>(bias.dtype)];
  if (widen != nullptr) widen(bias.data, space.as<void>(), bias.size);
  product.bias = widen != nullptr ? space.as<void>() : bias.data;
  const bool is_float = compute_type(dst.dtype) == kF32 || compute_type(dst.dtype) == kF64;
  product.relu = is_float && activation == Unary::kRelu;  // in the epilogue; others take a pass of their own
  product.run();
  if (activation.has_value() && !product.relu) unary(*activation, dst, dst);
}

}  // namespace needle
