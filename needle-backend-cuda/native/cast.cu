// cast and where: every pair of stored types, and a choice between elements of any type.
#include "map.cuh"
#include "ops.h"

namespace needle {
namespace {

template <class To, class From> struct Convert {
  __device__ __forceinline__ To operator()(From x) const {
    constexpr bool exact_half = std::is_same_v<From, double> || std::is_same_v<From, int64_t>;
    if constexpr (std::is_same_v<To, bool>) {
      return widen(x) != Wide<From>(0);
    } else if constexpr (std::is_same_v<To, __half> && exact_half) {  // rounded once, not by way of float
      return __double2half(static_cast<double>(x));
    } else if constexpr (std::is_same_v<To, __nv_bfloat16> && exact_half) {
      return __double2bfloat16(static_cast<double>(x));
    } else {
      return narrow<To>(static_cast<Wide<To>>(widen(x)));
    }
  }
};

template <class T> struct Select {
  __device__ __forceinline__ T operator()(bool condition, T a, T b) const { return condition ? a : b; }
};

}  // namespace

void cast(const View& dst, const View& src) {
  if (dst.dtype == src.dtype && dst.size == src.size) return copy(dst, src);
  visit_dtype(dst.dtype, [&](auto to) {
    visit_dtype(src.dtype, [&](auto from) {
      using To = typename decltype(to)::type;
      using From = typename decltype(from)::type;
      map<To, From>(Convert<To, From>(), dst, src);
    });
  });
}

void where(const View& dst, const View& condition, const View& a, const View& b) {
  visit_size(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    map<T, bool, T, T>(Select<T>(), dst, condition, a, b);
  });
}

}  // namespace needle
