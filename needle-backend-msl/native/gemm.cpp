// Launchers of the matrix product, and the choice between its kernels.
#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

enum class Way { kNaive, kTiled, kSimdgroups };

int32_t batch_stride(const View& x) { return x.shape[0] == 1 ? 0 : checked_size(x.strides[0]); }

// A stride along an axis of one element says nothing; the width does.
int32_t row_stride(const View& x, int axis) {
  return checked_size(x.shape[axis] == 1 ? x.shape[axis + 1] : x.strides[axis]);
}

Gemm gemm_of(const View& dst, const View& a, const View& b, bool transpose_a, bool transpose_b) {
  const int r = dst.rank - 2, s = b.rank - 2, q = a.rank - 2;
  Gemm p{};
  p.m = checked_size(dst.shape[r]);
  p.n = checked_size(dst.shape[r + 1]);
  p.k = checked_size(a.shape[transpose_a ? q : q + 1]);
  p.lda = row_stride(a, q);
  p.ldb = row_stride(b, s);
  p.ldc = p.n;
  p.batch_a = q == 1 ? batch_stride(a) : 0;
  p.batch_b = s == 1 ? batch_stride(b) : 0;
  p.batch_c = r == 1 ? checked_size(dst.shape[1] * dst.shape[2]) : 0;
  p.transpose_a = transpose_a;
  p.transpose_b = transpose_b;
  p.activation = -1;
  return p;
}

bool is_float(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

// Blocks of 64 for floats, unless most of a block would lie beyond the edges.
Way choose(const Gemm& p, DType dtype) {
  return is_float(dtype) && p.m >= 16 && p.n >= 16 ? Way::kSimdgroups : Way::kTiled;
}

void product(Way way, const Gemm& p, const View& dst, const View& a, const View& b, const View* bias) {
  if (dst.size == 0) return;
  const uint64_t m = static_cast<uint64_t>(p.m), n = static_cast<uint64_t>(p.n);
  const uint64_t batches = dst.rank == 3 ? static_cast<uint64_t>(dst.shape[0]) : 1;
  static const char* const names[] = {"naive", "tiled", "simdgroups"};
  Launch launch("gemm", typed(names[static_cast<int>(way)], dst.dtype));
  launch.buffer(dst).buffer(a.size == 0 ? dst : a).buffer(b.size == 0 ? dst : b);
  launch.buffer(bias == nullptr ? dst : *bias).bytes(p);
  if (way == Way::kNaive) launch.threads({n, m, batches}, {16, 16, 1});
  if (way == Way::kTiled) launch.groups({(n + 15) / 16, (m + 15) / 16, batches}, {16, 16, 1});
  if (way == Way::kSimdgroups) launch.groups({(n + 63) / 64, (m + 63) / 64, batches}, {128, 1, 1});
}

}  // namespace

void matmul(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  const Gemm p = gemm_of(dst, a, b, transpose_a, transpose_b);
  product(choose(p, dst.dtype), p, dst, a, b, nullptr);
}

void matmul_naive(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  product(Way::kNaive, gemm_of(dst, a, b, transpose_a, transpose_b), dst, a, b, nullptr);
}

void matmul_tiled(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  product(Way::kTiled, gemm_of(dst, a, b, transpose_a, transpose_b), dst, a, b, nullptr);
}

void linear(const ShapedView& dst, const ShapedView& a, const ShapedView& b, const View& bias, bool transpose_b,
            std::optional<Unary> activation) {
  Gemm p = gemm_of(dst, a, b, false, transpose_b);
  p.has_bias = 1;
  if (activation) p.activation = static_cast<int32_t>(*activation);
  product(choose(p, dst.dtype), p, dst, a, b, &bias);
}

}  // namespace needle
