// matmul and linear by cuBLASLt. What it needs for a problem is found once and kept.
#include "matmul.h"

#include <cublasLt.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "event.h"
#include "runtime.h"

namespace needle {

Product::Product(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b)
    : transpose_a(transpose_a), transpose_b(transpose_b) {
  Matrices ma(a), mb(b), mc(dst);
  k = transpose_a ? ma.rows : ma.columns;
  // A stack times one matrix is a single taller matrix, if the stack is dense.
  const bool dense = ma.batch_stride == ma.rows * ma.row_stride && mc.batch_stride == mc.rows * mc.row_stride;
  if (mc.batch > 1 && mb.batch == 1 && ma.batch == mc.batch && !transpose_a && dense) {
    mc.rows *= mc.batch;
    mc.batch = 1;
    ma.batch_stride = mc.batch_stride = 0;
  }
  batch = mc.batch;
  m = mc.rows;
  n = mc.columns;
  lda = ma.row_stride;
  ldb = mb.row_stride;
  ldc = mc.row_stride;
  a_stride = ma.batch_stride;
  b_stride = mb.batch_stride;
  c_stride = mc.batch_stride;
}

namespace {

constexpr size_t kWorkspaceLimit = 32 << 20;
constexpr int kCandidates = 16;

bool use_tf32 = false, use_tuning = false;  // read and written with the GIL held

void check_library(cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw LibraryFailure(std::string("cuBLASLt: ") + cublasLtGetStatusString(status));
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return CUDA_R_16F;
    case DType::kBFloat16: return CUDA_R_16BF;
    case DType::kFloat64: return CUDA_R_64F;
    default: return CUDA_R_32F;
  }
}

bool library_takes(DType dtype) {
  return dtype == DType::kFloat16 || dtype == DType::kBFloat16 || dtype == DType::kFloat32 || dtype == DType::kFloat64;
}

// What a plan depends on. Compared and hashed by its bytes, so there is no padding.
struct Key {
  Product product;
  int32_t dtype, tf32, epilogue, alignment, tuned, unused = 0;

  std::string_view bytes() const { return {reinterpret_cast<const char*>(this), sizeof(Key)}; }
};

// The library's row-major trick: it counts columns first, so c = a b is given to it as c' = b' a'.
class Plan {
 public:
  explicit Plan(const Key& key) {
    const Product& p = key.product;
    const cudaDataType_t type = data_type(static_cast<DType>(key.dtype));
    const bool is_double = type == CUDA_R_64F;
    scalar_is_double_ = is_double;
    const cublasComputeType_t compute = is_double  ? CUBLAS_COMPUTE_64F
                                        : key.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                   : CUBLAS_COMPUTE_32F;
    check_library(cublasLtMatmulDescCreate(&operation_, compute, is_double ? CUDA_R_64F : CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (key.epilogue != CUBLASLT_EPILOGUE_DEFAULT) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<cublasLtEpilogue_t>(key.epilogue));
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type);
    }
    left_ = layout(type, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.ldb, p.batch, p.b_stride);
    right_ = layout(type, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.lda, p.batch, p.a_stride);
    result_ = layout(type, p.n, p.m, p.ldc, p.batch, p.c_stride);
    find_candidates(static_cast<uint32_t>(key.alignment));
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;  // a plan lives as long as the process

  // False if the library has nothing for the problem.
  bool run(cublasLtHandle_t handle, const View& dst, const View& a, const View& b, const void* bias) {
    if (candidates_.empty()) return false;
    if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (candidates_.size() > 1) choose(handle, dst, a, b);
    const cublasStatus_t status = multiply(handle, candidates_[0], dst, a, b);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return false;  // an epilogue wants its bias aligned
    check_library(status);
    return true;
  }

 private:
  template <class T> void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check_library(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof(value)));
  }

  static cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t ld, int64_t batch,
                                       int64_t stride) {
    cublasLtMatrixLayout_t made;
    check_library(cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns),
                                             std::max(ld, rows)));
    const int32_t count = static_cast<int32_t>(batch);
    check_library(cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)));
    check_library(
        cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof(stride)));
    return made;
  }

  void find_candidates(uint32_t alignment);
  void choose(cublasLtHandle_t handle, const View& dst, const View& a, const View& b);

  cublasStatus_t multiply(cublasLtHandle_t handle, const cublasLtMatmulHeuristicResult_t& how, const View& dst,
                          const View& a, const View& b) {
    static const float one_float = 1, zero_float = 0;
    static const double one_double = 1, zero_double = 0;
    const void* one = scalar_is_double_ ? static_cast<const void*>(&one_double) : &one_float;
    const void* zero = scalar_is_double_ ? static_cast<const void*>(&zero_double) : &zero_float;
    const auto run = [&](void* space) {
      return cublasLtMatmul(handle, operation_, one, b.data, left_, a.data, right_, zero, dst.data, result_, dst.data,
                            result_, &how.algo, space, how.workspaceSize, stream());
    };
    if (how.workspaceSize == 0) return run(nullptr);
    const Workspace space(how.workspaceSize);
    return run(space.as<void>());
  }

  cublasLtMatmulDesc_t operation_;
  cublasLtMatrixLayout_t left_, right_, result_;
  std::vector<cublasLtMatmulHeuristicResult_t> candidates_;
  bool scalar_is_double_;
};

// One device's handle and plans; never destroyed, for the interpreter may end after the driver.
struct Library {
  cublasLtHandle_t handle = nullptr;
  std::unordered_map<std::string, std::unique_ptr<Plan>> plans;

  static Library& here() {
    static std::vector<Library>* const all = new std::vector<Library>(static_cast<size_t>(Runtime::count()));
    Library& library = (*all)[static_cast<size_t>(runtime().index)];
    if (library.handle == nullptr) check_library(cublasLtCreate(&library.handle));
    return library;
  }
};

void Plan::find_candidates(uint32_t alignment) {
  cublasLtMatmulPreference_t preference;
  check_library(cublasLtMatmulPreferenceCreate(&preference));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_library(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceLimit);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    prefer(attribute, alignment);
  }
  candidates_.resize(use_tuning ? kCandidates : 1);
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(Library::here().handle, operation_, left_, right_, result_, result_, preference,
                                     static_cast<int>(candidates_.size()), candidates_.data(), &found);
  cublasLtMatmulPreferenceDestroy(preference);
  candidates_.resize(static_cast<size_t>(found));
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) check_library(status);
}

// Leaves the fastest candidate alone.
void Plan::choose(cublasLtHandle_t handle, const View& dst, const View& a, const View& b) {
  constexpr int kRounds = 5;
  size_t best = 0;
  float least = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    check_library(multiply(handle, candidates_[i], dst, a, b));
    const Event start(runtime());
    for (int round = 0; round < kRounds; ++round) check_library(multiply(handle, candidates_[i], dst, a, b));
    const Event end(runtime());
    end.wait();
    const float time = end.milliseconds_since(start);
    if (i == 0 || time < least) best = i, least = time;
  }
  candidates_ = {candidates_[best]};
}

// The power of two, 16 at most, that divides all addresses and strides in bytes.
int32_t common_alignment(const Product& p, const View& dst, const View& a, const View& b) {
  const uintptr_t item = static_cast<uintptr_t>(item_size(dst.dtype));
  uintptr_t bits = 16 | reinterpret_cast<uintptr_t>(dst.data) | reinterpret_cast<uintptr_t>(a.data) |
                   reinterpret_cast<uintptr_t>(b.data);
  if (p.batch > 1) bits |= static_cast<uintptr_t>(p.a_stride | p.b_stride | p.c_stride) * item;
  return static_cast<int32_t>(bits & (~bits + 1));
}

bool multiply(const Product& product, const View& dst, const View& a, const View& b, const void* bias,
              cublasLtEpilogue_t epilogue) {
  Key key{product,
          static_cast<int32_t>(dst.dtype),
          use_tf32 && dst.dtype == DType::kFloat32,
          static_cast<int32_t>(epilogue),
          common_alignment(product, dst, a, b),
          use_tuning};
  Library& library = Library::here();
  thread_local std::string name;  // so that a look-up allocates nothing
  name.assign(key.bytes());
  std::unique_ptr<Plan>& plan = library.plans[name];
  if (plan == nullptr) {
    try {
      plan = std::make_unique<Plan>(key);
    } catch (...) {
      library.plans.erase(name);
      throw;
    }
  }
  return plan->run(library.handle, dst, a, b, bias);
}

}  // namespace

void set_tf32(bool on) { use_tf32 = on; }
bool tf32() { return use_tf32; }
void set_tuning(bool on) { use_tuning = on; }
bool tuning() { return use_tuning; }

void matmul(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b) {
  if (dst.size == 0) return;
  const Product product(dst, a, b, transpose_a, transpose_b);
  if (product.k == 0) {
    check(cudaMemsetAsync(dst.data, 0, static_cast<size_t>(dst.size * item_size(dst.dtype)), stream()));
  } else if (!library_takes(dst.dtype) || !multiply(product, dst, a, b, nullptr, CUBLASLT_EPILOGUE_DEFAULT)) {
    multiply_tiled(product, dst, a, b);
  }
}

void linear(const ShapedView& dst, const ShapedView& a, const ShapedView& b, const View& bias, bool transpose_b,
            std::optional<Unary> activation) {
  if (dst.size == 0) return;
  const Product product(dst, a, b, false, transpose_b);
  const bool relu = activation == Unary::kRelu, may_fuse = product.k > 0 && library_takes(dst.dtype);
  const cublasLtEpilogue_t epilogue = relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
  if (may_fuse && dst.dtype != DType::kFloat64 && multiply(product, dst, a, b, bias.data, epilogue)) {
    if (relu || !activation) return;
  } else {
    matmul(dst, a, b, false, transpose_b);
    add_row(dst, bias);
    if (!activation) return;
  }
  unary(*activation, dst, dst);
}

}  // namespace needle
