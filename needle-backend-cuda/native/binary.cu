// binary: one kernel for each functor of functors.h and each stored type.
#include "binary.cuh"

namespace needle {

bool has_binary(Binary kind, DType dtype) {
  bool found = false;
  visit_dtype(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    found = dispatch<Wide<T>>(kind, [](auto) {});
  });
  return found;
}

void binary(Binary kind, const View& dst, const View& a, const View& b) {
  visit_dtype(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch<Wide<T>>(kind, [&](auto f) {
      using F = Combine<decltype(f), T>;
      map<typename F::Out, T, T>(F(), dst, a, b);
    });
  });
}

}  // namespace needle
