// Normalization of channels (batch_norm) with its gradient and statistics.
//
// The axis of channels may lie anywhere in memory. If it comes last, as convolutions leave it, there are rows of n
// channels; in PyTorch's order each channel of an image is a plane of its own. Either is read where it lies, and the
// result written in the same order.
//
// Sums are taken part by part, then over the parts. The cuts depend on sizes alone, so that the result is the same for
// any number of threads.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "compact.h"
#include "launch.h"
#include "loops.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 16384;    // elements that are worth another thread
constexpr int64_t kPart = 8192;      // elements that are read twice while they are in the first-level cache
constexpr int64_t kTiny = 32;        // elements of a plane; to sum up so few costs more than to turn them into rows
constexpr int64_t kBlockOf = 4096;   // elements that are computed at a time
constexpr int64_t kStreamed = 1024;  // the same, where reading and writing memory are to overlap

// The axes of a view from the one with the largest steps to the smallest.
class Order {
 public:
  explicit Order(int rank) : rank_(rank) { reset(); }  // channels last

  explicit Order(const ShapedView& x) : rank_(x.rank) {
    for (int axis = 0; axis < rank_; ++axis) axes_[axis] = axis;
    std::stable_sort(axes_.begin(), axes_.begin() + rank_, [&](int a, int b) { return x.strides[a] > x.strides[b]; });
    if (x.size == 0 || !of(x).contiguous) reset();
  }

  // For a result that lies in no other order than its own.
  Order(const ShapedView& x, const ShapedView& dst) : Order(x) {
    if (!of(dst).contiguous) reset();
  }

  int operator[](int place) const { return axes_[place]; }

  ShapedView of(const ShapedView& view) const {
    ShapedView found = view;
    for (int place = 0; place < rank_; ++place) {
      found.shape[place] = view.shape[axes_[place]];
      found.strides[place] = view.strides[axes_[place]];
    }
    found.contiguous = true;
    for (int64_t place = rank_ - 1, step = 1; place >= 0; step *= found.shape[place--]) {
      if (found.shape[place] != 1 && found.strides[place] != step) found.contiguous = view.size == 0;
    }
    return found;
  }

 private:
  void reset() {
    for (int axis = 0; axis < rank_; ++axis) axes_[axis] = axis;
  }

  int rank_;
  std::array<int, kMaxRank> axes_;
};

// An operand whose elements follow each other in an order: its own memory, or a copy for the time of a scope.
class Ordered {
 public:
  Ordered(const ShapedView& view, const Order& order) : view_(order.of(view)) {
    if (view_.contiguous) return;
    copy_.emplace(static_cast<size_t>(view.size * item_size(view.dtype)));
    const ShapedView target = contiguous_like(view_, copy_->as<void>());
    copy(target, view_);
    view_ = target;
  }
  operator const View&() const { return view_; }

 private:
  ShapedView view_;
  std::optional<Workspace> copy_;
};

// An array as it lies in memory, (outer, n, inner), and the parts of its statistics: of `length` rows each if inner
// is 1, else pieces of `length` elements of the planes.
struct Channels {
  int64_t n, outer = 1, inner = 1, length, pieces, parts;

  Channels(const ShapedView& x, const Order& order) : n(x.shape[x.rank - 1]) {
    int place = 0;
    for (; order[place] != x.rank - 1; ++place) outer *= x.shape[order[place]];
    while (++place < x.rank) inner *= x.shape[order[place]];
    pieces = (inner + kPart - 1) / kPart;
    length = planes() ? (inner + pieces - 1) / pieces
                      : std::max<int64_t>({1, (kPart + n - 1) / (n + 1), (outer + 4095) / 4096});
    parts = planes() ? outer * pieces : (outer + length - 1) / length;
  }

  bool planes() const { return inner != 1; }
  bool tiny() const { return planes() && inner < kTiny; }  // for sums: turning all into rows first takes less
  int64_t each() const { return outer * inner; }           // elements of a channel
  int64_t size() const { return each() * n; }
  // Rows of a part, or elements of its piece of a plane.
  int64_t count(int64_t part) const {
    if (!planes()) return std::min(length, outer - part * length);
    return pieces == 1 ? inner : std::min(length, inner - part % pieces * length);
  }
  Planes from(int64_t first) const { return {first, n, inner}; }

  // f(at, first, count, space) for each part of rows, or for each piece of a plane: `first` is its first element, `at`
  // the place of what is found, among those of all channels of all parts, and `space` has the bytes that are asked for.
  template <class F> void each_part(size_t bytes, F f) const {
    const int64_t all = planes() ? parts * n : parts;
    const int64_t together = planes() ? std::max<int64_t>(1, kPart / length) : 1;
    const auto run = [=](int64_t task) {
      const Workspace space(bytes + 1);
      const int64_t begin = task * together, end = std::min(all, begin + together);
      if (!planes()) return f(begin * n, begin * length * n, count(begin), space.as<unsigned char>());
      int64_t part = begin / n, channel = begin % n, first = start(part, channel);  // divisions cost more than a plane
      for (int64_t i = begin; i < end; ++i) {
        f(i, first, count(part), space.as<unsigned char>());
        first += inner;
        if (++channel < n) continue;
        channel = 0;
        first = start(++part, 0);
      }
    };
    const int64_t tasks = (all + together - 1) / together;
    if (size() >= 2 * kGrain) return parallel_tasks(tasks, run);
    for (int64_t task = 0; task < tasks; ++task) run(task);
  }
  int64_t start(int64_t part, int64_t channel) const {
    return pieces == 1 ? (part * n + channel) * inner : (part / pieces * n + channel) * inner + part % pieces * length;
  }
  // Elements of a part, and the most.
  int64_t elements(int64_t count) const { return planes() ? count : count * n; }
  int64_t largest() const { return elements(length); }
};

int float_type(DType dtype) { return dtype == DType::kFloat64 ? 1 : 0; }

// Calls f(first, count, x, out) for blocks of elements, whole rows of channels if these come last: x has those of all
// inputs in the compute type, and `out` takes those of the result.
template <int kInputs, class F>
void by_blocks(const Channels& channels, const View& dst, const View* const (&inputs)[kInputs], F f) {
  const auto narrow = kernels().narrow[static_cast<int>(dst.dtype)];
  const bool streamed = narrow == nullptr && is_streamed(dst), direct = narrow == nullptr && !streamed;
  const int64_t unit = channels.planes() ? 1 : channels.n, item = compute_size(dst.dtype);
  const int64_t group = std::max<int64_t>(1, (streamed ? kStreamed : kBlockOf) / (unit + 1)) * unit;
  parallel_for(channels.size() / std::max<int64_t>(1, unit), 1 + kGrain / (unit + 1), [&](int64_t begin, int64_t end) {
    const size_t wide = direct ? 0 : static_cast<size_t>(group * item);
    const Workspace space(wide * (kInputs + 1) + 1);
    for (int64_t first = begin * unit; first < end * unit; first += group) {
      const int64_t count = std::min(group, end * unit - first);
      const void* x[kInputs];
      for (int i = 0; i < kInputs; ++i) {
        x[i] = widened(*inputs[i], first, count, space.as<unsigned char>() + wide * static_cast<size_t>(i + 1));
      }
      void* out = direct ? bytes_at(dst, first) : space.as<void>();
      f(first, count, x, out);
      if (narrow != nullptr) narrow(out, bytes_at(dst, first), count);
      if (streamed) kernels().stream(out, bytes_at(dst, first), count * item);
    }
    if (streamed) kernels().stream_end();
  });
}

// Means and squared distances of parts, joined one after the other (Chan, Golub and LeVeque, 1979).
template <class T> void moments_of(const Channels& channels, const View& x, T* mean, T* var) {
  const int64_t n = channels.n, item = compute_size(x.dtype);
  const int type = float_type(x.dtype);
  const Workspace space(static_cast<size_t>(2 * channels.parts * n + 1) * sizeof(T));
  T *means = space.as<T>(), *squares = means + channels.parts * n;
  const size_t wide = is_stored_as_computed(x.dtype) ? 0 : static_cast<size_t>(channels.largest() * item);
  const auto of_plane = kernels().plane_moments[type];
  channels.each_part(wide, [=, &channels, &x](int64_t at, int64_t first, int64_t count, unsigned char* space) {
    const void* from = widened(x, first, channels.elements(count), space);
    if (channels.planes()) return of_plane(from, count, means + at, squares + at);
    kernels().channel_moments[type](from, count, n, means + at, squares + at);
  });
  std::vector<double> total(static_cast<size_t>(2 * n), 0.0);
  double *m = total.data(), *s = m + n, before = 0;
  for (int64_t part = 0; part < channels.parts; ++part) {
    const double count = static_cast<double>(channels.count(part)), share = count / (before + count);
    for (int64_t c = 0; c < n; ++c) {
      const double apart = static_cast<double>(means[part * n + c]) - m[c];
      m[c] += apart * share;
      s[c] += static_cast<double>(squares[part * n + c]) + apart * apart * before * share;
    }
    before += count;
  }
  for (int64_t c = 0; c < n; ++c) {
    mean[c] = static_cast<T>(m[c]);
    var[c] = static_cast<T>(s[c] / static_cast<double>(channels.each()));
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
void batch_norm_as(const ShapedView& dst, const ShapedView& x, const Compact& weight, const Compact& bias,
                   const Compact& mean, const Compact& var, double eps, bool relu) {
  const Order order(x, dst);
  const Ordered from(x, order), to(dst, order);
  const View& input = from;
  const Channels channels(x, order);
  const std::vector<T> scale = scales(var, weight.as<T>(), channels.n, eps);
  const int type = float_type(x.dtype);
  const UnaryLoop positive = unary_loop(Unary::kRelu, type == 1 ? DType::kFloat64 : DType::kFloat32);
  const View* const inputs[] = {&input};
  by_blocks(channels, to, inputs, [&](int64_t first, int64_t count, const void* const* in, void* out) {
    if (channels.planes()) {
      kernels().plane_scale[type](in[0], mean.as(), scale.data(), bias.as(), out, count, channels.from(first));
    } else {
      kernels().channel_scale[type](in[0], mean.as(), scale.data(), bias.as(), out, count / channels.n, channels.n);
    }
    if (relu) positive.run(out, out, count);
  });
}

template <class T> struct BatchNormGrad {
  const ShapedView &g, &x;
  const Order order;
  const Compact weight, mean, var;
  const Channels channels = Channels(x, order);
  const int64_t n = channels.n;
  const int type = std::is_same<T, double>::value ? 1 : 0;

  // The sums of g * (x - mean) * scale and of g, from both in an order of their own.
  void sums(const Channels& channels, const View& g, const View& x, const std::vector<T>& scale, T* products,
            T* totals) const {
    const Workspace space(static_cast<size_t>(2 * channels.parts * n + 1) * sizeof(T));
    T *of_products = space.as<T>(), *of_g = of_products + channels.parts * n;
    const size_t wide = is_stored_as_computed(x.dtype) ? 0 : static_cast<size_t>(channels.largest()) * sizeof(T);
    const T* m = mean.as<T>();
    const auto of_plane = kernels().plane_sums[type];
    channels.each_part(2 * wide,
                       [=, &channels, &g, &x](int64_t at, int64_t first, int64_t count, unsigned char* widths) {
                         const void* grad = widened(g, first, channels.elements(count), widths);
                         const void* from = widened(x, first, channels.elements(count), widths + wide);
                         if (channels.planes())
                           return of_plane(grad, from, m + at % n, count, of_products + at, of_g + at);
                         kernels().channel_sums[type](grad, from, m, count, n, of_products + at, of_g + at);
                       });
    const auto columns = kernels().reduce[static_cast<int>(Reduce::kSum)][compute_type(x.dtype)].columns;
    for (int64_t c = 0; c < n; c += kColumnTile) {
      const int64_t width = std::min(kColumnTile, n - c);
      columns(of_products + c, n, channels.parts, width, products + c);
      columns(of_g + c, n, channels.parts, width, totals + c);
    }
    for (int64_t c = 0; c < n; ++c) products[c] *= scale[static_cast<size_t>(c)];
  }

  void run(const ShapedView& dx, const View& dw, const View& db, double eps, bool training) const {
    const std::vector<T> scale = scales<T>(var, nullptr, n, eps);
    const Result weight_sums(dw), bias_sums(db);
    T *products = weight_sums.as<T>(), *totals = bias_sums.as<T>();
    const Ordered grad(g, order), from(x, order), to(dx, order);
    const View &g_view = grad, &x_view = from;
    if (channels.tiny()) {
      const Order rows(x.rank);
      sums(Channels(x, rows), Ordered(g, rows), Ordered(x, rows), scale, products, totals);
    } else {
      sums(channels, grad, from, scale, products, totals);
    }
    std::vector<T> a(scale), b(scale), constant(scale);
    for (size_t c = 0; c < scale.size(); ++c) {
      a[c] *= weight.as<T>()[c];
      b[c] = training ? -products[c] / static_cast<T>(channels.each()) * scale[c] * a[c] : T(0);
      constant[c] = training ? -totals[c] / static_cast<T>(channels.each()) * a[c] : T(0);
    }
    const View* const inputs[] = {&g_view, &x_view};
    by_blocks(channels, to, inputs, [&](int64_t first, int64_t count, const void* const* in, void* out) {
      if (channels.planes()) {
        kernels().plane_grad[type](in[0], in[1], mean.as(), a.data(), b.data(), constant.data(), out, count,
                                   channels.from(first));
      } else {
        kernels().channel_grad[type](in[0], in[1], mean.as(), a.data(), b.data(), constant.data(), out, count / n, n);
      }
    });
    weight_sums.commit();
    bias_sums.commit();
  }
};

}  // namespace

void moments(const View& mean, const View& var, const ShapedView& x) {
  const Order own(x), order = Channels(x, own).tiny() ? Order(x.rank) : own;
  const Ordered from(x, order);
  const Result m(mean), v(var);
  const Channels channels(x, order);
  if (x.dtype == DType::kFloat64) {
    moments_of(channels, from, m.as<double>(), v.as<double>());
  } else {
    moments_of(channels, from, m.as<float>(), v.as<float>());
  }
  m.commit();
  v.commit();
}

static void batch_norm(const ShapedView& dst, const ShapedView& x, const ShapedView& weight, const ShapedView& bias,
                       const ShapedView& mean, const ShapedView& var, double eps, bool relu) {
  const Compact w(weight), b(bias), m(mean), v(var);
  return x.dtype == DType::kFloat64 ? batch_norm_as<double>(dst, x, w, b, m, v, eps, relu)
                                    : batch_norm_as<float>(dst, x, w, b, m, v, eps, relu);
}

void batch_norm(const ShapedView& dst, const ShapedView& x, const ShapedView& weight, const ShapedView& bias,
                const ShapedView& mean, const ShapedView& var, double eps) {
  batch_norm(dst, x, weight, bias, mean, var, eps, false);
}

void batch_norm_relu(const ShapedView& dst, const ShapedView& x, const ShapedView& weight, const ShapedView& bias,
                     const ShapedView& mean, const ShapedView& var, double eps) {
  batch_norm(dst, x, weight, bias, mean, var, eps, true);
}

void batch_norm_grad(const ShapedView& dx, const View& dw, const View& db, const ShapedView& g, const ShapedView& x,
                     const ShapedView& weight, const ShapedView& mean, const ShapedView& var, double eps,
                     bool training) {
  const Order order(x, dx);
  if (x.dtype == DType::kFloat64) {
    BatchNormGrad<double>{g, x, order, Compact(weight), Compact(mean), Compact(var)}.run(dx, dw, db, eps, training);
  } else {
    BatchNormGrad<float>{g, x, order, Compact(weight), Compact(mean), Compact(var)}.run(dx, dw, db, eps, training);
  }
}

}  // namespace needle
