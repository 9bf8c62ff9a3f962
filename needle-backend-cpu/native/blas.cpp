// Products by another library, where the build asked for one: NEEDLE_BLAS=openblas (scipy-openblas32) or accelerate.
#include "blas.h"

#if defined(NEEDLE_BLAS_ACCELERATE)
#include <Accelerate/Accelerate.h>
#else
#include <cblas.h>
#endif

#include "launch.h"

namespace needle {
namespace {

#if defined(NEEDLE_BLAS_ACCELERATE)
constexpr auto sgemm = cblas_sgemm;
constexpr auto dgemm = cblas_dgemm;
void share_threads() {}  // the library takes what it wants
#else
constexpr auto sgemm = scipy_cblas_sgemm;
constexpr auto dgemm = scipy_cblas_dgemm;
void share_threads() { scipy_openblas_set_num_threads(threads_here()); }
#endif

void multiply(const Gemm& g, CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, float keep, float* c) {
  sgemm(CblasRowMajor, a, b, static_cast<int>(g.m), static_cast<int>(g.n), static_cast<int>(g.k), 1.0F,
        static_cast<const float*>(g.a), static_cast<int>(g.lda), static_cast<const float*>(g.b),
        static_cast<int>(g.ldb), keep, c, static_cast<int>(g.ldc));
}

void multiply(const Gemm& g, CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, double keep, double* c) {
  dgemm(CblasRowMajor, a, b, static_cast<int>(g.m), static_cast<int>(g.n), static_cast<int>(g.k), 1.0,
        static_cast<const double*>(g.a), static_cast<int>(g.lda), static_cast<const double*>(g.b),
        static_cast<int>(g.ldb), keep, c, static_cast<int>(g.ldc));
}

// Bias and activation, which no such library knows, in a pass of their own.
template <class T> void finish(const Gemm& g) {
  const T* bias = static_cast<const T*>(g.bias);
  if (bias == nullptr && !g.relu) return;
  parallel_for(g.m, 1 + 32768 / g.n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* row = static_cast<T*>(g.c) + i * g.ldc;
      for (int64_t j = 0; j < g.n; ++j) {
        const T y = bias == nullptr ? row[j] : row[j] + bias[j];
        row[j] = g.relu && y < T(0) ? T(0) : y;
      }
    }
  });
}

void (*own[kComputeTypes])(const Gemm&) = {};  // for what is left

template <class T, Compute kType> void product(const Gemm& g) {
  constexpr int64_t kMost = INT32_MAX;  // what these libraries count to
  const bool fits = g.m <= kMost && g.n <= kMost && g.k <= kMost && g.lda <= kMost && g.ldb <= kMost && g.ldc <= kMost;
  if (!fits || g.k == 0) return own[kType](g);
  share_threads();
  multiply(g, g.transpose_a ? CblasTrans : CblasNoTrans, g.transpose_b ? CblasTrans : CblasNoTrans,
           g.accumulate ? T(1) : T(0), static_cast<T*>(g.c));
  finish<T>(g);
}

}  // namespace

void use_blas(Kernels& table) {
  for (int type = 0; type < kComputeTypes; ++type) own[type] = table.gemm[type];
  table.gemm[kF32] = product<float, kF32>;
  table.gemm[kF64] = product<double, kF64>;
  table.gemm_pack[0] = table.gemm_pack[1] = nullptr;
}

}  // namespace needle
