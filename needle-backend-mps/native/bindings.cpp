// The extension's face: names on one side, functions of ops.h on the other. See _ext.pyi for the types.
#include <pybind11/pybind11.h>

#include "bridge.h"
#include "ops.h"

namespace needle {
CacheCounts graph_counts();  // graphs.h is Objective-C
void set_graph_limit(size_t limit);
void clear_graphs();
bool supported();  // link.h is, too
}  // namespace needle

namespace py = pybind11;
using namespace needle;

namespace {

PyMethodDef methods[] = {
    method<&matmul>("matmul"),
    method<&add_matmul>("add_matmul"),
    method<&reduce>("reduce"),
    method<&softmax>("softmax"),
    method<&log_softmax>("log_softmax"),
    method<&softmax_grad>("softmax_grad"),
    method<&log_softmax_grad>("log_softmax_grad"),
    method<&layer_norm>("layer_norm"),
    method<&rms_norm>("rms_norm"),
    method<&layer_norm_grad>("layer_norm_grad"),
    method<&rms_norm_grad>("rms_norm_grad"),
    method<&moments>("moments"),
    method<&batch_norm>("batch_norm"),
    method<&batch_norm_grad>("batch_norm_grad"),
    method<&conv2d>("conv2d"),
    method<&conv2d_bias>("conv2d_bias"),
    method<&conv2d_grad_input>("conv2d_grad_input"),
    method<&conv2d_grad_weight>("conv2d_grad_weight"),
    method<&attention>("attention"),
    method<&attention_grad>("attention_grad"),
    {nullptr, nullptr, 0, nullptr},
};

py::dict counts() {
  const CacheCounts graphs = graph_counts(), products = product_counts();
  py::dict by_name;
  by_name["graphs"] = graphs.made;
  by_name["graphs_found"] = graphs.found;
  by_name["graphs_dropped"] = graphs.dropped;
  by_name["products"] = products.made;
  by_name["products_found"] = products.found;
  return by_name;
}

}  // namespace

PYBIND11_MODULE(_ext, m) {
  m.doc() = "Ops by Metal Performance Shaders, on the device of needle_backend_msl.";
  try {
    take_bridge();
  } catch (const PythonError&) {
    throw py::import_error(py::str(py::error_already_set().value()));
  }
  if (PyModule_AddFunctions(m.ptr(), methods) != 0) throw py::error_already_set();
  m.def("supported", &supported);
  m.def("counters", &counts);
  m.def("set_graph_limit", &set_graph_limit);
  m.def("clear", [] {
    clear_graphs();
    clear_products();
  });
}
