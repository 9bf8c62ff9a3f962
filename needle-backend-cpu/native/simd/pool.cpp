// The largest or the mean of each channel of a window, and their gradients.
#include <needle/functors.h>

#include "simd/places.h"

NEEDLE_BEGIN
namespace {

constexpr int kVectors = 4;  // channels that are taken together in registers

template <class T, class F> void pool(const Windows& w, T first, T scale, void* out, int64_t begin, int64_t end, F f) {
  using V = Vector<T>;
  const int64_t n = w.depth, block = kVectors * V::lanes;
  Place place(w, begin);
  for (int64_t i = begin; i < end; ++i, place.next()) {
    T* to = static_cast<T*>(out) + i * n;
    int64_t c = 0;
    for (; c + block <= n; c += block) {
      typename V::type totals[kVectors];
      for (int v = 0; v < kVectors; ++v) totals[v] = V::splat(first);
      for_taps(place, [&](int64_t, int64_t pixel) {
        const T* from = static_cast<const T*>(w.image) + pixel + c;
        for (int v = 0; v < kVectors; ++v) totals[v] = f(totals[v], V::load(from + v * V::lanes));
      });
      for (int v = 0; v < kVectors; ++v) V::store(to + c + v * V::lanes, totals[v] * scale);
    }
    if (c == n) continue;
    for (int64_t j = c; j < n; ++j) to[j] = first;
    for_taps(place, [&](int64_t, int64_t pixel) {
      const T* from = static_cast<const T*>(w.image) + pixel;
      NEEDLE_INDEPENDENT
      for (int64_t j = c; j < n; ++j) to[j] = f(to[j], from[j]);
    });
    for (int64_t j = c; j < n; ++j) to[j] *= scale;
  }
}

template <class T> void pool_max(const Windows& w, void* out, int64_t begin, int64_t end) {
  pool<T>(w, T(-__builtin_inf()), T(1), out, begin, end, Maximum());
}

template <class T> void pool_mean(const Windows& w, void* out, int64_t begin, int64_t end) {
  pool<T>(w, T(0), T(1) / T(w.taps_y * w.taps_x), out, begin, end, Add());
}

// `left` is what of g has found no largest element yet.
template <class T>
void pool_max_grad(const Windows& w, const void* g, const void* y, void* dx, int64_t begin, int64_t end) {
  constexpr int64_t kChannels = 256;
  const int64_t n = w.depth;
  Place place(w, begin);
  for (int64_t i = begin; i < end; ++i, place.next()) {
    for (int64_t first = 0; first < n; first += kChannels) {
      const int64_t count = n - first < kChannels ? n - first : kChannels;
      const T* grad = static_cast<const T*>(g) + i * n + first;
      const T* most = static_cast<const T*>(y) + i * n + first;
      T left[kChannels];
      for (int64_t c = 0; c < count; ++c) left[c] = grad[c];
      for_taps(place, [&](int64_t, int64_t pixel) {
        const T* from = static_cast<const T*>(w.image) + pixel + first;
        T* to = static_cast<T*>(dx) + pixel + first;
        NEEDLE_INDEPENDENT
        for (int64_t c = 0; c < count; ++c) {
          const T share = from[c] == most[c] ? left[c] : T(0);
          to[c] += share;
          left[c] = from[c] == most[c] ? T(0) : left[c];
        }
      });
    }
  }
}

template <class T>
void pool_mean_grad(const Windows& w, const void* g, const void*, void* dx, int64_t begin, int64_t end) {
  const int64_t n = w.depth;
  const T scale = T(1) / T(w.taps_y * w.taps_x);
  Place place(w, begin);
  for (int64_t i = begin; i < end; ++i, place.next()) {
    const T* grad = static_cast<const T*>(g) + i * n;
    for_taps(place, [&](int64_t, int64_t pixel) {
      T* to = static_cast<T*>(dx) + pixel;
      NEEDLE_INDEPENDENT
      for (int64_t c = 0; c < n; ++c) to[c] += grad[c] * scale;
    });
  }
}

template <class T> void fill(Kernels& table, int type) {
  table.pool_max[type] = pool_max<T>;
  table.pool_mean[type] = pool_mean<T>;
  table.pool_max_grad[type] = pool_max_grad<T>;
  table.pool_mean_grad[type] = pool_mean_grad<T>;
}

}  // namespace

void fill_pool(Kernels& table) {
  fill<float>(table, 0);
  fill<double>(table, 1);
}

NEEDLE_END
