// elementwise: several functions in one pass. A block of elements goes through all steps before the next one is read,
// so that what lies between the steps stays in the nearest cache and never reaches memory.
#include <algorithm>
#include <cstring>
#include <vector>

#include "launch.h"
#include "loops.h"
#include "ops.h"
#include "strided.h"
#include "workspace.h"

namespace needle {
namespace {

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
};

// The bytes of a block of any type, and a little more: slots a multiple of 4096 bytes apart would hold up each other's
// loads and stores, whose lowest 12 bits the processor compares first.
constexpr int64_t kSlot = kBlock * sizeof(double) + 320;

// Where the value of each step lies while a block is computed: a slot of scratch memory, used again when the value has
// been read for the last time, or a result's own memory.
struct Places {
  std::vector<int32_t> slot;    // by step; -1: it is a result
  std::vector<int32_t> result;  // by step: which result, or -1
  int32_t slots = 0;

  explicit Places(const Code& code) : slot(code.count, -1), result(code.count, -1) {
    for (int32_t i = 0; i < code.results; ++i) result[code.result[i] - code.operands] = i;
    std::vector<int32_t> last(code.count, -1), free;
    for (int32_t i = 0; i < code.count; ++i) each_input(code, i, [&](int32_t step) { last[step] = i; });
    for (int32_t i = 0; i < code.count; ++i) {
      if (result[i] < 0) {
        slot[i] = free.empty() ? slots++ : free.back();
        if (!free.empty()) free.pop_back();
      }
      std::vector<int32_t> done;
      each_input(code, i, [&](int32_t step) {
        if (last[step] == i && slot[step] >= 0 && std::find(done.begin(), done.end(), step) == done.end()) {
          done.push_back(step);
          free.push_back(slot[step]);
        }
      });
    }
  }

 private:
  template <class F> static void each_input(const Code& code, int32_t i, F f) {
    const Step& step = code.steps[i];
    const int32_t inputs[3] = {step.a, step.op == kBinary || step.op == kWhere ? step.b : -1,
                               step.op == kWhere ? step.c : -1};
    for (const int32_t value : inputs) {
      if (value >= code.operands) f(value - code.operands);
    }
  }
};

// One thread's way through its part of the elements.
class Evaluation {
 public:
  Evaluation(const Code& code, const Places& places, const std::vector<View>& dsts, const std::vector<View>& srcs,
             const std::vector<Scalar>& scalars, int64_t size, int64_t begin)
      : code_(code),
        places_(places),
        dsts_(dsts),
        srcs_(srcs),
        scratch_(static_cast<size_t>((places.slots + static_cast<int64_t>(scalars.size()) + 3) * kSlot)),
        value_(static_cast<size_t>(code.operands + code.count)),
        at_(begin) {
    readers_.reserve(srcs.size());
    for (const View& src : srcs) readers_.emplace_back(src, size, begin, false);
    constants_ = scratch_.as<unsigned char>() + (places.slots + 3) * kSlot;
    for (int32_t i = 0; i < code.count; ++i) {
      if (code.steps[i].op == kBinaryScalar) fill(code.steps[i], scalars[static_cast<size_t>(code.steps[i].b)]);
    }
  }

  void run(int64_t n) {
    for (size_t i = 0; i < readers_.size(); ++i) {
      value_[i] = readers_[i].read(n);
      if (readers_[i].direct()) prefetch(value_[i], n * item_size(srcs_[i].dtype));
    }
    for (int32_t i = 0; i < code_.count; ++i) {
      void* out = place(i);
      step(code_.steps[i], out, n);
      value_[static_cast<size_t>(code_.operands + i)] = out;
    }
    at_ += n;
  }

 private:
  // Asks for the block after this one, so that memory works while the steps compute in the cache. Beyond the end of an
  // array that is harmless: a prefetch never faults.
  static void prefetch(const void* block, int64_t nbytes) {
    const auto* next = static_cast<const unsigned char*>(block) + nbytes;
    for (int64_t i = 0; i < nbytes; i += 64) __builtin_prefetch(next + i);
  }

  void* place(int32_t i) {
    if (places_.result[i] >= 0) return bytes_at(dsts_[static_cast<size_t>(places_.result[i])], at_);
    return scratch_.as<unsigned char>() + places_.slot[i] * kSlot;
  }

  // A scalar, rounded to the type it meets and converted to the type that is computed in, as often as a block is long.
  void fill(const Step& step, const Scalar& scalar) {
    const Compute type = compute_type(step.dtype);
    const void* from = scalar.is_float ? static_cast<const void*>(&scalar.real) : &scalar.integer;
    unsigned char* to = constants_ + step.b * kSlot;
    kernels().convert[scalar.is_float ? kF64 : kI64][type](from, to, 1);
    const auto size = static_cast<size_t>(compute_size(step.dtype));
    for (size_t filled = size; filled < kBlock * size; filled *= 2) {
      std::memcpy(to + filled, to, std::min(filled, kBlock * size - filled));
    }
  }

  // A value as functors compute with it: bools in int32.
  const void* wide(int32_t value, DType dtype, int spare, int64_t n) {
    const void* stored = value_[static_cast<size_t>(value)];
    const auto widen = kernels().widen[static_cast<int>(dtype)];
    if (widen == nullptr) return stored;
    void* to = scratch_.as<unsigned char>() + (places_.slots + spare) * kSlot;
    widen(stored, to, n);
    return to;
  }

  void step(const Step& step, void* out, int64_t n) {
    if (step.op == kWhere) {
      kernels().select[log2_item(step.result)](value_[step.a], value_[step.b], value_[step.c], out, n);
      return;
    }
    const void* a = wide(step.a, step.dtype, 0, n);
    if (step.op == kCast) return convert(step, a, out, n);
    if (step.op == kUnary) {
      const UnaryLoop loop = checked(unary_loop(static_cast<Unary>(step.kind), step.dtype), "elementwise");
      return narrowed(step, loop.to_bool, out, n, [&](void* to) { loop.run(a, to, n); });
    }
    const void* b = step.op == kBinary ? wide(step.b, step.dtype, 1, n) : constants_ + step.b * kSlot;
    if (step.swapped != 0) std::swap(a, b);
    const BinaryLoop loop = checked(binary_loop(static_cast<Binary>(step.kind), step.dtype), "elementwise");
    narrowed(step, loop.to_bool, out, n, [&](void* to) { loop.run(a, b, to, n); });
  }

  // Lets f write to `out`; or, where it computes bools in int32, beside it, to be narrowed.
  template <class F> void narrowed(const Step& step, bool to_bool, void* out, int64_t n, F f) {
    const auto narrow = to_bool ? nullptr : kernels().narrow[static_cast<int>(step.result)];
    if (narrow == nullptr) return f(out);
    void* beside = scratch_.as<unsigned char>() + (places_.slots + 2) * kSlot;
    f(beside);
    narrow(beside, out, n);
  }

  void convert(const Step& step, const void* x, void* out, int64_t n) {
    const Compute from = compute_type(step.dtype), to = compute_type(step.result);
    if (step.result == DType::kBool) return kernels().to_bool[from](x, out, n);
    if (from == to) return static_cast<void>(std::memcpy(out, x, static_cast<size_t>(n * compute_size(step.result))));
    kernels().convert[from][to](x, out, n);
  }

  const Code& code_;
  const Places& places_;
  const std::vector<View>& dsts_;
  const std::vector<View>& srcs_;
  Workspace scratch_;
  std::vector<Reader> readers_;
  std::vector<const void*> value_;
  unsigned char* constants_ = nullptr;
  int64_t at_;
};

}  // namespace

void elementwise(const std::vector<View>& dsts, const std::vector<View>& srcs, const Expression& expression,
                 const std::vector<Scalar>& scalars) {
  const Code code(expression);
  const Places places(code);
  const int64_t size = dsts.at(0).size;
  parallel_for(size, kElementGrain, [&](int64_t begin, int64_t end) {
    Evaluation evaluation(code, places, dsts, srcs, scalars, size, begin);
    for (int64_t i = begin; i < end; i += kBlock) evaluation.run(std::min(kBlock, end - i));
  });
}

}  // namespace needle
