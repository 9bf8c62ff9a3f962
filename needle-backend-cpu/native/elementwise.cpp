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

// How a result is stored by a loop that has a form past the caches or not. A result that takes the place of an operand
// is in the caches by the time it is written.
Store store_of(const View& dst, const View& a, const View& b, bool has_past) {
  if (!is_streamed(dst) || dst.data == a.data || dst.data == b.data) return Store::kPlain;
  return has_past && reinterpret_cast<uintptr_t>(dst.data) % 64 == 0 ? Store::kPast : Store::kCopiedPast;
}

// Whether a loop's results are what is stored: bools, or numbers that are stored as they are computed.
template <class Loop> bool is_final(const Loop& loop, DType dtype) {
  return loop.to_bool || is_stored_as_computed(dtype);
}

bool same_layout(const View& a, const View& b) { return a.contiguous && b.contiguous && a.size == b.size; }

}  // namespace

bool has_unary(Unary kind, DType dtype) { return unary_loop(kind, dtype).run != nullptr; }
bool has_binary(Binary kind, DType dtype) { return binary_loop(kind, dtype).run != nullptr; }

void unary(Unary kind, const View& dst, const View& x) {
  const UnaryLoop loop = checked(unary_loop(kind, x.dtype), "unary");
  const Store store = store_of(dst, x, x, loop.run_past != nullptr && is_final(loop, dst.dtype));
  const auto run = store == Store::kPast ? loop.run_past : loop.run;
  const bool plain = store == Store::kPlain && same_layout(dst, x) && is_stored_as_computed(x.dtype);
  parallel_for(dst.size, kElementGrain, [&](int64_t begin, int64_t end) {
    if (plain) return run(bytes_at(x, begin), bytes_at(dst, begin), end - begin);
    Reader in(x, dst.size, begin);
    Writer out(dst, begin, !loop.to_bool, store);
    in_blocks(end - begin, in.direct(), out, [&](int64_t n) {
      run(in.read(n), out.space(), n);
      out.commit(n);
    });
  });
}

void binary(Binary kind, const View& dst, const View& a, const View& b) {
  const BinaryLoop loop = checked(binary_loop(kind, a.dtype), "binary");
  const Store store = store_of(dst, a, b, loop.run_past != nullptr && is_final(loop, dst.dtype));
  const auto run = store == Store::kPast ? loop.run_past : loop.run;
  const bool plain =
      store == Store::kPlain && same_layout(dst, a) && same_layout(dst, b) && is_stored_as_computed(a.dtype);
  parallel_for(dst.size, kElementGrain, [&](int64_t begin, int64_t end) {
    if (plain) return run(bytes_at(a, begin), bytes_at(b, begin), bytes_at(dst, begin), end - begin);
    Reader left(a, dst.size, begin), right(b, dst.size, begin);
    Writer out(dst, begin, !loop.to_bool, store);
    in_blocks(end - begin, left.direct() && right.direct(), out, [&](int64_t n) {
      const void* x = left.read(n);
      run(x, right.read(n), out.space(), n);
      out.commit(n);
    });
  });
}

void binary_scalar(Binary kind, const View& dst, const View& x, const Scalar& scalar, bool swapped) {
  if (kind == Binary::kPow && !swapped && (scalar.is_float ? scalar.real == 2 : scalar.integer == 2)) {
    return unary(Unary::kSquare, dst, x);  // which the general power is thirty times slower than
  }
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
  const SelectLoop loop = kernels().select[log2_item(dst.dtype)];
  const Store store = store_of(dst, a, b, loop.run_past != nullptr);
  const auto select = store == Store::kPast ? loop.run_past : loop.run;
  parallel_for(dst.size, kElementGrain, [&](int64_t begin, int64_t end) {
    Reader mask(condition, dst.size, begin, false), left(a, dst.size, begin, false), right(b, dst.size, begin, false);
    Writer out(dst, begin, false, store);
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
  const Store store = store_of(dst, src, src, false);
  parallel_for(dst.size, kElementGrain, [&](int64_t begin, int64_t end) {
    Reader in(src, dst.size, begin);
    Writer out(dst, begin, !to_bool, store);
    in_blocks(end - begin, in.direct(), out, [&](int64_t n) {
      convert(in.read(n), out.space(), n);
      out.commit(n);
    });
  });
}

}  // namespace needle
