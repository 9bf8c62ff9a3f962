// The gradient of batch_norm: per channel of x (..., C), in the order in which dx lies.
#include "channels.cuh"

namespace needle {
namespace {

// Of each chunk: the sums of g * normalized x at out[chunk, :n], and those of g at out[chunk, n:].
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
    out[2 * blockIdx.y * n + mine.first + k] = products[k] * channel.scale(mine.first + k);
    out[(2 * blockIdx.y + 1) * n + mine.first + k] = sums[k];
  }
}

// The same, of planes.
template <int count, class T>
__global__ void __launch_bounds__(kThreads)
    sum_planes(const Walks walks, const Channel<T> channel, const T* g, const T* x, Wide<T>* out) {
  using W = Wide<T>;
  const W mean = widen(channel.mean[blockIdx.x]);
  W product = 0, sum = 0;
  for (Walk<count> walk(walks); walk.more();) {
    Pack<T, count> grads[Walks::kTogether], from[Walks::kTogether];
    int taken = 0;
#pragma unroll
    for (int i = 0; i < Walks::kTogether; ++i) {
      if (!walk.more()) continue;
      grads[i] = load_pack<count>(g + walk.at);
      from[i] = load_pack<count>(x + walk.at);
      walk.next(walks);
      ++taken;
    }
#pragma unroll
    for (int i = 0; i < Walks::kTogether; ++i) {
      if (i >= taken) continue;
#pragma unroll
      for (int k = 0; k < count; ++k) {
        sum += widen(grads[i].at[k]);
        product += widen(grads[i].at[k]) * (widen(from[i].at[k]) - mean);
      }
    }
  }
  product = block_reduce(product, Plus(), W(0));
  sum = block_reduce(sum, Plus(), W(0));
  if (threadIdx.x > 0) return;
  out[2 * blockIdx.y * walks.n + blockIdx.x] = product * channel.scale(blockIdx.x);
  out[(2 * blockIdx.y + 1) * walks.n + blockIdx.x] = sum;
}

// dw and db from the sums of chunks; and both as they were computed.
template <class T>
__global__ void __launch_bounds__(kThreads)
    join_sums(int64_t chunks, int64_t n, const Wide<T>* parts, T* dw, T* db, Wide<T>* sums) {
  const ColumnsOfThread<1> mine(chunks, 2 * n, chunks);
  Wide<T> total[1] = {};
#pragma unroll 8
  for (int64_t i = mine.begin; i < mine.end; i += blockDim.y) total[0] += parts[2 * i * n + mine.first];
  sum_down(total);
  if (threadIdx.y > 0 || mine.first >= 2 * n) return;
  sums[mine.first] = total[0];
  (mine.first < n ? dw[mine.first] : db[mine.first - n]) = narrow<T>(total[0]);
}

// dx = g * own + (x - mean) * slope + shift, of one channel.
template <class T> struct Slopes {
  Wide<T> own, mean, slope, shift;

  __device__ __forceinline__ T of(T g, T x) const {
    return narrow<T>(widen(g) * own + (widen(x) - mean) * slope + shift);
  }
  __device__ __forceinline__ T of(T g) const { return narrow<T>(widen(g) * own); }
};

// `sums` holds dw and db as they were computed, of `rows` elements a channel; null where mean and var are not those of
// x.
template <class T>
__device__ __forceinline__ Slopes<T> slopes_of(const Channel<T>& channel, int64_t c, int64_t n, int64_t rows,
                                               const Wide<T>* sums) {
  using W = Wide<T>;
  const W scale = channel.scale(c), own = scale * widen(channel.weight[c]), mean = widen(channel.mean[c]);
  if (sums == nullptr) return {own, mean, W(0), W(0)};
  return {own, mean, -own * scale * sums[c] / static_cast<W>(rows), -own * sums[n + c] / static_cast<W>(rows)};
}

template <int count, class T>
__global__ void __launch_bounds__(kThreads)
    normalize_grad(int64_t rows, int64_t n, int64_t chunk, const Channel<T> channel, const T* g, const T* x,
                   const Wide<T>* sums, T* dx) {
  const ColumnsOfThread<count> mine(rows, n, chunk);
  if (mine.first >= n) return;
  Slopes<T> slopes[count];
#pragma unroll
  for (int k = 0; k < count; ++k) slopes[k] = slopes_of(channel, mine.first + k, n, rows, sums);
#pragma unroll 4
  for (int64_t r = mine.begin; r < mine.end; r += blockDim.y) {
    const Pack<T, count> grad = load_pack<count>(g + r * n + mine.first);
    Pack<T, count> to;
    if (sums == nullptr) {
#pragma unroll
      for (int k = 0; k < count; ++k) to.at[k] = slopes[k].of(grad.at[k]);
    } else {
      const Pack<T, count> from = load_pack<count>(x + r * n + mine.first);
#pragma unroll
      for (int k = 0; k < count; ++k) to.at[k] = slopes[k].of(grad.at[k], from.at[k]);
    }
    store_pack(dx + r * n + mine.first, to);
  }
}

template <int count, class T>
__global__ void __launch_bounds__(kThreads) normalize_planes_grad(const Walks walks, const Channel<T> channel,
                                                                  const T* g, const T* x, const Wide<T>* sums, T* dx) {
  const Slopes<T> slopes = slopes_of(channel, blockIdx.x, walks.n, walks.elements, sums);
  for (Walk<count> walk(walks); walk.more();) {
    Pack<T, count> grads[Walks::kTogether], from[Walks::kTogether];
    int64_t at[Walks::kTogether];
    int taken = 0;
#pragma unroll
    for (int i = 0; i < Walks::kTogether; ++i) {
      if (!walk.more()) continue;
      at[i] = walk.at;
      grads[i] = load_pack<count>(g + walk.at);
      if (sums != nullptr) from[i] = load_pack<count>(x + walk.at);
      walk.next(walks);
      ++taken;
    }
#pragma unroll
    for (int i = 0; i < Walks::kTogether; ++i) {
      if (i >= taken) continue;
      Pack<T, count> to;
#pragma unroll
      for (int k = 0; k < count; ++k) {
        to.at[k] = sums == nullptr ? slopes.of(grads[i].at[k]) : slopes.of(grads[i].at[k], from[i].at[k]);
      }
      store_pack(dx + at[i], to);
    }
  }
}

// Room for the sums of all elements and of `chunks` of them.
template <class T> struct Sums {
  Workspace space;
  Wide<T>*all, *parts;

  Sums(int64_t chunks, int64_t n)
      : space(static_cast<size_t>(2 * (chunks + 1) * n) * sizeof(Wide<T>)),
        all(space.as<Wide<T>>()),
        parts(all + 2 * n) {}

  void join(int64_t chunks, int64_t n, const View& dw, const View& db) const {
    launch(join_sums<T>, blocks_for(2 * n, 8), dim3(8, kThreads / 8), 0, chunks, n, parts, dw.as<T>(), db.as<T>(), all);
  }
};

}  // namespace

void batch_norm_grad(const ShapedView& dx, const View& dw, const View& db, const ShapedView& any_g,
                     const ShapedView& any_x, const ShapedView& any_weight, const ShapedView& any_mean,
                     const ShapedView& any_var, double eps, bool training) {
  if (dx.shape[dx.rank - 1] == 0) return;
  if (!gapless(dx)) throw std::invalid_argument("a gradient that lies neither row-major nor as its image");
  const Laid laid[] = {Laid(any_weight), Laid(any_mean), Laid(any_var), Laid(any_g, dx), Laid(any_x, dx)};
  const View &weight = laid[0].view(), &mean = laid[1].view(), &var = laid[2].view(), &g = laid[3].view(),
             &x = laid[4].view();
  const Planes planes(dx);
  const int64_t n = planes.n, rows = planes.outer;
  const bool in_rows = planes.inner == 1;
  visit_channels(
      in_rows ? n : planes.inner,
      [&](auto type, auto count) {
        using T = typename decltype(type)::type;
        constexpr int each = decltype(count)::value;
        const Channel<T> known = channel<T>(weight, weight, mean, var, eps);
        const T *grads = g.as<const T>(), *from = x.as<const T>();
        if (in_rows) {
          const Columns columns(rows, n, count, kLeastRows), out(rows, n, count, 4);
          const Sums<T> sums(columns.chunks, n);
          launch(sum_chunks<each, T>, columns.grid, columns.block, 0, rows, n, columns.chunk, known, grads, from,
                 sums.parts);
          sums.join(columns.chunks, n, dw, db);
          launch(normalize_grad<each, T>, out.grid, out.block, 0, rows, n, out.chunk, known, grads, from,
                 training ? sums.all : nullptr, dx.as<T>());
        } else {
          const Walks walks(planes, count);
          const Sums<T> sums(walks.chunks, n);
          launch(sum_planes<each, T>, walks.grid(), kThreads, 0, walks, known, grads, from, sums.parts);
          sums.join(walks.chunks, n, dw, db);
          launch(normalize_planes_grad<each, T>, walks.grid(), kThreads, 0, walks, known, grads, from,
                 training ? sums.all : nullptr, dx.as<T>());
        }
      },
      dx, g, x);
}

}  // namespace needle
