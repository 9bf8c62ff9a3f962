// conv2d and its two gradients by cuDNN, channels last. Of its algorithms the fastest is measured once per problem.
#include "conv.h"

#include <cudnn.h>

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "matmul.h"
#include "runtime.h"

namespace needle {
namespace {

constexpr size_t kWorkspaceLimit = size_t{256} << 20;

void check_library(cudnnStatus_t status) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw LibraryFailure(std::string("cuDNN: ") + cudnnGetErrorString(status));
}

enum Direction : int32_t { kForward, kInput, kWeight };

// What a plan depends on, without padding: compared by its bytes.
struct Key {
  Direction direction;
  DType dtype;
  int32_t tf32, zero = 0;
  int64_t x[4], w[4], y[4];  // (N, H, W, C), (KH, KW, C / groups, O), (N, OH, OW, O)
  int64_t x_strides[4];      // an image may be stored with channels first
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

struct Plan {
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t conv;
  int algorithm = -1;  // -1: the library has none
  size_t workspace = 0;

  explicit Plan(const Key& key) {
    const cudnnDataType_t type = data_type(key.dtype);
    const cudnnDataType_t compute = type == CUDNN_DATA_DOUBLE ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
    const auto n = [](int64_t i) { return static_cast<int>(i); };
    check_library(cudnnCreateTensorDescriptor(&x));
    check_library(cudnnCreateTensorDescriptor(&y));
    check_library(cudnnCreateFilterDescriptor(&w));
    check_library(cudnnCreateConvolutionDescriptor(&conv));
    check_library(cudnnSetTensor4dDescriptorEx(x, type, n(key.x[0]), n(key.x[3]), n(key.x[1]), n(key.x[2]),
                                               n(key.x_strides[0]), n(key.x_strides[3]), n(key.x_strides[1]),
                                               n(key.x_strides[2])));
    check_library(
        cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NHWC, type, n(key.y[0]), n(key.y[3]), n(key.y[1]), n(key.y[2])));
    check_library(
        cudnnSetFilter4dDescriptor(w, type, CUDNN_TENSOR_NHWC, n(key.w[3]), n(key.w[2]), n(key.w[0]), n(key.w[1])));
    check_library(cudnnSetConvolution2dDescriptor(conv, n(key.padding.y), n(key.padding.x), n(key.stride.y),
                                                  n(key.stride.x), n(key.dilation.y), n(key.dilation.x),
                                                  CUDNN_CROSS_CORRELATION, compute));
    check_library(cudnnSetConvolutionGroupCount(conv, n(key.groups)));
    const bool exact = type == CUDNN_DATA_DOUBLE || (type == CUDNN_DATA_FLOAT && key.tf32 == 0);
    check_library(cudnnSetConvolutionMathType(conv, exact ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  }

  template <class Result> void take(const std::vector<Result>& results, int found) {
    for (int i = 0; i < found && algorithm < 0; ++i) {
      const Result& result = results[static_cast<size_t>(i)];
      if (result.status != CUDNN_STATUS_SUCCESS || result.memory > kWorkspaceLimit) continue;
      algorithm = static_cast<int>(result.algo);
      workspace = result.memory;
      check_library(cudnnSetConvolutionMathType(conv, result.mathType));
    }
  }
};

// One device's handle and plans; never destroyed, for the interpreter may end after the driver.
struct Library {
  cudnnHandle_t handle = nullptr;
  std::unordered_map<std::string, Plan> plans;

  static Library& here() {
    static std::vector<Library>* const all = new std::vector<Library>(static_cast<size_t>(Runtime::count()));
    Library& library = (*all)[static_cast<size_t>(runtime().index)];
    if (library.handle == nullptr) {
      check_library(cudnnCreate(&library.handle));
      check_library(cudnnSetStream(library.handle, stream()));
    }
    return library;
  }

  // The plan of a problem. `measure(plan, space, limit)` is asked for an algorithm when it is new.
  template <class Measure> Plan& plan(const Key& key, Measure measure) {
    const std::string name(key.bytes());
    const auto found = plans.find(name);
    if (found != plans.end()) return found->second;
    Plan made(key);
    for (size_t limit = kWorkspaceLimit;; limit /= 4) {  // on a full device, with less to choose from
      try {
        const Workspace space(limit);
        measure(made, space.as<void>(), limit);
        break;
      } catch (const OutOfMemory&) {
        if (limit < (size_t{1} << 20)) throw;
      }
    }
    return plans.emplace(name, made).first->second;
  }
};

struct Factors {
  float one = 1, zero = 0;
  double one_double = 1, zero_double = 0;
  bool is_double;

  explicit Factors(DType dtype) : is_double(dtype == DType::kFloat64) {}
  const void* alpha() const { return is_double ? static_cast<const void*>(&one_double) : &one; }
  const void* beta() const { return is_double ? static_cast<const void*>(&zero_double) : &zero; }
};

void read_layout(const ShapedView& view, int64_t (&shape)[4], int64_t (*strides)[4]) {
  int64_t product = 1;
  for (int axis = 3; axis >= 0; --axis) {
    shape[axis] = view.shape[axis];
    if (strides != nullptr) (*strides)[axis] = view.contiguous ? product : view.strides[axis];
    product *= shape[axis];
  }
}

Key make_key(Direction direction, const ShapedView& x, const ShapedView& w, const ShapedView& y, Pair stride,
             Pair padding, Pair dilation, int64_t groups) {
  Key key{};
  key.direction = direction;
  key.dtype = y.dtype;
  key.tf32 = tf32();
  read_layout(x, key.x, &key.x_strides);
  read_layout(w, key.w, nullptr);
  read_layout(y, key.y, nullptr);
  key.stride = stride;
  key.padding = padding;
  key.dilation = dilation;
  key.groups = groups;
  return key;
}

ShapedView permuted(const ShapedView& view, const int (&order)[4]) {
  ShapedView result = view;
  int64_t product = 1, strides[4];
  for (int axis = 3; axis >= 0; --axis) {
    strides[axis] = view.contiguous ? product : view.strides[axis];
    product *= view.shape[axis];
  }
  for (int axis = 0; axis < 4; ++axis) {
    result.shape[axis] = view.shape[order[axis]];
    result.strides[axis] = strides[order[axis]];
  }
  result.contiguous = false;
  return result;
}

constexpr int kOutputsFirst[4] = {3, 0, 1, 2};  // (KH, KW, C, O) seen as the library's (O, KH, KW, C)

// A contiguous copy in scratch memory of a view, whose axes may have been permuted.
class Compact {
 public:
  explicit Compact(const ShapedView& view) : space_(static_cast<size_t>(view.size * item_size(view.dtype))) {
    view_ = view;
    view_.data = space_.as<void>();
    view_.contiguous = true;
  }
  const ShapedView& view() const { return view_; }

 private:
  Workspace space_;
  ShapedView view_;
};

bool usable(const ShapedView& image) {  // as the library's x: stored without overlap, one way or the other
  if (image.contiguous) return true;
  const int64_t* s = image.strides;
  return s[2] == 1 && s[1] == image.shape[2] && s[3] == image.shape[1] * image.shape[2] &&
         s[0] == image.shape[3] * s[3];
}

ShapedView dense(const ShapedView& view, std::optional<Compact>& copy_of_it) {
  if (view.contiguous) return view;
  copy_of_it.emplace(view);
  copy(copy_of_it->view(), view);
  return copy_of_it->view();
}

bool empty(const ShapedView& a, const ShapedView& b) { return a.size == 0 || b.size == 0; }

void fill_zero(const View& dst) {
  check(cudaMemsetAsync(dst.data, 0, static_cast<size_t>(dst.size * item_size(dst.dtype)), stream()));
}

}  // namespace

void conv2d(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation,
            int64_t groups) {
  if (dst.size == 0) return;
  if (empty(x, w)) return fill_zero(dst);
  std::optional<Compact> x_copy;
  const ShapedView image = usable(x) ? x : dense(x, x_copy);
  const ShapedView turned = permuted(w, kOutputsFirst);
  const Compact weight(turned);
  copy(weight.view(), turned);
  const void *from = image.data, *by = weight.view().data;
  Library& library = Library::here();
  constexpr int kCandidates = CUDNN_CONVOLUTION_FWD_ALGO_COUNT;
  Plan& plan = library.plan(
      make_key(kForward, image, w, dst, stride, padding, dilation, groups), [&](Plan& made, void* space, size_t limit) {
        std::vector<cudnnConvolutionFwdAlgoPerf_t> results(kCandidates);
        int found = 0;
        if (cudnnFindConvolutionForwardAlgorithmEx(library.handle, made.x, from, made.w, by, made.conv, made.y,
                                                   dst.data, kCandidates, &found, results.data(), space,
                                                   limit) == CUDNN_STATUS_SUCCESS) {
          made.take(results, found);
        }
      });
  if (plan.algorithm < 0) return conv2d_direct(dst, x, w, stride, padding, dilation, groups);
  const Factors factors(dst.dtype);
  const Workspace space(plan.workspace);
  check_library(cudnnConvolutionForward(library.handle, factors.alpha(), plan.x, from, plan.w, by, plan.conv,
                                        static_cast<cudnnConvolutionFwdAlgo_t>(plan.algorithm), space.as<void>(),
                                        plan.workspace, factors.beta(), plan.y, dst.data));
}

void conv2d_grad_input(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride, Pair padding,
                       Pair dilation, int64_t groups) {
  if (dst.size == 0) return;
  if (empty(g, w)) return fill_zero(dst);
  std::optional<Compact> g_copy;
  const ShapedView gradient = dense(g, g_copy);
  const ShapedView turned = permuted(w, kOutputsFirst);
  const Compact weight(turned);
  copy(weight.view(), turned);
  const void *from = gradient.data, *by = weight.view().data;
  Library& library = Library::here();
  constexpr int kCandidates = CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT;
  Plan& plan = library.plan(make_key(kInput, dst, w, gradient, stride, padding, dilation, groups),
                            [&](Plan& made, void* space, size_t limit) {
                              std::vector<cudnnConvolutionBwdDataAlgoPerf_t> results(kCandidates);
                              int found = 0;
                              if (cudnnFindConvolutionBackwardDataAlgorithmEx(
                                      library.handle, made.w, by, made.y, from, made.conv, made.x, dst.data,
                                      kCandidates, &found, results.data(), space, limit) == CUDNN_STATUS_SUCCESS) {
                                made.take(results, found);
                              }
                            });
  if (plan.algorithm < 0) return conv2d_grad_input_direct(dst, g, w, stride, padding, dilation, groups);
  const Factors factors(dst.dtype);
  const Workspace space(plan.workspace);
  check_library(cudnnConvolutionBackwardData(library.handle, factors.alpha(), plan.w, by, plan.y, from, plan.conv,
                                             static_cast<cudnnConvolutionBwdDataAlgo_t>(plan.algorithm),
                                             space.as<void>(), plan.workspace, factors.beta(), plan.x, dst.data));
}

void conv2d_grad_weight(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride, Pair padding,
                        Pair dilation, int64_t groups) {
  if (dst.size == 0) return;
  if (empty(x, g)) return fill_zero(dst);
  std::optional<Compact> x_copy, g_copy;
  const ShapedView image = usable(x) ? x : dense(x, x_copy);
  const ShapedView gradient = dense(g, g_copy);
  const ShapedView turned = permuted(dst, kOutputsFirst);  // dst, as the library writes it
  const Compact weight(turned);
  const void *from = image.data, *by = gradient.data;
  Library& library = Library::here();
  constexpr int kCandidates = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT;
  Plan& plan = library.plan(make_key(kWeight, image, dst, gradient, stride, padding, dilation, groups),
                            [&](Plan& made, void* space, size_t limit) {
                              std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> results(kCandidates);
                              int found = 0;
                              if (cudnnFindConvolutionBackwardFilterAlgorithmEx(
                                      library.handle, made.x, from, made.y, by, made.conv, made.w, weight.view().data,
                                      kCandidates, &found, results.data(), space, limit) == CUDNN_STATUS_SUCCESS) {
                                made.take(results, found);
                              }
                            });
  if (plan.algorithm < 0) return conv2d_grad_weight_direct(dst, x, g, stride, padding, dilation, groups);
  const Factors factors(dst.dtype);
  const Workspace space(plan.workspace);
  check_library(cudnnConvolutionBackwardFilter(library.handle, factors.alpha(), plan.x, from, plan.y, by, plan.conv,
                                               static_cast<cudnnConvolutionBwdFilterAlgo_t>(plan.algorithm),
                                               space.as<void>(), plan.workspace, factors.beta(), plan.w,
                                               weight.view().data));
  copy(turned, weight.view());
}

}  // namespace needle
