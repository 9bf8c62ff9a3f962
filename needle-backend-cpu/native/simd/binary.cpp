// out[i] = f(a[i], b[i]) for every binary functor and compute type. `out` may be `a` or `b` itself.
#include <needle/functors.h>

#include "simd/kernels.h"

NEEDLE_BEGIN
namespace {

template <class F, class T> struct BinaryKernel {
  using Out = decltype(F()(T(), T()));

  static void run(const void* a, const void* b, void* out, int64_t n) {
    const T* x = static_cast<const T*>(a);
    const T* y = static_cast<const T*>(b);
    Out* z = static_cast<Out*>(out);
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) z[i] = F()(x[i], y[i]);
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
      loop = {&Kernel::run, IsBool::of(static_cast<typename Kernel::Out*>(nullptr))};
    });
  }
}

template <class T> void select(const void* condition, const void* a, const void* b, void* out, int64_t n) {
  const uint8_t* c = static_cast<const uint8_t*>(condition);
  const T* x = static_cast<const T*>(a);
  const T* y = static_cast<const T*>(b);
  T* z = static_cast<T*>(out);
  NEEDLE_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) z[i] = c[i] != 0 ? x[i] : y[i];
}

}  // namespace

void fill_binary(Kernels& table) {
  fill<float>(table);
  fill<double>(table);
  fill<int32_t>(table);
  fill<int64_t>(table);
  table.select[0] = select<uint8_t>;
  table.select[1] = select<uint16_t>;
  table.select[2] = select<uint32_t>;
  table.select[3] = select<uint64_t>;
}

NEEDLE_END
