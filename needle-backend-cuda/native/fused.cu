// elementwise: several functions in one pass, by a kernel that was written for just these. Which kernel, and the words
// of its parameter, follow from the operands; fused.py writes the source and numbers the words in the same order.
#include <needle/steps.h>

#include <cstring>
#include <memory>
#include <unordered_map>

#include "fused.h"
#include "launch.cuh"
#include "scalar.cuh"

namespace needle {
namespace {

constexpr int kMostNeighbours = 8;                    // that a thread computes
constexpr const char* kLinear = "linear";             // element i of the result meets element i
constexpr const char* kOne = "one";                   // one element meets all
constexpr char kSame = '0', kNext = '1', kAny = 's';  // strides along one axis

FusedBuilder build = nullptr;

struct Operand {
  std::string pattern;
  Strided<1> strides;
};

Operand operand_of(const View& src, int64_t size) {
  if (src.size == 1) return {kOne, {}};
  if (src.contiguous && src.size == size) return {kLinear, {}};
  Operand found{"", strided<1>({&src})};
  for (int axis = 0; axis < found.strides.rank; ++axis) {
    const int64_t stride = found.strides.strides[0][axis];
    found.pattern += stride == 0 ? kSame : stride == 1 ? kNext : kAny;
  }
  if (found.pattern == std::string(1, kSame)) found.pattern = kOne;
  if (found.pattern == std::string(1, kNext)) found.pattern = kLinear;
  return found;
}

bool is_strided(const Operand& x) { return x.pattern != kLinear && x.pattern != kOne; }

// Whether an operand can be read `count` neighbours at a time.
bool packs(const Operand& x, const View& src, int count) {
  if (x.pattern == kOne) return true;
  const bool in_place = aligned(src.data, static_cast<size_t>(count * item_size(src.dtype)));
  if (x.pattern == kLinear) return in_place;
  const int last = x.strides.rank - 1;
  if (x.pattern[static_cast<size_t>(last)] == kAny || x.strides.shape[last] % count != 0) return false;
  if (x.pattern[static_cast<size_t>(last)] == kSame) return true;
  for (int axis = 0; axis < last; ++axis) {
    if (x.strides.strides[0][axis] % count != 0) return false;
  }
  return in_place;
}

int neighbours(const std::vector<View>& dsts, const std::vector<View>& srcs, const std::vector<Operand>& operands) {
  int64_t largest = 1;
  for (const View& dst : dsts) largest = std::max(largest, item_size(dst.dtype));
  for (size_t i = 0; i < srcs.size(); ++i) {
    if (operands[i].pattern != kOne) largest = std::max(largest, item_size(srcs[i].dtype));
  }
  const int count = std::min(kMostNeighbours, static_cast<int>(16 / largest));
  for (const View& dst : dsts) {
    if (!aligned(dst.data, static_cast<size_t>(count * item_size(dst.dtype)))) return 1;
  }
  for (size_t i = 0; i < srcs.size(); ++i) {
    if (!packs(operands[i], srcs[i], count)) return 1;
  }
  return count;
}

// What a step of `dtype` computes with, as the lowest bits of a word.
uint64_t scalar_word(DType dtype, const Scalar& scalar) {
  uint64_t word = 0;
  visit_dtype(dtype, [&](auto type) {
    const auto value = rounded<typename decltype(type)::type>(scalar);
    std::memcpy(&word, &value, sizeof(value));
  });
  return word;
}

uint64_t word_of(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

std::vector<uint64_t> words_of(const std::vector<View>& dsts, const std::vector<View>& srcs, const Code& code,
                               const std::vector<Scalar>& scalars, const std::vector<Operand>& operands, bool wide) {
  std::vector<uint64_t> words{static_cast<uint64_t>(dsts[0].size)};
  for (const View& src : srcs) words.push_back(word_of(src.data));
  for (const View& dst : dsts) words.push_back(word_of(dst.data));
  const size_t first = words.size();
  words.resize(first + scalars.size());
  for (int32_t i = 0; i < code.count; ++i) {
    const Step& step = code.steps[i];
    if (step.op != kBinaryScalar) continue;
    const auto number = static_cast<size_t>(step.b);
    words[first + number] = scalar_word(step.dtype, scalars[number]);
  }
  for (const Operand& x : operands) {
    if (!is_strided(x)) continue;
    for (int axis = 1; axis < x.strides.rank; ++axis) {
      const Divisor& by = x.strides.divisors[axis];
      words.push_back(wide ? static_cast<uint64_t>(x.strides.shape[axis]) : uint64_t{by.multiplier} << 32 | by.divisor);
      words.push_back(wide ? 0 : by.shift);
    }
    for (int axis = 0; axis < x.strides.rank; ++axis) {
      if (x.pattern[static_cast<size_t>(axis)] == kAny) {
        words.push_back(static_cast<uint64_t>(x.strides.strides[0][axis]));
      }
    }
  }
  return words;
}

// Equal for equal shapes.
std::string name_of(const FusedShape& shape) {
  std::string name = shape.expression;
  for (const FusedShape::Operand& x : shape.operands) name += std::to_string(x.dtype) + x.pattern + ',';
  for (const int32_t dtype : shape.results) name += std::to_string(dtype) + '>';
  return name + std::to_string(shape.count) + (shape.wide ? "w" : "");
}

// The kernel for a shape on the device at hand: built once, and kept as long as the process.
cudaKernel_t kernel_for(const FusedShape& shape) {
  using Kernels = std::unordered_map<std::string, cudaKernel_t>;
  static std::vector<Kernels>* const all = new std::vector<Kernels>(static_cast<size_t>(Runtime::count()));
  Kernels& known = (*all)[static_cast<size_t>(runtime().index)];
  const std::string name = name_of(shape);
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  cudaStreamCaptureStatus state;
  check(cudaStreamIsCapturing(stream(), &state));
  // Other threads run while NVRTC does: what they queue must not be taken down.
  if (state != cudaStreamCaptureStatusNone) throw LibraryFailure("a fused kernel is not built yet");
  const cudaDeviceProp& card = runtime().properties;
  const std::string code = build(shape, card.major * 10 + card.minor);
  cudaLibrary_t library;
  cudaKernel_t kernel;
  check(cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  check(cudaLibraryGetKernel(&kernel, library, "fused"));
  return known.emplace(name, kernel).first->second;
}

}  // namespace

void set_fused_builder(FusedBuilder builder) { build = builder; }

void elementwise(const std::vector<View>& dsts, const std::vector<View>& srcs, const Expression& expression,
                 const std::vector<Scalar>& scalars) {
  const int64_t size = dsts.at(0).size;
  if (size == 0) return;
  const Code code(expression);
  std::vector<Operand> operands;
  FusedShape shape{std::string(expression.packed, code.nbytes()), {}, {}, 1, size >= (int64_t{1} << 31)};
  for (const View& src : srcs) {
    operands.push_back(operand_of(src, size));
    shape.operands.push_back({static_cast<int32_t>(src.dtype), operands.back().pattern});
    shape.wide = shape.wide || (is_strided(operands.back()) && !operands.back().strides.narrow);
  }
  for (const View& dst : dsts) shape.results.push_back(static_cast<int32_t>(dst.dtype));
  shape.count = neighbours(dsts, srcs, operands);
  std::vector<uint64_t> words = words_of(dsts, srcs, code, scalars, operands, shape.wide);
  const cudaKernel_t kernel = kernel_for(shape);
  void* parameters[] = {words.data(), nullptr};
  check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), blocks_for(size, int64_t{kThreads} * shape.count),
                         kThreads, parameters, 0, stream()));
}

}  // namespace needle
