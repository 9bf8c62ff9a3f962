// elementwise, and elementwise_reduce: several functions in one pass. The kernel of an expression is written as Metal
// source, compiled at its first use, and kept: each step is a line, each value a register.
#include <needle/steps.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

constexpr size_t kMostBuffers = 28;  // of 31, but for numbers and strides

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

// Writes kernels for an expression over `size` elements.
class Writer {
 public:
  Writer(const Code& code, const std::vector<View>& srcs, int64_t size) : code_(code), srcs_(srcs), size_(size) {}

  // The kernel that gives results [first, last): a thread an element.
  std::string elements(const std::string& name, const std::vector<View>& dsts, size_t first, size_t last) {
    std::string text = "\nkernel void " + name + "(";
    for (size_t i = first; i < last; ++i) text += result(dsts[i].dtype, i);
    text += operands() + "uint i [[thread_position_in_grid]]) {\n" + steps();
    for (size_t i = first; i < last; ++i) text += "  store(y" + n(i) + ", i, " + value(code_.result[i]) + ");\n";
    return text + "}\n";
  }

  // The kernel that reduces rows of the one result: a threadgroup a row.
  std::string rows(const std::string& name, DType dtype, Reduce kind) {
    static const char* const functors[] = {"Sum", "Prod", "Max", "Min"};  // in the order of Reduce
    const std::string functor = functors[static_cast<int>(kind)], type = element_of(dtype),
                      compute = "compute<" + type + ">";
    std::string text = "\nkernel void " + name + "(" + result(dtype, 0);  // places are counted in this order
    text += operands();
    text += "constant Rows& rows" + place();
    text += "uint row [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]], ";
    text += "uint size [[threads_per_threadgroup]]) {\n  threadgroup " + compute + " shared[32];\n";
    text += "  const " + compute + " identity = clamped(static_cast<device const " + type + "*>(nullptr), " + functor +
            "::identity<" + compute + ">());\n  " + compute + " total = identity;\n";
    text +=
        "  for (int j = int(index); j < rows.n; j += int(size)) {\n  const uint i = row * uint(rows.n) + uint(j);\n";
    text += steps() + "  total = " + functor + "()(total, " + value(code_.result[0]) + ");\n  }\n";
    text += "  total = group_reduce(" + functor + "(), total, identity, shared, index, size / 32);\n";
    return text + "  if (index == 0) store(y0, row, total);\n}\n";
  }

 private:
  std::string place() { return " [[buffer(" + n(buffers_++) + ")]], "; }

  std::string result(DType dtype, size_t i) {
    return std::string("device ") + element_of(dtype) + "* y" + n(i) + place();
  }

  std::string operands() {
    std::string text;
    for (size_t i = 0; i < srcs_.size(); ++i) {
      text += std::string("device const ") + element_of(srcs_[i].dtype) + "* x" + n(i) + place();
    }
    text += "constant Number* numbers" + place();
    return text + "constant Walk* walks" + place();
  }

  std::string steps() {
    std::string text;
    for (size_t i = 0; i < srcs_.size(); ++i) text += read(i);
    for (int32_t i = 0; i < code_.count; ++i) text += line(i);
    return text;
  }

  static std::string value(int32_t number) { return "v" + n(static_cast<size_t>(number)); }

  std::string read(size_t i) {
    const Reading reading = reading_of(srcs_[i], size_);
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
  const std::vector<View>& srcs_;
  int64_t size_;
  size_t buffers_ = 0, walks_ = 0;
};

// The kernel of this key, which says all that its text depends on; `write` writes it, given its name.
const Written& written(const std::string& key, const std::function<std::string(const std::string& name)>& write) {
  static std::unordered_map<std::string, std::unique_ptr<Written>> kernels;
  auto& kernel = kernels[key];
  if (kernel == nullptr) {
    const std::string name = "fused_" + n(kernels.size());
    kernel = std::make_unique<Written>(Written{name, write(name)});
  }
  return *kernel;
}

std::string key_of(const Expression& expression, const Code& code, const std::vector<View>& srcs, int64_t size) {
  std::string key(expression.packed, code.nbytes());
  for (const View& src : srcs) {
    key += static_cast<char>('A' + static_cast<int>(src.dtype));
    key += static_cast<char>(reading_of(src, size));
  }
  return key;
}

// The operands of a kernel, and the numbers that it is given.
struct Given {
  std::vector<Number> numbers;
  std::vector<Walk> walks;

  Given(const Code& code, const std::vector<View>& srcs, const std::vector<Scalar>& scalars, int64_t size)
      : numbers(std::max<size_t>(1, scalars.size())) {
    if (srcs.size() >= kMostBuffers) {
      throw std::invalid_argument("elementwise: " + n(srcs.size()) +
                                  " operands, and one result, are more than the 28 arrays that a kernel takes");
    }
    for (int32_t i = 0; i < code.count; ++i) {
      const Step& step = code.steps[i];
      if (step.op != kBinaryScalar) continue;
      numbers[static_cast<size_t>(step.b)] = number_of(scalars[static_cast<size_t>(step.b)], step.dtype);
    }
    for (const View& src : srcs) {
      if (reading_of(src, size) == Reading::kStrided) walks.push_back(walk_of(src));
    }
    if (walks.empty()) walks.resize(1);
  }

  // `instead` is bound for operands of no elements.
  void bind(Launch& launch, const std::vector<View>& srcs, const View& instead) const {
    for (const View& src : srcs) launch.buffer(src.size == 0 ? instead : src);
    launch.raw_bytes(numbers.data(), numbers.size() * sizeof(Number));
    launch.raw_bytes(walks.data(), walks.size() * sizeof(Walk));
  }
};

}  // namespace

void elementwise(const std::vector<View>& dsts, const std::vector<View>& srcs, const Expression& expression,
                 const std::vector<Scalar>& scalars) {
  if (dsts.empty() || dsts[0].size == 0) return;
  const int64_t size = dsts[0].size;
  const Code code(expression);
  const Given given(code, srcs, scalars, size);
  std::string key = key_of(expression, code, srcs, size);
  for (const View& dst : dsts) key += static_cast<char>('A' + static_cast<int>(dst.dtype));
  const size_t most = kMostBuffers - srcs.size();  // results of one kernel; those of another are computed again
  for (size_t first = 0; first < dsts.size(); first += most) {
    const size_t last = std::min(dsts.size(), first + most);
    Launch launch(written(key + "elements" + n(first), [&](const std::string& name) {
      return Writer(code, srcs, size).elements(name, dsts, first, last);
    }));
    for (size_t i = first; i < last; ++i) launch.buffer(dsts[i]);
    given.bind(launch, srcs, dsts[first]);
    launch.threads({static_cast<uint64_t>(size)});
  }
}

void elementwise_reduce(const View& dst, const std::vector<View>& srcs, const Expression& expression,
                        const std::vector<Scalar>& scalars, Reduce kind, int64_t rows, int64_t n_columns) {
  const int64_t size = checked_size(rows * n_columns);
  const Code code(expression);
  const Given given(code, srcs, scalars, size);
  const std::string key = key_of(expression, code, srcs, size) + static_cast<char>('A' + static_cast<int>(dst.dtype));
  Launch launch(written(key + "rows" + n(static_cast<size_t>(kind)),
                        [&](const std::string& name) { return Writer(code, srcs, size).rows(name, dst.dtype, kind); }));
  launch.buffer(dst);
  given.bind(launch, srcs, dst);
  launch.bytes(Rows{checked_size(rows), checked_size(n_columns)});
  launch.groups({static_cast<uint64_t>(rows)}, {n_columns <= 128 ? 32u : 256u});
}

}  // namespace needle
