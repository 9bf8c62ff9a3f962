#include "conv_graph.h"

#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <string>
#include <unordered_map>

#include "cudnn_handle.h"

namespace needle {

namespace fe = cudnn_frontend;

struct ConvGraph::Graph : fe::graph::Graph {};

namespace {

using fe::graph::Tensor_attributes;
using Tensor = std::shared_ptr<Tensor_attributes>;

constexpr size_t kMostPlans = 10;  // that are measured
enum Name : int64_t { kX = 1, kW, kY };

fe::DataType_t type_of(DType dtype) {
  return dtype == DType::kFloat16    ? fe::DataType_t::HALF
         : dtype == DType::kBFloat16 ? fe::DataType_t::BFLOAT16
                                     : fe::DataType_t::FLOAT;
}

// Dimensions are always (N, C, H, W), or (O, C, KH, KW); strides tell how the form stores them.
struct Described {
  std::vector<int64_t> dims, strides;

  Described(const int64_t (&shape)[4], const int (&order)[4], const int (&first)[4]) : dims(4), strides(4) {
    int64_t of_axis[4], product = 1;
    for (int i = 3; i >= 0; --i) {
      of_axis[order[i]] = product;
      product *= shape[order[i]];
    }
    for (size_t i = 0; i < 4; ++i) {
      dims[i] = shape[first[i]];
      strides[i] = of_axis[first[i]];
    }
  }
  Tensor_attributes attributes(Name name) const {
    return Tensor_attributes().set_uid(name).set_dim(dims).set_stride(strides);
  }
  void give(const Tensor& tensor, Name name) const {
    tensor->set_output(true).set_uid(name).set_dim(dims).set_stride(strides);
  }
};

template <class Attributes> Attributes walking(const Problem& problem) {
  const std::vector<int64_t> padding{problem.padding.y, problem.padding.x};
  return Attributes()
      .set_pre_padding(padding)
      .set_post_padding(padding)
      .set_stride({problem.stride.y, problem.stride.x})
      .set_dilation({problem.dilation.y, problem.dilation.x});
}

bool describe(ConvGraph::Graph& graph, const Problem& problem, const Form& form) {
  const Form& first = kForms[1];
  const Described x(problem.x, form.image, first.image), w(problem.w, form.weight, first.weight),
      y(problem.y, form.image, first.image);
  graph.set_io_data_type(type_of(problem.dtype))
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  if (problem.direction == kForward) {
    y.give(graph.conv_fprop(graph.tensor(x.attributes(kX)), graph.tensor(w.attributes(kW)),
                            walking<fe::graph::Conv_fprop_attributes>(problem)),
           kY);
  } else if (problem.direction == kInput) {
    x.give(graph.conv_dgrad(graph.tensor(y.attributes(kY)), graph.tensor(w.attributes(kW)),
                            walking<fe::graph::Conv_dgrad_attributes>(problem)),
           kX);
  } else {
    w.give(graph.conv_wgrad(graph.tensor(y.attributes(kY)), graph.tensor(x.attributes(kX)),
                            walking<fe::graph::Conv_wgrad_attributes>(problem)),
           kW);
  }
  return graph.validate().is_good() && graph.build_operation_graph(cudnn_handle()).is_good() &&
         graph.create_execution_plans({fe::HeurMode_t::A}).is_good();
}

}  // namespace

std::vector<ConvGraph> conv_graphs(const Problem& problem, const Form& form, size_t limit) {
  std::vector<ConvGraph> found;
  if (problem.dtype == DType::kFloat64 || !problem.aligned) return found;  // the older functions serve
  const auto graph = std::make_shared<ConvGraph::Graph>();
  if (!describe(*graph, problem, form)) return found;
  if (problem.dtype == DType::kFloat32 && !problem.tf32) {
    graph->deselect_numeric_notes({fe::NumericalNote_t::TENSOR_CORE, fe::NumericalNote_t::DOWN_CONVERT_INPUTS,
                                   fe::NumericalNote_t::REDUCED_PRECISION_REDUCTION});
  }
  graph->deselect_workspace_greater_than(static_cast<int64_t>(limit));
  const int64_t proposals = graph->get_execution_plan_count();
  for (int64_t plan = 0; plan < proposals && found.size() < kMostPlans; ++plan) {
    int64_t workspace = 0;
    if (!graph->build_plan_at_index(cudnn_handle(), plan).is_good()) continue;
    if (!graph->get_workspace_size_plan_at_index(plan, workspace).is_good()) continue;
    if (workspace < 0 || static_cast<size_t>(workspace) > limit) continue;
    found.push_back({graph, plan, static_cast<size_t>(workspace)});
  }
  return found;
}

void ConvGraph::run(void* x, void* w, void* y, void* space) const {
  std::unordered_map<int64_t, void*> arrays{{kX, x}, {kW, w}, {kY, y}};
  fe::error_t error = graph->execute_plan_at_index(cudnn_handle(), arrays, space, plan);
  if (!error.is_good()) throw LibraryFailure("cuDNN: " + error.get_message());
}

}  // namespace needle
