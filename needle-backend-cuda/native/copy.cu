// dst[...] = src[...] for any strides on both sides: the driver's copy, wide elements, or transpositions in tiles.
#include <utility>

#include "map.cuh"
#include "ops.h"

namespace needle {
namespace {

constexpr int kTile = 32, kTileRows = 8;  // a block of 32 x 8 threads moves a tile of 32 x 32 elements

template <class T> __global__ void copy_strided(int64_t n, const Strided<2> strides, T* dst, const T* src) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int64_t place[2];
  strides.places(i, place);
  dst[place[0]] = src[place[1]];
}

// A pack of dst a thread, whose elements it asks for one by one: rows in reverse, every second column, rows that lie at
// odd places. `strides` are those of the packs of dst, and of the first elements of src for them.
template <class T>
__global__ void copy_gathered(int64_t packs, const Strided<2> strides, int64_t step, T* dst, const T* src) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  int64_t place[2];
  strides.places(i, place);
  Pack<T, kPerPack<T>> pack;
#pragma unroll
  for (int j = 0; j < kPerPack<T>; ++j) pack.at[j] = src[place[1] + j * step];
  store_pack(dst + place[0], pack);
}

// Planes of rows x columns: dst is contiguous along columns, src along rows. Tiles are read along src and written
// along dst, by way of shared memory; its rows are one longer, so that a column is spread over all banks.
struct Planes {
  int64_t rows, columns, dst_row, src_column;
  Strided<2> outer;
};

template <class T> __global__ void copy_transposed(const Planes planes, T* dst, const T* src) {
  __shared__ T tile[kTile][kTile + 1];
  const int64_t tiles_down = (planes.rows + kTile - 1) / kTile, tiles_across = (planes.columns + kTile - 1) / kTile;
  const int64_t plane = blockIdx.x / (tiles_down * tiles_across), rest = blockIdx.x % (tiles_down * tiles_across);
  const int64_t row = rest / tiles_across * kTile, column = rest % tiles_across * kTile;
  int64_t place[2];
  planes.outer.places(plane, place);
  for (int j = threadIdx.y; j < kTile; j += kTileRows) {
    const int64_t r = row + threadIdx.x, c = column + j;
    if (r < planes.rows && c < planes.columns) tile[j][threadIdx.x] = src[place[1] + r + c * planes.src_column];
  }
  __syncthreads();
  for (int j = threadIdx.y; j < kTile; j += kTileRows) {
    const int64_t r = row + j, c = column + threadIdx.x;
    if (r < planes.rows && c < planes.columns) dst[place[0] + r * planes.dst_row + c] = tile[threadIdx.x][j];
  }
}

void drop_axis(Strided<2>& axes, int axis) {
  for (int i = axis; i + 1 < axes.rank; ++i) {
    axes.shape[i] = axes.shape[i + 1];
    axes.divisors[i] = axes.divisors[i + 1];
    for (auto& strides : axes.strides) strides[i] = strides[i + 1];
  }
  --axes.rank;
}

// The axis along which a side is contiguous, or -1.
int unit_axis(const Strided<2>& axes, int side) {
  for (int axis = axes.rank - 1; axis >= 0; --axis) {
    if (axes.strides[side][axis] == 1 && axes.shape[axis] >= kTile / 2) return axis;
  }
  return -1;
}

template <class T> bool transpose(const View& dst, const View& src, const Strided<2>& axes) {
  const int along = unit_axis(axes, 0), across = unit_axis(axes, 1);
  if (along < 0 || across < 0 || along == across) return false;
  Planes planes{axes.shape[across], axes.shape[along], axes.strides[0][across], axes.strides[1][along], axes};
  drop_axis(planes.outer, std::max(along, across));
  drop_axis(planes.outer, std::min(along, across));
  if (planes.outer.rank == 0) {
    planes.outer.rank = 1;
    planes.outer.shape[0] = 1;
    planes.outer.strides[0][0] = planes.outer.strides[1][0] = 0;
  }
  const int64_t count = dst.size / (planes.rows * planes.columns);
  const int64_t blocks = count * ceil_div(planes.rows, kTile) * ceil_div(planes.columns, kTile);
  if (blocks > INT32_MAX) return false;
  launch(copy_transposed<T>, static_cast<unsigned>(blocks), dim3(kTile, kTileRows), 0, planes, dst.as<T>(),
         src.as<const T>());
  return true;
}

// Whether pairs of neighbours can be moved as one element of twice the size.
bool pairs_up(const Strided<2>& axes, const View& dst, const View& src, size_t item) {
  const int last = axes.rank - 1;
  if (axes.shape[last] % 2 != 0 || !aligned(dst.data, 2 * item) || !aligned(src.data, 2 * item)) return false;
  for (const auto& strides : axes.strides) {
    if (strides[last] != 1) return false;
    for (int axis = 0; axis < last; ++axis) {
      if (strides[axis] % 2 != 0) return false;
    }
  }
  return true;
}

void pair_up(Strided<2>& axes) {
  const int last = axes.rank - 1;
  axes.shape[last] /= 2;
  axes.divisors[last] = Divisor(static_cast<uint32_t>(axes.narrow ? axes.shape[last] : 1));
  for (auto& strides : axes.strides) {
    for (int axis = 0; axis < last; ++axis) strides[axis] /= 2;
  }
}

// Whether one element is repeated along each row: packs of it are written.
bool repeats(const Strided<2>& axes) {
  const int last = axes.rank - 1;
  return axes.strides[0][last] == 1 && axes.strides[1][last] == 0;
}

// Whether every row of dst is packs of 16 bytes.
template <class T> bool writes_packs(const Strided<2>& axes, const View& dst) {
  const int last = axes.rank - 1;
  if (axes.strides[0][last] != 1 || axes.shape[last] % kPerPack<T> != 0 || !aligned(dst.data)) return false;
  for (int axis = 0; axis < last; ++axis) {
    if (axes.strides[0][axis] % kPerPack<T> != 0) return false;
  }
  return true;
}

template <class T> void copy_as(const View& dst, const View& src, const Strided<2>& axes, int64_t n) {
  if (kPerPack<T> > 1 && writes_packs<T>(axes, dst)) {
    Strided<2> packs = axes;
    const int last = axes.rank - 1;
    packs.shape[last] /= kPerPack<T>;
    packs.divisors[last] = Divisor(static_cast<uint32_t>(axes.narrow ? packs.shape[last] : 1));
    for (auto& strides : packs.strides) strides[last] *= kPerPack<T>;
    return launch(copy_gathered<T>, blocks_for(n / kPerPack<T>, kThreads), kThreads, 0, n / kPerPack<T>, packs,
                  axes.strides[1][last], dst.as<T>(), src.as<const T>());
  }
  launch(copy_strided<T>, blocks_for(n, kThreads), kThreads, 0, n, axes, dst.as<T>(), src.as<const T>());
}

}  // namespace

void copy(const View& dst, const View& src) {
  if (dst.size == 0) return;
  if (dst.contiguous && src.contiguous && src.size == dst.size) {
    const size_t bytes = static_cast<size_t>(dst.size * item_size(dst.dtype));
    return check(cudaMemcpyAsync(dst.data, src.data, bytes, cudaMemcpyDeviceToDevice, stream()));
  }
  Strided<2> axes = strided<2>({&dst, &src});
  if (repeats(axes)) {
    return visit_size(dst.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      map<T, T>(Same(), dst, src);
    });
  }
  bool done = false;
  visit_size(dst.dtype, [&](auto type) { done = transpose<typename decltype(type)::type>(dst, src, axes); });
  if (done) return;
  size_t item = static_cast<size_t>(item_size(dst.dtype));
  int64_t n = dst.size;
  for (; item < 16 && pairs_up(axes, dst, src, item); item *= 2, n /= 2) pair_up(axes);
  switch (item) {
    case 1: return copy_as<uint8_t>(dst, src, axes, n);
    case 2: return copy_as<uint16_t>(dst, src, axes, n);
    case 4: return copy_as<uint32_t>(dst, src, axes, n);
    case 8: return copy_as<uint64_t>(dst, src, axes, n);
    default: return copy_as<uint4>(dst, src, axes, n);
  }
}

}  // namespace needle
