// Launchers of convolutions and pooling.
#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

int32_t at(const View& view, int axis) { return checked_size(view.shape[axis]); }

// The stride along an axis, which says nothing if there is but one element.
int32_t step(const View& view, int axis) {
  const int64_t stride = view.shape[axis] == 1 ? 0 : view.strides[axis];
  if (stride < INT32_MIN) checked_size(INT64_MAX);
  return checked_size(stride);
}

// The image, its result, and the windows; of pooling, the outputs are the channels.
Window window_of(const View& image, const View& result, Pair size, Pair stride, Pair padding, Pair dilation,
                 int64_t groups) {
  const auto i = [](int64_t n) { return checked_size(n); };
  return {at(image, 0),
          at(image, 1),
          at(image, 2),
          at(image, 3),
          at(result, 1),
          at(result, 2),
          at(result, 3),
          i(size.y),
          i(size.x),
          i(stride.y),
          i(stride.x),
          i(padding.y),
          i(padding.x),
          i(dilation.y),
          i(dilation.x),
          i(groups),
          0,
          step(image, 0),
          step(image, 1),
          step(image, 2),
          step(image, 3)};
}

// One product for each group, by blocks of 64 by 64.
void product(const char* kernel, const View& dst, const View& left, const View& right, const Window& p, int64_t m,
             int64_t n, const View* bias = nullptr) {
  if (dst.size == 0) return;
  const uint64_t rows = static_cast<uint64_t>(checked_size(m)), columns = static_cast<uint64_t>(checked_size(n));
  Launch launch("conv", typed(kernel, dst.dtype));
  launch.buffer(dst).buffer(left.size == 0 ? dst : left).buffer(right.size == 0 ? dst : right).bytes(p);
  launch.buffer(bias == nullptr ? dst : *bias).constant(bias != nullptr);
  launch.groups({(columns + 63) / 64, (rows + 63) / 64, static_cast<uint64_t>(p.groups)}, {128, 1, 1});
}

// An operand without gaps, a copy where it has some, for the time that a call takes.
class Compact {
 public:
  explicit Compact(const View& w) : view(w), nbytes_(static_cast<size_t>(w.size * item_size(w.dtype))) {
    if (w.contiguous) return;
    data_ = allocate(nbytes_);
    view.data = data_;
    view.contiguous = true;
    copy(view, w);
  }
  ~Compact() {
    if (data_ != nullptr) release(data_, nbytes_);  // in order: nothing overtakes what is encoded
  }
  Compact(const Compact&) = delete;
  Compact& operator=(const Compact&) = delete;

  View view;

 private:
  size_t nbytes_;
  char* data_ = nullptr;
};

void convolve(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const View* bias, Pair stride,
              Pair padding, Pair dilation, int64_t groups) {
  if (dst.size == 0) return;
  const Compact weights(w);
  const Window p = window_of(x, dst, {w.shape[0], w.shape[1]}, stride, padding, dilation, groups);
  product("conv2d", dst, x, weights.view, p, dst.size / dst.shape[3], dst.shape[3] / groups, bias);
}

}  // namespace

void conv2d(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation,
            int64_t groups) {
  convolve(dst, x, w, nullptr, stride, padding, dilation, groups);
}

void conv2d_bias(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const View& bias, Pair stride,
                 Pair padding, Pair dilation, int64_t groups) {
  const Compact biases(bias);
  convolve(dst, x, w, &biases.view, stride, padding, dilation, groups);
}

void conv2d_grad_input(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride, Pair padding,
                       Pair dilation, int64_t groups) {
  if (dst.size == 0) return;
  const Window p = window_of(dst, g, {w.shape[0], w.shape[1]}, stride, padding, dilation, groups);
  product("conv2d_grad_input", dst, g, w, p, dst.size / dst.shape[3], dst.shape[3] / groups);
}

void conv2d_grad_weight(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride, Pair padding,
                        Pair dilation, int64_t groups) {
  if (dst.size == 0) return;
  const Window p = window_of(x, g, {dst.shape[0], dst.shape[1]}, stride, padding, dilation, groups);
  product("conv2d_grad_weight", dst, x, g, p, dst.size / dst.shape[3], dst.shape[3] / groups);
}

void pool2d(Pool kind, const ShapedView& dst, const ShapedView& x, Pair size, Pair stride, Pair padding) {
  Window p = window_of(x, dst, size, stride, padding, {1, 1}, 1);
  p.mean = kind == Pool::kMean;
  if (dst.size == 0) return;
  Launch("pool", typed("pool2d", dst.dtype)).buffer(dst).buffer(x).bytes(p).threads({uint64_t(dst.size)});
}

void pool2d_grad(Pool kind, const ShapedView& dst, const ShapedView& g, const ShapedView& x, const ShapedView& y,
                 Pair size, Pair stride, Pair padding) {
  Window p = window_of(x, g, size, stride, padding, {1, 1}, 1);
  p.mean = kind == Pool::kMean;
  if (dst.size == 0) return;
  Launch launch("pool", typed("pool2d_grad", dst.dtype));
  launch.buffer(dst).buffer(g.size == 0 ? dst : g).buffer(x).buffer(y.size == 0 ? dst : y).bytes(p);
  launch.threads({uint64_t(dst.size)});
}

}  // namespace needle
