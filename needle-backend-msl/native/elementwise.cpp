// Launchers of copy, cast, unary, binary and where: one thread an element.
#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

std::string sized(const char* kernel, DType dtype) { return kernel + ("_" + std::to_string(item_size(dtype))); }

std::string typed(const char* kernel, DType from, DType to) { return typed(kernel, from) + "_" + name_of(to); }

Size grid(const View& dst) { return {static_cast<uint64_t>(dst.size)}; }

// Does the functor of this kind compute in the type that elements of `dtype` are widened to?
template <class Kind> bool has(Kind kind, DType dtype) {
  const auto nothing = [](auto) {};
  switch (dtype) {
    case DType::kFloat16:
    case DType::kBFloat16:
    case DType::kFloat32: return dispatch<float>(kind, nothing);
    case DType::kFloat64: return false;
    default: return dispatch<int32_t>(kind, nothing);
  }
}

int32_t kind_of(Unary kind, DType dtype) {
  return static_cast<int32_t>(dtype == DType::kBool ? kind_for_bool(kind) : kind);
}

}  // namespace

bool has_unary(Unary kind, DType dtype) { return has(kind, dtype); }
bool has_binary(Binary kind, DType dtype) { return has(kind, dtype); }

void copy(const View& dst, const View& src) {
  Launch("copy", sized("copy", dst.dtype)).buffer(dst).buffer(src).bytes(strides_of({&dst, &src})).threads(grid(dst));
}

void cast(const View& dst, const View& src) {
  const Strides strides = strides_of({&dst, &src});
  Launch("copy", typed("cast", src.dtype, dst.dtype)).buffer(dst).buffer(src).bytes(strides).threads(grid(dst));
}

void unary(Unary kind, const View& dst, const View& x) {
  const bool strided = !plain(x);
  Launch("elementwise", typed("unary", x.dtype, dst.dtype))
      .buffer(dst)
      .buffer(x)
      .bytes(Steps{step_of(x, dst), 0, 0})
      .bytes(strided ? strides_of({&dst, &x}) : Strides{})
      .constant(kind_of(kind, x.dtype))
      .constant(strided)
      .threads(grid(dst));
}

void binary(Binary kind, const View& dst, const View& a, const View& b) {
  const bool strided = !plain(a) || !plain(b);
  Launch("elementwise", typed("binary", a.dtype, dst.dtype))
      .buffer(dst)
      .buffer(a)
      .buffer(b)
      .bytes(Steps{step_of(a, dst), step_of(b, dst), 0})
      .bytes(strided ? strides_of({&dst, &a, &b}) : Strides{})
      .constant(static_cast<int32_t>(kind))
      .constant(strided)
      .threads(grid(dst));
}

void binary_scalar(Binary kind, const View& dst, const View& x, const Scalar& scalar, bool swapped) {
  const bool strided = !plain(x);
  Launch launch("elementwise", typed("binary_scalar", x.dtype, dst.dtype));
  launch.buffer(dst).buffer(x);
  const bool is_float = x.dtype == DType::kFloat32 || x.dtype == DType::kFloat16 || x.dtype == DType::kBFloat16;
  const int64_t integer = scalar.is_float ? static_cast<int64_t>(scalar.real) : scalar.integer;
  if (is_float) {
    launch.bytes(static_cast<float>(scalar.real));
  } else if (x.dtype == DType::kInt64) {
    launch.bytes(integer);
  } else {
    launch.bytes(static_cast<int32_t>(x.dtype == DType::kBool ? scalar.real != 0 : integer));
  }
  launch.bytes(Steps{step_of(x, dst), 0, 0})
      .bytes(strided ? strides_of({&dst, &x}) : Strides{})
      .constant(static_cast<int32_t>(kind))
      .constant(strided)
      .constant(swapped)
      .threads(grid(dst));
}

void where(const View& dst, const View& condition, const View& a, const View& b) {
  Launch("elementwise", sized("where", dst.dtype))
      .buffer(dst)
      .buffer(condition)
      .buffer(a)
      .buffer(b)
      .bytes(Steps{step_of(condition, dst), step_of(a, dst), step_of(b, dst)})
      .threads(grid(dst));
}

}  // namespace needle
