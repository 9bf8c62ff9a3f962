// softmax, log_softmax, cross_entropy and their gradients. Rows of halves are widened group by group.
#include <algorithm>

#include "launch.h"
#include "ops.h"
#include "strided.h"
#include "workspace.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 8192;     // elements that are worth another thread: an exponential costs more than a sum
constexpr int64_t kGroup = 4096;     // elements of rows that are widened at a time
constexpr int64_t kStreamed = 1024;  // the same, where reading and writing memory are to overlap

int float_type(DType dtype) { return dtype == DType::kFloat64 ? 1 : 0; }

// Some rows of an array (rows, n) in its compute type: the array's own memory, or a copy in `space`.
const void* widened_rows(const View& view, int64_t row, int64_t count, int64_t n, void* space) {
  const auto widen = kernels().widen[static_cast<int>(view.dtype)];
  const void* stored = bytes_at(view, row * n);
  if (widen == nullptr) return stored;
  widen(stored, space, count * n);
  return space;
}

// Calls f(row, count, x, out, past) for groups of rows; x holds the rows of all inputs, `out` takes those of the
// result, whose rows have `width` elements.
template <int kInputs, class F>
void by_rows(const View& dst, int64_t width, const View* const (&inputs)[kInputs], int64_t rows, int64_t n, F f) {
  const auto narrow = kernels().narrow[static_cast<int>(dst.dtype)];
  const Store store = row_store(dst, width);
  const bool direct = narrow == nullptr && store != Store::kCopiedPast, past = store == Store::kPast;
  const int64_t group = direct ? rows : std::max<int64_t>(1, (narrow == nullptr ? kStreamed : kGroup) / (n + 1));
  const int64_t item = compute_size(dst.dtype);
  parallel_for(rows, 1 + kGrain / (n + 1), [&](int64_t begin, int64_t end) {
    const size_t wide = direct ? 0 : static_cast<size_t>(group * std::max(n, width) * item);
    const Workspace space(wide * (kInputs + 1) + 1);
    for (int64_t row = begin; row < end; row += group) {
      const int64_t count = std::min(group, end - row);
      const void* x[kInputs];
      for (int i = 0; i < kInputs; ++i) {
        x[i] = widened_rows(*inputs[i], row, count, n, space.as<unsigned char>() + wide * static_cast<size_t>(i + 1));
      }
      void* out = direct ? bytes_at(dst, row * width) : space.as<void>();
      f(row, count, x, out, past);
      if (narrow != nullptr) narrow(out, bytes_at(dst, row * width), count * width);
      if (store == Store::kCopiedPast) kernels().stream(out, bytes_at(dst, row * width), count * width * item);
    }
    if (store != Store::kPlain) kernels().stream_end();
  });
}

using OneInput = void (*)(const void* x, void* out, int64_t rows, int64_t n, bool past);
using TwoInputs = void (*)(const void* g, const void* y, void* out, int64_t rows, int64_t n, bool past);

void map_rows(OneInput kernel, const View& dst, const View& x, int64_t rows, int64_t n) {
  const View* const inputs[] = {&x};
  by_rows(dst, n, inputs, rows, n, [=](int64_t, int64_t count, const void* const* in, void* out, bool past) {
    kernel(in[0], out, count, n, past);
  });
}

void map_rows(TwoInputs kernel, const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  const View* const inputs[] = {&g, &y};
  by_rows(dst, n, inputs, rows, n, [=](int64_t, int64_t count, const void* const* in, void* out, bool past) {
    kernel(in[0], in[1], out, count, n, past);
  });
}

// The labels as int64, each within [0, n).
void read_labels(const char* op, const View& labels, int64_t n, int64_t* out) {
  for (int64_t r = 0; r < labels.size; ++r) {
    out[r] = labels.dtype == DType::kInt64 ? labels.as<int64_t>()[r] : labels.as<int32_t>()[r];
    if (out[r] < 0 || out[r] >= n) throw IndexOutOfRange(op, out[r], n);
  }
}

}  // namespace

void softmax(const View& dst, const View& x, int64_t rows, int64_t n) {
  map_rows(kernels().softmax[float_type(x.dtype)], dst, x, rows, n);
}

void log_softmax(const View& dst, const View& x, int64_t rows, int64_t n) {
  map_rows(kernels().log_softmax[float_type(x.dtype)], dst, x, rows, n);
}

void softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  map_rows(kernels().softmax_grad[float_type(y.dtype)], dst, g, y, rows, n);
}

void log_softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  map_rows(kernels().log_softmax_grad[float_type(y.dtype)], dst, g, y, rows, n);
}

void cross_entropy(const View& dst, const ShapedView& logits, const View& labels) {
  const int64_t rows = labels.size, n = logits.shape[logits.rank - 1];
  const Workspace space(static_cast<size_t>(rows + 1) * sizeof(int64_t));
  int64_t* const checked = space.as<int64_t>();
  read_labels("cross_entropy", labels, n, checked);
  const auto kernel = kernels().cross_entropy[float_type(logits.dtype)];
  const View* const inputs[] = {&logits};
  by_rows(dst, 1, inputs, rows, n, [=](int64_t row, int64_t count, const void* const* in, void* out, bool) {
    kernel(in[0], checked + row, out, count, n);
  });
}

void cross_entropy_grad(const View& dst, const View& g, const ShapedView& logits, const View& labels) {
  const int64_t rows = labels.size, n = logits.shape[logits.rank - 1];
  const Workspace space(static_cast<size_t>(rows + 1) * sizeof(int64_t));
  const Workspace wide(static_cast<size_t>(g.size + 1) * sizeof(double));
  int64_t* const checked = space.as<int64_t>();
  read_labels("cross_entropy_grad", labels, n, checked);
  const auto* grads = static_cast<const unsigned char*>(widened_rows(g, 0, g.size, 1, wide.as<void>()));
  const int64_t g_stride = g.size == 1 ? 0 : 1, item = compute_size(g.dtype);
  const auto kernel = kernels().cross_entropy_grad[float_type(logits.dtype)];
  const View* const inputs[] = {&logits};
  by_rows(dst, n, inputs, rows, n, [=](int64_t row, int64_t count, const void* const* in, void* out, bool past) {
    kernel(grads + row * g_stride * item, g_stride, in[0], checked + row, out, count, n, past);
  });
}

}  // namespace needle
