// reduce: picks the file of the kind.
#include "ops.h"
#include "reduce.h"

namespace needle {

void reduce(Reduce kind, const View& dst, const View& x, int64_t rows, int64_t n) {
  if (rows == 0) return;
  switch (kind) {
    case Reduce::kSum: return reduce_sum(dst, x, rows, n);
    case Reduce::kProd: return reduce_prod(dst, x, rows, n);
    case Reduce::kMax: return reduce_max(dst, x, rows, n);
    case Reduce::kMin: return reduce_min(dst, x, rows, n);
  }
}

}  // namespace needle
