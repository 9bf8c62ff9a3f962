// out[i] = f(x[i]) for every unary functor and compute type. `out` may be `x` itself.
#include <needle/functors.h>

#include "simd/by_tiles.h"

NEEDLE_BEGIN
namespace {

constexpr int64_t kAhead = 4096;  // bytes; what is read from memory is asked for so far ahead

// Beyond the end of an array that is harmless: a prefetch never faults. It is for one operand; two, read side by side,
// come sooner without.
template <class T> inline __attribute__((always_inline)) void prefetch(const T* x, int64_t n) {
  for (int64_t line = 0; line < static_cast<int64_t>(n * sizeof(T)); line += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(x) + kAhead + line);
  }
}

// Functors of so few instructions that loads and stores are what takes time: the loop over them goes by tiles.
template <class F> constexpr bool kShort = false;
template <> constexpr bool kShort<Neg> = true;
template <> constexpr bool kShort<Abs> = true;
template <> constexpr bool kShort<Square> = true;
template <> constexpr bool kShort<Relu> = true;
template <> constexpr bool kShort<Reciprocal> = true;
template <> constexpr bool kShort<Sqrt> = true;

template <class F, class T> struct UnaryKernel {
  using Out = decltype(F()(T()));

  static void run(const void* x, void* out, int64_t n) {
    if constexpr (kShort<F>) {
      tiles<false>(x, out, n);
    } else {
      const T* from = static_cast<const T*>(x);
      Out* to = static_cast<Out*>(out);
      for (int64_t i = 0; i < n; i += kBlock) block(from + i, to + i, n - i < kBlock ? n - i : kBlock, 0);
    }
  }

  static void run_past(const void* x, void* out, int64_t n) { tiles<true>(x, out, n); }

  template <bool past> static void tiles(const void* x, void* out, int64_t n) {
    const T* from = static_cast<const T*>(x);
    constexpr int64_t kItems = past && kShort<F> ? kLineItems<Out> : kTileItems<T>;
    by_tiles<kItems, past>(static_cast<Out*>(out), n, [from](int64_t i, Out* tile, int64_t count) NEEDLE_INLINE {
      if constexpr (past) prefetch(from + i, count);
      block(from + i, tile, count, 0);
    });
  }

  static inline __attribute__((always_inline)) void plain(const T* x, Out* out, int64_t n) {
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) out[i] = F()(x[i]);
  }

  // The overload for functors that are cheaper where no element of a block is hard, for type T. `easy` need not give
  // the bits of the other form, so each element goes its own way whatever its neighbours are: they depend on the
  // threads.
  template <class G = F>
  static inline __attribute__((always_inline)) auto block(const T* x, Out* out, int64_t n, int)
      -> decltype(static_cast<T (*)(T)>(&G::easy), void()) {
    if (any_hard(x, n)) {
      NEEDLE_INDEPENDENT
      for (int64_t i = 0; i < n; ++i) out[i] = F::hard(x[i]) ? F()(x[i]) : F::easy(x[i]);
    } else {
      NEEDLE_INDEPENDENT
      for (int64_t i = 0; i < n; ++i) out[i] = F::easy(x[i]);
    }
  }

  static bool any_hard(const T* x, int64_t n) {
    int32_t hard = 0;  // as wide as a float, or compilers find no vector to hold it
    for (int64_t i = 0; i < n; ++i) hard |= F::hard(x[i]) ? 1 : 0;
    return hard != 0;
  }

  // The overload for functors that have hard elements of type T, which go one by one; `int` is a better match for 0
  // than `long`.
  template <class G = F>
  static inline __attribute__((always_inline)) auto block(const T* x, Out* out, int64_t n, int)
      -> decltype(static_cast<T (*)(T)>(&G::slow), void()) {
    if (!any_hard(x, n)) {
      plain(x, out, n);
    } else {
      for (int64_t i = 0; i < n; ++i) out[i] = F::hard(x[i]) ? F::slow(x[i]) : F()(x[i]);
    }
  }

  static inline __attribute__((always_inline)) void block(const T* x, Out* out, int64_t n, long) { plain(x, out, n); }
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
      loop = {&Kernel::run, kPastCaches ? &Kernel::run_past : nullptr,
              IsBool::of(static_cast<typename Kernel::Out*>(nullptr))};
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
