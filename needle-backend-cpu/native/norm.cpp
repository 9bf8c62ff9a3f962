// Normalization: of rows (layer_norm, rms_norm) and of channels (batch_norm), with their gradients and statistics.
//
// Sums down the columns are taken chunk by chunk, then over the chunks. The cuts depend on sizes alone, so that the
// result is the same for any number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "compact.h"
#include "launch.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 16384;        // elements that are worth another thread
constexpr int64_t kGroup = 4096;         // elements of rows that are widened at a time
constexpr int64_t kStreamed = 1024;      // the same, where reading and writing memory are to overlap
constexpr int64_t kChunks = 64;          // of the rows of a gradient, at most
constexpr int64_t kChunkRows = 16;       // of a chunk, at least
constexpr int64_t kChannelChunk = 8192;  // elements that are read twice while they are in the first-level cache

int float_type(DType dtype) { return dtype == DType::kFloat64 ? 1 : 0; }

const void* widened(const View& view, int64_t first, int64_t count, void* space) {
  const auto widen = kernels().widen[static_cast<int>(view.dtype)];
  if (widen == nullptr) return bytes_at(view, first);
  widen(bytes_at(view, first), space, count);
  return space;
}

// The scalars of each channel, in the compute type.
class Parameter {
 public:
  explicit Parameter(const View& view)
      : space_(static_cast<size_t>(view.size + 1) * sizeof(double)),
        data_(widened(view, 0, view.size, space_.as<void>())) {}
  const void* get() const { return data_; }

 private:
  Workspace space_;
  const void* data_;
};

// f(first, count) over chunks of rows that are as long for any number of threads, in threads.
template <class F> void by_chunks(int64_t rows, int64_t length, int64_t n, F f) {
  const int64_t chunks = (rows + length - 1) / length;
  const auto run = [&](int64_t i) { f(i, i * length, std::min(length, rows - i * length)); };
  if (rows * n < 2 * kGrain) {
    for (int64_t i = 0; i < chunks; ++i) run(i);
  } else {
    parallel_tasks(chunks, run);
  }
}

using RowNorm = void (*)(const void* x, const void* weight, const void* bias, void* out, int64_t rows, int64_t n,
                         double eps);
using RowNormGrad = void (*)(const void* g, const void* x, const void* weight, void* dx, void* dw, void* db,
                             int64_t rows, int64_t n, double eps);

void norm_rows(RowNorm kernel, const View& dst, const View& x, const void* weight, const void* bias, int64_t rows,
               int64_t n, double eps) {
  const auto narrow = kernels().narrow[static_cast<int>(dst.dtype)];
  const bool streamed = narrow == nullptr && is_streamed(dst);
  const bool direct = narrow == nullptr && !streamed;
  const int64_t group = direct ? rows : std::max<int64_t>(1, (streamed ? kStreamed : kGroup) / n),
                item = compute_size(dst.dtype);
  parallel_for(rows, 1 + kGrain / n, [&](int64_t begin, int64_t end) {
    const Workspace space(direct ? 1 : static_cast<size_t>(group * n * item));
    for (int64_t r = begin; r < end; r += group) {
      const int64_t count = std::min(group, end - r);
      void* out = direct ? bytes_at(dst, r * n) : space.as<void>();
      kernel(widened(x, r * n, count * n, space.as<void>()), weight, bias, out, count, n, eps);
      if (narrow != nullptr) narrow(out, bytes_at(dst, r * n), count * n);
      if (streamed) kernels().stream(out, bytes_at(dst, r * n), count * n * item);
    }
    if (streamed) kernels().stream_end();
  });
}

// The sum of `count` rows of n elements of the compute type, as the elements of dst.
void store_sum(const View& dst, const unsigned char* rows, int64_t count, int64_t n) {
  const auto narrow = kernels().narrow[static_cast<int>(dst.dtype)];
  const int64_t item = compute_size(dst.dtype);
  const auto columns = kernels().reduce[static_cast<int>(Reduce::kSum)][compute_type(dst.dtype)].columns;
  Scratch sums;
  for (int64_t i = 0; i < n; i += kColumnTile) {
    const int64_t width = std::min(kColumnTile, n - i);
    columns(rows + i * item, n, count, width, narrow == nullptr ? bytes_at(dst, i) : sums.bytes);
    if (narrow != nullptr) narrow(sums.bytes, bytes_at(dst, i), width);
  }
}

void norm_rows_grad(RowNormGrad kernel, const View& dx, const View& dw, const View* db, const View& g, const View& x,
                    const View& weight, int64_t rows, int64_t n, double eps) {
  const Parameter w(weight);
  const auto narrow = kernels().narrow[static_cast<int>(dx.dtype)];
  const int64_t item = compute_size(dx.dtype), length = std::max(kChunkRows, (rows + kChunks - 1) / kChunks);
  const int64_t chunks = (rows + length - 1) / length, width = n * item;
  const bool streamed = narrow == nullptr && is_streamed(dx);
  const bool direct = narrow == nullptr && !streamed;
  const int64_t group = direct ? length : std::max<int64_t>(1, (streamed ? kStreamed : kGroup) / n);
  const Workspace sums(static_cast<size_t>(2 * chunks * width + 1));
  std::memset(sums.as<void>(), 0, static_cast<size_t>(2 * chunks * width));
  unsigned char *dw_sums = sums.as<unsigned char>(), *db_sums = dw_sums + chunks * width;
  by_chunks(rows, length, n, [&](int64_t chunk, int64_t first, int64_t count) {
    const Workspace space(direct ? 1 : static_cast<size_t>(2 * group * width));
    unsigned char *g_space = space.as<unsigned char>(), *x_space = g_space + (direct ? 0 : group * width);
    for (int64_t r = first; r < first + count; r += group) {
      const int64_t taken = std::min(group, first + count - r);
      const void *grad = widened(g, r * n, taken * n, g_space), *from = widened(x, r * n, taken * n, x_space);
      void* out = direct ? static_cast<void*>(bytes_at(dx, r * n)) : x_space;
      kernel(grad, from, w.get(), out, dw_sums + chunk * width, db_sums + chunk * width, taken, n, eps);
      if (narrow != nullptr) narrow(out, bytes_at(dx, r * n), taken * n);
      if (streamed) kernels().stream(out, bytes_at(dx, r * n), taken * width);
    }
    if (streamed) kernels().stream_end();
  });
  store_sum(dw, dw_sums, chunks, n);
  if (db != nullptr) store_sum(*db, db_sums, chunks, n);
}

// Channels: x as rows of n channels.
struct Channels {
  int64_t n, rows, length, chunks;

  explicit Channels(const ShapedView& x) : n(x.shape[x.rank - 1]), rows(n == 0 ? 0 : x.size / n) {
    length = std::max<int64_t>({1, (kChannelChunk + n - 1) / (n + 1), (rows + 4095) / 4096});
    chunks = (rows + length - 1) / length;
  }

  template <class F> void each_chunk(F f) const { by_chunks(rows, length, n, f); }
};

// Means and squared distances of chunks, joined one after the other (Chan, Golub and LeVeque, 1979).
template <class T> void moments_of(const Channels& channels, const T* x, T* mean, T* var) {
  const int64_t n = channels.n;
  const Workspace space(static_cast<size_t>(2 * channels.chunks * n + 1) * sizeof(T));
  T *means = space.as<T>(), *squares = means + channels.chunks * n;
  const auto kernel = kernels().channel_moments[std::is_same<T, double>::value ? 1 : 0];
  channels.each_chunk([&](int64_t chunk, int64_t first, int64_t count) {
    kernel(x + first * n, count, n, means + chunk * n, squares + chunk * n);
  });
  std::vector<double> total(static_cast<size_t>(2 * n), 0.0);
  double *m = total.data(), *s = m + n;
  for (int64_t chunk = 0; chunk < channels.chunks; ++chunk) {
    const double before = static_cast<double>(chunk * channels.length);
    const double count = static_cast<double>(std::min(channels.length, channels.rows - chunk * channels.length));
    const double share = count / (before + count);
    for (int64_t c = 0; c < n; ++c) {
      const double apart = static_cast<double>(means[chunk * n + c]) - m[c];
      m[c] += apart * share;
      s[c] += static_cast<double>(squares[chunk * n + c]) + apart * apart * before * share;
    }
  }
  for (int64_t c = 0; c < n; ++c) {
    mean[c] = static_cast<T>(m[c]);
    var[c] = static_cast<T>(s[c] / static_cast<double>(channels.rows));
  }
}

// weight / sqrt(var + eps) of each channel, or 1 / sqrt(var + eps).
template <class T> std::vector<T> scales(const Compact& var, const T* weight, int64_t n, double eps) {
  std::vector<T> found(static_cast<size_t>(n));
  for (int64_t c = 0; c < n; ++c) {
    const T scale = T(1) / std::sqrt(var.as<T>()[c] + static_cast<T>(eps));
    found[static_cast<size_t>(c)] = weight == nullptr ? scale : scale * weight[c];
  }
  return found;
}

template <class T>
void batch_norm_as(const View& dst, const ShapedView& x, const Compact& weight, const Compact& bias,
                   const Compact& mean, const Compact& var, double eps) {
  const Compact from(x);
  const Result out(dst);
  const Channels channels(x);
  const std::vector<T> scale = scales(var, weight.as<T>(), channels.n, eps);
  const auto kernel = kernels().channel_scale[std::is_same<T, double>::value ? 1 : 0];
  channels.each_chunk([&](int64_t, int64_t first, int64_t count) {
    kernel(from.as<T>() + first * channels.n, mean.as(), scale.data(), bias.as(), out.as<T>() + first * channels.n,
           count, channels.n);
  });
  out.commit();
}

template <class T> struct BatchNormGrad {
  const View &dx, &dw, &db;
  const Channels channels;
  const Compact g, x, weight, mean, var;
  const int64_t n = channels.n;
  const int type = std::is_same<T, double>::value ? 1 : 0;

  // The sums of g * (x - mean) * scale and of g.
  void sums(const std::vector<T>& scale, T* products, T* totals) const {
    const Workspace space(static_cast<size_t>(2 * channels.chunks * n + 1) * sizeof(T));
    T *of_products = space.as<T>(), *of_g = of_products + channels.chunks * n;
    channels.each_chunk([&](int64_t chunk, int64_t first, int64_t count) {
      kernels().channel_sums[type](g.as<T>() + first * n, x.as<T>() + first * n, mean.as(), count, n,
                                   of_products + chunk * n, of_g + chunk * n);
    });
    View target;
    target.dtype = type == 1 ? DType::kFloat64 : DType::kFloat32;
    target.size = n;
    target.data = products;
    store_sum(target, reinterpret_cast<const unsigned char*>(of_products), channels.chunks, n);
    target.data = totals;
    store_sum(target, reinterpret_cast<const unsigned char*>(of_g), channels.chunks, n);
    for (int64_t c = 0; c < n; ++c) products[c] *= scale[static_cast<size_t>(c)];
  }

  void run(double eps, bool training) const {
    const std::vector<T> scale = scales<T>(var, nullptr, n, eps);
    const Result weight_sums(dw), bias_sums(db), out(dx);
    T *products = weight_sums.as<T>(), *totals = bias_sums.as<T>();
    sums(scale, products, totals);
    std::vector<T> a(scale), b(scale), constant(scale);
    for (size_t c = 0; c < scale.size(); ++c) {
      a[c] *= weight.as<T>()[c];
      b[c] = training ? -products[c] / static_cast<T>(channels.rows) * scale[c] * a[c] : T(0);
      constant[c] = training ? -totals[c] / static_cast<T>(channels.rows) * a[c] : T(0);
    }
    channels.each_chunk([&](int64_t, int64_t first, int64_t count) {
      kernels().channel_grad[type](g.as<T>() + first * n, x.as<T>() + first * n, mean.as(), a.data(), b.data(),
                                   constant.data(), out.as<T>() + first * n, count, n);
    });
    out.commit();
    weight_sums.commit();
    bias_sums.commit();
  }
};

}  // namespace

void layer_norm(const View& dst, const View& x, const View& weight, const View& bias, int64_t rows, int64_t n,
                double eps) {
  const Parameter w(weight), b(bias);
  norm_rows(kernels().layer_norm[float_type(x.dtype)], dst, x, w.get(), b.get(), rows, n, eps);
}

void rms_norm(const View& dst, const View& x, const View& weight, int64_t rows, int64_t n, double eps) {
  const Parameter w(weight);
  norm_rows(kernels().rms_norm[float_type(x.dtype)], dst, x, w.get(), nullptr, rows, n, eps);
}

void layer_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     int64_t rows, int64_t n, double eps) {
  norm_rows_grad(kernels().layer_norm_grad[float_type(x.dtype)], dx, dw, &db, g, x, weight, rows, n, eps);
}

void rms_norm_grad(const View& dx, const View& dw, const View& g, const View& x, const View& weight, int64_t rows,
                   int64_t n, double eps) {
  norm_rows_grad(kernels().rms_norm_grad[float_type(x.dtype)], dx, dw, nullptr, g, x, weight, rows, n, eps);
}

void moments(const View& mean, const View& var, const ShapedView& x) {
  const Compact from(x);
  const Result m(mean), v(var);
  const Channels channels(x);
  if (x.dtype == DType::kFloat64) {
    moments_of(channels, from.as<double>(), m.as<double>(), v.as<double>());
  } else {
    moments_of(channels, from.as<float>(), m.as<float>(), v.as<float>());
  }
  m.commit();
  v.commit();
}

void batch_norm(const View& dst, const ShapedView& x, const ShapedView& weight, const ShapedView& bias,
                const ShapedView& mean, const ShapedView& var, double eps) {
  const Compact w(weight), b(bias), m(mean), v(var);
  return x.dtype == DType::kFloat64 ? batch_norm_as<double>(dst, x, w, b, m, v, eps)
                                    : batch_norm_as<float>(dst, x, w, b, m, v, eps);
}

void batch_norm_grad(const View& dx, const View& dw, const View& db, const ShapedView& g, const ShapedView& x,
                     const ShapedView& weight, const ShapedView& mean, const ShapedView& var, double eps,
                     bool training) {
  if (x.dtype == DType::kFloat64) {
    BatchNormGrad<double>{dx, dw, db, Channels(x), Compact(g), Compact(x), Compact(weight), Compact(mean), Compact(var)}
        .run(eps, training);
  } else {
    BatchNormGrad<float>{dx, dw, db, Channels(x), Compact(g), Compact(x), Compact(weight), Compact(mean), Compact(var)}
        .run(eps, training);
  }
}

}  // namespace needle
