// conv2d and its gradients, as products of what windows see with a kernel.
//
// The gradient of the image is a convolution of g: the pixels whose places agree modulo the stride see the same taps of
// the kernel, each at whole steps of g, so that a stride of s makes s * s convolutions of stride 1.
#include "joined_phases.h"
#include "launch.h"
#include "packed.h"
#include "patches.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 1 << 16;       // multiplications that are worth another thread
constexpr int64_t kMostPlaces = 1 << 12;  // for which a packed kernel is worth its memory

void fill_zeros(const View& dst) { std::memset(dst.data, 0, static_cast<size_t>(dst.size * item_size(dst.dtype))); }

// dst (..., C) = row (C,), again and again.
void fill_rows(const ShapedView& dst, const ShapedView& row) {
  ShapedView rows = dst;
  rows.data = row.data;
  rows.contiguous = false;
  for (int axis = 0; axis < rows.rank - 1; ++axis) rows.strides[axis] = 0;
  rows.strides[rows.rank - 1] = row.strides[0];
  copy(dst, rows);
}

std::vector<int64_t> offsets(int64_t taps, int64_t dilation, int64_t padding) {
  std::vector<int64_t> found(static_cast<size_t>(taps));
  for (size_t i = 0; i < found.size(); ++i) found[i] = static_cast<int64_t>(i) * dilation - padding;
  return found;
}

// An image, and what the windows of a convolution see of it. The gradient of a kernel reads lines with a border.
class Forward {
 public:
  Forward(const Convolution& conv, const ShapedView& x, const Kernel& kernel, bool bordered = false)
      : conv_(conv),
        kernel_(kernel),
        bordered_(bordered && conv.by_lines()),
        by_pixels_(pixels()),
        image_(x, reading(), conv.padding, by_pixels_.patches.by_place),
        sight_(conv.by_lines() ? lines() : by_pixels_) {}

  Patches patches(int64_t group) { return sight_.of(image_, group * conv_.depth * conv_.item); }

  // The part of the kernel that belongs to a group.
  KernelMatrix kernel(int64_t group) const {
    const int64_t n = conv_.group_outputs(), first = group * n * kernel_.output_step;
    return {kernel_.data() + first * conv_.item, n, image_.planes ? kernel_.tap_x : kernel_.depth_step,
            kernel_.output_step};
  }

 private:
  Reading reading() const {
    return !conv_.by_lines() ? Reading::kPixels : bordered_ ? Reading::kBorderedLines : Reading::kLines;
  }

  Sight pixels() const {
    Sight sight;
    for (int64_t k = 0; k < conv_.taps_y; ++k) {
      for (int64_t l = 0; l < conv_.taps_x; ++l) {
        const int64_t y = k * conv_.dilation.y - conv_.padding.y, x = l * conv_.dilation.x - conv_.padding.x;
        sight.runs.push_back({y, x, 0, kernel_.tap(k, l)});
      }
    }
    sight.patches.length = conv_.depth;
    sight.patches.run_pixels = 1;
    sight.patches.pixel_length = conv_.depth;
    sight.patches.height = conv_.height, sight.patches.width = conv_.width;
    place(conv_, sight);
    sight.patches.by_place = !conv_.by_lines() && sight.has_wide_borders();
    return sight;
  }

  // A run for each line of taps and, if they lie in planes, for each channel.
  Sight lines() const {
    Sight sight;
    const Pair border = bordered_ ? conv_.padding : Pair{0, 0};
    for (int64_t channel = 0; channel < (image_.planes ? conv_.channels : 1); ++channel) {
      for (int64_t k = 0; k < conv_.taps_y; ++k) {
        const int64_t y = k * conv_.dilation.y - conv_.padding.y + border.y, x = border.x - conv_.padding.x;
        sight.runs.push_back({y, x, channel * image_.plane_step, kernel_.tap(k, 0) + channel * kernel_.depth_step});
      }
    }
    sight.patches.pixel_length = image_.planes ? 1 : conv_.channels;
    sight.patches.run_pixels = conv_.taps_x;
    sight.patches.length = conv_.taps_x * sight.patches.pixel_length;
    sight.patches.height = conv_.height + 2 * border.y, sight.patches.width = conv_.width + 2 * border.x;
    place(conv_, sight);
    return sight;
  }

  static void place(const Convolution& conv, Sight& sight) {
    sight.patches.batch = conv.batch, sight.patches.rows = conv.rows, sight.patches.columns = conv.columns;
    sight.patches.step_y = conv.stride.y, sight.patches.step_x = conv.stride.x;
  }

  const Convolution& conv_;
  const Kernel& kernel_;
  bool bordered_;
  Sight by_pixels_;
  Image image_;
  Sight sight_;
};

template <class T> void add_to_places(const void* bias, void* out, int64_t channels, int64_t begin, int64_t end) {
  const T* shift = static_cast<const T*>(bias);
  T* place = static_cast<T*>(out) + begin * channels;
  for (int64_t i = begin; i < end; ++i, place += channels) {
    for (int64_t c = 0; c < channels; ++c) place[c] += shift[c];
  }
}

// Depthwise products over all places, in threads; a bias is added block by block, while these are in the cache.
void run_depthwise(const Windows& windows, Compute type, int64_t batch, const void* kernel, void* out,
                   const void* bias = nullptr) {
  const int64_t work = windows.depth * windows.taps_y * windows.taps_x;
  const int64_t block = bias == nullptr ? INT64_MAX : 1 + kBlock / windows.channels;
  parallel_for(batch * windows.rows * windows.columns, 1 + kGrain / work, [&](int64_t begin, int64_t end) {
    for (int64_t next = begin; begin < end; begin = next) {
      next = end - begin > block ? begin + block : end;
      kernels().depthwise[type](windows, kernel, out, begin, next);
      if (bias == nullptr) continue;
      (type == kF64 ? add_to_places<double> : add_to_places<float>)(bias, out, windows.channels, begin, next);
    }
  });
}

// The part of a kernel that a product reads, packed; null if no copy is kept.
std::shared_ptr<const Packed> packed_kernel(const PatchProduct& product, const ShapedView& w, Compute type,
                                            int64_t group) {
  const Patches& p = product.patches;
  if (p.batch * p.rows * p.columns > kMostPlaces) return nullptr;
  std::vector<int64_t> key{
      1, key_of(w), group, p.length, product.kernel.n, product.kernel.row_step, product.kernel.column_step};
  for (int64_t i = 0; i < p.run_count; ++i) key.push_back(p.runs[i].kernel);
  if (!w.contiguous) key.insert(key.end(), w.strides, w.strides + w.rank);
  return packed_copy(w, std::move(key), static_cast<size_t>(kernels().kernel_packed_bytes[type](product)),
                     [&](void* out) { kernels().pack_kernel[type](product, out); });
}

// The gradient of those pixels of the image that share a phase.
class Phase {
 public:
  Phase(const Convolution& conv, const Kernel& kernel, int64_t first_y, int64_t first_x)
      : conv_(conv),
        kernel_(kernel),
        y_(conv.taps_y, first_y, conv.stride.y, conv.padding.y, conv.dilation.y),
        x_(conv.taps_x, first_x, conv.stride.x, conv.padding.x, conv.dilation.x),
        first_y_(first_y),
        first_x_(first_x),
        rows_(std::max<int64_t>(0, (conv.height - first_y + conv.stride.y - 1) / conv.stride.y)),
        columns_(std::max<int64_t>(0, (conv.width - first_x + conv.stride.x - 1) / conv.stride.x)) {
    Patches& p = sight_.patches;
    p.batch = conv.batch, p.rows = rows_, p.columns = columns_;
    p.height = conv.rows, p.width = conv.columns;
    p.step_y = p.step_x = 1;
    p.length = conv.group_outputs();
    for (size_t k = 0; k < y_.taps.size(); ++k) {
      for (size_t l = 0; l < x_.taps.size(); ++l) {
        sight_.runs.push_back({y_.offsets[k], x_.offsets[l], 0, kernel.tap(y_.taps[k], x_.taps[l])});
      }
    }
    p.run_pixels = 1;
    p.pixel_length = p.length;
    p.by_place = sight_.has_wide_borders();
  }

  bool by_place() const { return sight_.patches.by_place; }
  bool sees_nothing() const { return sight_.runs.empty(); }

  void run(const Image& g, unsigned char* image) {
    if (rows_ * columns_ == 0 || sees_nothing()) return;
    const int64_t item = conv_.item, outputs = conv_.group_outputs(), line = conv_.width * conv_.channels;
    unsigned char* first = image + (first_y_ * line + first_x_ * conv_.channels) * item;
    for (int64_t group = 0; group < conv_.groups; ++group) {
      const KernelMatrix matrix{kernel_.data() + group * outputs * kernel_.output_step * item, conv_.depth,
                                kernel_.output_step, kernel_.depth_step};
      kernels().convolve[conv_.type]({sight_.of(g, group * outputs * item), matrix, first + group * conv_.depth * item,
                                      conv_.height * line, conv_.stride.y * line, conv_.stride.x * conv_.channels});
    }
  }

  void run_depthwise(const unsigned char* g, unsigned char* image) const {
    if (rows_ * columns_ == 0 || sees_nothing()) return;
    const int64_t pixel = conv_.channels * conv_.item, taps = static_cast<int64_t>(sight_.runs.size());
    const Workspace own(static_cast<size_t>(taps * pixel));
    for (int64_t i = 0; i < taps; ++i) {
      const unsigned char* from = kernel_.data() + sight_.runs[static_cast<size_t>(i)].kernel * conv_.item;
      std::memcpy(own.as<unsigned char>() + i * pixel, from, static_cast<size_t>(pixel));
    }
    const int64_t taps_y = static_cast<int64_t>(y_.taps.size()), taps_x = static_cast<int64_t>(x_.taps.size());
    const Windows windows{
        g, conv_.rows, conv_.columns,     conv_.channels,   conv_.channels, taps_y, taps_x, rows_, columns_,
        1, 1,          y_.offsets.data(), x_.offsets.data()};
    const bool whole = conv_.stride.y == 1 && conv_.stride.x == 1;
    const Workspace space(whole ? 1 : static_cast<size_t>(conv_.batch * rows_ * columns_ * pixel));
    unsigned char* out = whole ? image : space.as<unsigned char>();
    needle::run_depthwise(windows, conv_.type, conv_.batch, own.as<void>(), out);
    if (!whole) scatter(out, image);
  }

 private:
  // From the pixels of this phase side by side to their places in the image.
  void scatter(const unsigned char* from, unsigned char* image) const {
    const int64_t pixel = conv_.channels * conv_.item;
    parallel_for(conv_.batch * rows_, 1 + kGrain / (columns_ * pixel), [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / rows_ * conv_.height + first_y_ + i % rows_ * conv_.stride.y;
        unsigned char* to = image + (row * conv_.width + first_x_) * pixel;
        for (int64_t j = 0; j < columns_; ++j) {
          const unsigned char* source = from + (i * columns_ + j) * pixel;
          std::memcpy(to + j * conv_.stride.x * pixel, source, static_cast<size_t>(pixel));
        }
      }
    });
  }

  const Convolution& conv_;
  const Kernel& kernel_;
  PhaseTaps y_, x_;
  int64_t first_y_, first_x_, rows_, columns_;
  Sight sight_;
};

// A product of pixels, which are rows as they lie: of the image and the kernel (m, n, k), group by group.
struct Pointwise {
  const Convolution& conv;
  const unsigned char *image, *kernel, *result;
  const unsigned char* bias = nullptr;
  const ShapedView* weight = nullptr;  // what `kernel` is the memory of, where copies of it may be kept

  void forward(unsigned char* out) const {
    for (int64_t group = 0; group < conv.groups; ++group) {
      Gemm g = product(conv.places(), conv.group_outputs(), conv.depth);
      g.a = of_image(group), g.lda = conv.channels;
      g.b = of_kernel(group), g.ldb = conv.outputs;
      g.c = out + group * conv.group_outputs() * conv.item, g.ldc = conv.outputs;
      if (bias != nullptr) g.bias = bias + group * conv.group_outputs() * conv.item;
      const std::shared_ptr<const Packed> kept = packed(g, group);
      if (kept != nullptr) g.packed = kept->data();
      kernels().gemm[conv.type](g);
    }
  }

  void grad_input(unsigned char* out) const {
    for (int64_t group = 0; group < conv.groups; ++group) {
      Gemm g = product(conv.places(), conv.depth, conv.group_outputs());
      g.a = of_result(group), g.lda = conv.outputs;
      g.b = of_kernel(group), g.ldb = conv.outputs, g.transpose_b = true;
      g.c = out + group * conv.depth * conv.item, g.ldc = conv.channels;
      kernels().gemm[conv.type](g);
    }
  }

  void grad_weight(unsigned char* out) const {
    for (int64_t group = 0; group < conv.groups; ++group) {
      Gemm g = product(conv.depth, conv.group_outputs(), conv.places());
      g.a = of_image(group), g.lda = conv.channels, g.transpose_a = true;
      g.b = of_result(group), g.ldb = conv.outputs;
      g.c = out + group * conv.group_outputs() * conv.item, g.ldc = conv.outputs;
      kernels().gemm[conv.type](g);
    }
  }

 private:
  // The kernel of a group, packed; null if no copy is kept.
  std::shared_ptr<const Packed> packed(const Gemm& g, int64_t group) const {
    if (weight == nullptr || !worth_packing(g, conv.type)) return nullptr;
    std::vector<int64_t> key{2, key_of(*weight), group, g.n, g.k, g.ldb};
    if (!weight->contiguous) key.insert(key.end(), weight->strides, weight->strides + weight->rank);
    return packed_copy(*weight, std::move(key), static_cast<size_t>(kernels().gemm_packed_bytes[conv.type](g)),
                       [&](void* out) { kernels().gemm_pack[conv.type](g, out); });
  }

  static Gemm product(int64_t m, int64_t n, int64_t k) {
    Gemm g{};
    g.m = m, g.n = n, g.k = k;
    return g;
  }
  const void* of_image(int64_t group) const { return image + group * conv.depth * conv.item; }
  const void* of_kernel(int64_t group) const { return kernel + group * conv.group_outputs() * conv.item; }
  const void* of_result(int64_t group) const { return result + group * conv.group_outputs() * conv.item; }
};

void convolve(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const unsigned char* bias, Pair stride,
              Pair padding, Pair dilation, int64_t groups) {
  const Convolution conv(x, w, dst, stride, padding, dilation, groups);
  const Kernel kernel(w, conv.reads_row_major_kernel());
  const Result out(dst);
  if (conv.pointwise()) {
    const Compact image(x);
    Pointwise{conv, image.as(), kernel.data(), nullptr, bias, &w}.forward(out.as());
  } else if (conv.depthwise()) {
    const Compact image(x);
    const auto y = offsets(conv.taps_y, dilation.y, padding.y), x_offsets = offsets(conv.taps_x, dilation.x, padding.x);
    const Windows windows = conv.windows(image.as(), y, x_offsets);
    run_depthwise(windows, conv.type, conv.batch, kernel.data(), out.as(), bias);
  } else {
    Forward forward(conv, x, kernel);
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = group * conv.group_outputs() * conv.item;
      PatchProduct product{
          forward.patches(group),      forward.kernel(group), out.as() + first, conv.rows * conv.columns * conv.outputs,
          conv.columns * conv.outputs, conv.outputs};
      if (bias != nullptr) product.bias = bias + first;
      const std::shared_ptr<const Packed> kept = packed_kernel(product, w, conv.type, group);
      if (kept != nullptr) product.packed = kept->data();
      kernels().convolve[conv.type](product);
    }
  }
  out.commit();
}

}  // namespace

void conv2d(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation,
            int64_t groups) {
  if (dst.size == 0) return;
  if (w.size == 0) return fill_zeros(dst);
  convolve(dst, x, w, nullptr, stride, padding, dilation, groups);
}

void conv2d_bias(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const ShapedView& bias, Pair stride,
                 Pair padding, Pair dilation, int64_t groups) {
  if (dst.size == 0) return;
  if (w.size == 0) return fill_rows(dst, bias);
  const Compact shift(bias);
  convolve(dst, x, w, shift.as(), stride, padding, dilation, groups);
}

void conv2d_grad_weight(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride, Pair padding,
                        Pair dilation, int64_t groups) {
  const Convolution conv(x, dst, g, stride, padding, dilation, groups);
  if (dst.size == 0) return;
  if (g.size == 0) return fill_zeros(dst);
  const Compact grad(g);
  const Result out(dst);
  if (conv.pointwise()) {
    const Compact image(x);
    Pointwise{conv, image.as(), nullptr, grad.as()}.grad_weight(out.as());
  } else if (conv.depthwise()) {
    const Compact image(x);
    const auto y = offsets(conv.taps_y, dilation.y, padding.y), x_offsets = offsets(conv.taps_x, dilation.x, padding.x);
    const Windows windows = conv.windows(image.as(), y, x_offsets);
    parallel_tasks(conv.taps_y * conv.taps_x, [&](int64_t tap) {
      kernels().depthwise_grad[conv.type](windows, conv.batch, grad.as(), out.as(), tap, tap + 1);
    });
  } else {
    const Kernel kernel(dst, out.as());
    Forward forward(conv, x, kernel, true);
    for (int64_t group = 0; group < groups; ++group) {
      kernels().convolve_grad[conv.type]({forward.patches(group), grad.as() + group * conv.group_outputs() * conv.item,
                                          conv.outputs, forward.kernel(group)});
    }
  }
  out.commit();
}

void conv2d_grad_input(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride, Pair padding,
                       Pair dilation, int64_t groups) {
  const Convolution conv(dst, w, g, stride, padding, dilation, groups);
  if (dst.size == 0) return;
  if (g.size == 0 || w.size == 0) return fill_zeros(dst);
  const Kernel kernel(w, conv.reads_row_major_kernel());
  const Result out(dst);
  if (conv.pointwise()) {
    const Compact grad(g);
    Pointwise{conv, nullptr, kernel.data(), grad.as()}.grad_input(out.as());
    return out.commit();
  }
  if (JoinedPhases joined(conv, kernel); joined.pays()) {
    joined.run(Image(g, Reading::kPixels, padding, joined.by_place()), out.as());
    return out.commit();
  }
  std::vector<Phase> phases;
  for (int64_t y = 0; y < stride.y; ++y) {
    for (int64_t x = 0; x < stride.x; ++x) phases.emplace_back(conv, kernel, y, x);
  }
  bool by_place = false, seen = true;
  for (const Phase& phase : phases) by_place |= phase.by_place(), seen &= !phase.sees_nothing();
  if (!seen) std::memset(out.as(), 0, static_cast<size_t>(dst.size * conv.item));
  if (conv.depthwise()) {
    const Compact grad(g);
    for (const Phase& phase : phases) phase.run_depthwise(grad.as(), out.as());
  } else {
    const Image grad(g, Reading::kPixels, padding, by_place);
    for (Phase& phase : phases) phase.run(grad, out.as());
  }
  out.commit();
}

}  // namespace needle
