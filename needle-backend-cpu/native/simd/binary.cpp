// out[i] = f(a[i], b[i]) for every binary functor and compute type. `out` may be `a` or `b` itself.
#include <needle/functors.h>

#include "simd/by_tiles.h"

NEEDLE_BEGIN
namespace {

template <class F, class T> struct BinaryKernel {
  using Out = decltype(F()(T(), T()));

  static void run(const void* a, const void* b, void* out, int64_t n) { tiles<false>(a, b, out, n); }
  static void run_past(const void* a, const void* b, void* out, int64_t n) { tiles<true>(a, b, out, n); }

  template <bool past> static void tiles(const void* a, const void* b, void* out, int64_t n) {
    const T* x = static_cast<const T*>(a);
    const T* y = static_cast<const T*>(b);
    by_tiles<past ? kLineItems<Out> : kTileItems<T>, past>(static_cast<Out*>(out), n,
                                                           [x, y](int64_t i, Out* tile, int64_t count) NEEDLE_INLINE {
                                                             NEEDLE_INDEPENDENT
                                                             for (int64_t k = 0; k < count; ++k)
                                                               tile[k] = F()(x[i + k], y[i + k]);
                                                           });
  }
};

struct IsBool {
  static constexpr bool of(const bool*) { return true; }
  static constexpr bool of(const void*) { return false; }
};

template <class T> void fill(Kernels& table) {
  for (int kind = 0; kind < kMaxKinds; ++kind) {
    BinaryLoop& loop = table.binary[kind][ComputeOf<T>::value];
    dispatch<T>(static_cast<Binary>(kind), [&](auto f) {
      using Kernel = BinaryKernel<decltype(f), T>;
      loop = {&Kernel::run, kPastCaches ? &Kernel::run_past : nullptr,
              IsBool::of(static_cast<typename Kernel::Out*>(nullptr))};
    });
  }
}

template <class T, bool past> void select(const void* condition, const void* a, const void* b, void* out, int64_t n) {
  const uint8_t* c = static_cast<const uint8_t*>(condition);
  const T* x = static_cast<const T*>(a);
  const T* y = static_cast<const T*>(b);
  by_tiles<past ? kLineItems<T> : kTileItems<T>, past>(static_cast<T*>(out), n,
                                                       [c, x, y](int64_t i, T* tile, int64_t count) NEEDLE_INLINE {
                                                         NEEDLE_INDEPENDENT
                                                         for (int64_t k = 0; k < count; ++k)
                                                           tile[k] = c[i + k] != 0 ? x[i + k] : y[i + k];
                                                       });
}

template <class T> SelectLoop select_loop() { return {&select<T, false>, kPastCaches ? &select<T, true> : nullptr}; }

}  // namespace

void fill_binary(Kernels& table) {
  fill<float>(table);
  fill<double>(table);
  fill<int32_t>(table);
  fill<int64_t>(table);
  table.select[0] = select_loop<uint8_t>();
  table.select[1] = select_loop<uint16_t>();
  table.select[2] = select_loop<uint32_t>();
  table.select[3] = select_loop<uint64_t>();
}

NEEDLE_END
