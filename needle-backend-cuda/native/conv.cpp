// conv2d and its two gradients by cuDNN. For each new problem the algorithms of its older functions and the plans that
// its graphs propose are measured, with channels last, which is how Needle stores images, and with channels first; the
// fastest, copies counted in, is kept, unless one of our own ways is faster still.
#include "conv.h"

#include <cmath>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "conv_graph.h"
#include "conv_problem.h"
#include "cudnn_handle.h"
#include "event.h"
#include "matmul.h"
#include "runtime.h"

namespace needle {
namespace {

constexpr size_t kWorkspaceLimit = size_t{256} << 20;

enum Way : int { kLibrary = -1, kDirect = 0, kUnrolled = 1 };  // to convolve: the last two are our own

cudnnDataType_t data_type(DType dtype) {
  return dtype == DType::kFloat16    ? CUDNN_DATA_HALF
         : dtype == DType::kBFloat16 ? CUDNN_DATA_BFLOAT16
         : dtype == DType::kFloat64  ? CUDNN_DATA_DOUBLE
                                     : CUDNN_DATA_FLOAT;
}

ShapedView permuted(const ShapedView& view, const int (&order)[4]) {
  ShapedView result = view;
  int64_t strides[4], product = 1;
  for (int axis = 3; axis >= 0; --axis) {
    strides[axis] = view.contiguous ? product : view.strides[axis];
    product *= view.shape[axis];
  }
  product = 1;
  result.contiguous = true;
  for (int axis = 3; axis >= 0; --axis) {
    result.shape[axis] = view.shape[order[axis]];
    result.strides[axis] = strides[order[axis]];
    result.contiguous = result.contiguous && (result.shape[axis] == 1 || result.strides[axis] == product);
    product *= result.shape[axis];
  }
  return result;
}

// A view as the library takes it: its own memory if that is in order, else scratch memory.
class Staged {
 public:
  Staged(const ShapedView& view, const int (&order)[4], bool is_result)
      : original_(permuted(view, order)), compact_(original_), is_result_(is_result) {
    if (original_.contiguous) return;
    space_.emplace(static_cast<size_t>(view.size * item_size(view.dtype)));
    compact_.data = space_->as<void>();
    compact_.contiguous = true;
    if (!is_result) copy(compact_, original_);
  }
  void* data() const { return compact_.data; }
  bool copied() const { return space_.has_value(); }
  void finish() const {
    if (is_result_ && copied()) copy(original_, compact_);
  }

 private:
  ShapedView original_, compact_;
  bool is_result_;
  std::optional<Workspace> space_;
};

struct Operands {
  Staged x, w, y;

  Operands(Direction direction, const Form& form, const ShapedView& x, const ShapedView& w, const ShapedView& y)
      : x(x, form.image, direction == kInput),
        w(w, form.weight, direction == kWeight),
        y(y, form.image, direction == kForward) {}

  void finish() const {
    x.finish();
    w.finish();
    y.finish();
  }
};

// Of the library's older functions.
struct Algorithm {
  int number;
  size_t workspace;
  cudnnMathType_t math;
};

template <class Result>
std::vector<Algorithm> best_of(cudnnStatus_t status, const std::vector<Result>& results, int found) {
  constexpr size_t kMost = 3;
  std::vector<Algorithm> best;
  for (int i = 0; status == CUDNN_STATUS_SUCCESS && i < found && best.size() < kMost; ++i) {  // the fastest come first
    const Result& result = results[static_cast<size_t>(i)];
    if (result.status != CUDNN_STATUS_SUCCESS || result.memory > kWorkspaceLimit) continue;
    best.push_back({static_cast<int>(result.algo), result.memory, result.mathType});
  }
  return best;
}

struct Plan {
  const Form* form = nullptr;
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t conv = nullptr;
  int algorithm = -1;  // -1: the older functions have none, or another way is faster
  Way own = kDirect;   // which of ours, if the library has none or a slower one
  size_t workspace = 0;
  ConvGraph graph;  // if that is the fastest

  Plan() = default;
  Plan(const Form& form, const ConvGraph& graph) : form(&form), workspace(graph.workspace), graph(graph) {}
  Plan(const Problem& problem, const Form& form) : form(&form) {
    const cudnnDataType_t type = data_type(problem.dtype);
    const auto n = [](int64_t i) { return static_cast<int>(i); };
    check_library(cudnnCreateTensorDescriptor(&x));
    check_library(cudnnCreateTensorDescriptor(&y));
    check_library(cudnnCreateFilterDescriptor(&w));
    check_library(cudnnCreateConvolutionDescriptor(&conv));
    const cudnnTensorFormat_t format = form.channels_first ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC;
    check_library(cudnnSetTensor4dDescriptor(x, format, type, n(problem.x[0]), n(problem.x[3]), n(problem.x[1]),
                                             n(problem.x[2])));
    check_library(cudnnSetTensor4dDescriptor(y, format, type, n(problem.y[0]), n(problem.y[3]), n(problem.y[1]),
                                             n(problem.y[2])));
    check_library(cudnnSetFilter4dDescriptor(w, type, format, n(problem.w[3]), n(problem.w[2]), n(problem.w[0]),
                                             n(problem.w[1])));
    check_library(cudnnSetConvolution2dDescriptor(conv, n(problem.padding.y), n(problem.padding.x), n(problem.stride.y),
                                                  n(problem.stride.x), n(problem.dilation.y), n(problem.dilation.x),
                                                  CUDNN_CROSS_CORRELATION,
                                                  type == CUDNN_DATA_DOUBLE ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT));
    check_library(cudnnSetConvolutionGroupCount(conv, n(problem.groups)));
    const bool exact = type == CUDNN_DATA_DOUBLE || (type == CUDNN_DATA_FLOAT && problem.tf32 == 0);
    check_library(cudnnSetConvolutionMathType(conv, exact ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  }

  void choose(const Algorithm& chosen) {
    algorithm = chosen.number;
    workspace = chosen.workspace;
    check_library(cudnnSetConvolutionMathType(conv, chosen.math));
  }

  // The fastest few, by the library's own measurement, which is a single one.
  std::vector<Algorithm> propose(cudnnHandle_t handle, Direction direction, const Operands& at, void* space,
                                 size_t limit) const {
    constexpr int kMost = 10;
    int found = 0;
    if (direction == kForward) {
      std::vector<cudnnConvolutionFwdAlgoPerf_t> results(kMost);
      const cudnnStatus_t status = cudnnFindConvolutionForwardAlgorithmEx(
          handle, x, at.x.data(), w, at.w.data(), conv, y, at.y.data(), kMost, &found, results.data(), space, limit);
      return best_of(status, results, found);
    }
    if (direction == kInput) {
      std::vector<cudnnConvolutionBwdDataAlgoPerf_t> results(kMost);
      const cudnnStatus_t status = cudnnFindConvolutionBackwardDataAlgorithmEx(
          handle, w, at.w.data(), y, at.y.data(), conv, x, at.x.data(), kMost, &found, results.data(), space, limit);
      return best_of(status, results, found);
    }
    std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> results(kMost);
    const cudnnStatus_t status = cudnnFindConvolutionBackwardFilterAlgorithmEx(
        handle, x, at.x.data(), y, at.y.data(), conv, w, at.w.data(), kMost, &found, results.data(), space, limit);
    return best_of(status, results, found);
  }

  void run(cudnnHandle_t handle, Direction direction, bool is_double, const Operands& at) const {
    static const float one_float = 1, zero_float = 0;
    static const double one_double = 1, zero_double = 0;
    const void* one = is_double ? static_cast<const void*>(&one_double) : &one_float;
    const void* zero = is_double ? static_cast<const void*>(&zero_double) : &zero_float;
    const Workspace space(workspace);
    if (graph.graph != nullptr) {
      graph.run(at.x.data(), at.w.data(), at.y.data(), space.as<void>());
    } else if (direction == kForward) {
      check_library(cudnnConvolutionForward(handle, one, x, at.x.data(), w, at.w.data(), conv,
                                            static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), space.as<void>(),
                                            workspace, zero, y, at.y.data()));
    } else if (direction == kInput) {
      check_library(cudnnConvolutionBackwardData(handle, one, w, at.w.data(), y, at.y.data(), conv,
                                                 static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm),
                                                 space.as<void>(), workspace, zero, x, at.x.data()));
    } else {
      check_library(cudnnConvolutionBackwardFilter(handle, one, x, at.x.data(), y, at.y.data(), conv,
                                                   static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm),
                                                   space.as<void>(), workspace, zero, w, at.w.data()));
    }
    at.finish();
  }
};

// One device's plans; never destroyed, for the interpreter may end after the driver.
struct Library {
  cudnnHandle_t handle = nullptr;
  std::unordered_map<std::string, Plan> plans;

  static Library& here() {
    static std::vector<Library>* const all = new std::vector<Library>(static_cast<size_t>(Runtime::count()));
    Library& library = (*all)[static_cast<size_t>(runtime().index)];
    library.handle = cudnn_handle();
    return library;
  }
};

// Scratch memory for measuring: less to choose from on a full device.
template <class Measure> void with_space(Measure measure) {
  for (size_t limit = kWorkspaceLimit;; limit /= 4) {
    try {
      const Workspace space(limit);
      return measure(space.as<void>(), limit);
    } catch (const OutOfMemory&) {
      if (limit < (size_t{1} << 20)) throw;
    }
  }
}

bool channels_first(const ShapedView& image) { return permuted(image, kForms[1].image).contiguous; }

void read_shape(const ShapedView& view, int64_t (&shape)[4]) {
  for (int axis = 0; axis < 4; ++axis) shape[axis] = view.shape[axis];
}

bool aligned(const View& view) { return reinterpret_cast<uintptr_t>(view.data) % 16 == 0; }

// Milliseconds that some work takes the device, at best.
template <class Work> float measured(Work work) {
  constexpr int kTimes = 3, kRounds = 3;
  work();
  float least = HUGE_VALF;
  for (int time = 0; time < kTimes; ++time) {
    const Event start(runtime());
    for (int round = 0; round < kRounds; ++round) work();
    const Event end(runtime());
    least = std::min(least, end.milliseconds_since(start) / kRounds);
  }
  return least;
}

// The same, of work that the library proposed: nothing if it fails after all, or if the device is too full for it.
template <class Work> std::optional<float> measured_if_possible(Work work) {
  try {
    return measured(work);
  } catch (const OutOfMemory&) {
    return std::nullopt;
  } catch (const LibraryFailure&) {
    return std::nullopt;
  }
}

// By the library, or by one of our own ways, `own(way)`, where that is faster or the library cannot. Returns which.
template <class Own>
Way convolve(Own own, bool unrolls, Direction direction, const ShapedView& x, const ShapedView& w, const ShapedView& y,
             Pair stride, Pair padding, Pair dilation, int64_t groups) {
  Problem problem{};
  problem.direction = direction;
  problem.dtype = y.dtype;
  problem.tf32 = tf32();
  problem.x_channels_first = channels_first(x);
  problem.unrolls = unrolls;
  problem.aligned = aligned(x) && aligned(w) && aligned(y);
  problem.tuned = tuning();  // products may be faster then
  read_shape(x, problem.x);
  read_shape(w, problem.w);
  read_shape(y, problem.y);
  problem.stride = stride;
  problem.padding = padding;
  problem.dilation = dilation;
  problem.groups = groups;
  Library& library = Library::here();
  thread_local std::string name;  // so that a look-up allocates nothing
  name.assign(problem.bytes());
  auto found = library.plans.find(name);
  const bool is_double = y.dtype == DType::kFloat64;
  const auto run = [&](const Plan& plan) {
    plan.run(library.handle, direction, is_double, Operands(direction, *plan.form, x, w, y));
  };
  if (found == library.plans.end()) {
    Plan best;
    float least = measured([&] { own(kDirect); });
    if (unrolls) {
      const float time = measured([&] { own(kUnrolled); });
      if (time < least) best.own = kUnrolled, least = time;
    }
    for (const Form& form : kForms) {
      std::vector<Algorithm> algorithms;
      with_space([&](void* space, size_t limit) {
        const Operands operands(direction, form, x, w, y);
        algorithms = Plan(problem, form).propose(library.handle, direction, operands, space, limit);
      });
      std::vector<Plan> plans;
      for (const Algorithm& algorithm : algorithms) plans.emplace_back(problem, form).choose(algorithm);
      for (const ConvGraph& graph : conv_graphs(problem, form, kWorkspaceLimit)) plans.emplace_back(form, graph);
      for (const Plan& each : plans) {
        const std::optional<float> time = measured_if_possible([&] { run(each); });
        if (time && *time < least) best = each, least = *time;
      }
    }
    static_cast<void>(cudaGetLastError());  // of algorithms that failed: others would take it for theirs
    found = library.plans.emplace(name, best).first;
  }
  const Plan& plan = found->second;
  if (plan.form == nullptr) {
    own(plan.own);
    return plan.own;
  }
  run(plan);
  return kLibrary;
}

// True if there is nothing to multiply: the result is zero.
bool fill_if_empty(const ShapedView& dst, const ShapedView& a, const ShapedView& b) {
  if (dst.size == 0) return true;
  if (a.size > 0 && b.size > 0) return false;
  check(cudaMemsetAsync(dst.data, 0, static_cast<size_t>(dst.size * item_size(dst.dtype)), stream()));
  return true;
}

}  // namespace

void conv2d(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation,
            int64_t groups) {
  if (fill_if_empty(dst, x, w)) return;
  const auto own = [&](Way way) {
    if (way == kDirect) return conv2d_direct(dst, x, w, stride, padding, dilation, groups);
    conv2d_unrolled(dst, x, w, stride, padding, dilation);
  };
  convolve(own, unrolls(dst, w, groups), kForward, x, w, dst, stride, padding, dilation, groups);
}

void conv2d_bias(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const View& bias, Pair stride,
                 Pair padding, Pair dilation, int64_t groups) {
  if (fill_if_empty(dst, x, w)) return add_row(dst, bias);
  const auto own = [&](Way way) {
    if (way == kDirect) return conv2d_direct(dst, x, w, stride, padding, dilation, groups);
    conv2d_unrolled_bias(dst, x, w, bias, stride, padding, dilation);
  };
  const Way way = convolve(own, unrolls(dst, w, groups), kForward, x, w, dst, stride, padding, dilation, groups);
  if (way != kUnrolled) add_row(dst, bias);
}

void conv2d_grad_input(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride, Pair padding,
                       Pair dilation, int64_t groups) {
  if (fill_if_empty(dst, g, w)) return;
  const auto own = [&](Way) { conv2d_grad_input_direct(dst, g, w, stride, padding, dilation, groups); };
  convolve(own, false, kInput, dst, w, g, stride, padding, dilation, groups);
}

void conv2d_grad_weight(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride, Pair padding,
                        Pair dilation, int64_t groups) {
  if (fill_if_empty(dst, x, g)) return;
  const auto own = [&](Way way) {
    if (way == kDirect) return conv2d_grad_weight_direct(dst, x, g, stride, padding, dilation, groups);
    conv2d_grad_weight_unrolled(dst, x, g, stride, padding, dilation);
  };
  convolve(own, unrolls(g, dst, groups), kWeight, x, dst, g, stride, padding, dilation, groups);
}

}  // namespace needle
