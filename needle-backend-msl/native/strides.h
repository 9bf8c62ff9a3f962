// From views to what kernels need to walk them: neighbouring axes joined, strides in 32 bits.
#ifndef NEEDLE_MSL_STRIDES_H
#define NEEDLE_MSL_STRIDES_H

#include <initializer_list>

#include "../kernels/params.h"
#include "runtime.h"

namespace needle {

// Whether operands can be walked by a step of 0 or 1: contiguous, or one element.
inline bool plain(const View& view) { return view.contiguous || view.size == 1; }

inline int32_t step_of(const View& view, const View& dst) { return view.size == 1 && dst.size != 1 ? 0 : 1; }

// The stride of `view` along axis d of an operand of rank `rank`; contiguous views carry no strides.
inline Strides strides_of(std::initializer_list<const View*> views) {
  const View* shaped = nullptr;  // one that carries the shape
  for (const View* v : views) {
    if (!v->contiguous && (shaped == nullptr || v->size > shaped->size)) shaped = v;
  }
  Strides s{};
  if (shaped == nullptr) {  // all contiguous: one axis
    const int64_t size = (*views.begin())->size;
    s.rank = 1;
    s.shape[0] = checked_size(size);
    int w = 0;
    for (const View* v : views) s.strides[w++][0] = v->size == 1 && size != 1 ? 0 : 1;
    return s;
  }
  int64_t strides[3][kMaxRank] = {};
  int w = 0;
  for (const View* v : views) {
    int64_t running = 1;
    for (int d = shaped->rank - 1; d >= 0; --d) {
      strides[w][d] = v->size == 1 ? 0 : v->contiguous ? running : v->strides[d];
      running *= shaped->shape[d];
    }
    ++w;
  }
  for (int d = 0; d < shaped->rank; ++d) {
    if (shaped->shape[d] == 1) continue;
    bool joins = s.rank > 0;
    for (int v = 0; v < w; ++v) joins = joins && s.strides[v][s.rank - 1] == strides[v][d] * shaped->shape[d];
    if (!joins) ++s.rank;
    const int at = s.rank - 1;
    s.shape[at] = checked_size((joins ? int64_t{s.shape[at]} : 1) * shaped->shape[d]);
    for (int v = 0; v < w; ++v) {
      if (strides[v][d] > INT32_MAX || strides[v][d] < INT32_MIN) checked_size(INT64_MAX);
      s.strides[v][at] = static_cast<int32_t>(strides[v][d]);
    }
  }
  return s;
}

}  // namespace needle

#endif  // NEEDLE_MSL_STRIDES_H
