// The inner loop of an elementwise function, by its kind and the type of its operands.
#ifndef NEEDLE_CPU_LOOPS_H
#define NEEDLE_CPU_LOOPS_H

#include <needle/functors.h>
#include <needle/view.h>

#include <stdexcept>
#include <string>

#include "isa.h"

namespace needle {

constexpr int64_t kElementGrain = 32768;  // elements that are worth another thread

inline UnaryLoop unary_loop(Unary kind, DType dtype) {
  const int number = static_cast<int>(dtype == DType::kBool ? kind_for_bool(kind) : kind);
  return number >= 0 && number < kMaxKinds ? kernels().unary[number][compute_type(dtype)] : UnaryLoop{};
}

inline BinaryLoop binary_loop(Binary kind, DType dtype) {
  const int number = static_cast<int>(kind);
  return number >= 0 && number < kMaxKinds ? kernels().binary[number][compute_type(dtype)] : BinaryLoop{};
}

template <class Loop> Loop checked(Loop loop, const char* op) {
  if (loop.run == nullptr) throw std::invalid_argument(std::string(op) + ": no such kind for this dtype");
  return loop;
}

inline int log2_item(DType dtype) {
  const int64_t item = item_size(dtype);
  return item == 1 ? 0 : item == 2 ? 1 : item == 4 ? 2 : 3;
}

}  // namespace needle

#endif  // NEEDLE_CPU_LOOPS_H
