// What a convolution's plan depends on, and the two orders in which libraries see its arrays.
#ifndef NEEDLE_CUDA_CONV_PROBLEM_H
#define NEEDLE_CUDA_CONV_PROBLEM_H

#include <string_view>

#include "ops.h"

namespace needle {

enum Direction : int32_t { kForward, kInput, kWeight };  // which of y, x and w is the result

// Without padding: compared by its bytes.
struct Problem {
  Direction direction;
  DType dtype;
  int32_t tf32, x_channels_first, tuned;
  int16_t unrolls, aligned;  // strides decide whether it can be unrolled, addresses whether the library's graphs fit
  int64_t x[4], w[4], y[4];  // (N, H, W, C), (KH, KW, C / groups, O), (N, OH, OW, O)
  Pair stride, padding, dilation;
  int64_t groups;

  std::string_view bytes() const { return {reinterpret_cast<const char*>(this), sizeof(Problem)}; }
};

// In which order the library sees the axes of (N, H, W, C) and of (KH, KW, C, O).
struct Form {
  bool channels_first;
  int image[4], weight[4];
};
constexpr Form kForms[] = {{false, {0, 1, 2, 3}, {3, 0, 1, 2}}, {true, {0, 3, 1, 2}, {3, 2, 0, 1}}};

}  // namespace needle

#endif  // NEEDLE_CUDA_CONV_PROBLEM_H
