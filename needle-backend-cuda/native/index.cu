// gather and scatter_add along the middle axis of (outer, n, inner).
//
// An index out of range would read or write foreign memory, so it does neither: gather gives 0 for it, scatter_add
// leaves it out. The host does not wait to be told.
#include "launch.cuh"
#include "ops.h"

namespace needle {
namespace {

// The shape (outer, count, inner) of the index, and its strides.
struct Index {
  int64_t count, inner, strides[3];
  bool narrow;  // the divisors may be used
  Divisor by_inner, by_count;

  explicit Index(const ShapedView& index) : count(index.shape[1]), inner(index.shape[2]) {
    const int64_t compact[3] = {count * inner, inner, 1};
    for (int axis = 0; axis < 3; ++axis) strides[axis] = index.contiguous ? compact[axis] : index.strides[axis];
    narrow = index.size < (int64_t{1} << 31);
    if (narrow && index.size > 0) {
      by_inner = Divisor(static_cast<uint32_t>(inner));
      by_count = Divisor(static_cast<uint32_t>(count));
    }
  }

  struct Place {
    int64_t i, j, k;
  };
  __device__ __forceinline__ Place place(int64_t at) const {
    if (narrow) {
      const uint32_t row = by_inner.divide(static_cast<uint32_t>(at)), i = by_count.divide(row);
      return {i, row - i * by_count.divisor, at - static_cast<int64_t>(row) * inner};
    }
    const int64_t row = at / inner, i = row / count;
    return {i, row - i * count, at - row * inner};
  }
  template <class I> __device__ __forceinline__ int64_t at(const I* index, const Place& p) const {
    return index[p.i * strides[0] + p.j * strides[1] + p.k * strides[2]];
  }
};

struct Source {
  int64_t strides[3];

  Source(const ShapedView& x, int64_t n, int64_t inner) {
    const int64_t compact[3] = {n * inner, inner, 1};
    for (int axis = 0; axis < 3; ++axis) strides[axis] = x.contiguous ? compact[axis] : x.strides[axis];
  }
};

template <class T, class I>
__global__ void gather_each(const Index index, const Source source, int64_t size, int64_t n, T* dst, const T* x,
                            const I* indices) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= size) return;
  const Index::Place p = index.place(at);
  const int64_t chosen = index.at(indices, p);
  const bool holds = chosen >= 0 && chosen < n;
  dst[at] = holds ? x[p.i * source.strides[0] + chosen * source.strides[1] + p.k * source.strides[2]] : T();
}

__device__ __forceinline__ void add_to(bool* to, bool x) {  // bool adds as `or`
  if (x) *to = true;
}
// A byte is added by exchanging the aligned word that it lies in.
template <class T> __device__ __forceinline__ void add_in_word(T* to, T x) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(to);
  unsigned* word = reinterpret_cast<unsigned*>(address & ~uintptr_t{3});
  const int shift = static_cast<int>(address & 3) * 8;
  constexpr unsigned mask = 0xFFu;
  unsigned seen = *word, expected;
  do {
    expected = seen;
    const unsigned sum = ((expected >> shift) + static_cast<unsigned>(static_cast<uint8_t>(x))) & mask;
    seen = atomicCAS(word, expected, (expected & ~(mask << shift)) | (sum << shift));
  } while (seen != expected);
}
__device__ __forceinline__ void add_to(uint8_t* to, uint8_t x) { add_in_word(to, x); }
__device__ __forceinline__ void add_to(int8_t* to, int8_t x) { add_in_word(to, x); }
__device__ __forceinline__ void add_to(int64_t* to, int64_t x) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(x));
}
template <class T> __device__ __forceinline__ void add_to(T* to, T x) { atomicAdd(to, x); }

// Many threads may meet at one element, in any order: sums of floats can differ in their last bit from run to run.
template <class To, class T, class I>
__global__ void scatter_each(const Index index, const Strided<1> source, int64_t size, int64_t n, To* dst, const T* src,
                             const I* indices) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= size) return;
  const Index::Place p = index.place(at);
  const int64_t chosen = index.at(indices, p);
  int64_t from[1];
  source.places(at, from);
  if (chosen >= 0 && chosen < n) add_to(dst + (p.i * n + chosen) * index.inner + p.k, To(src[from[0]]));
}

template <class To, class From> __global__ void convert(int64_t n, To* dst, const From* src) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) dst[i] = narrow<To>(static_cast<Wide<To>>(widen(src[i])));
}

template <class T, class I>
void scatter_into(T* dst, const Index& index, const View& src, int64_t n, const I* indices) {
  launch(scatter_each<T, T, I>, blocks_for(src.size, kThreads), kThreads, 0, index, strided<1>({&src}), src.size, n,
         dst, src.as<const T>(), indices);
}

// Halves are summed in float and rounded once.
template <class T, class I>
void scatter_halves(const View& dst, const Index& index, const View& src, int64_t n, const I* indices) {
  const Workspace total(static_cast<size_t>(dst.size) * sizeof(float));
  const unsigned blocks = blocks_for(dst.size, kThreads);
  launch(convert<float, T>, blocks, kThreads, 0, dst.size, total.as<float>(), dst.as<const T>());
  launch(scatter_each<float, T, I>, blocks_for(src.size, kThreads), kThreads, 0, index, strided<1>({&src}), src.size, n,
         total.as<float>(), src.as<const T>(), indices);
  launch(convert<T, float>, blocks, kThreads, 0, dst.size, dst.as<T>(), total.as<const float>());
}

}  // namespace

void gather(const ShapedView& dst, const ShapedView& x, const ShapedView& index) {
  if (dst.size == 0) return;
  const Index where(index);
  const int64_t n = x.shape[1];
  visit_size(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    visit_index(index.dtype, [&](auto index_type) {
      using I = typename decltype(index_type)::type;
      launch(gather_each<T, I>, blocks_for(dst.size, kThreads), kThreads, 0, where, Source(x, n, where.inner), dst.size,
             n, dst.as<T>(), x.as<const T>(), index.as<const I>());
    });
  });
}

void scatter_add(const ShapedView& dst, const ShapedView& index, const View& src) {
  if (src.size == 0 || dst.size == 0) return;
  const Index where(index);
  const int64_t n = dst.shape[1];
  visit_dtype(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    visit_index(index.dtype, [&](auto index_type) {
      using I = typename decltype(index_type)::type;
      if constexpr (std::is_same_v<Wide<T>, float> && sizeof(T) == 2) {
        scatter_halves<T>(dst, where, src, n, index.as<const I>());
      } else {
        scatter_into(dst.as<T>(), where, src, n, index.as<const I>());
      }
    });
  });
}

}  // namespace needle
