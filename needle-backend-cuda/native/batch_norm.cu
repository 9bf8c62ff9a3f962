// batch_norm and batch_norm_relu: f((x - mean) * scale + bias) per channel of x (..., C), in the order in which x lies.
#include "channels.cuh"

namespace needle {
namespace {

template <int count, class T, class F>
__global__ void __launch_bounds__(kThreads)
    normalize(F f, int64_t rows, int64_t n, int64_t chunk, const Channel<T> channel, const T* x, T* dst) {
  const ColumnsOfThread<count> mine(rows, n, chunk);
  if (mine.first >= n) return;
  Wide<T> mean[count], scale[count], bias[count];
#pragma unroll
  for (int k = 0; k < count; ++k) {
    mean[k] = widen(channel.mean[mine.first + k]);
    scale[k] = channel.scale(mine.first + k) * widen(channel.weight[mine.first + k]);
    bias[k] = widen(channel.bias[mine.first + k]);
  }
#pragma unroll 4
  for (int64_t r = mine.begin; r < mine.end; r += blockDim.y) {
    const Pack<T, count> from = load_pack<count>(x + r * n + mine.first);
    Pack<T, count> to;
#pragma unroll
    for (int k = 0; k < count; ++k) to.at[k] = narrow<T>(f((widen(from.at[k]) - mean[k]) * scale[k] + bias[k]));
    store_pack(dst + r * n + mine.first, to);
  }
}

// The channel of pack i: its packs lie `apart` from those of the next channel.
struct ChannelAt {
  int64_t apart, channels;
  bool narrow;
  Divisor by_apart, by_channels;

  ChannelAt(int64_t packs, int64_t apart, int64_t channels)
      : apart(apart), channels(channels), narrow(packs < (int64_t{1} << 31)) {
    if (!narrow) return;
    by_apart = Divisor(static_cast<uint32_t>(apart));
    by_channels = Divisor(static_cast<uint32_t>(channels));
  }
  __device__ __forceinline__ int64_t channel(int64_t i) const {
    if (!narrow) return i / apart % channels;
    const uint32_t plane = by_apart.divide(static_cast<uint32_t>(i));
    return plane - by_channels.divide(plane) * by_channels.divisor;
  }
};

// Where the elements of a channel do not lie side by side: `count` neighbours of one channel a thread.
template <int count, class T, class F>
__global__ void __launch_bounds__(kThreads)
    normalize_planes(F f, int64_t packs, const ChannelAt at, const Channel<T> channel, const T* x, T* dst) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  const int64_t c = at.channel(i);
  const Wide<T> mean = widen(channel.mean[c]), scale = channel.scale(c) * widen(channel.weight[c]),
                bias = widen(channel.bias[c]);
  const Pack<T, count> from = load_pack<count>(x + i * count);
  Pack<T, count> to;
#pragma unroll
  for (int k = 0; k < count; ++k) to.at[k] = narrow<T>(f((widen(from.at[k]) - mean) * scale + bias));
  store_pack(dst + i * count, to);
}

// f of the normalized x, which lies as dst does: without gaps, the places of a channel `apart` from one another.
template <class F>
void run_normalize_planes(F f, const ShapedView& dst, const View& x, const View& weight, const View& bias,
                          const View& mean, const View& var, double eps) {
  const int64_t n = dst.shape[dst.rank - 1], apart = std::max<int64_t>(dst.strides[dst.rank - 1], 1);
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    constexpr int most = 16 / sizeof(T);
    const Channel<T> known = channel<T>(weight, bias, mean, var, eps);
    const bool packs = apart % most == 0 && aligned(x.data, 16) && aligned(dst.data, 16);
    const int64_t count = dst.size / (packs ? most : 1);
    launch(packs ? normalize_planes<most, T, F> : normalize_planes<1, T, F>, blocks_for(count, kThreads), kThreads, 0,
           f, count, ChannelAt(count, packs ? apart / most : apart, n), known, x.as<const T>(), dst.as<T>());
  });
}

// f of the normalized x.
template <class F>
void run_normalize(F f, const ShapedView& dst, const ShapedView& any_x, const ShapedView& any_weight,
                   const ShapedView& any_bias, const ShapedView& any_mean, const ShapedView& any_var, double eps) {
  const int64_t n = dst.shape[dst.rank - 1];
  if (dst.size == 0) return;
  const Laid compact[] = {Laid(any_weight), Laid(any_bias), Laid(any_mean), Laid(any_var)};
  const View &weight = compact[0].view(), &bias = compact[1].view(), &mean = compact[2].view(),
             &var = compact[3].view();
  if (!dst.contiguous && lie_alike(dst, any_x)) {
    return run_normalize_planes(f, dst, any_x, weight, bias, mean, var, eps);
  }
  if (!dst.contiguous) throw std::invalid_argument("a result that lies neither row-major nor as its image");
  const Laid compact_x(any_x);
  const ShapedView& x = compact_x.view();
  visit_channels(
      n,
      [&](auto type, auto count) {
        using T = typename decltype(type)::type;
        const Columns columns(x.size / n, n, count, 4);
        launch(normalize<decltype(count)::value, T, F>, columns.grid, columns.block, 0, f, columns.rows, n,
               columns.chunk, channel<T>(weight, bias, mean, var, eps), x.as<const T>(), dst.as<T>());
      },
      dst, x);
}

}  // namespace

void batch_norm(const ShapedView& dst, const ShapedView& x, const ShapedView& weight, const ShapedView& bias,
                const ShapedView& mean, const ShapedView& var, double eps) {
  run_normalize(Same(), dst, x, weight, bias, mean, var, eps);
}

void batch_norm_relu(const ShapedView& dst, const ShapedView& x, const ShapedView& weight, const ShapedView& bias,
                     const ShapedView& mean, const ShapedView& var, double eps) {
  run_normalize(Relu(), dst, x, weight, bias, mean, var, eps);
}

}  // namespace needle
