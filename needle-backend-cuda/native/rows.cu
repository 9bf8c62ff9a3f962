// softmax, log_softmax, cross_entropy and their gradients: a few threads, a warp or a block for each row.
//
// The largest element is found without regard to NaNs: a NaN, as an infinity minus itself, makes the sum one and with
// it the row.
#include "ops.h"
#include "rows.cuh"

namespace needle {
namespace {

// Where a row's exponentials begin, and their sum.
template <class W> struct Exponentials {
  W max, sum;
};

template <class Row> __device__ __forceinline__ auto exponentials(const Row& row) {
  using W = typename Row::W;
  W max = minus_infinity<W>();
  row.each([&](int, int64_t, const auto& v) { max = Larger()(v[0], max); });
  max = row_reduce(max, Larger(), minus_infinity<W>());
  W sum = 0;
  row.each([&](int, int64_t, const auto& v) { sum += exp(v[0] - max); });
  return Exponentials<W>{max, row_sum(sum)};
}

struct Softmax {
  template <class Row, class T> __device__ __forceinline__ void operator()(const Row& row, T* out) const {
    using W = typename Row::W;
    const auto e = exponentials(row);
    const W share = W(1) / e.sum;
    row.write(out, [&](int, int64_t, const auto& v) { return exp(v[0] - e.max) * share; });
  }
};

struct LogSoftmax {
  template <class Row, class T> __device__ __forceinline__ void operator()(const Row& row, T* out) const {
    const auto e = exponentials(row);
    const auto log_sum = log(e.sum);
    row.write(out, [&](int, int64_t, const auto& v) { return v[0] - e.max - log_sum; });
  }
};

struct SoftmaxGrad {  // of g and y
  template <class Row, class T> __device__ __forceinline__ void operator()(const Row& row, T* out) const {
    typename Row::W sum = 0;
    row.each([&](int, int64_t, const auto& v) { sum += v[0] * v[1]; });
    sum = row_sum(sum);
    row.write(out, [&](int, int64_t, const auto& v) { return v[1] * (v[0] - sum); });
  }
};

struct LogSoftmaxGrad {
  template <class Row, class T> __device__ __forceinline__ void operator()(const Row& row, T* out) const {
    typename Row::W sum = 0;
    row.each([&](int, int64_t, const auto& v) { sum += v[0]; });
    sum = row_sum(sum);
    row.write(out, [&](int, int64_t, const auto& v) { return v[0] - exp(v[1]) * sum; });
  }
};

template <class Row, class F, class T, class... In>
__global__ void __launch_bounds__(kMostThreads<T>) map_rows(F f, int64_t rows, int64_t n, T* dst, const In*... in) {
  const int64_t r = row_of_thread();
  if (r >= rows) return;
  const T* const arrays[] = {in...};
  f(Row(arrays, r, n), dst + r * n);
}

// int32 or int64. What lies outside [0, n) is -1: it is not the host's to wait for.
struct Labels {
  const void* data;
  bool is_long;

  explicit Labels(const View& labels) : data(labels.data), is_long(labels.dtype == DType::kInt64) {}
  __device__ __forceinline__ int64_t at(int64_t r, int64_t n) const {
    const int64_t label = is_long ? static_cast<const int64_t*>(data)[r] : static_cast<const int32_t*>(data)[r];
    return label >= 0 && label < n ? label : -1;
  }
};

// A NaN for a label out of range.
template <class Row, class T>
__global__ void __launch_bounds__(kMostThreads<T>)
    cross_entropy_rows(int64_t rows, int64_t n, T* dst, const T* logits, const Labels labels) {
  using W = Wide<T>;
  const int64_t r = row_of_thread();
  if (r >= rows) return;
  const T* const arrays[] = {logits};
  const Exponentials<W> e = exponentials(Row(arrays, r, n));
  if (threadIdx.x > 0) return;
  const int64_t label = labels.at(r, n);
  dst[r] = narrow<T>(label < 0 ? W(NAN) : log(e.sum) - (widen(logits[r * n + label]) - e.max));
}

template <class Row, class T>
__global__ void __launch_bounds__(kMostThreads<T>)
    cross_entropy_rows_grad(int64_t rows, int64_t n, T* dst, const T* g, int64_t g_stride, const T* logits,
                            const Labels labels) {
  using W = Wide<T>;
  const int64_t r = row_of_thread();
  if (r >= rows) return;
  const T* const arrays[] = {logits};
  const Row row(arrays, r, n);
  const Exponentials<W> e = exponentials(row);
  const int64_t label = labels.at(r, n);
  const W scale = widen(g[r * g_stride]), share = W(1) / e.sum;
  row.write(dst + r * n, [&](int, int64_t j, const auto& v) {
    return scale * (exp(v[0] - e.max) * share - (j == label ? W(1) : W(0)));
  });
}

template <class F, class... Views> void run_rows(const View& dst, int64_t rows, int64_t n, const Views&... x) {
  if (rows == 0 || n == 0) return;
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const dim3 block = row_block<T, kMostThreads<T>, kFewestLanes>(n);
    const auto run = [&](auto way) {
      using Row = typename decltype(way)::type;
      launch(map_rows<Row, F, T, std::conditional_t<true, T, Views>...>, blocks_for(rows, block.y), block, 0, F(), rows,
             n, dst.as<T>(), x.template as<const T>()...);
    };
    visit_rows<T, sizeof...(Views)>(n, run, dst.as<T>(), x.template as<T>()...);
  });
}

}  // namespace

void softmax(const View& dst, const View& x, int64_t rows, int64_t n) { run_rows<Softmax>(dst, rows, n, x); }

void log_softmax(const View& dst, const View& x, int64_t rows, int64_t n) { run_rows<LogSoftmax>(dst, rows, n, x); }

void softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  run_rows<SoftmaxGrad>(dst, rows, n, g, y);
}

void log_softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  run_rows<LogSoftmaxGrad>(dst, rows, n, g, y);
}

void cross_entropy(const View& dst, const ShapedView& logits, const View& labels) {
  const int64_t rows = labels.size, n = logits.shape[logits.rank - 1];
  if (rows == 0) return;
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const dim3 block = row_block<T, kMostThreads<T>, kFewestLanes>(n);
    const auto run = [&](auto way) {
      using Row = typename decltype(way)::type;
      launch(cross_entropy_rows<Row, T>, blocks_for(rows, block.y), block, 0, rows, n, dst.as<T>(),
             logits.as<const T>(), Labels(labels));
    };
    visit_rows<T, 1>(n, run, logits.as<T>());
  });
}

void cross_entropy_grad(const View& dst, const View& g, const ShapedView& logits, const View& labels) {
  const int64_t rows = labels.size, n = logits.shape[logits.rank - 1], g_stride = g.size == 1 ? 0 : 1;
  if (dst.size == 0) return;
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const dim3 block = row_block<T, kMostThreads<T>, kFewestLanes>(n);
    const auto run = [&](auto way) {
      using Row = typename decltype(way)::type;
      launch(cross_entropy_rows_grad<Row, T>, blocks_for(rows, block.y), block, 0, rows, n, dst.as<T>(),
             g.as<const T>(), g_stride, logits.as<const T>(), Labels(labels));
    };
    visit_rows<T, 1>(n, run, dst.as<T>(), logits.as<T>());
  });
}

}  // namespace needle
