// elementwise: several functions in one pass. The kernel of an expression is written as Metal source, compiled at its
// first use, and kept: each step is a line, each value a register.
#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>

#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

constexpr size_t kMostBuffers = 28;  // of 31, but for numbers and strides

enum StepOp { kUnary, kBinary, kBinaryScalar, kWhere, kCast };  // in the order of STEPS in expression.py

struct Step {
  int32_t op, kind;
  DType dtype, result;  // what it computes in, and gives
  int32_t a, b, c;      // values; for kBinaryScalar b numbers the scalar
  int32_t swapped;
};
static_assert(sizeof(Step) == 32, "eight numbers, as expression.py packs them");

// The parts of a packed expression.
struct Code {
  int32_t operands, count, results;
  const Step* steps;
  const int32_t* result;

  explicit Code(const Expression& expression) {
    const auto* head = reinterpret_cast<const int32_t*>(expression.packed);
    operands = head[0];
    count = head[1];
    results = head[2];
    steps = reinterpret_cast<const Step*>(head + 3);
    result = reinterpret_cast<const int32_t*>(steps + count);
  }

  size_t nbytes() const { return (3 + 8 * static_cast<size_t>(count) + static_cast<size_t>(results)) * 4; }
};

enum class Reading : char { kInOrder = 'i', kOne = '1', kStrided = 's' };

Reading reading_of(const View& src, int64_t size) {
  if (src.size == 1 && size != 1) return Reading::kOne;
  return plain(src) ? Reading::kInOrder : Reading::kStrided;
}

Walk walk_of(const View& src) {
  const Strides s = strides_of({&src});
  Walk walk{s.rank, {}, {}};
  std::copy(std::begin(s.shape), std::end(s.shape), walk.shape);
  std::copy(std::begin(s.strides[0]), std::end(s.strides[0]), walk.strides);
  return walk;
}

Number number_of(const Scalar& scalar, DType dtype) {
  const int64_t whole = dtype == DType::kBool ? (scalar.real != 0)
                        : scalar.is_float     ? static_cast<int64_t>(scalar.real)
                                              : scalar.integer;
  return {static_cast<float>(scalar.real), static_cast<int32_t>(whole), static_cast<int32_t>(whole >> 32)};
}

// The type of elements in kernels/element.h.
const char* element_of(DType dtype) {
  static const char* const names[] = {"Bool8", "uchar", "char", "int32_t", "int64_t", "half", "BFloat16", "float"};
  return names[static_cast<int>(dtype)];
}

std::string n(size_t number) { return std::to_string(number); }

// Writes the kernel that gives results [first, last) of an expression.
class Writer {
 public:
  Writer(const Code& code, const std::vector<View>& dsts, const std::vector<View>& srcs, size_t first, size_t last)
      : code_(code), dsts_(dsts), srcs_(srcs), first_(first), last_(last) {}

  std::string kernel(const std::string& name) {
    std::string text = "\nkernel void " + name + "(";
    size_t buffer = 0;
    for (size_t i = first_; i < last_; ++i) {
      text += std::string("device ") + element_of(dsts_[i].dtype) + "* y" + n(i) + place(buffer++);
    }
    for (size_t i = 0; i < srcs_.size(); ++i) {
      text += std::string("device const ") + element_of(srcs_[i].dtype) + "* x" + n(i) + place(buffer++);
    }
    text += "constant Number* numbers" + place(buffer) + "constant Walk* walks" + place(buffer + 1);
    text += "uint i [[thread_position_in_grid]]) {\n";
    for (size_t i = 0; i < srcs_.size(); ++i) text += read(i);
    for (int32_t i = 0; i < code_.count; ++i) text += line(i);
    for (size_t i = first_; i < last_; ++i) {
      text += "  store(y" + n(i) + ", i, " + value(code_.result[i]) + ");\n";
    }
    return text + "}\n";
  }

 private:
  static std::string place(size_t buffer) { return " [[buffer(" + n(buffer) + ")]], "; }

  static std::string value(int32_t number) { return "v" + n(static_cast<size_t>(number)); }

  std::string read(size_t i) {
    const Reading reading = reading_of(srcs_[i], dsts_[0].size);
    const std::string at = reading == Reading::kInOrder ? "i" : reading == Reading::kOne ? "0" : "";
    const std::string where = at.empty() ? "walked(walks[" + n(walks_++) + "], i)" : at;
    return "  const auto v" + n(i) + " = load(x" + n(i) + ", " + where + ");\n";
  }

  std::string line(int32_t i) const {
    const Step& step = code_.steps[i];
    const std::string from = element_of(step.dtype), to = element_of(step.result), types = "<" + from + ", " + to + ">";
    const std::string kind = n(static_cast<size_t>(step.kind)), a = value(step.a);
    return "  const auto " + value(code_.operands + i) + " = " + expression(step, types, kind, a) + ";\n";
  }

  std::string expression(const Step& step, const std::string& types, const std::string& kind,
                         const std::string& a) const {
    switch (step.op) {
      case kUnary: {
        const Unary known = step.dtype == DType::kBool ? kind_for_bool(Unary(step.kind)) : Unary(step.kind);
        return "unary_step" + types + "(Unary(" + n(static_cast<size_t>(known)) + "), " + a + ")";
      }
      case kBinaryScalar: {
        const std::string scalar =
            std::string("scalar<") + element_of(step.dtype) + ">(numbers[" + n(static_cast<size_t>(step.b)) + "])";
        const std::string operands = step.swapped != 0 ? scalar + ", " + a : a + ", " + scalar;
        return "binary_step" + types + "(Binary(" + kind + "), " + operands + ")";
      }
      case kBinary: return "binary_step" + types + "(Binary(" + kind + "), " + a + ", " + value(step.b) + ")";
      case kWhere: return a + " != 0 ? " + value(step.b) + " : " + value(step.c);
      default: return std::string("Cast<") + element_of(step.result) + ">::of(" + a + ")";
    }
  }

  const Code& code_;
  const std::vector<View>& dsts_;
  const std::vector<View>& srcs_;
  size_t first_, last_, walks_ = 0;
};

// What the text of a kernel depends on.
std::string key_of(const Expression& expression, const Code& code, const std::vector<View>& dsts,
                   const std::vector<View>& srcs, size_t first) {
  std::string key(expression.packed, code.nbytes());
  key += std::to_string(first);
  for (const View& dst : dsts) key += static_cast<char>('A' + static_cast<int>(dst.dtype));
  for (const View& src : srcs) {
    key += static_cast<char>('A' + static_cast<int>(src.dtype));
    key += static_cast<char>(reading_of(src, dsts[0].size));
  }
  return key;
}

const Written& written(const Expression& expression, const Code& code, const std::vector<View>& dsts,
                       const std::vector<View>& srcs, size_t first, size_t last) {
  static std::unordered_map<std::string, std::unique_ptr<Written>> kernels;
  auto& kernel = kernels[key_of(expression, code, dsts, srcs, first)];
  if (kernel == nullptr) {
    const std::string name = "fused_" + n(kernels.size());
    kernel = std::make_unique<Written>(Written{name, Writer(code, dsts, srcs, first, last).kernel(name)});
  }
  return *kernel;
}

}  // namespace

void elementwise(const std::vector<View>& dsts, const std::vector<View>& srcs, const Expression& expression,
                 const std::vector<Scalar>& scalars) {
  if (dsts.empty() || dsts[0].size == 0) return;
  const Code code(expression);
  std::vector<Number> numbers(std::max<size_t>(1, scalars.size()));
  for (int32_t i = 0; i < code.count; ++i) {
    const Step& step = code.steps[i];
    if (step.op != kBinaryScalar) continue;
    numbers[static_cast<size_t>(step.b)] = number_of(scalars[static_cast<size_t>(step.b)], step.dtype);
  }
  std::vector<Walk> walks;
  for (const View& src : srcs) {
    if (reading_of(src, dsts[0].size) == Reading::kStrided) walks.push_back(walk_of(src));
  }
  if (walks.empty()) walks.resize(1);
  if (srcs.size() >= kMostBuffers)
    throw std::invalid_argument("elementwise: " + n(srcs.size()) +
                                " operands, and one result, are more than the 28 arrays that a kernel takes");
  const size_t most = kMostBuffers - srcs.size();  // results of one kernel; those of another are computed again
  for (size_t first = 0; first < dsts.size(); first += most) {
    const size_t last = std::min(dsts.size(), first + most);
    Launch launch(written(expression, code, dsts, srcs, first, last));
    for (size_t i = first; i < last; ++i) launch.buffer(dsts[i]);
    for (const View& src : srcs) launch.buffer(src);
    launch.raw_bytes(numbers.data(), numbers.size() * sizeof(Number));
    launch.raw_bytes(walks.data(), walks.size() * sizeof(Walk));
    launch.threads({static_cast<uint64_t>(dsts[0].size)});
  }
}

}  // namespace needle
