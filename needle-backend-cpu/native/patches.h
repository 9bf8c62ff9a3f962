// Convolutions as products: their sizes, and images as matrices of what windows see, which are never stored.
#ifndef NEEDLE_CPU_PATCHES_H
#define NEEDLE_CPU_PATCHES_H

#include <cstring>
#include <optional>
#include <vector>

#include "compact.h"

namespace needle {

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

  // With few channels a line of taps is read as one run.
  bool by_lines() const { return groups == 1 && channels <= kFewChannels && taps_x > 1 && dilation.x == 1; }

  Windows windows(const void* image, const std::vector<int64_t>& y, const std::vector<int64_t>& x) const {
    return {image, height,  width,    channels, channels, taps_y,  taps_x,
            rows,  columns, stride.y, stride.x, y.data(), x.data()};
  }

  // Elements of the kernel before those of a tap.
  int64_t tap(int64_t k, int64_t l) const { return (k * taps_x + l) * depth * outputs; }

  static constexpr int64_t kFewChannels = 8;
};

// How the products read an image: by pixels, or by lines of pixels, which may have a border of zeros.
enum class Reading { kPixels, kLines, kBorderedLines };

// An array (batch, rows, columns, channels) in the compute type: the channels of a pixel side by side, or, if it is
// read by lines, the pixels of a line, with a plane for each channel. Copied only if its memory is not that, or would
// be slow.
class Image {
 public:
  int64_t image_step, line_step, pixel_step, plane_step;  // in elements
  bool planes;

  Image(const ShapedView& view, Reading reading, Pair border, bool by_place) {
    ShapedView from = view.contiguous ? contiguous_like(view, view.data) : view;
    if (!is_stored_as_computed(view.dtype)) {
      wide_.emplace(view);
      from = contiguous_like(view, const_cast<unsigned char*>(wide_->as()));
      from.dtype = compute_size(view.dtype) == 8 ? DType::kFloat64 : DType::kFloat32;
    }
    const int64_t channels = view.shape[3];
    const bool whole_pixels = channels == 1 || from.strides[3] == 1;
    planes = reading != Reading::kPixels && from.strides[2] == 1 && channels > 1;
    const bool whole_lines = planes || (whole_pixels && from.strides[2] == channels);
    const bool readable = reading == Reading::kPixels ? whole_pixels : reading == Reading::kLines && whole_lines;
    if (readable && !(by_place && competes(from.strides[0] * compute_size(view.dtype)))) {
      image_step = from.strides[0], line_step = from.strides[1], pixel_step = from.strides[2];
      plane_step = from.strides[3];
      data_ = from.as<unsigned char>();
    } else {
      copy_from(from, reading == Reading::kBorderedLines ? border : Pair{0, 0}, by_place);
    }
  }

  const unsigned char* data() const { return data_; }

 private:
  static constexpr int64_t kShift = 64;  // bytes, a line of the cache

  void copy_from(const ShapedView& from, Pair border, bool by_place) {
    const int64_t *n = from.shape, height = n[1] + 2 * border.y, width = n[2] + 2 * border.x;
    const int64_t item = item_size(from.dtype);
    plane_step = planes ? height * width : 1;
    pixel_step = planes ? 1 : n[3];
    line_step = width * pixel_step;
    image_step = height * width * n[3];
    if (by_place && competes(image_step * item)) image_step += kShift / item;
    const size_t bytes = static_cast<size_t>(n[0] * image_step * item);
    copy_.emplace(bytes);
    data_ = copy_->as<unsigned char>();
    if (border.y + border.x > 0) std::memset(copy_->as<void>(), 0, bytes);
    ShapedView to = from;
    to.contiguous = false;
    to.data = copy_->as<unsigned char>() + (border.y * line_step + border.x * pixel_step) * item;
    to.strides[0] = image_step, to.strides[1] = line_step, to.strides[2] = pixel_step, to.strides[3] = plane_step;
    copy(to, from);
  }

  // Pixels so many bytes apart fall on one place or two of a first-level cache, which holds a few of them.
  static bool competes(int64_t bytes) { return bytes % 2048 == 0; }

  std::optional<Compact> wide_;
  std::optional<Workspace> copy_;
  const unsigned char* data_;
};

// The windows of a convolution, as patches of an image that is yet to be read.
class Sight {
 public:
  std::vector<Run> runs;  // their offsets without what depends on the image's layout
  Patches patches{};

  // Whether places are better taken by place than along the lines.
  bool has_wide_borders() const { return patches.batch >= kBatch && share_outside() > kShareOutside; }

  // What is seen of an image, from some channel on.
  Patches of(const Image& image, int64_t channel) {
    Patches p = patches;
    p.image = image.data() + channel;
    p.image_step = image.image_step, p.line_step = image.line_step, p.pixel_step = image.pixel_step;
    placed_ = runs;
    for (Run& run : placed_) run.offset += run.y * p.line_step + run.x * p.pixel_step;
    p.runs = placed_.data();
    p.run_count = static_cast<int64_t>(placed_.size());
    return p;
  }

 private:
  static constexpr int64_t kBatch = 7;           // images that fill a strip well enough
  static constexpr double kShareOutside = 0.04;  // of the runs, which is worth it

  double share_outside() const {
    const auto inside = [](int64_t at, int64_t size) { return at >= 0 && at < size; };
    int64_t seen = 0;
    for (const Run& run : runs) {
      int64_t y = 0, x = 0;
      for (int64_t i = 0; i < patches.rows; ++i) y += inside(i * patches.step_y + run.y, patches.height);
      for (int64_t i = 0; i < patches.columns; ++i) x += inside(i * patches.step_x + run.x, patches.width);
      seen += y * x;
    }
    const int64_t all = static_cast<int64_t>(runs.size()) * patches.rows * patches.columns;
    return all == 0 ? 0.0 : 1.0 - static_cast<double>(seen) / static_cast<double>(all);
  }

  std::vector<Run> placed_;
};

}  // namespace needle

#endif  // NEEDLE_CPU_PATCHES_H
