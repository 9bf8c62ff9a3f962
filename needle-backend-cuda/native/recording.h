// Calls of kernels as one CUDA graph: taken down once, launched by one command from then on.
#ifndef NEEDLE_CUDA_RECORDING_H
#define NEEDLE_CUDA_RECORDING_H

#include <needle/sequence.h>

#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "holding.h"
#include "runtime.h"

namespace needle {

// The first run makes each call, with which libraries choose their algorithms and kernels are loaded. The second takes
// the calls down, each with those before it that it must follow, and launches them. A call whose numbers change is a
// graph of its own within the graph, so that it can be replaced alone. Where the calls cannot be taken down, they are
// made one by one at each run, and `note` says why.
class Recording {
 public:
  Recording(Runtime& device, std::vector<std::string> names, std::unique_ptr<Sequence> calls,
            std::vector<std::vector<size_t>> after);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  void update(size_t call, PyObject* arguments);
  void run();
  std::string note() const;

 private:
  using Nodes = std::vector<cudaGraphNode_t>;
  struct Call {
    std::string name;
    std::vector<size_t> after;
    bool live = false;               // its numbers have changed before
    bool stale = false;              // they have changed since it was taken down
    cudaGraphNode_t node = nullptr;  // of a live one
    std::unique_ptr<Holding> held;   // of a live one
  };

  void make_calls();
  void record();
  void take_down();
  Nodes capture_into(const Nodes& before, size_t call);
  cudaGraph_t captured(size_t call);
  bool replace_stale();
  void forget();
  Nodes before(size_t call, const std::vector<Nodes>& ends) const;

  Runtime& device_;
  std::unique_ptr<Sequence> sequence_;
  std::vector<Call> calls_;
  std::unique_ptr<Holding> held_;
  cudaGraph_t pattern_ = nullptr;  // what the graph was made of: its nodes are the names of the graph's
  cudaGraphExec_t graph_ = nullptr;
  size_t nodes_ = 0;
  bool ready_ = false;     // whether every call was made once, where the operands are now
  bool in_order_ = false;  // one after another, so that they share their scratch memory
  int failures_ = 0;       // in a row
  std::string reason_;     // of the last one
};

// Held alone while a queue takes down what it is given, and shared by those who use a queue without the GIL: what other
// threads copy meanwhile is not for the graph. Whoever has it needs no GIL to give it back.
std::shared_mutex& taking_down();

void set_scratch_limit(size_t nbytes);  // of a recording whose calls run side by side

}  // namespace needle

#endif  // NEEDLE_CUDA_RECORDING_H
