// Convolutions of each channel by itself.
#include "simd/places.h"
#include "workspace.h"

NEEDLE_BEGIN
namespace {

template <class T> void depthwise(const Windows& w, const void* kernel, void* out, int64_t begin, int64_t end) {
  using V = Vector<T>;
  constexpr int kVectors = 4;  // channels that are summed in registers
  const int64_t n = w.depth, block = kVectors * V::lanes;
  Place place(w, begin);
  for (int64_t i = begin; i < end; ++i, place.next()) {
    T* to = static_cast<T*>(out) + i * n;
    int64_t c = 0;
    for (; c + block <= n; c += block) {
      typename V::type sums[kVectors] = {};
      for_taps(place, [&](int64_t tap, int64_t offset) {
        const T* weights = static_cast<const T*>(kernel) + tap * n + c;
        const T* pixel = static_cast<const T*>(w.image) + offset;
        for (int v = 0; v < kVectors; ++v)
          sums[v] += V::load(pixel + c + v * V::lanes) * V::load(weights + v * V::lanes);
      });
      for (int v = 0; v < kVectors; ++v) V::store(to + c + v * V::lanes, sums[v]);
    }
    for (int64_t j = c; j < n; ++j) to[j] = T(0);
    if (c == n) continue;
    for_taps(place, [&](int64_t tap, int64_t offset) {
      const T* weights = static_cast<const T*>(kernel) + tap * n;
      const T* pixel = static_cast<const T*>(w.image) + offset;
      NEEDLE_INDEPENDENT
      for (int64_t j = c; j < n; ++j) to[j] += pixel[j] * weights[j];
    });
  }
}

// Rows of places are summed by themselves first, which keeps rounding errors small.
template <class T>
void depthwise_grad(const Windows& w, int64_t batch, const void* g, void* dw, int64_t begin, int64_t end) {
  const int64_t n = w.depth;
  const Workspace space(static_cast<size_t>(n) * sizeof(T));
  T* sums = space.as<T>();
  for (int64_t tap = begin; tap < end; ++tap) {
    const int64_t dy = w.offsets_y[tap / w.taps_x], dx = w.offsets_x[tap % w.taps_x];
    T* total = static_cast<T*>(dw) + tap * n;
    for (int64_t c = 0; c < n; ++c) total[c] = T(0);
    for (int64_t row = 0; row < batch * w.rows; ++row) {
      const int64_t y = row % w.rows * w.step_y + dy;
      if (y < 0 || y >= w.height) continue;
      const T* from = static_cast<const T*>(w.image) + (row / w.rows * w.height + y) * w.width * w.channels;
      const T* grad = static_cast<const T*>(g) + row * w.columns * n;
      for (int64_t c = 0; c < n; ++c) sums[c] = T(0);
      for (int64_t i = 0; i < w.columns; ++i, grad += n) {
        const int64_t x = i * w.step_x + dx;
        if (x < 0 || x >= w.width) continue;
        const T* pixel = from + x * w.channels;
        NEEDLE_INDEPENDENT
        for (int64_t c = 0; c < n; ++c) sums[c] += pixel[c] * grad[c];
      }
      for (int64_t c = 0; c < n; ++c) total[c] += sums[c];
    }
  }
}

}  // namespace

void fill_depthwise(Kernels& table) {
  table.depthwise[0] = depthwise<float>;
  table.depthwise[1] = depthwise<double>;
  table.depthwise_grad[0] = depthwise_grad<float>;
  table.depthwise_grad[1] = depthwise_grad<double>;
}

NEEDLE_END
