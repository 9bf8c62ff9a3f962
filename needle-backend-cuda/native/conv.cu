// Convolution as a product of matrices that is never written down: the "implicit GEMM".
//
// conv2d is (places of the result) x (places of a window and channels) times (the same) x (channels of the result). A
// block owns a tile of the product; what it needs of the first matrix, it gathers from the image into shared memory,
// with zeros for what lies outside. Both gradients are such products too: of what each element of the image has
// taken part in, and, for the weights, of the first matrix transposed. The library's kernels do the same on tensor
// cores; these run for what it has no algorithm for, and to be read.
#include "columns.cuh"
#include "conv.h"

namespace needle {
namespace {

constexpr int kTile = 64;                // rows and columns of the product that a block owns
constexpr int kDepth = 16;               // of the summed axis, at a time
constexpr int kSide = 4;                 // a thread has 4 x 4 of them
constexpr int64_t kOutside = INT64_MIN;  // the place of a zero; others may be negative, of flipped views
constexpr int64_t kLeastDepth = 512;     // of a part of the summed axis that is worth blocks of its own

// From a number to three indices, the last the fastest.
struct Triple {
  int64_t at[3];
};
struct Split {
  int64_t shape[3];
  bool narrow;
  Divisor divisors[3];

  Split(int64_t a, int64_t b, int64_t c) : shape{a, b, c}, narrow(a * b * c < (int64_t{1} << 31)) {
    for (int axis = 1; axis < 3 && narrow; ++axis)
      divisors[axis] = Divisor(static_cast<uint32_t>(std::max<int64_t>(shape[axis], 1)));
  }
  int64_t size() const { return shape[0] * shape[1] * shape[2]; }

  __device__ __forceinline__ Triple split(int64_t i) const {
    const int64_t row = narrow ? divisors[2].divide(static_cast<uint32_t>(i)) : i / shape[2];
    const int64_t first = narrow ? divisors[1].divide(static_cast<uint32_t>(row)) : row / shape[1];
    return {{first, row - first * shape[1], i - row * shape[2]}};
  }
};

struct Image {
  int64_t strides[4];

  explicit Image(const ShapedView& view) { read_strides(view, 4, view.shape, strides); }
};

// An operand of the product is a matrix: rows and columns are prepared apart, as each thread meets few of them often;
// `at` is where the element lies, or kOutside for a zero.

// Row (image, y, x) of the result, column (k, l, channel) of a window: what the window sees there.
struct Patches {
  Split places, window;
  Image image;
  int64_t height, width;
  Pair stride, padding, dilation;

  using Row = Triple;
  using Column = Triple;
  __device__ __forceinline__ Row row(int64_t i) const {
    const Triple p = places.split(i);
    return {{p.at[0] * image.strides[0], p.at[1] * stride.y - padding.y, p.at[2] * stride.x - padding.x}};
  }
  __device__ __forceinline__ Column column(int64_t j) const {
    const Triple p = window.split(j);
    return {{p.at[0] * dilation.y, p.at[1] * dilation.x, p.at[2] * image.strides[3]}};
  }
  __device__ __forceinline__ int64_t at(const Row& r, const Column& c) const {
    const int64_t y = r.at[1] + c.at[0], x = r.at[2] + c.at[1];
    if (y < 0 || y >= height || x < 0 || x >= width) return kOutside;
    return r.at[0] + y * image.strides[1] + x * image.strides[2] + c.at[2];
  }
};

// Row (image, y, x) of the image, column (k, l, channel of the result): the element of g whose window sees it there.
struct Takers {
  Split places, window;
  Image image;
  int64_t height, width;  // of g
  Pair stride, padding, dilation;

  using Row = Triple;
  using Column = Triple;
  __device__ __forceinline__ Row row(int64_t i) const {
    const Triple p = places.split(i);
    return {{p.at[0] * image.strides[0], p.at[1] + padding.y, p.at[2] + padding.x}};
  }
  __device__ __forceinline__ Column column(int64_t j) const {
    const Triple p = window.split(j);
    return {{p.at[0] * dilation.y, p.at[1] * dilation.x, p.at[2] * image.strides[3]}};
  }
  __device__ __forceinline__ int64_t at(const Row& r, const Column& c) const {
    const int32_t down = static_cast<int32_t>(r.at[1] - c.at[0]), right = static_cast<int32_t>(r.at[2] - c.at[1]);
    if (down < 0 || right < 0) return kOutside;
    const int32_t y = down / static_cast<int32_t>(stride.y), x = right / static_cast<int32_t>(stride.x);
    if (y * stride.y != down || x * stride.x != right || y >= height || x >= width) return kOutside;
    return r.at[0] + y * image.strides[1] + x * image.strides[2] + c.at[2];
  }
};

// Row by three indices, column by one: weights, and g.
struct Strided3 {
  Split rows;
  int64_t strides[3], column_stride;

  using Row = int64_t;
  using Column = int64_t;
  __device__ __forceinline__ Row row(int64_t i) const {
    const Triple p = rows.split(i);
    return p.at[0] * strides[0] + p.at[1] * strides[1] + p.at[2] * strides[2];
  }
  __device__ __forceinline__ Column column(int64_t j) const { return j * column_stride; }
  __device__ __forceinline__ int64_t at(Row r, Column c) const { return r + c; }
};

template <class Matrix> struct Transposed {
  Matrix matrix;

  using Row = typename Matrix::Column;
  using Column = typename Matrix::Row;
  __device__ __forceinline__ Row row(int64_t i) const { return matrix.column(i); }
  __device__ __forceinline__ Column column(int64_t j) const { return matrix.row(j); }
  __device__ __forceinline__ int64_t at(const Row& r, const Column& c) const { return matrix.at(c, r); }
};

// dst (m, width), of which a group has n columns, and perhaps one such matrix for each part of the summed axis.
struct Result {
  int64_t m, n, k, width, part;
};

// c = a (m, k) @ b (k, n), for group blockIdx.z % groups and part blockIdx.z / groups of the summed axis.
template <class T, class To, class A, class B>
__global__ void __launch_bounds__(kThreads)
    multiply_implicitly(const Result result, int64_t groups, const A a, const B b, const T* a_data, int64_t a_group,
                        const T* b_data, int64_t b_group, To* dst) {
  using W = Wide<T>;
  __shared__ W a_tile[kDepth][kTile + 1], b_tile[kDepth][kTile + 1];
  const int64_t group = blockIdx.z % groups, part = blockIdx.z / groups;
  const int64_t top = int64_t{blockIdx.x} * kTile, left = int64_t{blockIdx.y} * kTile;
  const int64_t begin = part * result.part, end = begin + result.part < result.k ? begin + result.part : result.k;
  a_data += group * a_group;
  b_data += group * b_group;

  // Loading: neighbouring threads take neighbouring elements of the axis that usually lies so in memory.
  const int a_depth = threadIdx.x % kDepth, a_row = threadIdx.x / kDepth;
  const int b_column = threadIdx.x % kTile, b_depth = threadIdx.x / kTile;
  constexpr int a_step = kThreads / kDepth, b_step = kThreads / kTile;
  typename A::Row rows[kTile / a_step];
#pragma unroll
  for (int i = 0; i < kTile / a_step; ++i)
    rows[i] = a.row(top + a_row + i * a_step < result.m ? top + a_row + i * a_step : 0);
  const typename B::Column column = b.column(left + b_column < result.n ? left + b_column : 0);

  const int y = threadIdx.x / (kTile / kSide), x = threadIdx.x % (kTile / kSide);
  W total[kSide][kSide] = {};
  for (int64_t first = begin; first < end; first += kDepth) {
    const int64_t a_at = first + a_depth;
    const typename A::Column place = a.column(a_at < end ? a_at : 0);
#pragma unroll
    for (int i = 0; i < kTile / a_step; ++i) {
      const bool inside = a_at < end && top + a_row + i * a_step < result.m;
      const int64_t from = inside ? a.at(rows[i], place) : kOutside;
      a_tile[a_depth][a_row + i * a_step] = from == kOutside ? W(0) : widen(a_data[from]);
    }
#pragma unroll
    for (int i = 0; i < kDepth / b_step; ++i) {
      const int64_t b_at = first + b_depth + i * b_step;
      const bool inside = b_at < end && left + b_column < result.n;
      b_tile[b_depth + i * b_step][b_column] = inside ? widen(b_data[b.at(b.row(b_at), column)]) : W(0);
    }
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      W from_a[kSide], from_b[kSide];
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
        from_a[i] = a_tile[d][y + i * (kTile / kSide)];
        from_b[i] = b_tile[d][x + i * (kTile / kSide)];
      }
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
#pragma unroll
        for (int j = 0; j < kSide; ++j) total[i][j] += from_a[i] * from_b[j];
      }
    }
    __syncthreads();
  }

  dst += part * result.m * result.width + group * result.n;
#pragma unroll
  for (int i = 0; i < kSide; ++i) {
#pragma unroll
    for (int j = 0; j < kSide; ++j) {
      const int64_t r = top + y + i * (kTile / kSide), c = left + x + j * (kTile / kSide);
      if (r >= result.m || c >= result.n) continue;
      if constexpr (std::is_same_v<To, W>) {
        dst[r * result.width + c] = total[i][j];
      } else {
        dst[r * result.width + c] = narrow<To>(total[i][j]);
      }
    }
  }
}

// The product, in parts where one block per tile would leave the device idle.
template <class A, class B>
void multiply(const View& dst, int64_t m, int64_t n, int64_t k, int64_t groups, const A& a, const View& a_view,
              int64_t a_group, const B& b, const View& b_view, int64_t b_group) {
  if (dst.size == 0) return;
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using W = Wide<T>;
    const int64_t tiles_m = ceil_div(m, kTile), tiles_n = ceil_div(n, kTile), blocks = tiles_m * tiles_n * groups;
    const int64_t most = std::min(ceil_div(2 * multiprocessors(), blocks), ceil_div(k, kLeastDepth));
    const int64_t part = ceil_div(ceil_div(std::max<int64_t>(k, 1), std::max<int64_t>(most, 1)), kDepth) * kDepth;
    const int64_t parts = std::max<int64_t>(ceil_div(k, part), 1);
    const Result result{m, n, k, n * groups, part};
    const dim3 grid(static_cast<unsigned>(tiles_m), static_cast<unsigned>(tiles_n),
                    static_cast<unsigned>(groups * parts));
    const auto *a_data = a_view.as<const T>(), *b_data = b_view.as<const T>();
    if (parts == 1) {
      return launch(multiply_implicitly<T, T, A, B>, grid, kThreads, 0, result, groups, a, b, a_data, a_group, b_data,
                    b_group, dst.as<T>());
    }
    const Workspace space(static_cast<size_t>(parts * dst.size) * sizeof(W));
    launch(multiply_implicitly<T, W, A, B>, grid, kThreads, 0, result, groups, a, b, a_data, a_group, b_data, b_group,
           space.as<W>());
    sum_partials(parts, dst.size, space.as<const W>(), dst.as<T>());
  });
}

// The first matrix of conv2d written down, its rows `row_stride` apart: `count` neighbouring channels a thread.
template <int count, class T>
__global__ void unroll(const Patches patches, const Split cells, int64_t size, int64_t row_stride, const T* x, T* dst) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const Triple cell = cells.split(i);
  const int64_t column = cell.at[2] * count;
  const int64_t from = patches.at(patches.row(cell.at[1]), patches.column(column));
  Pack<T, count> pack{};
  if (from != kOutside) pack = load_pack<count>(x + from);
  store_pack(dst + cell.at[1] * row_stride + column, pack);
}

Patches patches_of(const ShapedView& places, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding,
                   Pair dilation) {
  const Split rows(places.shape[0], places.shape[1], places.shape[2]), window(w.shape[0], w.shape[1], w.shape[2]);
  return {rows, window, Image(x), x.shape[1], x.shape[2], stride, padding, dilation};
}

ShapedView matrix(void* data, DType dtype, int64_t rows, int64_t columns, int64_t row_stride) {
  ShapedView view;
  view.data = data;
  view.dtype = dtype;
  view.rank = 2;
  view.contiguous = row_stride == columns;
  view.size = rows * columns;
  view.shape[0] = rows;
  view.shape[1] = columns;
  view.strides[0] = row_stride;
  view.strides[1] = 1;
  return view;
}

// That matrix in scratch memory, each row aligned for the product.
class Unrolled {
 public:
  Unrolled(const ShapedView& places, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation)
      : patches_(patches_of(places, x, w, stride, padding, dilation)),
        m(patches_.places.size()),
        k(patches_.window.size()),
        row_stride_(ceil_div(k, kCount) * kCount),
        space_(static_cast<size_t>(m * row_stride_ * item_size(x.dtype))),
        dtype_(x.dtype) {
    const int64_t (&strides)[4] = patches_.image.strides;
    bool whole = patches_.window.shape[2] % kCount == 0 && strides[3] == 1;
    for (int axis = 0; axis < 3; ++axis) whole = whole && strides[axis] % kCount == 0;
    visit_size(dtype_, [&](auto type) {
      using T = typename decltype(type)::type;
      const bool packs = whole && aligned(x.data, kCount * sizeof(T));
      const Split cells(1, m, packs ? k / kCount : k);
      launch(packs ? unroll<kCount, T> : unroll<1, T>, blocks_for(cells.size(), kThreads), kThreads, 0, patches_, cells,
             cells.size(), row_stride_, x.as<const T>(), space_.as<T>());
    });
  }
  ShapedView view() const { return matrix(space_.as<void>(), dtype_, m, k, row_stride_); }

 private:
  static constexpr int kCount = 4;
  Patches patches_;

 public:
  const int64_t m, k;

 private:
  int64_t row_stride_;
  Workspace space_;
  DType dtype_;
};

}  // namespace

bool unrolls(const ShapedView& places, const ShapedView& w, int64_t groups) {
  constexpr int64_t most = int64_t{128} << 20;
  const int64_t cells = places.size / std::max<int64_t>(places.shape[3], 1) * w.size / std::max<int64_t>(w.shape[3], 1);
  return groups == 1 && w.contiguous && places.contiguous && cells * item_size(places.dtype) <= most;
}

void conv2d_unrolled(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding,
                     Pair dilation) {
  const Unrolled image(dst, x, w, stride, padding, dilation);
  const int64_t n = dst.shape[3];
  matmul(matrix(dst.data, dst.dtype, image.m, n, n), image.view(), matrix(w.data, w.dtype, image.k, n, n), false,
         false);
}

void conv2d_unrolled_bias(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const View& bias,
                          Pair stride, Pair padding, Pair dilation) {
  if (!bias.contiguous) {
    conv2d_unrolled(dst, x, w, stride, padding, dilation);
    return add_row(dst, bias);
  }
  const Unrolled image(dst, x, w, stride, padding, dilation);
  const int64_t n = dst.shape[3];
  linear(matrix(dst.data, dst.dtype, image.m, n, n), image.view(), matrix(w.data, w.dtype, image.k, n, n), bias, false,
         std::nullopt);
}

void conv2d_grad_weight_unrolled(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride,
                                 Pair padding, Pair dilation) {
  const Unrolled image(g, x, dst, stride, padding, dilation);
  const int64_t n = g.shape[3];
  matmul(matrix(dst.data, dst.dtype, image.k, n, n), image.view(), matrix(g.data, g.dtype, image.m, n, n), true, false);
}

void conv2d_direct(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding,
                   Pair dilation, int64_t groups) {
  const Image image(x), kernel(w);
  const int64_t n = dst.shape[3] / groups;
  const Split places(dst.shape[0], dst.shape[1], dst.shape[2]), window(w.shape[0], w.shape[1], w.shape[2]);
  const Patches patches{places, window, image, x.shape[1], x.shape[2], stride, padding, dilation};
  const Strided3 weights{window, {kernel.strides[0], kernel.strides[1], kernel.strides[2]}, kernel.strides[3]};
  multiply(dst, places.size(), n, window.size(), groups, patches, x, w.shape[2] * image.strides[3], weights, w,
           n * kernel.strides[3]);
}

void conv2d_grad_input_direct(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride,
                              Pair padding, Pair dilation, int64_t groups) {
  const Image image(g), kernel(w);
  const int64_t n = w.shape[2], outputs = g.shape[3] / groups;
  const Split places(dst.shape[0], dst.shape[1], dst.shape[2]), window(w.shape[0], w.shape[1], outputs);
  const Takers takers{places, window, image, g.shape[1], g.shape[2], stride, padding, dilation};
  const Strided3 weights{window, {kernel.strides[0], kernel.strides[1], kernel.strides[3]}, kernel.strides[2]};
  multiply(dst, places.size(), n, window.size(), groups, takers, g, outputs * image.strides[3], weights, w,
           outputs * kernel.strides[3]);
}

void conv2d_grad_weight_direct(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride,
                               Pair padding, Pair dilation, int64_t groups) {
  const Image image(x), grad(g);
  const int64_t n = g.shape[3] / groups;
  const Split places(g.shape[0], g.shape[1], g.shape[2]), window(dst.shape[0], dst.shape[1], dst.shape[2]);
  const Transposed<Patches> patches{{places, window, image, x.shape[1], x.shape[2], stride, padding, dilation}};
  const Strided3 grads{places, {grad.strides[0], grad.strides[1], grad.strides[2]}, grad.strides[3]};
  multiply(dst, window.size(), n, places.size(), groups, patches, x, dst.shape[2] * image.strides[3], grads, g,
           n * grad.strides[3]);
}

}  // namespace needle
