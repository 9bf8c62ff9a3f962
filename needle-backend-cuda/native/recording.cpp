#include "recording.h"

#include <algorithm>
#include <mutex>

#include "matmul.h"
#include "python.h"

namespace needle {
namespace {

constexpr int kMostFailures = 2;
size_t most_scratch = size_t{512} << 20;  // beyond it calls share scratch memory, and so run in order

// Lets libraries measure their algorithms: a recording is run often enough.
class Tuning {
 public:
  Tuning() : before_(tuning()) { set_tuning(true); }
  ~Tuning() { set_tuning(before_); }
  Tuning(const Tuning&) = delete;
  Tuning& operator=(const Tuning&) = delete;

 private:
  bool before_;
};

class Hold {
 public:
  explicit Hold(Holding* holding) : before_(hold(holding)) {}
  ~Hold() { hold(before_); }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  Holding* before_;
};

// Makes a call while the stream takes down what it is given. An error ends the capture, and the stream is as before.
template <class Ends> void within_capture(cudaStream_t stream, const Sequence& sequence, size_t call, Ends ends) {
  try {
    sequence.run_call(call);
  } catch (...) {
    cudaGraph_t unfinished = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream, &unfinished));
    static_cast<void>(cudaGetLastError());
    throw;
  }
  ends();
}

}  // namespace

std::shared_mutex& taking_down() {
  static std::shared_mutex* const lock = new std::shared_mutex();  // not destroyed while threads may still wait for it
  return *lock;
}

void set_scratch_limit(size_t nbytes) { most_scratch = nbytes; }

Recording::Recording(Runtime& device, std::vector<std::string> names, std::unique_ptr<Sequence> calls,
                     std::vector<std::vector<size_t>> after)
    : device_(device), sequence_(std::move(calls)), calls_(names.size()) {
  size_t last_reduction = names.size();
  for (size_t i = 0; i < names.size(); ++i) {
    calls_[i].name = std::move(names[i]);
    calls_[i].after = std::move(after.at(i));
    if (calls_[i].name != "reduce") continue;
    if (last_reduction < i) calls_[i].after.push_back(last_reduction);  // they count in the same memory of the device
    last_reduction = i;
  }
}

Recording::~Recording() { forget(); }

// Launches under way are finished by the driver; memory goes back in the order of the stream.
void Recording::forget() {
  if (graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
  if (pattern_ != nullptr) static_cast<void>(cudaGraphDestroy(pattern_));
  graph_ = nullptr;
  pattern_ = nullptr;
  held_.reset();
  for (Call& call : calls_) {
    call.node = nullptr;
    call.held.reset();
  }
}

void Recording::update(size_t call, PyObject* arguments) {
  sequence_->replace(call, arguments);
  if (!calls_.at(call).live) forget();  // taken down again, as a graph of its own
  calls_[call].live = calls_[call].stale = true;
}

void Recording::run() {
  bool moved = false;
  const std::vector<Owned> held = sequence_->bind(&moved);
  const Tuning tuned;
  if (moved) forget();
  if (graph_ != nullptr && !replace_stale()) forget();
  if (graph_ == nullptr && ready_ && failures_ < kMostFailures) record();
  if (graph_ == nullptr) return make_calls();
  device_.begin("recording");
  check(cudaGraphLaunch(graph_, device_.stream));
}

void Recording::make_calls() {
  for (size_t i = 0; i < calls_.size(); ++i) {
    device_.begin(calls_[i].name.c_str());
    sequence_->run_call(i);
  }
  ready_ = true;
}

void Recording::record() {
  try {
    check(cudaGraphCreate(&pattern_, 0));
    take_down();
    check(cudaGraphInstantiate(&graph_, pattern_, 0));
    check(cudaGraphGetNodes(pattern_, nullptr, &nodes_));
    failures_ = 0;
  } catch (const PythonError&) {
    forget();
    throw;
  } catch (const std::exception& error) {
    ++failures_;
    reason_ = std::string(current_op()) + ": " + error.what();
    static_cast<void>(cudaGetLastError());
    forget();
  }
  if (graph_ != nullptr && !in_order_ && held_->nbytes() > most_scratch) {
    in_order_ = true;
    forget();
    record();
  }
}

Recording::Nodes Recording::before(size_t call, const std::vector<Nodes>& ends) const {
  if (in_order_) return call == 0 ? Nodes() : ends[call - 1];
  Nodes found;
  for (const size_t earlier : calls_[call].after) {
    for (cudaGraphNode_t node : ends[earlier]) {
      if (std::find(found.begin(), found.end(), node) == found.end()) found.push_back(node);
    }
  }
  return found;
}

void Recording::take_down() {
  held_ = std::make_unique<Holding>(device_.memory, in_order_);
  std::vector<Nodes> ends(calls_.size());  // what a call that follows one must wait for
  for (size_t i = 0; i < calls_.size(); ++i) {
    const Nodes first = before(i, ends);
    if (!calls_[i].live) {
      const Hold scratch(held_.get());
      ends[i] = capture_into(first, i);
      continue;
    }
    const cudaGraph_t child = captured(i);
    size_t count = 0;
    cudaError_t status = cudaGraphGetNodes(child, nullptr, &count);
    ends[i] = first;
    if (status == cudaSuccess && count > 0) {
      status = cudaGraphAddChildGraphNode(&calls_[i].node, pattern_, first.data(), first.size(), child);
      ends[i] = {calls_[i].node};
    }
    static_cast<void>(cudaGraphDestroy(child));
    check(status);
  }
}

// Takes a call down after the nodes given; the nodes that are its last.
Recording::Nodes Recording::capture_into(const Nodes& before, size_t call) {
  const cudaStream_t stream = device_.stream;
  device_.begin(calls_[call].name.c_str());
  const std::unique_lock<std::shared_mutex> alone(taking_down());
  check(cudaStreamBeginCaptureToGraph(stream, pattern_, before.data(), nullptr, before.size(),
                                      cudaStreamCaptureModeRelaxed));
  Nodes ends;
  within_capture(stream, *sequence_, call, [&] {
    cudaStreamCaptureStatus state;
    const cudaGraphNode_t* nodes = nullptr;
    const cudaGraphEdgeData* edges = nullptr;
    size_t count = 0;
    const cudaError_t asked = cudaStreamGetCaptureInfo(stream, &state, nullptr, nullptr, &nodes, &edges, &count);
    if (asked == cudaSuccess && count > 0) ends.assign(nodes, nodes + count);
    cudaGraph_t same = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream, &same);
    check(asked);
    check(ended);
  });
  calls_[call].stale = false;
  return ends;
}

// A call as a graph of its own, which the caller destroys.
cudaGraph_t Recording::captured(size_t call) {
  auto held = std::make_unique<Holding>(device_.memory, false);
  cudaGraph_t graph = nullptr;
  device_.begin(calls_[call].name.c_str());
  const std::unique_lock<std::shared_mutex> alone(taking_down());
  check(cudaStreamBeginCapture(device_.stream, cudaStreamCaptureModeRelaxed));
  {
    const Hold scratch(held.get());
    within_capture(device_.stream, *sequence_, call, [&] { check(cudaStreamEndCapture(device_.stream, &graph)); });
  }
  calls_[call].held = std::move(held);
  calls_[call].stale = false;
  return graph;
}

// Puts new numbers into the graph; false if it must be taken down again.
bool Recording::replace_stale() {
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (!calls_[i].stale) continue;
    if (calls_[i].node == nullptr) return false;
    const cudaGraph_t child = captured(i);
    const cudaError_t status = cudaGraphExecChildGraphNodeSetParams(graph_, calls_[i].node, child);
    static_cast<void>(cudaGraphDestroy(child));
    if (status != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
  }
  return true;
}

std::string Recording::note() const {
  const std::string calls = std::to_string(calls_.size()) + " calls";
  if (graph_ != nullptr) {
    return calls + " as one CUDA graph of " + std::to_string(nodes_) + " nodes" +
           (in_order_ ? ", one after another" : "") + ", with " + std::to_string(held_->nbytes() >> 10) +
           " KiB of scratch memory; launched at once";
  }
  if (!reason_.empty()) return calls + " made one by one: they cannot be taken down, " + reason_;
  return calls + ", to be taken down as a CUDA graph at the next call";
}

}  // namespace needle
