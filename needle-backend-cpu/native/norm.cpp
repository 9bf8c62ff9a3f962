// Normalization of rows (layer_norm, rms_norm) with their gradients. Of channels: batch_norm.cpp.
//
// Sums down the columns are taken chunk by chunk, then over the chunks. The cuts depend on sizes alone, so that the
// result is the same for any number of threads.
#include <algorithm>
#include <cstring>

#include "compact.h"
#include "launch.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 16384;    // elements that are worth another thread
constexpr int64_t kGroup = 4096;     // elements of rows that are widened at a time
constexpr int64_t kStreamed = 1024;  // the same, where reading and writing memory are to overlap
constexpr int64_t kChunks = 64;      // of the rows of a gradient, at most
constexpr int64_t kChunkRows = 16;   // of a chunk, at least

int float_type(DType dtype) { return dtype == DType::kFloat64 ? 1 : 0; }

// One scalar for each column, in the compute type.
class Parameter {
 public:
  explicit Parameter(const View& view)
      : space_(static_cast<size_t>(view.size + 1) * sizeof(double)),
        data_(widened(view, 0, view.size, space_.as<void>())) {}
  const void* get() const { return data_; }

 private:
  Workspace space_;
  const void* data_;
};

// f(first, count) over chunks of rows that are as long for any number of threads, in threads.
template <class F> void by_chunks(int64_t rows, int64_t length, int64_t n, F f) {
  const int64_t chunks = (rows + length - 1) / length;
  const auto run = [&](int64_t i) { f(i, i * length, std::min(length, rows - i * length)); };
  if (rows * n < 2 * kGrain) {
    for (int64_t i = 0; i < chunks; ++i) run(i);
  } else {
    parallel_tasks(chunks, run);
  }
}

using RowNorm = void (*)(const void* x, const void* weight, const void* bias, void* out, int64_t rows, int64_t n,
                         double eps, bool past);
using RowNormGrad = void (*)(const void* g, const void* x, const void* weight, void* dx, void* dw, void* db,
                             int64_t rows, int64_t n, double eps, bool past);

void norm_rows(RowNorm kernel, const View& dst, const View& x, const void* weight, const void* bias, int64_t rows,
               int64_t n, double eps) {
  const auto narrow = kernels().narrow[static_cast<int>(dst.dtype)];
  const Store store = row_store(dst, n);
  const bool streamed = store == Store::kCopiedPast, past = store == Store::kPast;
  const bool direct = narrow == nullptr && !streamed;
  const int64_t group = direct ? rows : std::max<int64_t>(1, (streamed ? kStreamed : kGroup) / n),
                item = compute_size(dst.dtype);
  parallel_for(rows, 1 + kGrain / n, [&](int64_t begin, int64_t end) {
    const Workspace space(direct ? 1 : static_cast<size_t>(group * n * item));
    for (int64_t r = begin; r < end; r += group) {
      const int64_t count = std::min(group, end - r);
      void* out = direct ? bytes_at(dst, r * n) : space.as<void>();
      kernel(widened(x, r * n, count * n, space.as<void>()), weight, bias, out, count, n, eps, past);
      if (narrow != nullptr) narrow(out, bytes_at(dst, r * n), count * n);
      if (streamed) kernels().stream(out, bytes_at(dst, r * n), count * n * item);
    }
    if (store != Store::kPlain) kernels().stream_end();
  });
}

// The sum of `count` rows of n elements of the compute type, as the elements of dst.
void store_sum(const View& dst, const unsigned char* rows, int64_t count, int64_t n) {
  const auto narrow = kernels().narrow[static_cast<int>(dst.dtype)];
  const int64_t item = compute_size(dst.dtype);
  const auto columns = kernels().reduce[static_cast<int>(Reduce::kSum)][compute_type(dst.dtype)].columns;
  Scratch sums;
  for (int64_t i = 0; i < n; i += kColumnTile) {
    const int64_t width = std::min(kColumnTile, n - i);
    columns(rows + i * item, n, count, width, narrow == nullptr ? bytes_at(dst, i) : sums.bytes);
    if (narrow != nullptr) narrow(sums.bytes, bytes_at(dst, i), width);
  }
}

void norm_rows_grad(RowNormGrad kernel, const View& dx, const View& dw, const View* db, const View& g, const View& x,
                    const View& weight, int64_t rows, int64_t n, double eps) {
  const Parameter w(weight);
  const auto narrow = kernels().narrow[static_cast<int>(dx.dtype)];
  const int64_t item = compute_size(dx.dtype), length = std::max(kChunkRows, (rows + kChunks - 1) / kChunks);
  const int64_t chunks = (rows + length - 1) / length, width = n * item;
  const Store store = row_store(dx, n);
  const bool streamed = store == Store::kCopiedPast, past = store == Store::kPast;
  const bool direct = narrow == nullptr && !streamed;
  const int64_t group = direct ? length : std::max<int64_t>(1, (streamed ? kStreamed : kGroup) / n);
  const Workspace sums(static_cast<size_t>(2 * chunks * width + 1));
  std::memset(sums.as<void>(), 0, static_cast<size_t>(2 * chunks * width));
  unsigned char *dw_sums = sums.as<unsigned char>(), *db_sums = dw_sums + chunks * width;
  by_chunks(rows, length, n, [&](int64_t chunk, int64_t first, int64_t count) {
    const Workspace space(direct ? 1 : static_cast<size_t>(2 * group * width));
    unsigned char *g_space = space.as<unsigned char>(), *x_space = g_space + (direct ? 0 : group * width);
    for (int64_t r = first; r < first + count; r += group) {
      const int64_t taken = std::min(group, first + count - r);
      const void *grad = widened(g, r * n, taken * n, g_space), *from = widened(x, r * n, taken * n, x_space);
      void* out = direct ? static_cast<void*>(bytes_at(dx, r * n)) : x_space;
      kernel(grad, from, w.get(), out, dw_sums + chunk * width, db_sums + chunk * width, taken, n, eps, past);
      if (narrow != nullptr) narrow(out, bytes_at(dx, r * n), taken * n);
      if (streamed) kernels().stream(out, bytes_at(dx, r * n), taken * width);
    }
    if (store != Store::kPlain) kernels().stream_end();
  });
  store_sum(dw, dw_sums, chunks, n);
  if (db != nullptr) store_sum(*db, db_sums, chunks, n);
}

}  // namespace

void layer_norm(const View& dst, const View& x, const View& weight, const View& bias, int64_t rows, int64_t n,
                double eps) {
  const Parameter w(weight), b(bias);
  norm_rows(kernels().layer_norm[float_type(x.dtype)], dst, x, w.get(), b.get(), rows, n, eps);
}

void rms_norm(const View& dst, const View& x, const View& weight, int64_t rows, int64_t n, double eps) {
  const Parameter w(weight);
  norm_rows(kernels().rms_norm[float_type(x.dtype)], dst, x, w.get(), nullptr, rows, n, eps);
}

void layer_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     int64_t rows, int64_t n, double eps) {
  norm_rows_grad(kernels().layer_norm_grad[float_type(x.dtype)], dx, dw, &db, g, x, weight, rows, n, eps);
}

void rms_norm_grad(const View& dx, const View& dw, const View& g, const View& x, const View& weight, int64_t rows,
                   int64_t n, double eps) {
  norm_rows_grad(kernels().rms_norm_grad[float_type(x.dtype)], dx, dw, nullptr, g, x, weight, rows, n, eps);
}

}  // namespace needle
