// moments: the mean and the variance of each channel of x (..., C), in the order in which x lies.
//
// Statistics are joined pair by pair (Chan, Golub and LeVeque, 1979), so that no large mean drowns a small variance.
#include "channels.cuh"

namespace needle {
namespace {

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

// Of all threads of a block, for its first.
template <class W> __device__ __forceinline__ void join_block(Moments<W>& m) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ W means[kWarps], squares[kWarps], counts[kWarps];
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const Moments<W> other{__shfl_down_sync(kAllLanes, m.mean, distance),
                           __shfl_down_sync(kAllLanes, m.squares, distance),
                           __shfl_down_sync(kAllLanes, m.count, distance)};
    m.join(other);
  }
  const int warp = threadIdx.x / kWarp;
  if (threadIdx.x % kWarp == 0) means[warp] = m.mean, squares[warp] = m.squares, counts[warp] = m.count;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int other = 1; other < kWarps; ++other) m.join({means[other], squares[other], counts[other]});
}

// The same, of planes. A thread takes the moments of the packs that it has together, in two passes over registers.
template <int count, class T>
__global__ void __launch_bounds__(kThreads) moments_of_planes(const Walks walks, const T* x, Wide<T>* out) {
  using W = Wide<T>;
  Moments<W> m;
  for (Walk<count> walk(walks); walk.more();) {
    Pack<T, count> packs[Walks::kTogether];
    int taken = 0;
#pragma unroll
    for (int i = 0; i < Walks::kTogether; ++i) {
      if (!walk.more()) continue;
      packs[i] = load_pack<count>(x + walk.at);
      walk.next(walks);
      ++taken;
    }
    Moments<W> these;
    these.count = static_cast<W>(taken * count);
#pragma unroll
    for (int i = 0; i < Walks::kTogether; ++i) {
#pragma unroll
      for (int k = 0; k < count; ++k) these.mean += i < taken ? widen(packs[i].at[k]) : W(0);
    }
    these.mean /= these.count;
#pragma unroll
    for (int i = 0; i < Walks::kTogether; ++i) {
#pragma unroll
      for (int k = 0; k < count; ++k) {
        const W apart = i < taken ? widen(packs[i].at[k]) - these.mean : W(0);
        these.squares += apart * apart;
      }
    }
    m.join(these);
  }
  join_block(m);
  if (threadIdx.x > 0) return;
  out[blockIdx.y * walks.n + blockIdx.x] = m.mean;
  out[(gridDim.y + blockIdx.y) * walks.n + blockIdx.x] = m.squares;
}

// Of `rows` elements a channel, in chunks of at most `chunk`.
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

template <class T>
void run_join(int64_t rows, int64_t n, int64_t chunk, int64_t chunks, const Wide<T>* parts, const View& mean,
              const View& var) {
  launch(join_chunks<T>, blocks_for(n, 8), dim3(8, kThreads / 8), 0, rows, n, chunk, chunks, parts, mean.as<T>(),
         var.as<T>());
}

void run_planes(const View& mean, const View& var, const View& x, const Planes& planes) {
  visit_channels(
      planes.inner,
      [&](auto type, auto count) {
        using T = typename decltype(type)::type;
        const Walks walks(planes, count);
        const Workspace parts(static_cast<size_t>(2 * walks.chunks * walks.n) * sizeof(Wide<T>));
        launch(moments_of_planes<decltype(count)::value, T>, walks.grid(), kThreads, 0, walks, x.as<const T>(),
               parts.as<Wide<T>>());
        run_join<T>(walks.elements, walks.n, walks.chunk * count, walks.chunks, parts.as<const Wide<T>>(), mean, var);
      },
      x);
}

}  // namespace

void moments(const View& mean, const View& var, const ShapedView& any_x) {
  if (any_x.shape[any_x.rank - 1] == 0) return;
  std::optional<Laid> compact;
  if (!gapless(any_x)) compact.emplace(any_x);
  const ShapedView& x = compact ? compact->view() : any_x;
  const Planes planes(x);
  if (planes.inner > 1) return run_planes(mean, var, x, planes);
  const int64_t n = planes.n, rows = planes.outer;
  visit_channels(
      n,
      [&](auto type, auto count) {
        using T = typename decltype(type)::type;
        const Columns columns(rows, n, count, kLeastRows);
        const Workspace parts(static_cast<size_t>(2 * columns.chunks * n) * sizeof(Wide<T>));
        launch(moments_of_chunks<decltype(count)::value, T>, columns.grid, columns.block, 0, rows, n, columns.chunk,
               x.as<const T>(), parts.as<Wide<T>>());
        run_join<T>(rows, n, columns.chunk, columns.chunks, parts.as<const Wide<T>>(), mean, var);
      },
      x);
}

}  // namespace needle
