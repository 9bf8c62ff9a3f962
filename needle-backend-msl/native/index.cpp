// Launchers of gather and scatter_add.
#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

Places places_of(const View& indexed, const View& other) {
  return {checked_size(indexed.shape[0]), checked_size(indexed.shape[1]), checked_size(other.shape[1]),
          checked_size(indexed.shape[2])};
}

}  // namespace

void gather(const ShapedView& dst, const ShapedView& x, const View& index) {
  if (dst.size == 0 || x.size == 0) return;
  Launch("index", "gather_" + std::to_string(item_size(dst.dtype)) + "_" + name_of(index.dtype))
      .buffer(dst)
      .buffer(x)
      .buffer(index)
      .bytes(places_of(x, dst))
      .bytes(strides_of({&dst, &index}))
      .threads({static_cast<uint64_t>(dst.size)});
}

void scatter_add(const ShapedView& dst, const View& index, const ShapedView& src) {
  if (dst.size == 0 || src.size == 0) return;
  Launch("index", typed("scatter_add", dst.dtype) + "_" + name_of(index.dtype))
      .buffer(dst)
      .buffer(index)
      .buffer(src)
      .bytes(places_of(dst, src))
      .bytes(strides_of({&src, &index}))
      .threads({static_cast<uint64_t>(dst.shape[0] * dst.shape[2])});
}

}  // namespace needle
