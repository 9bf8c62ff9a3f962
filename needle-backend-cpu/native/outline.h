// How the steps of an expression are computed: the plan behind expression.cpp.
#ifndef NEEDLE_CPU_OUTLINE_H
#define NEEDLE_CPU_OUTLINE_H

#include <needle/steps.h>

#include <algorithm>
#include <vector>

#include "isa.h"
#include "ops.h"

namespace needle {

// Calls f(value) for what a step reads.
template <class F> void each_input(const Step& step, F f) {
  f(step.a);
  if (step.op == kBinary || step.op == kWhere) f(step.b);
  if (step.op == kWhere) f(step.c);
}

// How an expression is computed: its runs, which values must be stored, and in which slot of scratch memory. A slot is
// used again when its value has been read for the last time.
struct Outline {
  std::vector<int32_t> run;     // by step: which run it belongs to, or -1
  std::vector<int32_t> last;    // by value: the step that reads it last, or -1
  std::vector<int32_t> result;  // by step: which result it is, or -1
  std::vector<int32_t> slot;    // by step: where its value lies; -1: in registers alone, or in the result's own memory
  int32_t slots = 0, runs = 0;

  Outline(const Code& code, const std::vector<View>& dsts, const std::vector<View>& srcs)
      : run(code.count, -1), last(code.operands + code.count, -1), result(code.count, -1), slot(code.count, -1) {
    for (int32_t i = 0; i < code.results; ++i) result[code.result[i] - code.operands] = i;
    for (int32_t i = 0; i < code.count; ++i) {
      const Step& step = code.steps[i];
      each_input(step, [&](int32_t value) { last[value] = i; });
      if (!is_tiled(step)) continue;
      const bool goes_on = i > 0 && run[i - 1] >= 0 && code.steps[i - 1].dtype == step.dtype;
      run[i] = goes_on ? run[i - 1] : runs++;
    }
    std::vector<int32_t> free;
    for (int32_t i = 0; i < code.count; ++i) {
      if (is_stored(code, i) && (result[i] < 0 || is_late(dsts[static_cast<size_t>(result[i])], srcs, i))) {
        slot[i] = free.empty() ? slots++ : free.back();
        if (!free.empty()) free.pop_back();
      }
      std::vector<int32_t> done;
      each_input(code.steps[i], [&](int32_t value) {
        const int32_t step = value - code.operands;
        if (step < 0 || last[value] != i || slot[step] < 0 || result[step] >= 0) return;
        if (std::find(done.begin(), done.end(), step) == done.end()) done.push_back(step);
      });
      free.insert(free.end(), done.begin(), done.end());
      for (size_t k = free.size() - done.size(); k < free.size(); ++k) free[k] = slot[free[k]];
    }
  }

  // Whether a value is needed elsewhere than in the next step of its run, which finds it in registers.
  bool is_stored(const Code& code, int32_t i) const {
    const int32_t reader = last[code.operands + i];
    return result[i] >= 0 || run[i] < 0 || reader > i + 1 || (reader == i + 1 && run[reader] != run[i]);
  }

  // Whether a result lies where an operand does that a later step reads: then it is written at the end of a block.
  bool is_late(const View& dst, const std::vector<View>& srcs, int32_t i) const {
    for (size_t k = 0; k < srcs.size(); ++k) {
      if (srcs[k].data == dst.data && last[k] > i) return true;
    }
    return false;
  }

  static bool is_tiled(const Step& step) {
    if (step.dtype != step.result || (step.dtype != DType::kFloat32 && step.dtype != DType::kFloat64)) return false;
    if (step.op == kUnary) return kernels().tile_has_unary(step.kind);
    return (step.op == kBinary || step.op == kBinaryScalar) && kernels().tile_has_binary(step.kind);
  }
};

}  // namespace needle

#endif  // NEEDLE_CPU_OUTLINE_H
