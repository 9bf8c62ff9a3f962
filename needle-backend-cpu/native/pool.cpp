// pool2d and its gradient, over channels that lie side by side.
#include <cstring>
#include <vector>

#include "compact.h"
#include "launch.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements of windows that are worth another thread

struct Pooling {
  std::vector<int64_t> offsets_y, offsets_x;
  Windows windows;
  int64_t batch, places, work;
  Compute type;

  Pooling(const ShapedView& image, const void* data, const ShapedView& result, Pair size, Pair stride, Pair padding)
      : offsets_y(offsets(size.y, padding.y)), offsets_x(offsets(size.x, padding.x)) {
    const int64_t *shape = image.shape, channels = shape[3];
    windows = {data,     shape[1],         shape[2],        channels,        channels,
               size.y,   size.x,           result.shape[1], result.shape[2], stride.y,
               stride.x, offsets_y.data(), offsets_x.data()};
    batch = shape[0];
    places = windows.rows * windows.columns;
    work = channels * size.y * size.x + 1;
    type = compute_type(image.dtype);
  }

  static std::vector<int64_t> offsets(int64_t size, int64_t padding) {
    std::vector<int64_t> found(static_cast<size_t>(size));
    for (size_t i = 0; i < found.size(); ++i) found[i] = static_cast<int64_t>(i) - padding;
    return found;
  }
};

}  // namespace

void pool2d(Pool kind, const ShapedView& dst, const ShapedView& x, Pair size, Pair stride, Pair padding) {
  if (dst.size == 0) return;
  const Compact image(x);
  const Result out(dst);
  const Pooling p(x, image.as(), dst, size, stride, padding);
  const auto kernel = (kind == Pool::kMax ? kernels().pool_max : kernels().pool_mean)[p.type];
  parallel_for(p.batch * p.places, 1 + kGrain / p.work,
               [&](int64_t begin, int64_t end) { kernel(p.windows, out.as(), begin, end); });
  out.commit();
}

// Windows may overlap, so that one thread takes a whole image.
void pool2d_grad(Pool kind, const ShapedView& dst, const ShapedView& g, const ShapedView& x, const ShapedView& y,
                 Pair size, Pair stride, Pair padding) {
  if (dst.size == 0) return;
  const Compact image(x), grad(g), most(y);
  const Result out(dst);
  const Pooling p(x, image.as(), g, size, stride, padding);
  const auto kernel = (kind == Pool::kMax ? kernels().pool_max_grad : kernels().pool_mean_grad)[p.type];
  const int64_t bytes = dst.size / p.batch * compute_size(dst.dtype);
  const auto run = [&](int64_t i) {
    std::memset(out.as() + i * bytes, 0, static_cast<size_t>(bytes));
    kernel(p.windows, grad.as(), most.as(), out.as(), i * p.places, (i + 1) * p.places);
  };
  if (p.batch * p.places * p.work < 2 * kGrain) {
    for (int64_t i = 0; i < p.batch; ++i) run(i);
  } else {
    parallel_tasks(p.batch, run);
  }
  out.commit();
}

}  // namespace needle
