// One reduction for each kind, each compiled in a file of its own.
#ifndef NEEDLE_CUDA_REDUCE_H
#define NEEDLE_CUDA_REDUCE_H

#include <needle/view.h>

namespace needle {

void reduce_sum(const View& dst, const View& x, int64_t rows, int64_t n);
void reduce_prod(const View& dst, const View& x, int64_t rows, int64_t n);
void reduce_max(const View& dst, const View& x, int64_t rows, int64_t n);
void reduce_min(const View& dst, const View& x, int64_t rows, int64_t n);

}  // namespace needle

#endif  // NEEDLE_CUDA_REDUCE_H
