// conv2d and its two gradients by cuDNN. For each new problem the library measures its algorithms, with channels last,
// which is how Needle stores images, and with channels first; the fastest, copies counted in, is kept, unless one of
// our own ways is faster still.
#include "conv.h"

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cudnn_handle.h"
#include "event.h"
#include "matmul.h"
#include "runtime.h"

namespace needle {
namespace {

constexpr size_t kWorkspaceLimit = size_t{256} << 20;

enum Way : int { kLibrary = -1, kDirect = 0, kUnrolled = 1 };  // to convolve: the last two are our own
enum Direction : int32_t { kForward, kInput, kWeight };        // which of y, x and w is the result

// In which order the library sees the axes of (N, H, W, C) and of (KH, KW, C, O).
struct Form {
  cudnnTensorFormat_t format;
  int image[4], weight[4];
};
constexpr Form kForms[] = {{CUDNN_TENSOR_NHWC, {0, 1, 2, 3}, {3, 0, 1, 2}},
                           {CUDNN_TENSOR_NCHW, {0, 3, 1, 2}, {3, 2, 0, 1}}};

// What a plan depends on, without padding: compared by its bytes.
struct Key {
  Direction direction;
  DType dtype;
  int32_t tf32, x_channels_first, tuned, unrolls;  // whether it can be unrolled, strides decide
  int64_t x[4], w[4], y[4];                        // (N, H, W, C), (KH, KW, C / groups, O), (N, OH, OW, O)
  Pair stride, padding, dilation;
  int64_t groups;

  std::string_view bytes() const { return {reinterpret_cast<const char*>(this), sizeof(Key)}; }
};

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

struct Plan {
  const Form* form = nullptr;
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t conv;
  int algorithm = -1;  // -1: the library has none, or one of ours is faster
  Way own = kDirect;   // which
  size_t workspace = 0;

  Plan() = default;
  Plan(const Key& key, const Form& form) : form(&form) {
    const cudnnDataType_t type = data_type(key.dtype);
    const auto n = [](int64_t i) { return static_cast<int>(i); };
    check_library(cudnnCreateTensorDescriptor(&x));
    check_library(cudnnCreateTensorDescriptor(&y));
    check_library(cudnnCreateFilterDescriptor(&w));
    check_library(cudnnCreateConvolutionDescriptor(&conv));
    check_library(cudnnSetTensor4dDescriptor(x, form.format, type, n(key.x[0]), n(key.x[3]), n(key.x[1]), n(key.x[2])));
    check_library(cudnnSetTensor4dDescriptor(y, form.format, type, n(key.y[0]), n(key.y[3]), n(key.y[1]), n(key.y[2])));
    check_library(cudnnSetFilter4dDescriptor(w, type, form.format, n(key.w[3]), n(key.w[2]), n(key.w[0]), n(key.w[1])));
    check_library(cudnnSetConvolution2dDescriptor(
        conv, n(key.padding.y), n(key.padding.x), n(key.stride.y), n(key.stride.x), n(key.dilation.y),
        n(key.dilation.x), CUDNN_CROSS_CORRELATION, type == CUDNN_DATA_DOUBLE ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT));
    check_library(cudnnSetConvolutionGroupCount(conv, n(key.groups)));
    const bool exact = type == CUDNN_DATA_DOUBLE || (type == CUDNN_DATA_FLOAT && key.tf32 == 0);
    check_library(cudnnSetConvolutionMathType(conv, exact ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  }

  template <class Result> void take(cudnnStatus_t status, const std::vector<Result>& results, int found) {
    if (status != CUDNN_STATUS_SUCCESS) return;
    for (int i = 0; i < found && algorithm < 0; ++i) {  // the fastest come first
      const Result& result = results[static_cast<size_t>(i)];
      if (result.status != CUDNN_STATUS_SUCCESS || result.memory > kWorkspaceLimit) continue;
      algorithm = static_cast<int>(result.algo);
      workspace = result.memory;
      check_library(cudnnSetConvolutionMathType(conv, result.mathType));
    }
  }

  void measure(cudnnHandle_t handle, Direction direction, const Operands& at, void* space, size_t limit) {
    constexpr int kMost = 10;
    int found = 0;
    if (direction == kForward) {
      std::vector<cudnnConvolutionFwdAlgoPerf_t> results(kMost);
      const cudnnStatus_t status = cudnnFindConvolutionForwardAlgorithmEx(
          handle, x, at.x.data(), w, at.w.data(), conv, y, at.y.data(), kMost, &found, results.data(), space, limit);
      take(status, results, found);
    } else if (direction == kInput) {
      std::vector<cudnnConvolutionBwdDataAlgoPerf_t> results(kMost);
      const cudnnStatus_t status = cudnnFindConvolutionBackwardDataAlgorithmEx(
          handle, w, at.w.data(), y, at.y.data(), conv, x, at.x.data(), kMost, &found, results.data(), space, limit);
      take(status, results, found);
    } else {
      std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> results(kMost);
      const cudnnStatus_t status = cudnnFindConvolutionBackwardFilterAlgorithmEx(
          handle, x, at.x.data(), y, at.y.data(), conv, w, at.w.data(), kMost, &found, results.data(), space, limit);
      take(status, results, found);
    }
  }

  void run(cudnnHandle_t handle, Direction direction, bool is_double, const Operands& at) const {
    static const float one_float = 1, zero_float = 0;
    static const double one_double = 1, zero_double = 0;
    const void* one = is_double ? static_cast<const void*>(&one_double) : &one_float;
    const void* zero = is_double ? static_cast<const void*>(&zero_double) : &zero_float;
    const Workspace space(workspace);
    if (direction == kForward) {
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

// Milliseconds that some work takes the device.
template <class Work> float measured(Work work) {
  constexpr int kRounds = 5;
  work();
  const Event start(runtime());
  for (int round = 0; round < kRounds; ++round) work();
  const Event end(runtime());
  return end.milliseconds_since(start) / kRounds;
}

// By the library, or by one of our own ways, `own(way)`, where that is faster or the library cannot. Returns which.
template <class Own>
Way convolve(Own own, bool unrolls, Direction direction, const ShapedView& x, const ShapedView& w, const ShapedView& y,
             Pair stride, Pair padding, Pair dilation, int64_t groups) {
  Key key{};
  key.direction = direction;
  key.dtype = y.dtype;
  key.tf32 = tf32();
  key.x_channels_first = channels_first(x);
  key.unrolls = unrolls;
  key.tuned = tuning();  // products may be faster then
  read_shape(x, key.x);
  read_shape(w, key.w);
  read_shape(y, key.y);
  key.stride = stride;
  key.padding = padding;
  key.dilation = dilation;
  key.groups = groups;
  Library& library = Library::here();
  thread_local std::string name;  // so that a look-up allocates nothing
  name.assign(key.bytes());
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
      Plan plan(key, form);
      with_space([&](void* space, size_t limit) {
        plan.measure(library.handle, direction, Operands(direction, form, x, w, y), space, limit);
      });
      if (plan.algorithm < 0) continue;
      const float time = measured([&] { run(plan); });
      if (time < least) best = plan, least = time;
    }
    static_cast<void>(cudaGetLastError());  // of algorithms that failed: others would take it for theirs
    found = library.plans.emplace(name, best).first;
  }
  const Plan& plan = found->second;
  if (plan.algorithm < 0) {
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
