// elementwise: several functions in one pass over memory.
//
// Steps of few instructions, one after another, are a *run*: it goes over tiles of some vectors, which stay in
// registers from step to step (simd/tiles.cpp). Between runs, and for all other steps, a block of elements goes through
// one step after the other, so that what lies between them stays in the nearest cache. An expression that is one run
// over contiguous operands needs no blocks at all.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "launch.h"
#include "loops.h"
#include "outline.h"
#include "row_chunks.h"
#include "strided.h"
#include "workspace.h"

namespace needle {
namespace {

constexpr int64_t kSpan = 512;  // elements of a block

// The bytes of a block of any type, and a little more: slots a multiple of 4096 bytes apart would hold up each other's
// loads and stores, whose lowest 12 bits the processor compares first.
constexpr int64_t kSlot = kSpan * sizeof(double) + 320;

// One thread's way through its part of the elements.
class Evaluation {
 public:
  Evaluation(const Code& code, const Outline& outline, const std::vector<View>& dsts, const std::vector<View>& srcs,
             const std::vector<Scalar>& scalars, int64_t size, int64_t begin, bool streams = true)
      : code_(code),
        outline_(outline),
        dsts_(dsts),
        srcs_(srcs),
        scalars_(scalars),
        spare_(outline.slots + static_cast<int64_t>(srcs.size() + dsts.size() + scalars.size())),
        scratch_(static_cast<size_t>((spare_ + 3) * kSlot)),
        value_(static_cast<size_t>(code.operands + code.count)),
        runs_(static_cast<size_t>(outline.runs)),
        at_(begin) {
    for (const View& src : srcs) {
      const bool single = src.size == 1 && size != 1;
      readers_.push_back(src.contiguous && !single ? nullptr : std::make_unique<Reader>(src, size, begin, false));
    }
    for (const View& dst : dsts) streamed_.push_back(streams && is_streamed(dst) && is_aligned(dst));
    for (int32_t i = 0; i < code.count; ++i) {
      const Step& step = code.steps[i];
      if (step.op == kBinaryScalar && outline.run[i] < 0) fill(step, slot_at(constant(step.b)));
    }
  }

  ~Evaluation() {
    if (std::find(streamed_.begin(), streamed_.end(), true) != streamed_.end()) kernels().stream_end();
  }

  // Whether one run over contiguous operands is all there is.
  bool plain() const {
    for (size_t i = 0; i < srcs_.size(); ++i) {
      if (readers_[i] != nullptr && !is_single(static_cast<int32_t>(i))) return false;
    }
    for (int32_t i = 0; i < code_.count; ++i) {
      if (outline_.run[i] != 0 || (outline_.result[i] >= 0 && outline_.slot[i] >= 0)) return false;
    }
    return true;
  }

  void run(int64_t n) {
    if (plain()) {
      const int64_t tile = tile_length(code_.steps[0].dtype), whole = n / tile * tile;
      for (size_t i = 0; i < srcs_.size(); ++i) value_[i] = bytes_at(srcs_[i], at_);
      if (whole > 0) run_tiles(0, code_.count, whole, true);
      at_ += whole;
      n -= whole;
    }
    for (; n > 0; n -= std::min(n, kSpan)) block(std::min(n, kSpan));
  }

 private:
  // Values of one element are scalars to a run, and arrays of equal elements to other steps.
  bool is_single(int32_t value) const {
    return value < code_.operands && srcs_[static_cast<size_t>(value)].size == 1 && dsts_[0].size != 1;
  }
  static bool is_aligned(const View& dst) { return reinterpret_cast<uintptr_t>(dst.data) % 64 == 0; }
  static int64_t tile_length(DType dtype) { return kernels().tile_bytes / item_size(dtype); }

  // Slots: values, then operands and results of a last block that is no whole number of tiles, then constants.
  unsigned char* slot_at(int64_t slot) const { return scratch_.as<unsigned char>() + slot * kSlot; }
  int64_t operand_slot(size_t i) const { return outline_.slots + static_cast<int64_t>(i); }
  int64_t result_slot(int32_t i) const { return operand_slot(srcs_.size()) + i; }
  int64_t constant(int32_t i) const { return result_slot(static_cast<int32_t>(dsts_.size())) + i; }

  // All steps for the next n elements, at most kSpan.
  void block(int64_t n) {
    // A run takes whole tiles: what lies at the end of an array is computed beside it.
    const int64_t tile = kernels().tile_bytes / static_cast<int64_t>(sizeof(float));
    const bool beside = outline_.runs > 0 && n % tile != 0;
    for (size_t i = 0; i < srcs_.size(); ++i) {
      value_[i] = readers_[i] == nullptr ? bytes_at(srcs_[i], at_) : const_cast<void*>(readers_[i]->read(n));
      if (beside && !is_single(static_cast<int32_t>(i))) {
        std::memcpy(slot_at(operand_slot(i)), value_[i], static_cast<size_t>(n * item_size(srcs_[i].dtype)));
        value_[i] = slot_at(operand_slot(i));
      }
    }
    for (int32_t i = 0; i < code_.count; ++i) value_of(i) = place(i, beside);
    for (int32_t i = 0; i < code_.count;) {
      const int32_t first = i++;
      if (outline_.run[first] < 0) {
        step(code_.steps[first], value_of(first), n);
      } else {
        while (i < code_.count && outline_.run[i] == outline_.run[first]) ++i;
        const int64_t length = tile_length(code_.steps[first].dtype);
        run_tiles(first, i, (n + length - 1) / length * length, false);
      }
    }
    for (int32_t i = 0; i < code_.count; ++i) {
      if (outline_.result[i] < 0) continue;
      const View& dst = dsts_[static_cast<size_t>(outline_.result[i])];
      void* own = bytes_at(dst, at_);
      if (value_of(i) != own) std::memcpy(own, value_of(i), static_cast<size_t>(n * item_size(dst.dtype)));
    }
    at_ += n;
  }

  void*& value_of(int32_t step) { return value_[static_cast<size_t>(code_.operands + step)]; }

  void* place(int32_t i, bool beside) {
    if (outline_.slot[i] >= 0) return slot_at(outline_.slot[i]);
    const int32_t result = outline_.result[i];
    if (result < 0) return nullptr;
    return beside ? slot_at(result_slot(result)) : bytes_at(dsts_[static_cast<size_t>(result)], at_);
  }

  // A run as steps over tiles, with the value that each reads or writes: -1 for none.
  struct Run {
    std::vector<TileStep> steps;
    std::vector<int32_t> values;
  };

  Run made_run(int32_t begin, int32_t end) const {
    Run run;
    const DType dtype = code_.steps[begin].dtype;
    const auto push = [&](int32_t op, int32_t form, int32_t value) {
      run.steps.push_back({op, form, nullptr, 0, {}});
      run.values.push_back(value);
    };
    const auto with_single = [&](int32_t op, int32_t form, int32_t value) {
      push(op, form, -1);
      std::memcpy(run.steps.back().scalar, srcs_[static_cast<size_t>(value)].data, item_size(dtype));
    };
    int32_t held = -1;  // the value that is in registers
    const auto hold = [&](int32_t value) {
      if (held == value) return;
      is_single(value) ? with_single(kTileScalar, 0, value) : push(kTileLoad, 0, value);
    };
    for (int32_t i = begin; i < end; ++i) {
      const Step& step = code_.steps[i];
      const int32_t op = (step.op == kUnary ? kTileUnary : kTileBinary) + step.kind;
      if (step.op == kBinary) {
        const bool swapped = (held == step.b && held != step.a) || (is_single(step.a) && !is_single(step.b));
        hold(swapped ? step.b : step.a);
        const int32_t other = swapped ? step.a : step.b;
        if (step.a == step.b) {
          push(op, kWithItself, -1);
        } else if (is_single(other)) {
          with_single(op, swapped ? kScalarWith : kWithScalar, other);
        } else {
          push(op, swapped ? kMemoryWith : kWithMemory, other);
        }
      } else {
        hold(step.a);
        push(op, step.swapped != 0 ? kScalarWith : kWithScalar, -1);
        if (step.op == kBinaryScalar) convert(step, run.steps.back().scalar);
      }
      held = code_.operands + i;
      if (outline_.is_stored(code_, i)) push(kTileStore, 0, held);
    }
    return run;
  }

  // Steps that are one run, for n elements: `whole` says that these are all, for which slots are as long as a tile.
  void run_tiles(int32_t begin, int32_t end, int64_t n, bool whole) {
    Run& run = runs_[static_cast<size_t>(outline_.run[begin])];
    if (run.steps.empty()) run = made_run(begin, end);
    for (size_t k = 0; k < run.steps.size(); ++k) {
      const int32_t value = run.values[k], made = value - code_.operands;
      if (value < 0) continue;
      TileStep& step = run.steps[k];
      if (whole && made >= 0) value_[static_cast<size_t>(value)] = place(made, false);
      step.memory = value_[static_cast<size_t>(value)];
      step.step = whole && made >= 0 && outline_.slot[made] >= 0 ? 0 : kernels().tile_bytes;
      if (step.op == kTileStore || step.op == kTileStorePast) step.op = goes_past(made) ? kTileStorePast : kTileStore;
    }
    kernels().tiles[code_.steps[begin].dtype == DType::kFloat64](
        run.steps.data(), static_cast<int64_t>(run.steps.size()), n / tile_length(code_.steps[begin].dtype));
  }

  // Whether what a step gives is written past the caches now: a large result that no later step reads from memory.
  bool goes_past(int32_t i) const {
    const int32_t result = outline_.result[i], value = code_.operands + i;
    if (result < 0 || !streamed_[static_cast<size_t>(result)] || outline_.last[value] > i + 1 || at_ % 64 != 0)
      return false;
    return value_[static_cast<size_t>(value)] == bytes_at(dsts_[static_cast<size_t>(result)], at_);
  }

  // A scalar, rounded to the type it meets and converted to the type that is computed in.
  void convert(const Step& step, void* to) const {
    const Scalar& scalar = scalars_[static_cast<size_t>(step.b)];
    const void* from = scalar.is_float ? static_cast<const void*>(&scalar.real) : &scalar.integer;
    kernels().convert[scalar.is_float ? kF64 : kI64][compute_type(step.dtype)](from, to, 1);
  }

  // The same, as often as a block is long.
  void fill(const Step& step, unsigned char* to) const {
    convert(step, to);
    const auto size = static_cast<size_t>(compute_size(step.dtype));
    for (size_t filled = size; filled < kSpan * size; filled *= 2) {
      std::memcpy(to + filled, to, std::min(filled, kSpan * size - filled));
    }
  }

  // A value as functors compute with it: bools in int32.
  const void* wide(int32_t value, DType dtype, int spare, int64_t n) {
    const void* stored = value_[static_cast<size_t>(value)];
    const auto widen = kernels().widen[static_cast<int>(dtype)];
    if (widen == nullptr) return stored;
    void* to = slot_at(spare_ + spare);
    widen(stored, to, n);
    return to;
  }

  void step(const Step& step, void* out, int64_t n) {
    if (step.op == kWhere) {
      kernels().select[log2_item(step.result)].run(value_[step.a], value_[step.b], value_[step.c], out, n);
      return;
    }
    const void* a = wide(step.a, step.dtype, 0, n);
    if (step.op == kCast) return cast_to(step, a, out, n);
    if (step.op == kUnary) {
      const UnaryLoop loop = checked(unary_loop(static_cast<Unary>(step.kind), step.dtype), "elementwise");
      return narrowed(step, loop.to_bool, out, n, [&](void* to) { loop.run(a, to, n); });
    }
    const void* b = step.op == kBinary ? wide(step.b, step.dtype, 1, n) : slot_at(constant(step.b));
    if (step.swapped != 0) std::swap(a, b);
    const BinaryLoop loop = checked(binary_loop(static_cast<Binary>(step.kind), step.dtype), "elementwise");
    narrowed(step, loop.to_bool, out, n, [&](void* to) { loop.run(a, b, to, n); });
  }

  // Lets f write to `out`; or, where it computes bools in int32, beside it, to be narrowed.
  template <class F> void narrowed(const Step& step, bool to_bool, void* out, int64_t n, F f) {
    const auto narrow = to_bool ? nullptr : kernels().narrow[static_cast<int>(step.result)];
    if (narrow == nullptr) return f(out);
    void* beside = slot_at(spare_ + 2);
    f(beside);
    narrow(beside, out, n);
  }

  void cast_to(const Step& step, const void* x, void* out, int64_t n) {
    const Compute from = compute_type(step.dtype), to = compute_type(step.result);
    if (step.result == DType::kBool) return kernels().to_bool[from](x, out, n);
    if (from == to) return static_cast<void>(std::memcpy(out, x, static_cast<size_t>(n * compute_size(step.result))));
    kernels().convert[from][to](x, out, n);
  }

  const Code& code_;
  const Outline& outline_;
  const std::vector<View>& dsts_;
  const std::vector<View>& srcs_;
  const std::vector<Scalar>& scalars_;
  int64_t spare_;  // the first of three slots for bools as numbers
  Workspace scratch_;
  std::vector<std::unique_ptr<Reader>> readers_;  // of what is not simply an array
  std::vector<bool> streamed_;
  std::vector<void*> value_;
  std::vector<Run> runs_;
  int64_t at_;
};

}  // namespace

void elementwise(const std::vector<View>& dsts, const std::vector<View>& srcs, const Expression& expression,
                 const std::vector<Scalar>& scalars) {
  const Code code(expression);
  const Outline outline(code, dsts, srcs);
  const int64_t size = dsts.at(0).size, grain = std::max(2 * kSpan, kElementGrain / std::max(code.count, 1));
  parallel_for(size, grain, [&](int64_t begin, int64_t end) {
    Evaluation(code, outline, dsts, srcs, scalars, size, begin).run(end - begin);
  });
}

namespace {

constexpr int64_t kReducedAtOnce = 8192;  // elements that are computed into the nearest cache before they are reduced

// One thread's way through rows of the one value of an expression, cut as `reduce` cuts them.
class RowsOfExpression {
 public:
  // `made` is what the value would be in memory; the way begins at one of its elements.
  RowsOfExpression(const Code& code, const Outline& outline, const View& made, const std::vector<View>& srcs,
                   const std::vector<Scalar>& scalars, ReduceLoops loops, int64_t begin)
      : loops_(loops),
        item_(item_size(made.dtype)),
        at_(begin),
        part_{made},
        evaluation_(code, outline, part_, srcs, scalars, made.size, begin, false) {}

  // The next `count` rows of n elements.
  void rows(int64_t count, int64_t n, unsigned char* out) {
    const Workspace space(static_cast<size_t>(count * n * item_));
    compute(count * n, space.as<unsigned char>());
    loops_.rows(space.as<void>(), n, count, out);
  }

  // The next row, or part of one, in halves as its own loop has them.
  void row(int64_t n, unsigned char* out) {
    if (n <= kReducedAtOnce) {
      const Workspace space(static_cast<size_t>(n * item_));
      compute(n, space.as<unsigned char>());
      return loops_.row(space.as<void>(), n, out);
    }
    unsigned char halves[2 * sizeof(double)];
    const int64_t half = first_half(n);
    row(half, halves);
    row(n - half, halves + item_);
    loops_.row(halves, 2, out);
  }

 private:
  void compute(int64_t count, unsigned char* to) {
    part_[0].data = to - at_ * item_;
    evaluation_.run(count);
    at_ += count;
  }

  ReduceLoops loops_;
  int64_t item_, at_;
  std::vector<View> part_;
  Evaluation evaluation_;
};

}  // namespace

void elementwise_reduce(const View& dst, const std::vector<View>& srcs, const Expression& expression,
                        const std::vector<Scalar>& scalars, Reduce kind, int64_t rows, int64_t n) {
  View made;
  made.dtype = dst.dtype;
  made.size = rows * n;
  made.contiguous = true;
  if (made.size == 0) return reduce(kind, dst, made, rows, n);
  const Code code(expression);
  const Outline outline(code, {made}, srcs);
  const ReduceLoops loops = kernels().reduce[static_cast<int>(kind)][compute_type(dst.dtype)];
  const int64_t item = item_size(dst.dtype);
  const auto from = [&](int64_t begin) { return RowsOfExpression(code, outline, made, srcs, scalars, loops, begin); };
  unsigned char* out = dst.as<unsigned char>();
  if (n <= 2 * kRowChunk) {
    const int64_t fitting = kReducedAtOnce / n, groups = std::max<int64_t>(1, fitting / kRowsTogether);
    const int64_t step = n > 4 * kRowsTogether ? std::max<int64_t>(1, fitting) : groups * kRowsTogether;
    parallel_for(rows, 1 + kReduceGrain / n, [&](int64_t begin, int64_t end) {
      RowsOfExpression part = from(begin * n);
      for (int64_t r = begin; r < end; r += step) {
        n > kReducedAtOnce ? part.row(n, out + r * item) : part.rows(std::min(step, end - r), n, out + r * item);
      }
    });
    return;
  }
  const int64_t chunks = (n + kRowChunk - 1) / kRowChunk;
  const Workspace partials(static_cast<size_t>(rows * chunks * item));
  parallel_tasks(rows * chunks, [&](int64_t task) {
    const int64_t begin = task % chunks * kRowChunk;
    from(task / chunks * n + begin).row(std::min(kRowChunk, n - begin), partials.as<unsigned char>() + task * item);
  });
  for (int64_t r = 0; r < rows; ++r) {
    loops.row(partials.as<unsigned char>() + r * chunks * item, chunks, out + r * item);
  }
}

}  // namespace needle
