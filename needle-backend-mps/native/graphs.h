// Ops as graphs: built and compiled at their first use with operands of a kind, then encoded from a cache.
#ifndef NEEDLE_MPS_GRAPHS_H
#define NEEDLE_MPS_GRAPHS_H

#include <functional>
#include <string>

#include "cache.h"
#include "formula.h"
#include "link.h"

namespace needle {

// An operand or a result, in the shape that the graph gives it.
struct Operand {
  View view;
  Shape shape;
};

// Whether graphs take operands such as these: float32 or float16, contiguous, not empty. msl's kernels take the rest.
bool takes(std::initializer_list<const View*> views);

// What an op computes: of its inputs, all of them float32, its results, which are then rounded to their types.
using Formula = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

// `key` names the formula and its parameters; shapes and types are added to it here.
void run(std::string key, const std::vector<Operand>& inputs, const std::vector<Operand>& results,
         const Formula& formula);

std::string exactly(double parameter);  // as a part of a key

CacheCounts graph_counts();
void set_graph_limit(size_t limit);
void clear_graphs();

}  // namespace needle

#endif  // NEEDLE_MPS_GRAPHS_H
