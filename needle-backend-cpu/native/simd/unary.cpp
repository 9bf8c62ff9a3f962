// out[i] = f(x[i]) for every unary functor and compute type. `out` may be `x` itself.
#include <needle/functors.h>

#include "simd/kernels.h"

NEEDLE_BEGIN
namespace {

template <class F, class T> struct UnaryKernel {
  using Out = decltype(F()(T()));

  static void run(const void* x, void* out, int64_t n) { loop(static_cast<const T*>(x), static_cast<Out*>(out), n, 0); }

  static void plain(const T* x, Out* out, int64_t n) {
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) out[i] = F()(x[i]);
  }

  // The overload for functors that are cheaper where no element of a block is hard, for type T. `easy` need not give
  // the bits of the other form, so each element goes its own way whatever its neighbours are: they depend on the
  // threads.
  template <class G = F>
  static auto loop(const T* x, Out* out, int64_t n, int) -> decltype(static_cast<T (*)(T)>(&G::easy), void()) {
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      const int64_t end = n - begin < kBlock ? n : begin + kBlock;
      if (any_hard(x, begin, end)) {
        NEEDLE_INDEPENDENT
        for (int64_t i = begin; i < end; ++i) out[i] = F::hard(x[i]) ? F()(x[i]) : F::easy(x[i]);
      } else {
        NEEDLE_INDEPENDENT
        for (int64_t i = begin; i < end; ++i) out[i] = F::easy(x[i]);
      }
    }
  }

  static bool any_hard(const T* x, int64_t begin, int64_t end) {
    int32_t hard = 0;  // as wide as a float, or compilers find no vector to hold it
    for (int64_t i = begin; i < end; ++i) hard |= F::hard(x[i]) ? 1 : 0;
    return hard != 0;
  }

  // The overload for functors that have hard elements of type T, which go one by one; `int` is a better match for 0
  // than `long`.
  template <class G = F>
  static auto loop(const T* x, Out* out, int64_t n, int) -> decltype(static_cast<T (*)(T)>(&G::slow), void()) {
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      const int64_t length = n - begin < kBlock ? n - begin : kBlock;
      if (!any_hard(x, begin, begin + length)) {
        plain(x + begin, out + begin, length);
      } else {
        for (int64_t i = begin; i < begin + length; ++i) out[i] = F::hard(x[i]) ? F::slow(x[i]) : F()(x[i]);
      }
    }
  }
  static void loop(const T* x, Out* out, int64_t n, long) { plain(x, out, n); }
};

struct IsBool {
  static constexpr bool of(const bool*) { return true; }
  static constexpr bool of(const void*) { return false; }
};

template <class T> void fill(Kernels& table) {
  for (int kind = 0; kind < kMaxKinds; ++kind) {
    UnaryLoop& loop = table.unary[kind][ComputeOf<T>::value];
    dispatch<T>(static_cast<Unary>(kind), [&](auto f) {
      using Kernel = UnaryKernel<decltype(f), T>;
      loop = {&Kernel::run, IsBool::of(static_cast<typename Kernel::Out*>(nullptr))};
    });
  }
}

}  // namespace

void fill_unary(Kernels& table) {
  fill<float>(table);
  fill<double>(table);
  fill<int32_t>(table);
  fill<int64_t>(table);
}

NEEDLE_END
