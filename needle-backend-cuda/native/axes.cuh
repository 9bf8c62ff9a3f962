// A view as rows and columns: its leading axes count the rows, its trailing axes the elements of each.
#ifndef NEEDLE_CUDA_AXES_CUH
#define NEEDLE_CUDA_AXES_CUH

#include "launch.cuh"

namespace needle {

class Axes {
 public:
  // x (rows, n), any strides on both sides.
  Axes(const View& x, int64_t rows, int64_t n) {
    if (x.contiguous || x.size <= 1) {
      *this = one_after_another(rows, n);
      return;
    }
    View leading, trailing;
    leading.contiguous = trailing.contiguous = false;
    leading.size = rows;
    trailing.size = n;
    int64_t counted = 1;
    for (int axis = 0; axis < x.rank; ++axis) {
      View& side = counted < rows ? leading : trailing;
      counted *= x.shape[axis];
      side.shape[side.rank] = x.shape[axis];
      side.strides[side.rank++] = x.strides[axis];
    }
    rows_ = strided<1>({&leading});
    columns_ = strided<1>({&trailing});
  }

  static Axes one_after_another(int64_t rows, int64_t n) { return Axes(rows, n, n, 1); }
  static Axes side_by_side(int64_t rows, int64_t n) { return Axes(rows, 1, n, rows); }

  __device__ __forceinline__ int64_t row(int64_t r) const { return place(rows_, r); }
  __device__ __forceinline__ int64_t column(int64_t j) const { return place(columns_, j); }

  // Whether the elements of a row are a stride apart.
  __device__ __forceinline__ bool columns_are_even() const { return columns_.rank == 1; }
  bool columns_are_packed() const {
    return columns_.rank == 1 && (columns_.strides[0][0] == 1 || columns_.shape[0] == 1);
  }
  // Whether a row consists of contiguous runs, of whole packs of `count`.
  bool columns_come_in_runs(int count) const { return comes_in_runs(columns_, count); }
  // Whether so many neighbouring rows, or all of them, lie side by side.
  bool rows_are_packed(int64_t neighbours) const {
    const int last = rows_.rank - 1;
    return rows_.strides[0][last] == 1 && (last == 0 || rows_.shape[last] >= neighbours);
  }

  // Whether packs of `count` elements along every row, or side by side at every step down, are aligned.
  template <class T> bool aligned_rows(const T* x, int count) const {
    return aligned(x, sizeof(T) * count) && multiples(rows_, rows_.rank, count);
  }
  template <class T> bool aligned_columns(const T* x, int count) const {
    return aligned(x, sizeof(T) * count) && multiples(columns_, columns_.rank, count) && comes_in_runs(rows_, count);
  }

 private:
  Axes(int64_t rows, int64_t row_stride, int64_t n, int64_t stride)
      : rows_(one_axis(rows, row_stride)), columns_(one_axis(n, stride)) {}

  static Strided<1> one_axis(int64_t length, int64_t stride) {
    Strided<1> axis;
    axis.rank = 1;
    axis.narrow = false;
    axis.shape[0] = length;
    axis.strides[0][0] = stride;
    return axis;
  }

  static __device__ __forceinline__ int64_t place(const Strided<1>& axes, int64_t i) {
    if (axes.rank == 1) return i * axes.strides[0][0];
    int64_t at[1];
    axes.places(i, at);
    return at[0];
  }

  // Whether the strides of the first `number` axes are multiples of `count`.
  static bool multiples(const Strided<1>& axes, int number, int count) {
    for (int axis = 0; axis < number; ++axis) {
      if (axes.shape[axis] > 1 && axes.strides[0][axis] % count != 0) return false;
    }
    return true;
  }

  static bool comes_in_runs(const Strided<1>& axes, int count) {
    const int last = axes.rank - 1;
    return axes.strides[0][last] == 1 && axes.shape[last] % count == 0 && multiples(axes, last, count);
  }

  Strided<1> rows_, columns_;
};

}  // namespace needle

#endif  // NEEDLE_CUDA_AXES_CUH
