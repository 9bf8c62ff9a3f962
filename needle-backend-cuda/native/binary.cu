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

void add_row(const View& dst, const View& row) {
  if (dst.size == 0) return;
  View repeated = row;  // (rows, n), the same row again and again
  repeated.contiguous = false;
  repeated.rank = 2;
  repeated.size = dst.size;
  repeated.shape[0] = dst.size / row.size;
  repeated.shape[1] = row.size;
  repeated.strides[0] = 0;
  repeated.strides[1] = row.contiguous ? 1 : row.strides[0];
  binary(Binary::kAdd, dst, dst, repeated);
}

}  // namespace needle
