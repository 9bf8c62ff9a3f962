// The steps of an Expression, as needle/expression.py packs them into numbers.
#ifndef NEEDLE_STEPS_H
#define NEEDLE_STEPS_H

#include <cstddef>

#include "arguments.h"

namespace needle {

enum StepOp { kUnary, kBinary, kBinaryScalar, kWhere, kCast };  // in the order of STEPS in expression.py

struct Step {
  int32_t op, kind;
  DType dtype, result;  // what it computes in, and gives
  int32_t a, b, c;      // values; for kBinaryScalar b numbers the scalar
  int32_t swapped;
};
static_assert(sizeof(Step) == 32, "eight numbers, as expression.py packs them");

// The parts of a packed expression.
struct Code {
  int32_t operands, count, results;
  const Step* steps;
  const int32_t* result;

  explicit Code(const Expression& expression) {
    const auto* head = reinterpret_cast<const int32_t*>(expression.packed);
    operands = head[0];
    count = head[1];
    results = head[2];
    steps = reinterpret_cast<const Step*>(head + 3);
    result = reinterpret_cast<const int32_t*>(steps + count);
  }

  // Of the whole expression, by which it can be told from others.
  size_t nbytes() const { return (3 + static_cast<size_t>(results)) * sizeof(int32_t) + count * sizeof(Step); }
};

}  // namespace needle

#endif  // NEEDLE_STEPS_H
