// Convolutions by cuDNN's graphs, which reach engines that its older functions do not know.
#ifndef NEEDLE_CUDA_CONV_GRAPH_H
#define NEEDLE_CUDA_CONV_GRAPH_H

#include <cstddef>
#include <memory>
#include <vector>

#include "conv_problem.h"

namespace needle {

// One of the ways that the library proposes for a problem in a form.
struct ConvGraph {
  struct Graph;
  std::shared_ptr<Graph> graph;  // none: no way
  int64_t plan = 0;
  size_t workspace = 0;

  void run(void* x, void* w, void* y, void* space) const;
};

// The first few that work and need no more scratch memory than `limit`; best ones first, as the library guesses.
std::vector<ConvGraph> conv_graphs(const Problem& problem, const Form& form, size_t limit);

}  // namespace needle

#endif  // NEEDLE_CUDA_CONV_GRAPH_H
