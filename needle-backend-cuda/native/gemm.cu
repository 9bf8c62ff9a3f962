// Our own matrix products: the naive one, which is the test of the other, and a tiled one. The library's are faster;
// these explain the craft, and multiply integers, which the library does not.
#include "launch.cuh"
#include "matmul.h"

namespace needle {
namespace {

// Element (row, column) of a stored matrix or of its transpose.
template <class T> struct Operand {
  const T* data;
  int64_t ld;
  bool transposed;

  __device__ __forceinline__ Wide<T> at(int64_t row, int64_t column) const {
    return widen(transposed ? data[column * ld + row] : data[row * ld + column]);
  }
};

template <class T> struct Multiply {  // products of integers wrap around
  static __device__ __forceinline__ Wide<T> add(Wide<T> total, Wide<T> a, Wide<T> b) {
    return wrap_add(total, wrap_mul(a, b));
  }
};
template <> __device__ __forceinline__ float Multiply<float>::add(float total, float a, float b) {
  return fmaf(a, b, total);
}

// A thread for each element of c: every element of a and b is read from memory again and again.
template <class T> __global__ void multiply_naive(const Product p, T* c, const T* a, const T* b) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y, matrix = blockIdx.z;
  if (row >= p.m || column >= p.n) return;
  const Operand<T> left{a + matrix * p.a_stride, p.lda, p.transpose_a};
  const Operand<T> right{b + matrix * p.b_stride, p.ldb, p.transpose_b};
  Wide<T> total = Wide<T>(0);
  for (int64_t i = 0; i < p.k; ++i) total = Multiply<T>::add(total, left.at(row, i), right.at(i, column));
  c[matrix * p.c_stride + row * p.ldc + column] = narrow<T>(total);
}

// A block owns a tile of c and walks along k. Each step brings a tile of a and one of b into shared memory, where all
// threads share them: an element is read from memory once per tile instead of once per product. A thread owns kOwn x
// kOwn elements of c in registers, so that kOwn values of each side serve kOwn * kOwn products.
constexpr int kEdge = 16;                                               // of the naive kernel's blocks
constexpr int kTile = 64, kDepth = 16, kOwn = 4, kSide = kTile / kOwn;  // kSide x kSide threads

template <class T, int rows, int columns>
__device__ __forceinline__ void fetch(Wide<T> (&tile)[kDepth][kTile], const Operand<T>& from, int64_t row,
                                      int64_t column, int64_t row_end, int64_t column_end, bool depth_is_column) {
  for (int i = threadIdx.x; i < rows * columns; i += kSide * kSide) {
    // Neighbouring threads read neighbouring addresses, along whichever axis is stored so.
    const int r = from.transposed ? i % rows : i / columns, c = from.transposed ? i / rows : i % columns;
    const bool inside = row + r < row_end && column + c < column_end;
    const Wide<T> value = inside ? from.at(row + r, column + c) : Wide<T>(0);
    (depth_is_column ? tile[c][r] : tile[r][c]) = value;
  }
}

template <class T> __global__ void multiply_in_tiles(const Product p, T* c, const T* a, const T* b) {
  __shared__ Wide<T> left_tile[kDepth][kTile], right_tile[kDepth][kTile];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kTile, row = static_cast<int64_t>(blockIdx.y) * kTile;
  const int64_t matrix = blockIdx.z;
  const Operand<T> left{a + matrix * p.a_stride, p.lda, p.transpose_a};
  const Operand<T> right{b + matrix * p.b_stride, p.ldb, p.transpose_b};
  const int x = threadIdx.x % kSide, y = threadIdx.x / kSide;
  Wide<T> total[kOwn][kOwn] = {};
  for (int64_t depth = 0; depth < p.k; depth += kDepth) {
    fetch<T, kTile, kDepth>(left_tile, left, row, depth, p.m, p.k, true);
    fetch<T, kDepth, kTile>(right_tile, right, depth, column, p.k, p.n, false);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
      Wide<T> from_left[kOwn], from_right[kOwn];
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        from_left[j] = left_tile[i][y + j * kSide];
        from_right[j] = right_tile[i][x + j * kSide];
      }
#pragma unroll
      for (int r = 0; r < kOwn; ++r) {
#pragma unroll
        for (int s = 0; s < kOwn; ++s) total[r][s] = Multiply<T>::add(total[r][s], from_left[r], from_right[s]);
      }
    }
    __syncthreads();
  }
  for (int r = 0; r < kOwn; ++r) {
    for (int s = 0; s < kOwn; ++s) {
      const int64_t i = row + y + r * kSide, j = column + x + s * kSide;
      if (i < p.m && j < p.n) c[matrix * p.c_stride + i * p.ldc + j] = narrow<T>(total[r][s]);
    }
  }
}

// A grid counts at most 65535 blocks along y and z: larger problems go piece by piece.
template <class T, class Launch> void in_grids(Product p, T* c, const T* a, const T* b, int64_t tile, Launch launch) {
  constexpr int64_t kLimit = 65535;
  const Product whole = p;
  for (int64_t first = 0; first < whole.batch; first += kLimit) {
    p.batch = std::min(kLimit, whole.batch - first);
    for (int64_t row = 0; row < whole.m; row += kLimit * tile) {
      p.m = std::min(kLimit * tile, whole.m - row);
      launch(p, c + first * p.c_stride + row * p.ldc, a + first * p.a_stride + row * (p.transpose_a ? 1 : p.lda),
             b + first * p.b_stride,
             dim3(blocks_for(p.n, tile), blocks_for(p.m, tile), static_cast<unsigned>(p.batch)));
    }
  }
}

}  // namespace

void multiply_tiled(const Product& product, const View& dst, const View& a, const View& b) {
  visit_dtype(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    in_grids(product, dst.as<T>(), a.as<const T>(), b.as<const T>(), kTile,
             [](const Product& p, T* c, const T* x, const T* y, dim3 grid) {
               launch(multiply_in_tiles<T>, grid, kSide * kSide, 0, p, c, x, y);
             });
  });
}

void matmul_tiled(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  if (dst.size > 0) multiply_tiled(Product(dst, a, b, transpose_a, transpose_b), dst, a, b);
}

void matmul_naive(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  if (dst.size == 0) return;
  const Product product(dst, a, b, transpose_a, transpose_b);
  visit_dtype(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    in_grids(product, dst.as<T>(), a.as<const T>(), b.as<const T>(), kEdge,
             [](const Product& p, T* c, const T* x, const T* y, dim3 grid) {
               launch(multiply_naive<T>, grid, dim3(kEdge, kEdge), 0, p, c, x, y);
             });
  });
}

}  // namespace needle
