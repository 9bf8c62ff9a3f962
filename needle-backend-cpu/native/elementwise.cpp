// unary, binary, where and cast: the result is cut into parts for threads and into blocks for the inner loops.
#include <algorithm>
#include <cstring>

#include "launch.h"
#include "loops.h"
#include "ops.h"
#include "strided.h"

namespace needle {
namespace {

// Calls f(n) for blocks of as many elements as the result takes, or once if nothing needs a block.
template <class F> void in_blocks(int64_t n, bool at_once, const Writer& out, F f) {
  const int64_t step = at_once && out.direct() ? n : out.block();
  for (int64_t i = 0; i < n; i += step) f(std::min(step, n - i));
}

// A result that takes the place of an operand is in the caches by the time it is written.
bool is_streamed(const View& dst, const View& a, const View& b) {
  return needle::is_streamed(dst) && dst.data != a.data && dst.data != b.data;
}

bool same_layout(const View& a, const View& b) { return a.contiguous && b.contiguous && a.size == b.size; }

}  // namespace

bool has_unary(Unary kind, DType dtype) { return unary_loop(kind, dtype).run != nullptr; }
bool has_binary(Binary kind, DType dtype) { return binary_loop(kind, dtype).run != nullptr; }

void unary(Unary kind, const View& dst, const View& x) {
  const UnaryLoop loop = checked(unary_loop(kind, x.dtype), "unary");
  const bool streamed = is_streamed(dst, x, x);
  const bool plain = !streamed && same_layout(dst, x) && is_stored_as_computed(x.dtype);
  parallel_for(dst.size, kElementGrain, [&](int64_t begin, int64_t end) {
    if (plain) return loop.run(bytes_at(x, begin), bytes_at(dst, begin), end - begin);
    Reader in(x, dst.size, begin);
    Writer out(dst, begin, !loop.to_bool, streamed);
    in_blocks(end - begin, in.direct(), out, [&](int64_t n) {
      loop.run(in.read(n), out.space(), n);
      out.commit(n);
    });
  });
}

void binary(Binary kind, const View& dst, const View& a, const View& b) {
  const BinaryLoop loop = checked(binary_loop(kind, a.dtype), "binary");
  const bool streamed = is_streamed(dst, a, b);
  const bool plain = !streamed && same_layout(dst, a) && same_layout(dst, b) && is_stored_as_computed(a.dtype);
  parallel_for(dst.size, kElementGrain, [&](int64_t begin, int64_t end) {
    if (plain) return loop.run(bytes_at(a, begin), bytes_at(b, begin), bytes_at(dst, begin), end - begin);
    Reader left(a, dst.size, begin), right(b, dst.size, begin);
    Writer out(dst, begin, !loop.to_bool, streamed);
    in_blocks(end - begin, left.direct() && right.direct(), out, [&](int64_t n) {
      const void* x = left.read(n);
      loop.run(x, right.read(n), out.space(), n);
      out.commit(n);
    });
  });
}

void binary_scalar(Binary kind, const View& dst, const View& x, const Scalar& scalar, bool swapped) {
  const Compute type = compute_type(x.dtype);
  int64_t wide[1], stored[1] = {0};
  const void* from = scalar.is_float ? static_cast<const void*>(&scalar.real) : &scalar.integer;
  kernels().convert[scalar.is_float ? kF64 : kI64][type](from, wide, 1);
  const auto narrow = kernels().narrow[static_cast<int>(x.dtype)];
  if (narrow != nullptr) narrow(wide, stored, 1);
  View one;
  one.data = narrow != nullptr ? stored : wide;
  one.dtype = x.dtype;
  return swapped ? binary(kind, dst, one, x) : binary(kind, dst, x, one);
}

void where(const View& dst, const View& condition, const View& a, const View& b) {
  const auto select = kernels().select[log2_item(dst.dtype)];
  const bool streamed = is_streamed(dst, a, b);
  parallel_for(dst.size, kElementGrain, [&](int64_t begin, int64_t end) {
    Reader mask(condition, dst.size, begin, false), left(a, dst.size, begin, false), right(b, dst.size, begin, false);
    Writer out(dst, begin, false, streamed);
    in_blocks(end - begin, mask.direct() && left.direct() && right.direct(), out, [&](int64_t n) {
      const void *c = mask.read(n), *x = left.read(n);
      select(c, x, right.read(n), out.space(), n);
      out.commit(n);
    });
  });
}

void cast(const View& dst, const View& src) {
  if (dst.dtype == src.dtype && dst.size == src.size) return copy(dst, src);
  const Compute from = compute_type(src.dtype), to = compute_type(dst.dtype);
  const bool to_bool = dst.dtype == DType::kBool;
  const bool to_half = dst.dtype == DType::kFloat16 || dst.dtype == DType::kBFloat16;
  const auto convert = to_bool                   ? kernels().to_bool[from]
                       : to_half && from == kF64 ? kernels().round_to_odd
                                                 : kernels().convert[from][to];
  const bool streamed = is_streamed(dst, src, src);
  parallel_for(dst.size, kElementGrain, [&](int64_t begin, int64_t end) {
    Reader in(src, dst.size, begin);
    Writer out(dst, begin, !to_bool, streamed);
    in_blocks(end - begin, in.direct(), out, [&](int64_t n) {
      convert(in.read(n), out.space(), n);
      out.commit(n);
    });
  });
}

}  // namespace needle
