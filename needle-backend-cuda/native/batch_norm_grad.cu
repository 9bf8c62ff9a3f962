// moments, and the gradient of batch_norm: per channel of x (..., C), down the columns.
//
// Statistics are joined pair by pair (Chan, Golub and LeVeque, 1979), so that no large mean drowns a small variance.
#include "channels.cuh"
#include "ops.h"

namespace needle {
namespace {

constexpr int64_t kLeastRows = 8;  // of a thread, where its sums must be joined with others'

template <class W> struct Moments {
  W mean = 0, squares = 0, count = 0;  // squares of distances from the mean

  __device__ __forceinline__ void join(const Moments& other) {
    if (other.count == 0) return;
    const W total = count + other.count, apart = other.mean - mean, share = other.count / total;
    mean += apart * share;
    squares += other.squares + apart * apart * count * share;
    count = total;
  }
};

// Of the threads of a block that have the same columns, for those with threadIdx.y == 0.
template <int count, class W> __device__ __forceinline__ void join_down(Moments<W> (&m)[count]) {
  __shared__ W means[kThreads][count], squares[kThreads][count], counts[kThreads];
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  const auto share = [&] {
    counts[me] = m[0].count;
#pragma unroll
    for (int k = 0; k < count; ++k) means[me][k] = m[k].mean, squares[me][k] = m[k].squares;
  };
  share();
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y >= half) continue;
    const int other = me + half * blockDim.x;
#pragma unroll
    for (int k = 0; k < count; ++k) m[k].join({means[other][k], squares[other][k], counts[other]});
    share();
  }
}

// Of each chunk: its means at out[chunk, :], and its squares `chunks` rows below.
template <int count, class T>
__global__ void __launch_bounds__(kThreads)
    moments_of_chunks(int64_t rows, int64_t n, int64_t chunk, const T* x, Wide<T>* out) {
  using W = Wide<T>;
  const ColumnsOfThread<count> mine(rows, n, chunk);
  Moments<W> m[count];
  W seen = 0;
#pragma unroll 4
  for (int64_t r = mine.begin; r < mine.end; r += blockDim.y) {
    const Pack<T, count> pack = load_pack<count>(x + r * n + mine.first);
    seen += W(1);
    const W share = W(1) / seen;
#pragma unroll
    for (int k = 0; k < count; ++k) {
      const W value = widen(pack.at[k]), apart = value - m[k].mean;
      m[k].mean += apart * share;
      m[k].squares += apart * (value - m[k].mean);
    }
  }
#pragma unroll
  for (int k = 0; k < count; ++k) m[k].count = seen;
  join_down(m);
  if (threadIdx.y > 0 || mine.first >= n) return;
#pragma unroll
  for (int k = 0; k < count; ++k) {
    out[blockIdx.y * n + mine.first + k] = m[k].mean;
    out[(gridDim.y + blockIdx.y) * n + mine.first + k] = m[k].squares;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    join_chunks(int64_t rows, int64_t n, int64_t chunk, int64_t chunks, const Wide<T>* parts, T* mean, T* var) {
  using W = Wide<T>;
  const ColumnsOfThread<1> mine(chunks, n, chunks);
  Moments<W> m[1];
  for (int64_t i = mine.begin; i < mine.end; i += blockDim.y) {
    const int64_t left = rows - i * chunk;
    m[0].join(
        {parts[i * n + mine.first], parts[(chunks + i) * n + mine.first], static_cast<W>(left < chunk ? left : chunk)});
  }
  join_down(m);
  if (threadIdx.y > 0 || mine.first >= n) return;
  mean[mine.first] = narrow<T>(m[0].mean);
  var[mine.first] = narrow<T>(m[0].squares / m[0].count);
}

// Of each chunk: the sums of g * normalized x at out[chunk, :], and those of g `chunks` rows below.
template <int count, class T>
__global__ void __launch_bounds__(kThreads)
    sum_chunks(int64_t rows, int64_t n, int64_t chunk, const Channel<T> channel, const T* g, const T* x, Wide<T>* out) {
  using W = Wide<T>;
  const ColumnsOfThread<count> mine(rows, n, chunk);
  W products[count] = {}, sums[count] = {}, mean[count];
#pragma unroll
  for (int k = 0; k < count; ++k) mean[k] = mine.first < n ? widen(channel.mean[mine.first + k]) : W(0);
#pragma unroll 4
  for (int64_t r = mine.begin; r < mine.end; r += blockDim.y) {
    const Pack<T, count> grad = load_pack<count>(g + r * n + mine.first);
    const Pack<T, count> from = load_pack<count>(x + r * n + mine.first);
#pragma unroll
    for (int k = 0; k < count; ++k) {
      sums[k] += widen(grad.at[k]);
      products[k] += widen(grad.at[k]) * (widen(from.at[k]) - mean[k]);
    }
  }
  sum_down(products);
  sum_down(sums);
  if (threadIdx.y > 0 || mine.first >= n) return;
#pragma unroll
  for (int k = 0; k < count; ++k) {
    out[blockIdx.y * n + mine.first + k] = products[k] * channel.scale(mine.first + k);
    out[(gridDim.y + blockIdx.y) * n + mine.first + k] = sums[k];
  }
}

// `sums` holds dw and db as they were computed; null where mean and var are not those of x.
template <int count, class T>
__global__ void __launch_bounds__(kThreads)
    normalize_grad(int64_t rows, int64_t n, int64_t chunk, const Channel<T> channel, const T* g, const T* x,
                   const Wide<T>* sums, T* dx) {
  using W = Wide<T>;
  const ColumnsOfThread<count> mine(rows, n, chunk);
  if (mine.first >= n) return;
  // dx = g * own + x * slope + shift
  W own[count], slope[count], mean[count], shift[count];
#pragma unroll
  for (int k = 0; k < count; ++k) {
    const int64_t c = mine.first + k;
    const W scale = channel.scale(c);
    own[k] = scale * widen(channel.weight[c]);
    mean[k] = widen(channel.mean[c]);
    slope[k] = sums == nullptr ? W(0) : -own[k] * scale * sums[c] / static_cast<W>(rows);
    shift[k] = sums == nullptr ? W(0) : -own[k] * sums[n + c] / static_cast<W>(rows);
  }
#pragma unroll 4
  for (int64_t r = mine.begin; r < mine.end; r += blockDim.y) {
    const Pack<T, count> grad = load_pack<count>(g + r * n + mine.first);
    Pack<T, count> to;
    if (sums == nullptr) {
#pragma unroll
      for (int k = 0; k < count; ++k) to.at[k] = narrow<T>(widen(grad.at[k]) * own[k]);
    } else {
      const Pack<T, count> from = load_pack<count>(x + r * n + mine.first);
#pragma unroll
      for (int k = 0; k < count; ++k) {
        to.at[k] = narrow<T>(widen(grad.at[k]) * own[k] + (widen(from.at[k]) - mean[k]) * slope[k] + shift[k]);
      }
    }
    store_pack(dx + r * n + mine.first, to);
  }
}

}  // namespace

void moments(const View& mean, const View& var, const ShapedView& x) {
  const int64_t n = x.shape[x.rank - 1], rows = n == 0 ? 0 : x.size / n;
  if (n == 0) return;
  visit_channels(
      n,
      [&](auto type, auto count) {
        using T = typename decltype(type)::type;
        const Columns columns(rows, n, count, kLeastRows);
        const Workspace parts(static_cast<size_t>(2 * columns.chunks * n) * sizeof(Wide<T>));
        launch(moments_of_chunks<decltype(count)::value, T>, columns.grid, columns.block, 0, rows, n, columns.chunk,
               x.as<const T>(), parts.as<Wide<T>>());
        launch(join_chunks<T>, blocks_for(n, 8), dim3(8, kThreads / 8), 0, rows, n, columns.chunk, columns.chunks,
               parts.as<const Wide<T>>(), mean.as<T>(), var.as<T>());
      },
      x);
}

void batch_norm_grad(const View& dx, const View& dw, const View& db, const ShapedView& g, const ShapedView& x,
                     const ShapedView& weight, const ShapedView& mean, const ShapedView& var, double eps,
                     bool training) {
  const int64_t n = x.shape[x.rank - 1], rows = n == 0 ? 0 : x.size / n;
  if (n == 0) return;
  visit_channels(
      n,
      [&](auto type, auto count) {
        using T = typename decltype(type)::type;
        using W = Wide<T>;
        const Channel<T> known = channel<T>(weight, weight, mean, var, eps);
        const Columns columns(rows, n, count, kLeastRows), out(rows, n, count, 4);
        const Workspace space(static_cast<size_t>(2 * (columns.chunks + 1) * n) * sizeof(W));
        W *sums = space.as<W>(), *parts = sums + 2 * n;
        launch(sum_chunks<decltype(count)::value, T>, columns.grid, columns.block, 0, rows, n, columns.chunk, known,
               g.as<const T>(), x.as<const T>(), parts);
        sum_partials(columns.chunks, n, parts, dw.as<T>(), sums);
        sum_partials(columns.chunks, n, parts + columns.chunks * n, db.as<T>(), sums + n);
        launch(normalize_grad<decltype(count)::value, T>, out.grid, out.block, 0, rows, n, out.chunk, known,
               g.as<const T>(), x.as<const T>(), training ? sums : nullptr, dx.as<T>());
      },
      dx, g, x);
}

}  // namespace needle
