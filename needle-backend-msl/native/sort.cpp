// Launcher of argsort: blocks first, then merges of ever longer runs.
#include <utility>

#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

constexpr int32_t kBlock = 256;

std::string typed(const char* kernel, DType dtype, DType index) {
  return needle::typed(kernel, dtype) + "_" + name_of(index);
}

}  // namespace

void argsort(const View& dst, const View& x, int64_t rows, int64_t n, bool descending) {
  if (dst.size == 0) return;
  Sort s{checked_size(n), descending, kBlock};
  checked_size(x.size);
  const size_t nbytes = n > kBlock ? static_cast<size_t>(x.size) * sizeof(int32_t) : 0;
  char* from = allocate(nbytes);  // the order so far; the last pass writes the result
  char* to = allocate(nbytes);
  const auto passes_to = [&](bool last, const char* kernel, DType index) {
    return Launch("sort", typed(kernel, x.dtype, last ? index : DType::kInt32));
  };
  const char* result = static_cast<const char*>(dst.data);
  const bool one_block = n <= kBlock;
  passes_to(one_block, "sort_blocks", dst.dtype)
      .memory(one_block ? result : from)
      .buffer(x)
      .bytes(s)
      .groups({static_cast<uint64_t>((n + kBlock - 1) / kBlock), static_cast<uint64_t>(rows)}, {kBlock});
  for (int64_t run = kBlock; run < n; run *= 2) {
    const bool last = 2 * run >= n;
    s.run = static_cast<int32_t>(run);
    passes_to(last, "merge_runs", dst.dtype)
        .memory(last ? result : to)
        .buffer(x)
        .memory(from)
        .bytes(s)
        .threads({static_cast<uint64_t>(n), static_cast<uint64_t>(rows)});
    std::swap(from, to);
  }
  release(from, nbytes);
  release(to, nbytes);
}

}  // namespace needle
