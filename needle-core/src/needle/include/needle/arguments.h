// What the methods of a backend take beside views and numbers, for backends written in C++. See needle/backend.py.
#ifndef NEEDLE_ARGUMENTS_H
#define NEEDLE_ARGUMENTS_H

#include "view.h"

namespace needle {

// A View of which shape and strides are filled in even if it is contiguous.
struct ShapedView : View {};

// A Python number, as both of what it may stand for.
struct Scalar {
  double real;
  int64_t integer;
  bool is_float;
};

// Several elementwise functions as numbers; see needle/expression.py.
struct Expression {
  const char* packed;
};

struct Pair {
  int64_t y, x;  // vertical, horizontal
};

enum class Pool : int32_t { kMax = 0, kMean = 1 };  // the numbers are those of kinds.py

}  // namespace needle

#endif  // NEEDLE_ARGUMENTS_H
