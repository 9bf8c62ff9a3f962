// conv2d and its gradients, as matrix products over the windows of images, which the product packs as it goes.
//
// The gradient of the image is a convolution of g: the pixels whose places agree modulo the stride see the same taps of
// the kernel, each at whole steps of g, so that a stride of s makes s * s convolutions of stride 1.
#include <algorithm>
#include <cstring>
#include <vector>

#include "compact.h"
#include "launch.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 1 << 16;  // multiplications that are worth another thread

struct Convolution {
  Pair stride, padding, dilation;
  int64_t groups;
  int64_t batch, height, width, channels;  // of the image
  int64_t rows, columns, outputs;          // of the result
  int64_t taps_y, taps_x, depth;           // of the kernel
  Compute type;
  int64_t item;

  Convolution(const ShapedView& image, const ShapedView& kernel, const ShapedView& result, Pair stride, Pair padding,
              Pair dilation, int64_t groups)
      : stride(stride), padding(padding), dilation(dilation), groups(groups) {
    batch = image.shape[0], height = image.shape[1], width = image.shape[2], channels = image.shape[3];
    taps_y = kernel.shape[0], taps_x = kernel.shape[1], depth = kernel.shape[2];
    rows = result.shape[1], columns = result.shape[2], outputs = result.shape[3];
    type = compute_type(image.dtype);
    item = compute_size(image.dtype);
  }

  int64_t places() const { return batch * rows * columns; }
  int64_t group_outputs() const { return outputs / groups; }
  bool depthwise() const { return groups > 1 && depth == 1 && outputs == groups; }

  // A window is one pixel, and each pixel is a window.
  bool pointwise() const {
    return taps_y * taps_x == 1 && stride.y == 1 && stride.x == 1 && padding.y == 0 && padding.x == 0;
  }

  static std::vector<int64_t> offsets(int64_t taps, int64_t dilation, int64_t padding) {
    std::vector<int64_t> found(static_cast<size_t>(taps));
    for (size_t i = 0; i < found.size(); ++i) found[i] = static_cast<int64_t>(i) * dilation - padding;
    return found;
  }

  Windows windows(const void* image, const std::vector<int64_t>& y, const std::vector<int64_t>& x) const {
    return {image,    height,   width,    channels, depthwise() ? channels : depth, taps_y, taps_x, rows, columns,
            stride.y, stride.x, y.data(), x.data()};
  }
};

void fill_zeros(const View& dst) { std::memset(dst.data, 0, static_cast<size_t>(dst.size * item_size(dst.dtype))); }

// Depthwise products over all places, in threads.
void run_depthwise(const Windows& windows, Compute type, int64_t batch, const void* kernel, void* out) {
  const int64_t work = windows.depth * windows.taps_y * windows.taps_x;
  parallel_for(batch * windows.rows * windows.columns, 1 + kGrain / work,
               [&](int64_t begin, int64_t end) { kernels().depthwise[type](windows, kernel, out, begin, end); });
}

// A kernel (taps, C / groups, O) with its last two axes swapped: (taps, O, C / groups).
ShapedView swapped(const ShapedView& kernel) {
  ShapedView view = kernel;
  if (kernel.contiguous) view = contiguous_like(kernel, kernel.data);
  std::swap(view.shape[2], view.shape[3]);
  std::swap(view.strides[2], view.strides[3]);
  view.contiguous = false;
  return view;
}

// The taps of one axis that pixels see whose index is `phase` modulo the stride, by ascending offset.
struct Taps {
  std::vector<int64_t> taps, offsets;

  Taps(int64_t count, int64_t phase, int64_t stride, int64_t padding, int64_t dilation) {
    for (int64_t tap = count - 1; tap >= 0; --tap) {
      const int64_t distance = phase + padding - tap * dilation;
      if (distance % stride != 0) continue;
      taps.push_back(tap);
      offsets.push_back(distance / stride);
    }
  }
  int64_t count() const { return static_cast<int64_t>(taps.size()); }
};

// The gradient of those pixels of the image that share a phase.
struct Phase {
  const Convolution& conv;
  Taps y, x;
  int64_t first_y, first_x, rows, columns;

  Phase(const Convolution& conv, int64_t first_y, int64_t first_x)
      : conv(conv),
        y(conv.taps_y, first_y, conv.stride.y, conv.padding.y, conv.dilation.y),
        x(conv.taps_x, first_x, conv.stride.x, conv.padding.x, conv.dilation.x),
        first_y(first_y),
        first_x(first_x),
        rows((conv.height - first_y + conv.stride.y - 1) / conv.stride.y),
        columns((conv.width - first_x + conv.stride.x - 1) / conv.stride.x) {}

  // The part of a swapped kernel that belongs to this phase and group, as a matrix (taps * O, C / groups).
  void gather_kernel(const unsigned char* swapped, int64_t group, unsigned char* to) const {
    const int64_t outputs = conv.group_outputs(), bytes = outputs * conv.depth * conv.item;
    for (const int64_t k : y.taps) {
      for (const int64_t l : x.taps) {
        const int64_t row = (k * conv.taps_x + l) * conv.outputs + group * outputs;
        std::memcpy(to, swapped + row * conv.depth * conv.item, static_cast<size_t>(bytes));
        to += bytes;
      }
    }
  }

  // From the pixels of this phase side by side to their places in the image.
  void scatter(const unsigned char* from, unsigned char* image) const {
    const int64_t pixel = conv.channels * conv.item;
    parallel_for(conv.batch * rows, 1 + kGrain / (columns * pixel), [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / rows * conv.height + first_y + i % rows * conv.stride.y;
        unsigned char* to = image + (row * conv.width + first_x) * pixel;
        for (int64_t j = 0; j < columns; ++j) {
          const unsigned char* source = from + (i * columns + j) * pixel;
          std::memcpy(to + j * conv.stride.x * pixel, source, static_cast<size_t>(pixel));
        }
      }
    });
  }

  void run(const unsigned char* g, const unsigned char* swapped, unsigned char* image) const {
    if (rows <= 0 || columns <= 0) return;
    const int64_t item = conv.item, outputs = conv.group_outputs(), places = conv.batch * rows * columns;
    const bool whole = conv.stride.y == 1 && conv.stride.x == 1;
    const Workspace out_space(whole ? 1 : static_cast<size_t>(places * conv.channels * item));
    unsigned char* out = whole ? image : out_space.as<unsigned char>();
    const bool depthwise = conv.depthwise();
    const int64_t taps = y.count() * x.count(), inner = taps * outputs;
    const Workspace kernel(static_cast<size_t>(1 + inner * conv.depth * item * (depthwise ? conv.groups : 1)));
    Windows windows{g,
                    conv.rows,
                    conv.columns,
                    conv.outputs,
                    depthwise ? conv.channels : outputs,
                    y.count(),
                    x.count(),
                    rows,
                    columns,
                    1,
                    1,
                    y.offsets.data(),
                    x.offsets.data()};
    if (inner == 0) {
      std::memset(out, 0, static_cast<size_t>(places * conv.channels * item));
    } else if (depthwise) {
      unsigned char* to = kernel.as<unsigned char>();
      const int64_t bytes = conv.channels * item;
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t k = y.taps[static_cast<size_t>(tap / x.count())],
                      l = x.taps[static_cast<size_t>(tap % x.count())];
        std::memcpy(to + tap * bytes, swapped + (k * conv.taps_x + l) * bytes, static_cast<size_t>(bytes));
      }
      run_depthwise(windows, conv.type, conv.batch, to, out);
    } else {
      for (int64_t group = 0; group < conv.groups; ++group) {
        gather_kernel(swapped, group, kernel.as<unsigned char>());
        windows.image = g + group * outputs * item;
        Gemm product{};
        product.m = places, product.n = conv.depth, product.k = inner;
        product.windows = &windows;
        product.b = kernel.as<void>(), product.ldb = conv.depth;
        product.c = out + group * conv.depth * item, product.ldc = conv.channels;
        kernels().gemm[conv.type](product);
      }
    }
    if (!whole) scatter(out, image);
  }
};

}  // namespace

void conv2d(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation,
            int64_t groups) {
  const Convolution conv(x, w, dst, stride, padding, dilation, groups);
  if (dst.size == 0) return;
  if (w.size == 0) return fill_zeros(dst);
  const Compact image(x), kernel(w);
  const Result out(dst);
  const auto offsets_y = conv.offsets(conv.taps_y, dilation.y, padding.y);
  const auto offsets_x = conv.offsets(conv.taps_x, dilation.x, padding.x);
  Windows windows = conv.windows(image.as(), offsets_y, offsets_x);
  if (conv.depthwise()) {
    run_depthwise(windows, conv.type, conv.batch, kernel.as(), out.as());
    return out.commit();
  }
  for (int64_t group = 0; group < groups; ++group) {
    Gemm g{};
    g.m = conv.places(), g.n = conv.group_outputs(), g.k = conv.taps_y * conv.taps_x * conv.depth;
    windows.image = image.as() + group * conv.depth * conv.item;
    g.a = windows.image, g.lda = conv.channels;
    if (!conv.pointwise()) g.windows = &windows;
    g.b = kernel.as() + group * g.n * conv.item, g.ldb = conv.outputs;
    g.c = out.as() + group * g.n * conv.item, g.ldc = conv.outputs;
    kernels().gemm[conv.type](g);
  }
  out.commit();
}

void conv2d_grad_weight(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride, Pair padding,
                        Pair dilation, int64_t groups) {
  const Convolution conv(x, dst, g, stride, padding, dilation, groups);
  if (dst.size == 0) return;
  if (g.size == 0) return fill_zeros(dst);
  const Compact image(x), grad(g);
  const Result out(dst);
  const auto offsets_y = conv.offsets(conv.taps_y, dilation.y, padding.y);
  const auto offsets_x = conv.offsets(conv.taps_x, dilation.x, padding.x);
  Windows windows = conv.windows(image.as(), offsets_y, offsets_x);
  if (conv.depthwise()) {
    parallel_tasks(conv.taps_y * conv.taps_x, [&](int64_t tap) {
      kernels().depthwise_grad[conv.type](windows, conv.batch, grad.as(), out.as(), tap, tap + 1);
    });
    return out.commit();
  }
  for (int64_t group = 0; group < groups; ++group) {
    Gemm p{};
    p.m = conv.taps_y * conv.taps_x * conv.depth, p.n = conv.group_outputs(), p.k = conv.places();
    windows.image = image.as() + group * conv.depth * conv.item;
    p.transpose_a = true;
    p.a = windows.image, p.lda = conv.channels;
    if (!conv.pointwise()) p.windows = &windows;
    p.b = grad.as() + group * p.n * conv.item, p.ldb = conv.outputs;
    p.c = out.as() + group * p.n * conv.item, p.ldc = conv.outputs;
    kernels().gemm[conv.type](p);
  }
  out.commit();
}

void conv2d_grad_input(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride, Pair padding,
                       Pair dilation, int64_t groups) {
  const Convolution conv(dst, w, g, stride, padding, dilation, groups);
  if (dst.size == 0) return;
  if (g.size == 0 || w.size == 0) return fill_zeros(dst);
  const Compact grad(g), kernel(swapped(w));
  const Result out(dst);
  for (int64_t y = 0; y < stride.y; ++y) {
    for (int64_t x = 0; x < stride.x; ++x) Phase(conv, y, x).run(grad.as(), kernel.as(), out.as());
  }
  out.commit();
}

}  // namespace needle
