// From the number of an element to its places in several strided views.
#ifndef NEEDLE_CUDA_STRIDED_CUH
#define NEEDLE_CUDA_STRIDED_CUH

#include <needle/view.h>

namespace needle {

// Division of 32-bit numbers below 2^31 by one that is known on the host: a product and a shift.
struct Divisor {
  uint32_t divisor, multiplier, shift;

  Divisor() = default;
  explicit Divisor(uint32_t d) : divisor(d), multiplier(0), shift(0) {
    while ((uint64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - d)) / d + 1);
  }
  __device__ __forceinline__ uint32_t divide(uint32_t n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};

// The places of N views of one shape, axes merged where all views allow it. Passed to kernels by value.
template <int N> struct Strided {
  int32_t rank;
  bool narrow;  // 32 bits are enough for every index and place
  int64_t shape[kMaxRank];
  Divisor divisors[kMaxRank];
  int64_t strides[N][kMaxRank];

  __device__ __forceinline__ void places(int64_t i, int64_t (&place)[N]) const {
    if (narrow) {
      int32_t sum[N] = {};
      uint32_t rest = static_cast<uint32_t>(i);
      for (int axis = rank - 1; axis > 0; --axis) {
        const uint32_t quotient = divisors[axis].divide(rest);
        const int32_t index = static_cast<int32_t>(rest - quotient * divisors[axis].divisor);
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] += index * static_cast<int32_t>(strides[k][axis]);
        rest = quotient;
      }
#pragma unroll
      for (int k = 0; k < N; ++k) place[k] = sum[k] + static_cast<int32_t>(rest) * static_cast<int32_t>(strides[k][0]);
      return;
    }
    int64_t rest = i;
#pragma unroll
    for (int k = 0; k < N; ++k) place[k] = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      const int64_t quotient = axis > 0 ? rest / shape[axis] : 0, index = rest - quotient * shape[axis];
#pragma unroll
      for (int k = 0; k < N; ++k) place[k] += index * strides[k][axis];
      rest = quotient;
    }
  }
};

// Row-major strides, or those of the view; zeros for a view of one element. `shape` has `rank` axes.
inline void read_strides(const View& view, int rank, const int64_t* shape, int64_t* strides) {
  int64_t product = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    strides[axis] = view.size == 1 ? 0 : view.contiguous ? product : view.strides[axis];
    product *= shape[axis];
  }
}

// All of one shape, except that a view may have a single element, which then stands for all.
template <int N> Strided<N> strided(const View* const (&views)[N]) {
  const View* model = views[0];
  for (const View* view : views) {
    if (view->size > model->size || (view->size == model->size && model->contiguous && !view->contiguous)) model = view;
  }
  int64_t shape[kMaxRank] = {model->size}, strides[N][kMaxRank];
  const int rank = model->contiguous ? 1 : model->rank;
  if (!model->contiguous) {
    for (int axis = 0; axis < rank; ++axis) shape[axis] = model->shape[axis];
  }
  for (int k = 0; k < N; ++k) read_strides(*views[k], rank, shape, strides[k]);

  Strided<N> result;
  result.rank = 0;
  for (int axis = 0; axis < rank; ++axis) {
    if (shape[axis] == 1) continue;
    bool merged = result.rank > 0;
    for (int k = 0; k < N && merged; ++k) {
      merged = result.strides[k][result.rank - 1] == strides[k][axis] * shape[axis];
    }
    const int at = merged ? result.rank - 1 : result.rank++;
    result.shape[at] = merged ? result.shape[at] * shape[axis] : shape[axis];
    for (int k = 0; k < N; ++k) result.strides[k][at] = strides[k][axis];
  }
  if (result.rank == 0) {
    result.rank = 1;
    result.shape[0] = model->size;  // 0 or 1
    for (int k = 0; k < N; ++k) result.strides[k][0] = 0;
  }
  result.narrow = model->size < (int64_t{1} << 31);
  for (int k = 0; k < N; ++k) {
    int64_t reach = 0;
    for (int axis = 0; axis < result.rank; ++axis) {
      const int64_t stride = result.strides[k][axis];
      reach += (result.shape[axis] - 1) * (stride < 0 ? -stride : stride);
    }
    result.narrow = result.narrow && reach < (int64_t{1} << 31);
  }
  for (int axis = 0; axis < result.rank && result.narrow; ++axis) {
    result.divisors[axis] = Divisor(static_cast<uint32_t>(result.shape[axis] > 0 ? result.shape[axis] : 1));
  }
  return result;
}

}  // namespace needle

#endif  // NEEDLE_CUDA_STRIDED_CUH
