// elementwise: what a fused kernel depends on, and who builds one. The kernels are written by fused.py.
#ifndef NEEDLE_CUDA_FUSED_H
#define NEEDLE_CUDA_FUSED_H

#include <string>
#include <vector>

#include "ops.h"

namespace needle {

struct FusedShape {
  struct Operand {
    int32_t dtype;
    std::string pattern;  // as fused.py has it
  };
  std::string expression;
  std::vector<Operand> operands;
  std::vector<int32_t> results;  // types
  int32_t count;                 // neighbours that a thread computes
  bool wide;                     // indices of 64 bits
};

// The machine code of a kernel for an architecture such as 90.
using FusedBuilder = std::string (*)(const FusedShape& shape, int architecture);
void set_fused_builder(FusedBuilder builder);

void elementwise(const std::vector<View>& dsts, const std::vector<View>& srcs, const Expression& expression,
                 const std::vector<Scalar>& scalars);

}  // namespace needle

#endif  // NEEDLE_CUDA_FUSED_H
