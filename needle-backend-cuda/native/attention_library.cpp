// Attention of halves by cuDNN's fused kernels, which are built on instructions that Hopper has and `mma` does not
// reach. A graph is built for each problem when it is first met, which takes long, so only large problems come here.
#include "attention_library.h"

#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cudnn_handle.h"

namespace needle {
namespace {

namespace fe = cudnn_frontend;
using fe::graph::Tensor_attributes;
using Tensor = std::shared_ptr<Tensor_attributes>;

constexpr int64_t kLeastRows = 256, kMostColumns = 128, kPack = 8;

enum Use : int32_t { kForward, kWithStatistics, kBackward };
enum Name : int64_t { kQ = 1, kK, kV, kO, kStatistics, kG, kDQ, kDK, kDV };

// What a graph depends on: compared by its bytes, so there is no padding.
struct Key {
  Use use;
  DType dtype;
  int32_t causal;
  float scale;
  int64_t batch, heads, queries, keys, columns;

  std::string_view bytes() const { return {reinterpret_cast<const char*>(this), sizeof(Key)}; }
};

bool is_asked_for() {
  static const char* const choice = std::getenv("NEEDLE_CUDA_ATTENTION");
  return choice == nullptr || std::string_view(choice) != "own";
}

// A key with its use left open; false if the library's kernels do not fit.
bool describe(Key& key, const ShapedView& q, const ShapedView& k, const ShapedView& v, bool causal, double scale) {
  const int last = q.rank - 1;
  if (item_size(q.dtype) != 2 || scale <= 0 || !q.contiguous || !k.contiguous || !v.contiguous) return false;
  key.dtype = q.dtype;
  key.causal = causal;
  key.scale = static_cast<float>(scale);
  key.queries = q.shape[last - 1], key.keys = k.shape[last - 1], key.columns = q.shape[last];
  if (std::min(key.queries, key.keys) < kLeastRows || v.shape[last] != key.columns) return false;
  if (key.columns % kPack != 0 || key.columns > kMostColumns) return false;
  key.heads = last >= 2 ? q.shape[last - 2] : 1;
  key.batch = q.size / (key.heads * key.queries * key.columns);
  return true;
}

struct Plan {
  std::shared_ptr<fe::graph::Graph> graph;  // none: the library cannot
  int64_t workspace = 0;

  explicit Plan(const Key& key) : graph(std::make_shared<fe::graph::Graph>()) {
    const auto type = key.dtype == DType::kBFloat16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF;
    graph->set_io_data_type(type)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    key.use == kBackward ? add_backward(key) : add_forward(key);
    if (!graph->build(cudnn_handle(), {fe::HeurMode_t::A}).is_good()) {
      graph.reset();
    } else if (!graph->get_workspace_size(workspace).is_good()) {
      graph.reset();
    }
  }

  bool run(std::unordered_map<int64_t, void*> arrays) const {
    if (graph == nullptr) return false;
    const Workspace space(static_cast<size_t>(std::max<int64_t>(workspace, 1)));
    fe::error_t error = graph->execute(cudnn_handle(), arrays, space.as<void>());
    if (!error.is_good()) throw LibraryFailure("cuDNN: " + error.get_message());
    return true;
  }

 private:
  static Tensor_attributes described(const Key& key, Name name, int64_t rows, int64_t columns) {
    return Tensor_attributes()
        .set_uid(name)
        .set_dim({key.batch, key.heads, rows, columns})
        .set_stride({key.heads * rows * columns, rows * columns, columns, 1});
  }
  static void give(const Tensor& tensor, const Key& key, Name name, int64_t rows, int64_t columns) {
    const Tensor_attributes as = described(key, name, rows, columns);
    tensor->set_output(true).set_uid(name).set_dim(as.get_dim()).set_stride(as.get_stride());
  }
  Tensor take(const Key& key, Name name, int64_t rows) {
    return graph->tensor(described(key, name, rows, key.columns));
  }
  Tensor take_statistics(const Key& key) {
    return graph->tensor(described(key, kStatistics, key.queries, 1).set_data_type(fe::DataType_t::FLOAT));
  }

  void add_forward(const Key& key) {
    const bool wants_statistics = key.use == kWithStatistics;
    const auto how = fe::graph::SDPA_attributes()
                         .set_name("attention")
                         .set_generate_stats(wants_statistics)
                         .set_causal_mask(key.causal != 0)
                         .set_attn_scale(key.scale);
    const auto [o, statistics] =
        graph->sdpa(take(key, kQ, key.queries), take(key, kK, key.keys), take(key, kV, key.keys), how);
    give(o, key, kO, key.queries, key.columns);
    if (!wants_statistics) return;
    statistics->set_data_type(fe::DataType_t::FLOAT);
    give(statistics, key, kStatistics, key.queries, 1);
  }

  void add_backward(const Key& key) {
    const auto how = fe::graph::SDPA_backward_attributes()
                         .set_name("attention_grad")
                         .set_causal_mask(key.causal != 0)
                         .set_attn_scale(key.scale);
    const auto [dq, dk, dv] =
        graph->sdpa_backward(take(key, kQ, key.queries), take(key, kK, key.keys), take(key, kV, key.keys),
                             take(key, kO, key.queries), take(key, kG, key.queries), take_statistics(key), how);
    give(dq, key, kDQ, key.queries, key.columns);
    give(dk, key, kDK, key.keys, key.columns);
    give(dv, key, kDV, key.keys, key.columns);
  }
};

// Kept for each device; never destroyed, for the interpreter may end after the driver.
const Plan& plan_of(const Key& key) {
  using Plans = std::unordered_map<std::string, Plan>;
  static std::vector<Plans>* const all = new std::vector<Plans>(static_cast<size_t>(Runtime::count()));
  Plans& plans = (*all)[static_cast<size_t>(runtime().index)];
  const std::string name(key.bytes());
  const auto found = plans.find(name);
  return found == plans.end() ? plans.emplace(name, Plan(key)).first->second : found->second;
}

}  // namespace

bool attention_library(const ShapedView& dst, const ShapedView& q, const ShapedView& k, const ShapedView& v,
                       bool causal, double scale) {
  Key key{};
  if (!is_asked_for() || !dst.contiguous || !describe(key, q, k, v, causal, scale)) return false;
  key.use = kForward;
  return plan_of(key).run({{kQ, q.data}, {kK, k.data}, {kV, v.data}, {kO, dst.data}});
}

bool attention_grad_library(const ShapedView& dq, const ShapedView& dk, const ShapedView& dv, const ShapedView& g,
                            const ShapedView& q, const ShapedView& k, const ShapedView& v, const ShapedView& y,
                            bool causal, double scale) {
  Key key{};
  if (!is_asked_for() || !describe(key, q, k, v, causal, scale)) return false;
  for (const ShapedView* view : {&dq, &dk, &dv, &g, &y}) {
    if (!view->contiguous) return false;
  }
  key.use = kBackward;
  const Plan& backward = plan_of(key);
  if (backward.graph == nullptr) return false;
  // Each row's log-sum-exp is not kept from the forward pass: the forward kernel runs again, its result put where dq
  // will be.
  const Workspace statistics(static_cast<size_t>(key.batch * key.heads * key.queries) * sizeof(float));
  key.use = kWithStatistics;
  void* const kept = statistics.as<void>();
  if (!plan_of(key).run({{kQ, q.data}, {kK, k.data}, {kV, v.data}, {kO, dq.data}, {kStatistics, kept}})) return false;
  return backward.run({{kQ, q.data},
                       {kK, k.data},
                       {kV, v.data},
                       {kO, y.data},
                       {kG, g.data},
                       {kStatistics, kept},
                       {kDQ, dq.data},
                       {kDK, dk.data},
                       {kDV, dv.data}});
}

}  // namespace needle
