// The gradient of an image of few channels by a strided convolution: all phases at once.
//
// Pixels whose index agrees modulo the stride share the taps that they see (see conv.cpp). A product for each such
// phase would have a vector for three channels. Here a place of g's grid gives the pixels of all phases side by side,
// as if they were channels; where a phase has no tap, the kernel has a zero.
#ifndef NEEDLE_CPU_JOINED_PHASES_H
#define NEEDLE_CPU_JOINED_PHASES_H

#include <algorithm>

#include "launch.h"
#include "patches.h"

namespace needle {

// The taps of one axis that pixels see whose index is `phase` modulo the stride, by ascending offset.
struct PhaseTaps {
  std::vector<int64_t> taps, offsets;

  PhaseTaps(int64_t count, int64_t phase, int64_t stride, int64_t padding, int64_t dilation) {
    for (int64_t tap = count - 1; tap >= 0; --tap) {
      const int64_t distance = phase + padding - tap * dilation;
      if (distance % stride != 0) continue;
      taps.push_back(tap);
      offsets.push_back(distance / stride);
    }
  }
};

class JoinedPhases {
 public:
  JoinedPhases(const Convolution& conv, const Kernel& kernel)
      : conv_(conv),
        kernel_(kernel),
        y_(phases(conv.taps_y, conv.stride.y, conv.padding.y, conv.dilation.y)),
        x_(phases(conv.taps_x, conv.stride.x, conv.padding.x, conv.dilation.x)),
        ys_(offsets(y_)),
        xs_(offsets(x_)),
        rows_((conv.height + conv.stride.y - 1) / conv.stride.y),
        columns_((conv.width + conv.stride.x - 1) / conv.stride.x),
        n_(conv.stride.y * conv.stride.x * conv.channels) {
    Patches& p = sight_.patches;
    p.batch = conv.batch, p.rows = rows_, p.columns = columns_;
    p.height = conv.rows, p.width = conv.columns;
    p.step_y = p.step_x = 1;
    p.run_pixels = 1;
    p.length = p.pixel_length = conv.outputs;
    for (const int64_t y : ys_) {
      for (const int64_t x : xs_) {
        sight_.runs.push_back({y, x, 0, static_cast<int64_t>(sight_.runs.size()) * conv.outputs * n_});
      }
    }
    p.by_place = sight_.has_wide_borders();
  }

  bool by_place() const { return sight_.patches.by_place; }

  // Whether that takes fewer multiplications than a product for each phase.
  bool pays() const {
    const int64_t lanes = kernels().tile_bytes / kTileVectors / conv_.item;
    const auto vectors = [lanes](int64_t n) { return n <= lanes ? 1 : (n + 2 * lanes - 1) / (2 * lanes) * 2; };
    const int64_t joined = static_cast<int64_t>(ys_.size() * xs_.size()) * vectors(n_);
    return conv_.groups == 1 && n_ > conv_.channels && joined < conv_.taps_y * conv_.taps_x * vectors(conv_.channels);
  }

  void run(const Image& g, unsigned char* image) {
    const Workspace matrix(
        static_cast<size_t>(static_cast<int64_t>(sight_.runs.size()) * conv_.outputs * n_ * conv_.item));
    fill(matrix.as<unsigned char>());
    const Workspace pixels(static_cast<size_t>(conv_.batch * rows_ * columns_ * n_ * conv_.item));
    kernels().convolve[conv_.type](
        {sight_.of(g, 0), {matrix.as<void>(), n_, n_, 1}, pixels.as<void>(), rows_ * columns_ * n_, columns_ * n_, n_});
    scatter(pixels.as<unsigned char>(), image);
  }

 private:
  static std::vector<PhaseTaps> phases(int64_t taps, int64_t stride, int64_t padding, int64_t dilation) {
    std::vector<PhaseTaps> all;
    for (int64_t phase = 0; phase < stride; ++phase) all.emplace_back(taps, phase, stride, padding, dilation);
    return all;
  }

  // Those of any phase.
  static std::vector<int64_t> offsets(const std::vector<PhaseTaps>& phases) {
    std::vector<int64_t> all;
    for (const PhaseTaps& phase : phases) all.insert(all.end(), phase.offsets.begin(), phase.offsets.end());
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  // Row (offset, output), column (phase, channel).
  void fill(unsigned char* matrix) const {
    std::memset(matrix, 0, sight_.runs.size() * static_cast<size_t>(conv_.outputs * n_ * conv_.item));
    const auto place = [](const std::vector<int64_t>& all, int64_t offset) {
      return std::lower_bound(all.begin(), all.end(), offset) - all.begin();
    };
    for (size_t py = 0; py < y_.size(); ++py) {
      for (size_t px = 0; px < x_.size(); ++px) {
        const int64_t column = static_cast<int64_t>(py * x_.size() + px) * conv_.channels;
        for (size_t k = 0; k < y_[py].taps.size(); ++k) {
          for (size_t l = 0; l < x_[px].taps.size(); ++l) {
            const int64_t run =
                place(ys_, y_[py].offsets[k]) * static_cast<int64_t>(xs_.size()) + place(xs_, x_[px].offsets[l]);
            fill_tap(matrix + (run * conv_.outputs * n_ + column) * conv_.item,
                     kernel_.tap(y_[py].taps[k], x_[px].taps[l]));
          }
        }
      }
    }
  }

  void fill_tap(unsigned char* to, int64_t tap) const {
    const auto item = static_cast<size_t>(conv_.item);
    for (int64_t o = 0; o < conv_.outputs; ++o) {
      for (int64_t c = 0; c < conv_.channels; ++c) {
        const int64_t from = tap + c * kernel_.depth_step + o * kernel_.output_step;
        std::memcpy(to + (o * n_ + c) * conv_.item, kernel_.data() + from * conv_.item, item);
      }
    }
  }

  // From phases side by side to lines of pixels; the last row and column of places may have pixels outside.
  void scatter(const unsigned char* from, unsigned char* image) const {
    const int64_t pixel = conv_.channels * conv_.item, together = conv_.stride.x;
    parallel_for(conv_.batch * rows_, 1 + (1 << 16) / (columns_ * n_ * conv_.item), [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t py = 0; py < conv_.stride.y; ++py) {
          const int64_t y = i % rows_ * conv_.stride.y + py;
          if (y >= conv_.height) break;
          unsigned char* line = image + (i / rows_ * conv_.height + y) * conv_.width * pixel;
          for (int64_t j = 0; j < columns_; ++j) {
            const int64_t count = std::min(together, conv_.width - j * together);
            std::memcpy(line + j * together * pixel,
                        from + ((i * columns_ + j) * n_ + py * together * conv_.channels) * conv_.item,
                        static_cast<size_t>(count * pixel));
          }
        }
      }
    });
  }

  const Convolution& conv_;
  const Kernel& kernel_;
  std::vector<PhaseTaps> y_, x_;
  std::vector<int64_t> ys_, xs_;  // all offsets, in steps of g
  int64_t rows_, columns_, n_;    // of places; what each gives
  Sight sight_;
};

}  // namespace needle

#endif  // NEEDLE_CPU_JOINED_PHASES_H
